"""A model with local latents in the explorer: the same draws in Python and on the page, each kept until the next."""

import base64
import json

import numpy as np
import pytest
from page_ground import View
from toy_explorer import toy_finished

from zatlas.atlas.drawing import images_of_draw
from zatlas.explorer import page as page_module
from zatlas.explorer.bundle.writing import write_bundle
from zatlas.explorer.server.requests import Refused, latents_among
from zatlas.explorer.server.work import Decoders
from zatlas.explorer.share import export_file

DRAWN = "Texture is drawn, not observed"
DIMS = {"z2": 2}


@pytest.fixture(scope="module")
def textured(tmp_path_factory):
    return toy_finished(tmp_path_factory.mktemp("textured"), texture="local")


@pytest.fixture(scope="module")
def files_of_page(textured, tmp_path_factory):
    folder = tmp_path_factory.mktemp("textured-bundle") / "explorer"
    write_bundle(textured, folder)
    return folder


@pytest.fixture(scope="module")
def one_file(files_of_page, tmp_path_factory):
    if not page_module.is_built():
        pytest.skip("the explorer's page is not built (python hatch_build.py)")
    return export_file(files_of_page, tmp_path_factory.mktemp("textured-file") / "atlas.html").path


def test_the_bundle_has_the_kept_noise_and_the_rate_of_each_level(textured, files_of_page):
    manifest = json.loads((files_of_page / "manifest.json").read_text())
    for model in manifest["models"]:
        network = textured.vae(model["name"]).network
        assert model["decoder"]["inputs"] == ["z", "noise"]
        noise = np.fromfile(files_of_page / model["decoder"]["noise"]["path"], "<f4")
        np.testing.assert_array_equal(noise, network.kept_noise)
        assert model["local"]["n_values"] == len(noise) == network.n_local
        history = model["history"]
        assert [level["side"] for level in model["local"]["levels"]] == [0, *network.local_sides]
        total = sum(level["rate_nats"] for level in model["local"]["levels"])
        assert total == pytest.approx(history["validation_rate_nats"][-1])


@pytest.mark.parametrize("draw", [1, 2])
def test_python_decodes_the_draw_that_is_asked_for(textured, draw):
    z = np.random.default_rng(0).standard_normal((11, 2)).astype(np.float32)
    asked = latents_among({"model": "z2", "z": z.tolist(), "draw": draw}, DIMS)
    found = np.frombuffer(Decoders(textured).decode(asked, lambda: False), "<f4")
    expected = textured.vae("z2").decode(z, draw=draw)
    scaling = textured.vae("z2").scaling
    np.testing.assert_allclose(scaling.invert(found).reshape(expected.shape), expected, atol=1e-2)
    other = textured.vae("z2").decode(z, draw=3 - draw)
    assert np.abs(other - expected).max() > 1


@pytest.mark.parametrize("draw", [0, -1, 10_000, 1.0, True, "2", None])
def test_a_draw_that_there_cannot_be_is_refused(draw):
    with pytest.raises(Refused, match="draw must be a whole number"):
        latents_among({"model": "z2", "z": [[0, 0]], "draw": draw}, DIMS)


def shown(view):
    """The greys of the large picture at the sliders, as drawn."""
    url = view.page.evaluate("document.querySelector('.evidence-generated canvas').toDataURL()")
    return base64.b64decode(url.partition(",")[2])


@pytest.mark.browser
def test_another_draw_is_kept_over_sliders_and_paths_until_the_next(browser, one_file, textured):
    view = View(browser, one_file.as_uri())
    view.rested(800)
    assert view.page.inner_text("[data-draw]") == "Draw 1"
    first = shown(view)
    view.page.click("[data-another-draw]")
    view.rested()
    assert view.page.inner_text("[data-draw]") == "Draw 2"
    assert shown(view) != first
    view.set("{z: [0.5, -0.5], origin: {kind: 'sliders', from: null}}")
    view.rested()
    script = """async ([name, z, draw]) => {
      const model = await document.querySelector('#zatlas').zatlas.load(name);
      return Array.from((await document.querySelector('#zatlas').zatlas.decoder.decode(model.info, z, draw)).data);
    }"""
    z = [[0.5, -0.5], [0.0, 1.0]]
    for draw in (1, 2, 3):
        found = np.array(view.page.evaluate(script, ["z2", z, draw]), np.float32)
        expected = images_of_draw(textured.vae("z2").network, np.array(z, np.float32), draw).numpy()
        assert np.abs(found.reshape(expected.shape) - expected).max() < 1e-4, f"draw {draw}"
    view.until("location.hash.length > 10")
    link = view.page.evaluate("location.hash")
    again = View(browser, one_file.as_uri() + link)
    again.rested(800)
    assert again.state("draw") == 2
    assert again.page.inner_text("[data-draw]") == "Draw 2"
    again.page.click("[data-reset-steer]")
    again.rested()
    assert again.state("draw") == 1
    assert again.page.is_disabled("[data-reset-steer]")
    assert shown(again) == first
    assert (again.errors, view.errors) == ([], [])
    again.close()
    view.close()


@pytest.mark.browser
def test_every_drawn_picture_says_so(browser, one_file):
    view = View(browser, one_file.as_uri())
    view.set("{path: {a: 0, b: 5, kind: 'straight', frames: 3, walk: ''}, focus: 3}")
    counts = {}
    for tab in ("explore", "paths", "models"):
        view.go(tab)
        view.rested(1200)
        texts = view.page.eval_on_selector_all(
            "figure[data-generated]",
            "all => all.filter((f) => f.querySelector('canvas:not(.empty)')).map((f) => f.innerText)",
        )
        counts[tab] = len(texts)
        assert all(DRAWN in text for text in texts), tab
        assert view.page.query_selector("[data-another-draw]"), tab
    assert counts["explore"] >= 2 and counts["paths"] >= 6 and counts["models"] >= 1
    assert view.errors == []
    view.close()
