"""The page when things go wrong or come from outside: lost graphics, no WebAssembly, files that a person gives it."""

import io
import json

import numpy as np
import pytest
from page_ground import APP, MAP
from PIL import Image

pytestmark = pytest.mark.browser


def test_the_card_under_the_pointer_names_the_image_there(view, page_study):
    view.set("{projection: 'tsne', search: '1', pictures: false}")
    view.rested(900)
    box = view.page.locator("[data-map]").bounding_box()
    visible = view.page.evaluate(f"Array.from({APP}.visible({APP}.store.get()))")
    rows = [row for row, is_visible in enumerate(visible) if is_visible][::9]
    names = [str(name) for name in page_study.atlas("z6").table["image"]]
    seen = 0
    for row in rows:
        place = view.page.evaluate(f"{MAP}.place({row})")
        view.page.mouse.move(box["x"] + place["x"] + 0.5, box["y"] + place["y"] + 0.5)
        view.page.wait_for_timeout(60)
        text = view.page.inner_text(".hover b") if view.page.locator(".hover").count() else ""
        seen += text == names[row]
    assert seen >= 0.8 * len(rows)  # points that lie over each other give the nearer one


def test_a_lost_graphics_context_comes_back(view):
    view.rested(800)
    before = _darkness(view)
    lose = """() => new Promise((done) => {
      const gl = document.querySelector('[data-map] canvas').getContext('webgl2');
      const loss = gl.getExtension('WEBGL_lose_context');
      loss.loseContext();
      setTimeout(() => { loss.restoreContext(); setTimeout(done, 600); }, 300);
    })"""
    view.page.evaluate(lose)
    view.rested(500)
    assert abs(_darkness(view) - before) < 2


def _darkness(view) -> float:
    shot = Image.open(io.BytesIO(view.page.locator("[data-map]").screenshot())).convert("L")
    return float(255 - np.asarray(shot, np.float64).mean())


def test_without_webassembly_the_page_says_so_and_the_map_stays(browser, site):
    policy = "script-src 'self'; worker-src blob:"

    def forbid(route):
        answer = route.fetch()
        route.fulfill(response=answer, headers={**answer.headers, "content-security-policy": policy})

    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.route("**/atlas/", forbid)
    page = context.new_page()
    page.goto(site)
    page.wait_for_selector(".evidence-generated .message.problem", timeout=20_000)
    assert "does not allow WebAssembly" in page.inner_text(".evidence-generated .message.problem")
    assert page.evaluate(f"{MAP}.kind") == "webgl"
    context.close()


def test_a_file_that_is_missing_is_named(browser, site):
    context = browser.new_context()
    context.route("**/data/manifest.json", lambda route: route.fulfill(status=404, body=""))
    page = context.new_page()
    page.goto(site)
    page.wait_for_selector(".failure")
    assert "data/manifest.json could not be read: the host answered 404" in page.inner_text(".failure")
    context.close()


def test_a_newer_format_is_refused_in_words(browser, site):
    context = browser.new_context()
    context.route("**/data/manifest.json", lambda route: route.fulfill(body='{"schema_version": 99}'))
    page = context.new_page()
    page.goto(site)
    page.wait_for_selector(".failure")
    assert "written in format 99" in page.inner_text(".failure")
    context.close()


def test_an_image_of_ones_own_lands_where_python_puts_it(view, page_study, tmp_path):
    import torch

    pixels = np.asarray(page_study.data().originals[3].read())[0]
    path = tmp_path / "own.png"
    Image.fromarray(pixels).save(path)
    view.page.click("text=Place an image of your own")
    view.page.set_input_files("input[type=file][accept*='image/png']", path)
    view.until(f"{APP}.store.get().origin.kind === 'dropped'")
    vae = page_study.vae("z6")
    with torch.inference_mode():
        expected = vae.encode(pixels[None, None].astype(np.float32)).mean.numpy()[0]
    assert np.abs(np.asarray(view.state("z")) - expected).max() < 0.02  # canvases give whole greys
    assert "own.png is placed" in view.page.inner_text(".drop")


def test_a_file_that_is_no_image_is_refused_in_words(view, tmp_path):
    path = tmp_path / "notes.png"
    path.write_text("not an image")
    view.page.click("text=Place an image of your own")
    view.page.set_input_files("input[type=file][accept*='image/png']", path)
    view.until("document.querySelector('.drop .message') !== null")
    assert "notes.png is not an image" in view.page.inner_text(".drop")


def test_a_selection_is_saved_and_opened_again(view, tmp_path):
    view.set("{selection: {rows: [2, 3, 11], recipe: [{kind: 'rows', mode: 'replace', rows: [2, 3, 11]}]}}")
    with view.page.expect_download() as waiting:
        view.page.click("button:text-is('JSON')")
    saved = tmp_path / "selection.json"
    waiting.value.save_as(saved)
    assert json.loads(saved.read_text())["rows"] == [2, 3, 11]
    view.page.click("button:text-is('Clear')")
    assert view.state("selection") is None
    view.page.set_input_files("input[type=file][accept*='json']", saved)
    view.until(f"{APP}.store.get().selection !== null")
    assert view.state("selection.rows") == [2, 3, 11]


def test_figures_of_the_map_hold_legend_and_hostile_labels_as_text(view, tmp_path):
    view.set("{colour: '<b>note</b>'}")
    view.rested(500)
    view.page.click("button:has-text('Figure')")
    with view.page.expect_download() as waiting:
        view.page.click("text=SVG, with legend")
    path = tmp_path / "map.svg"
    waiting.value.save_as(path)
    text = path.read_text(encoding="utf-8")
    assert text.count("<circle") >= 160
    assert "&lt;img src=x" in text
    assert "<img" not in text
    assert "<script" not in text


def test_films_carry_the_words_that_they_are_generated(view, tmp_path):
    view.go("paths")
    view.set("{path: {a: 1, b: 9, kind: 'straight', frames: 3, walk: ''}}")
    view.rested(1200)
    for kind, least in (("GIF", 4), ("PNG", 1)):
        with view.page.expect_download() as waiting:
            view.page.click(f"button:text-is('{kind}')")
        path = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(path)
        with Image.open(path) as film:
            assert getattr(film, "n_frames", 1) >= least
            frame = np.asarray(film.convert("L"))
        band = frame[frame.shape[0] // 3 :]
        assert band.min() < 60  # the dark band with the words
        assert band.max() > 200


def test_kept_selections_colour_the_map(view):
    view.set("{regions: [{name: 'mine', rows: [0, 1, 2], recipe: []}], colour: 'kept selections', pictures: false}")
    view.rested(500)
    assert "mine 3" in " ".join(view.page.inner_text(".legend").split())
    view.page.click("text=Own colours")
    view.page.locator(".legend input[type=color]").first.fill("#102030")
    assert view.state("palette") == {"kept selections": {"mine": "#102030"}}
