"""The notebook widget, from the side of Python."""

import io
import json
import math
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import traitlets
from PIL import Image
from toy_explorer import toy_bundle, toy_study, with_images_at

import zatlas as za
from zatlas.errors import DataError, UsageError
from zatlas.explorer.notebook import widget
from zatlas.explorer.notebook.answers import Answers
from zatlas.explorer.server.requests import Refused


@pytest.fixture
def shown(made, bundle, page, monkeypatch):
    """A widget on the toy bundle, with what it sends to the page in `sent`."""
    monkeypatch.setattr(widget, "static_folder", lambda: page)
    monkeypatch.setattr(widget, "widget_script", lambda: page / "widget.js")
    monkeypatch.setattr(widget, "bundle_of", lambda study: bundle)
    made_widget = za.explore(made, model="2", height=500)
    sent = []
    made_widget.send = lambda content, buffers=None: sent.append((content, buffers))
    made_widget.sent = sent
    yield made_widget
    made_widget.close()


def ask(shown, kind, number=7, **asked):
    """What the page gets when it asks."""
    shown._handle_custom_msg({"kind": kind, "id": number, **asked}, [])
    return shown.sent.pop()


def test_it_shows_the_page_of_the_package(shown, page):
    assert str(shown._esm) == (page / "widget.js").read_text()
    assert (shown.model, shown.height, shown.selection, shown.z) == ("z2", 500, [], [])


@pytest.mark.parametrize("path", ["data/names.json", "data/z3/decoder.onnx", "assets/ort.wasm"])
def test_the_page_gets_its_files(shown, bundle, page, path):
    content, buffers = ask(shown, "read", "a1", path=path)
    assert content == {"kind": "file", "id": "a1", "ok": True}
    wanted = bundle / path[5:] if path.startswith("data/") else page / path
    assert buffers == [wanted.read_bytes()]


def test_the_manifest_says_what_python_adds(shown, bundle):
    _, (found,) = ask(shown, "read", path="data/manifest.json")
    served = json.loads(found)
    assert served.pop("server") == {"decode": True, "images": True}
    assert served == json.loads((bundle / "manifest.json").read_text())


@pytest.mark.parametrize(
    "path",
    [
        "",
        "data/",
        "data/../toy.txt",
        "../toy_images.npz",
        "/etc/passwd",
        "data//etc/passwd",
        "data/secret.txt",
        "a" * 2000,
        3,
        None,
        "widget.py",
    ],
)
def test_and_no_others(shown, bundle, path):
    (bundle / "secret.txt").write_text("secret")
    refused = {"kind": "file", "id": 7, "ok": False, "why": "there is no such file"}
    assert ask(shown, "read", path=path) == (refused, [])


@pytest.mark.parametrize(
    "message",
    [None, [], "read", {}, {"kind": "write"}, {"kind": "read"}, {"kind": ["read"], "id": 1},
     {"kind": "read", "id": [], "path": "data/manifest.json"}, {"kind": "image", "id": "a" * 2000, "row": 0}],
)  # fmt: skip
def test_other_messages_are_left_alone(shown, message):
    shown._handle_custom_msg(message, [])
    assert shown.sent == []


def test_latents_are_decoded_as_by_the_model(shown, made):
    z = np.random.default_rng(1).normal(size=(11, 3))
    content, (found,) = ask(shown, "decode", "b", model="z3", z=z.tolist())
    assert content == {"kind": "frames", "id": "b", "ok": True}
    with torch.inference_mode():
        wanted = made.vae("z3").network.x_hat(torch.tensor(z, dtype=torch.float32))
    np.testing.assert_allclose(np.frombuffer(found, "<f4").reshape(11, 1, 16, 16), wanted.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"model": "z9", "z": [[0.0, 0.0, 0.0]]}, "no such model"),
        ({"model": ["z3"], "z": [[0.0, 0.0, 0.0]]}, "no such model"),
        ({"model": "z3", "z": [[0.0, 0.0]]}, "list of 3 numbers"),
        ({"model": "z3", "z": [[0.0, math.nan, 0.0]]}, "list of 3 numbers"),
        ({"model": "z3", "z": [[0.0, math.inf, 0.0]]}, "list of 3 numbers"),
        ({"model": "z3", "z": [[0.0, 1e9, 0.0]]}, "list of 3 numbers"),
        ({"model": "z3", "z": [[0.0, "1", True]]}, "list of 3 numbers"),
        ({"model": "z3", "z": [[0.0] * 3] * 65}, "1 to 64 latents"),
        ({"model": "z3", "z": []}, "1 to 64 latents"),
        ({"model": "z3"}, "two fields model and z"),
    ],
)
def test_other_latents_are_refused_in_words(shown, asked, why):
    content, buffers = ask(shown, "decode", **asked)
    assert (content["kind"], content["ok"], buffers) == ("frames", False, [])
    assert why in content["why"]


def test_images_come_at_their_full_size(shown):
    content, (found,) = ask(shown, "image", row=23)
    assert content == {"kind": "image", "id": 7, "ok": True}
    assert Image.open(io.BytesIO(found)).size == (16, 16)
    content, (found,) = ask(shown, "context", row=0)
    assert content == {"kind": "context", "id": 7, "ok": True, "box": [0, 0, 16, 16]}
    assert found.startswith(b"\x89PNG")


@pytest.mark.parametrize("row", [24, -1, 1.0, "1", True, None, 10**30])
@pytest.mark.parametrize("kind", ["image", "context"])
def test_rows_that_are_not_there_have_no_image(shown, kind, row):
    content, buffers = ask(shown, kind, row=row)
    assert (content["ok"], content["why"], buffers) == (False, "there is no image of this row", [])


def test_images_that_have_gone_are_said_to_be_gone(made, bundle, page):
    answers = Answers(bundle, page, with_images_at(made, "gone.npz"))
    assert json.loads(answers.read("data/manifest.json"))["server"] == {"decode": True, "images": False}
    content, buffers = answers.answer({"kind": "image", "id": 1, "row": 0})
    assert (content["ok"], buffers) == (False, [])
    assert "not where they were" in content["why"]


def test_a_tile_has_a_place_in_its_section(page, tmp_path):
    tiled = toy_study(tmp_path, tile=16)
    tiles = tiled.data().atlas_tiles()
    answers = Answers(toy_bundle(tmp_path / "bundle", tiled, n=len(tiles)), page, tiled)
    place = tiles.table().iloc[3]
    content, (found,) = answers.answer({"kind": "context", "id": 1, "row": 3})
    assert content["box"] == [place["y_px"], place["x_px"], 16, 16]
    assert Image.open(io.BytesIO(found)).size == (56, 40)


def test_selected_images_are_rows_of_the_atlas(shown, made, monkeypatch):
    table = pd.DataFrame({"image": [f"image {row}" for row in range(24)]})
    atlas = type("Atlas", (), {"table": table})
    monkeypatch.setattr(type(made), "atlas", lambda self, name: atlas)
    seen = []
    shown.observe(lambda change: seen.append(change.new), "selection")
    shown.selection = [5, 3, 5]
    assert seen == [[5, 3]]
    assert list(shown.selected["image"]) == ["image 5", "image 3"]
    shown.selection = []
    assert len(shown.selected) == 0


def test_the_recipe_follows_a_selection_made_in_python(shown):
    shown.selection = [5, 3]
    assert json.loads(shown.recipe) == [{"kind": "rows", "mode": "replace", "rows": [3, 5]}]
    recipe = '[{"kind":"filters","mode":"replace"}]'
    shown.set_state({"recipe": recipe, "selection": [1, 2]})
    assert (shown.selection, shown.recipe) == ([1, 2], recipe)
    shown.selection = []
    assert shown.recipe == "[]"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("selection", [24]),
        ("selection", [-1]),
        ("selection", ["1"]),
        ("model", "z9"),
        ("recipe", "{"),
        ("z", ["a"]),
        ("z", [math.nan]),
        ("theme", "pink"),
    ],
)
def test_what_is_not_there_cannot_be_set(shown, name, value):
    before = getattr(shown, name)
    with pytest.raises(traitlets.TraitError):
        setattr(shown, name, value)
    assert getattr(shown, name) == before


def test_mistakes_are_said_in_words(made, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="is not a study"):
        za.explore(tmp_path)
    with pytest.raises(UsageError, match="no model 5"):
        za.explore(made, model="5")
    with pytest.raises(UsageError, match="height is 20"):
        za.explore(made, height=20)
    monkeypatch.setattr(widget, "widget_script", lambda: za_script(tmp_path))
    with pytest.raises(DataError, match="page was not built"):
        za.explore(made)


def za_script(folder: Path) -> Path:
    from zatlas.explorer.page import widget_script

    return widget_script(folder)


def test_without_anywidget_it_says_what_to_install(made, monkeypatch):
    monkeypatch.delitem(sys.modules, "zatlas.explorer.notebook.widget_class", raising=False)
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(DataError, match=r"(?s)needs anywidget.*pip install \"zatlas\[notebook\]\""):
        za.explore(made)


def test_a_file_that_has_gone_is_not_there(made, bundle, page, tmp_path):
    shutil.copytree(bundle, tmp_path / "bundle")
    answers = Answers(tmp_path / "bundle", page, made)
    (tmp_path / "bundle" / "z2" / "mean.f32").unlink()
    with pytest.raises(Refused):
        answers.read("data/z2/mean.f32")
