"""The notebook widget, from the side of Python."""

import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
import traitlets

import zatlas as za
from zatlas.errors import DataError, UsageError
from zatlas.explorer import widget


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


def ask(shown, path, number=7):
    """What the page gets when it asks for a file."""
    shown._handle_custom_msg({"kind": "read", "id": number, "path": path}, [])
    return shown.sent.pop()


def test_it_shows_the_page_of_the_package(shown, page):
    assert str(shown._esm) == (page / "widget.js").read_text()
    assert (shown.model, shown.height, shown.selection, shown.z) == ("z2", 500, [], [])


@pytest.mark.parametrize("path", ["data/manifest.json", "data/z3/decoder.onnx", "assets/ort.wasm"])
def test_the_page_gets_its_files(shown, bundle, page, path):
    content, buffers = ask(shown, path, "a1")
    assert content == {"kind": "file", "id": "a1", "ok": True}
    wanted = bundle / path[5:] if path.startswith("data/") else page / path
    assert buffers == [wanted.read_bytes()]


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
        "widget.py",
    ],
)
def test_and_no_others(shown, bundle, path):
    (bundle / "secret.txt").write_text("secret")
    assert ask(shown, path) == ({"kind": "file", "id": 7, "ok": False}, [])


@pytest.mark.parametrize(
    "message",
    [None, [], "read", {}, {"kind": "write"}, {"kind": "read"}, {"kind": "read", "id": 1, "path": 3},
     {"kind": "read", "id": [], "path": "data/manifest.json"}, {"kind": "read", "id": 1, "path": "a" * 2000}],
)  # fmt: skip
def test_other_messages_are_left_alone(shown, message):
    shown._handle_custom_msg(message, [])
    assert shown.sent == []


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


@pytest.mark.parametrize(
    ("name", "value"),
    [("selection", [24]), ("selection", [-1]), ("selection", ["1"]), ("model", "z9"), ("recipe", "{"), ("z", ["a"])],
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
    widget._widget_class.cache_clear()
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(DataError, match=r"(?s)needs anywidget.*pip install \"zatlas\[notebook\]\""):
        za.explore(made)
    widget._widget_class.cache_clear()


def test_a_file_that_has_gone_is_not_there(made, bundle, page, tmp_path):
    shutil.copytree(bundle, tmp_path / "bundle")
    files = widget._Files(tmp_path / "bundle", page)
    (tmp_path / "bundle" / "z2" / "mean.f32").unlink()
    assert files.read("data/z2/mean.f32") is None
