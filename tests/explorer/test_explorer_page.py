"""The page in a real browser: decoding, links, pictures, filters, keys, and what it says of generated pictures."""

import io
import itertools
import json

import chromium
import numpy as np
import pytest
from page_ground import APP, DECODE, MAP, TABS, View, decoded
from phantom_study import HOSTILE
from PIL import Image

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("name", ["z2", "z6"])
def test_pictures_equal_those_of_torch(view, page_study, name):
    d = int(name[1:])
    z = np.random.default_rng(0).standard_normal((20, d)).astype(np.float32)
    z[:5] = page_study.atlas(name).mean[:5]
    found = np.asarray(view.page.evaluate(DECODE, [name, z.tolist()]), np.float32)
    expected = decoded(page_study, name, z)
    assert np.abs(found.reshape(expected.shape) - expected).max() < 1e-4


def test_an_image_is_placed_where_python_places_it(view, page_study):
    import torch

    network = page_study.vae("z6").network
    x = page_study.data().atlas_tiles().take(np.arange(3))
    with torch.inference_mode():
        expected = network.encode(torch.from_numpy(x)).mean.numpy()
    script = """async (images) => {
      const app = document.querySelector('#zatlas').zatlas;
      const model = await app.load('z6');
      const means = [];
      for (const image of images) {
        const { mean } = await app.decoder.encode(model.info, Float32Array.from(image));
        means.push(Array.from(mean));
      }
      return means;
    }"""
    found = np.asarray(view.page.evaluate(script, x.reshape(3, -1).tolist()))
    assert np.abs(found - expected).max() < 1e-4


def test_the_newest_latent_is_shown_last_and_none_goes_back(view):
    view.rested()
    shown = view.page.evaluate(
        """async () => {
      const app = document.querySelector('#zatlas').zatlas;
      const holder = document.querySelector('.evidence-generated');
      const seen = [];
      new MutationObserver(() => seen.push(JSON.parse(holder.dataset.z)?.[0])).observe(holder, {attributes: true});
      for (let i = 0; i <= 200; i++) {
        app.store.set({z: [i / 100, 0, 0, 0, 0, 0], origin: {kind: 'sliders', from: null}}, 'slider');
        await new Promise((done) => setTimeout(done, 10));
      }
      await new Promise((done) => setTimeout(done, 1500));
      return seen;
    }"""
    )
    assert shown[-1] == 2
    assert all(later >= earlier for earlier, later in itertools.pairwise(shown))
    assert len(shown) > 5


def test_a_link_holds_the_whole_state(view, browser, site):
    view.set(
        """{tab: 'explore', theme: 'dark', projection: 'tsne', colour: 'rate_nats', focus: 7, pictures: true,
        filters: [{column: 'split', kind: 'values', values: ['train', 'test']}], locked: [1],
        z: [0.5, -1.25, 0, 0, 0, 1], origin: {kind: 'sliders', from: {kind: 'image', row: 7}},
        selection: {rows: [1, 5, 9], recipe: [{kind: 'rows', mode: 'replace', rows: [1, 5, 9]}]},
        path: {a: 3, b: 8, kind: 'spherical', frames: 5, walk: ''}}"""
    )
    view.rested(800)
    view.page.evaluate(f"{MAP}.zoom(1.7)")
    view.rested(1200)
    other = View(browser, view.page.url)
    other.rested(1200)
    assert other.state() == view.state()
    maps = [_pixels(page.locator("[data-map]").screenshot()) for page in (view.page, other.page)]
    assert (np.abs(maps[0] - maps[1]).max(axis=2) > 24).mean() < 0.002  # of the pixels; edges are smoothed anew
    other.close()


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), np.int16)


def test_a_link_of_another_atlas_is_opened_with_a_warning(view, browser, site):
    before = view.page.evaluate("location.hash")
    view.set("{focus: 3}")
    view.until(f"location.hash.startsWith('#s=1.') && location.hash !== {json.dumps(before)}")
    view.page.wait_for_timeout(700)  # an older state may have been on its way to the address
    foreign = view.page.evaluate("location.hash.replace(/^#s=1\\.[0-9a-f]+/, '#s=1.ffffffffffff')")
    other = View(browser, site + foreign)
    assert "made for another atlas" in other.page.inner_text("[role=alert]")
    assert other.state("focus") == 3
    other.close()


@pytest.mark.parametrize("link", ["#s=1.abc.!!!", "#s=1.abcdef.AAAA", "#<img src=x onerror=alert(1)>", "#s=9.x.y"])
def test_a_malformed_link_is_harmless(browser, site, link):
    opened = View(browser, site + link)
    assert opened.state("tab") == "explore"
    opened.close()
    assert opened.errors == []


PICTURES = """async () => {
  const map = document.querySelector('[data-map]');
  const { atlas } = document.querySelector('#zatlas').zatlas;
  const { size } = atlas.thumbnails;
  const canvas = [...map.querySelectorAll('canvas')].at(-1);
  const ratio = canvas.width / canvas.clientWidth;
  const small = (source, x, y, side) => {
    const out = new OffscreenCanvas(8, 8).getContext('2d');
    out.imageSmoothingQuality = 'high';
    out.drawImage(source, x + 0.2 * side, y + 0.2 * side, 0.6 * side, 0.6 * side, 0, 0, 8, 8);
    return Array.from(out.getImageData(0, 0, 8, 8).data).filter((_, i) => i % 4 === 0);
  };
  const thumbnails = [];
  for (let row = 0; row < atlas.n; row++) {
    const cell = await atlas.thumbnails.get(row);
    thumbnails.push(small(cell.sheet, cell.x, cell.y, size));
  }
  const gap = (a, b) => a.reduce((sum, value, i) => sum + Math.abs(value - b[i]), 0) / a.length;
  const isWhole = ({x, y, side}) =>
    Math.min(x, y, canvas.clientWidth - x, canvas.clientHeight - y) > side / 2 + 2;
  return map.zatlasMap.drawnPictures().filter(isWhole).map(({row, x, y, side}) => {
    const inner = side - 2 * (side > 48 ? 2.5 : 2);  // without the frame
    const seen = small(canvas, (x - inner / 2) * ratio, (y - inner / 2) * ratio, inner * ratio);
    const gaps = thumbnails.map((thumbnail) => gap(seen, thumbnail));
    return [row, gaps.indexOf(Math.min(...gaps)), gaps[row], Math.min(...gaps)];
  });
}"""


@pytest.mark.parametrize(
    "change",
    [
        "{}",
        "{filters: [{column: 'split', kind: 'values', values: ['test']}]}",
        "{search: '1'}",
        "{projection: 'tsne', axes: [0, 1], filters: [{column: 'rate_nats', kind: 'range', low: 0, high: 9}]}",
        "{projection: 'z', axes: [3, 1], search: '', filters: []}",
    ],
)
def test_picture_of_row_i_is_image_i(view, change):
    view.set("{clusterLabels: false, colour: '', z: null}")  # nothing is drawn over the pictures
    view.set(change)
    view.rested(900)
    view.page.evaluate(f"{MAP}.fit(false); {MAP}.zoom(2.5)")
    view.rested(1200)
    drawn = view.page.evaluate(PICTURES)
    assert len(drawn) >= 2  # how many fit depends on where the latents lie
    visible = view.page.evaluate(f"Array.from({APP}.visible({APP}.store.get()) ?? [])")
    for row, most_alike, gap, least in drawn:
        assert not visible or visible[row] == 1, f"image {row} is hidden by a filter"
        alike = f"the picture drawn for image {row} ({gap:.1f} greys off) looks like image {most_alike} ({least:.1f})"
        assert gap < least + 4, alike  # images of one patient differ little, and each is drawn smaller than it is
    assert np.mean([row == most_alike for row, most_alike, *_ in drawn]) > 0.8


def test_a_region_takes_exactly_the_points_inside(view, page_study):
    points = np.asarray(page_study.atlas("z6").projections["pca"][:, :2], np.float64)
    star = np.float64([[-1.0, -0.6], [0.9, -1.1], [1.4, 0.8], [0.1, 0.2], [-0.7, 1.3]])
    outline = np.float32(star * points.std(axis=0))
    found = view.page.evaluate(f"Array.from({MAP}.within(Float32Array.from({json.dumps(outline.ravel().tolist())})))")
    assert found == [i for i, (x, y) in enumerate(points) if _is_inside(x, y, np.float64(outline))]
    assert 0 < len(found) < len(points)


def _is_inside(x: float, y: float, corners) -> bool:
    """Even-odd rule."""
    inside = False
    for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if (ay > y) != (by > y) and x < (bx - ax) * (y - ay) / (by - ay) + ax:
            inside = not inside
    return inside


def test_hostile_labels_and_titles_are_text(view):
    view.set("{colour: '<b>note</b>', focus: 0}")
    view.rested()
    for tab in TABS:
        view.go(tab)
        view.rested(500)
        assert view.page.locator("img[onerror], #zatlas script").count() == 0
    view.go("explore")
    text = view.page.inner_text("#zatlas")
    assert HOSTILE[0] in text
    assert "<b>radiographs</b>" in text
    assert "<b>note</b>" in text


def test_every_generated_picture_says_so(view):
    view.set(f"{{path: {{a: 1, b: 9, kind: 'straight', frames: 7, walk: ''}}, focus: 4}}")  # noqa: F541
    view.page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
    for tab in TABS:
        view.go(tab)
        view.page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
        view.rested(1500)
        figures = view.page.locator("figure[data-generated]")
        if tab in ("explore", "paths", "dimensions", "models"):
            assert figures.count() > 0, f"{tab} shows nothing that the model made"
        for text in figures.all_inner_texts():
            assert "Generated by the model, not an observation" in text
        unmarked = view.page.evaluate(
            """[...document.querySelectorAll('#zatlas canvas')].filter((c) => !c.closest(
            '[data-generated], [data-generated-difference], figure.real, [data-map], [data-scatter]')).length"""
        )
        assert unmarked == 0, f"{tab} has pictures that are neither real nor marked as generated"


def test_held_out_images_and_units_are_named(view):
    row = view.page.evaluate(f"{APP}.isHeldOut.indexOf(1)")
    view.page.evaluate(f"(row) => {APP}.store.set({{focus: row}})", row)
    view.rested()
    text = view.page.inner_text(".evidence-column")
    assert "Held out" in text
    assert "nats" in text
    assert "dB" in text
    assert "standard deviations of the prior" in view.page.inner_text(".steer-column")


def test_undo_takes_back_and_redo_does_again(view):
    view.set("{colour: 'split'}")
    view.set("{search: '3'}")
    view.page.keyboard.press("Control+z")
    assert view.state("search") == ""
    view.page.keyboard.press("Control+z")
    assert view.state("colour") == "cluster"
    view.page.keyboard.press("Control+Shift+z")
    assert view.state("colour") == "split"


def test_latent_sizes_are_switched_and_the_image_stays(view, page_study):
    view.set("{focus: 5}")
    view.page.select_option(".model-choice select", "z2")
    view.until(f"{APP}.store.get().model === 'z2'")
    view.rested()
    assert view.state("focus") == 5
    assert np.allclose(view.state("z"), page_study.atlas("z2").mean[5], atol=1e-6)


def test_a_whole_task_by_keyboard_alone(view):
    """Find an image, inspect it, select its neighbours, steer, put two images on a path, save the film."""
    page = view.page
    page.keyboard.press("/")
    page.keyboard.type("0001")
    assert page.evaluate("document.activeElement.dataset.search") is not None
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('[data-map]')"):
            break
    assert page.evaluate("document.activeElement.matches('[data-map]')"), "the map cannot be reached with Tab"
    page.keyboard.press("ArrowRight")
    first = view.state("focus")
    assert first is not None
    page.keyboard.press("n")
    assert len(view.state("selection.rows")) > 1
    page.keyboard.press("p")
    page.keyboard.press("ArrowLeft")
    if view.state("focus") == first:
        page.keyboard.press("ArrowUp")
    page.keyboard.press("p")
    before = view.state("z")
    page.keyboard.press("]")
    page.keyboard.press("ArrowUp")
    assert view.state("z") != before
    page.keyboard.press("r")
    page.keyboard.press("2")
    view.rested(800)
    assert view.state("tab") == "paths"
    path = view.state("path")
    assert path["a"] == first
    assert path["b"] is not None
    for _ in range(120):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim() === 'CSV'"):
            break
    with page.expect_download() as waiting:
        page.keyboard.press("Enter")
    assert waiting.value.suggested_filename.endswith(".csv")
    page.keyboard.press("Escape")
    assert view.state("selection") is None


@pytest.mark.parametrize("width", [360, 720, 1280])
def test_no_tab_scrolls_sideways(browser, site, width):
    opened = View(browser, site, viewport={"width": width, "height": 800})
    for tab in TABS:
        opened.go(tab)
        opened.rested(400)
        found = opened.page.evaluate("document.documentElement.scrollWidth")
        assert found <= width, f"{tab} is {found} px wide on a screen of {width} px"
    opened.close()
    assert opened.errors == []


def test_without_webgl_the_map_still_works(playwright, site):
    flags = [*chromium.ARGUMENTS, "--disable-3d-apis"]
    started = playwright.chromium.launch(executable_path=chromium.PATH, args=flags)
    opened = View(started, site)
    assert opened.page.get_attribute("[data-map]", "data-kind") == "canvas"
    assert "WebGL is not available" in opened.page.inner_text(".map-area")
    opened.rested(800)
    opened.set("{tool: 'box'}")
    opened.rested()
    box = opened.page.locator("[data-map]").bounding_box()
    opened.page.mouse.move(box["x"] + 10, box["y"] + 10)
    opened.page.mouse.down()
    opened.page.mouse.move(box["x"] + box["width"] - 10, box["y"] + box["height"] - 10, steps=5)
    opened.page.mouse.up()
    opened.rested()
    assert len(opened.state("selection.rows")) > 50
    opened.close()
    started.close()
    assert opened.errors == []
