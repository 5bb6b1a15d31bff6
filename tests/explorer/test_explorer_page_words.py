"""The words of the page: clusters or regions by the verdict, and one word for a path, a reconstruction, a split."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from page_ground import TABS, View

from zatlas.atlas.clusters import assess

VERDICT = Path(__file__).resolve().parents[2] / "web" / "src" / "verdict.ts"
CONTINUUM = "A continuum, not clusters: 3 regions divide it (mean Jaccard 0.80 over halves of the images)."
CLUSTERED = "3 clusters, stable and parted by valleys: mean Jaccard 0.98 over halves of the images."
# All that is seen, heard or shown on hover, outside of the sentences of the study and of the names of settings.
SAID = """() => {
  const page = document.querySelector('#zatlas').cloneNode(true);
  for (const own of page.querySelectorAll('.tab-page > .tab-body > p.message, .tab-run details')) own.remove();
  const texts = document.createTreeWalker(page, NodeFilter.SHOW_TEXT);
  const told = [];
  while (texts.nextNode()) told.push(texts.currentNode.data);
  for (const one of page.querySelectorAll('*')) {
    for (const name of ['aria-label', 'aria-valuetext', 'title']) told.push(one.getAttribute(name) ?? '');
  }
  return told.join('\\n');
}"""


def clouds(n: int) -> np.ndarray:
    """Points around n places that lie far apart."""
    rng = np.random.default_rng(0)
    return np.concatenate([rng.standard_normal((80, 2)) + 12 * np.eye(3, 2)[i] for i in range(n)])


@pytest.mark.parametrize("points", [clouds(3), clouds(1), np.zeros((3, 2))], ids=["clusters", "continuum", "one"])
def test_the_page_knows_a_continuum_by_the_sentence_of_the_study(points):
    pattern = re.search(r"const CONTINUUM = /(.+)/i;", VERDICT.read_text(encoding="utf-8"))[1]
    found = assess(points)
    assert (re.search(pattern, found.text, re.IGNORECASE) is not None) == (found.verdict == "continuum"), found.text


def said(view: View) -> dict[str, str]:
    """What each tab says, to people who see it and to those who hear it."""
    told = {}
    for tab in TABS:
        view.go(tab)
        view.rested(700)
        told[tab] = view.page.evaluate(SAID)
    return told


@pytest.fixture
def continuum(browser, site):
    """The page of a study in which no model has clusters, whatever its training has led to."""
    opened = View(browser, site)
    opened.page.route("**/data/manifest.json", lambda route: _with_verdicts(route, {"z2": CONTINUUM, "z6": CONTINUUM}))
    opened.page.reload()
    opened.page.wait_for_selector("header.head")
    opened.rested()
    yield opened
    opened.close()
    assert opened.errors == []


@pytest.mark.browser
def test_a_continuum_has_regions_wherever_it_is_spoken_of(continuum, tmp_path):
    view = continuum
    view.set("{focus: 0, selection: {rows: [0, 1, 2, 3], recipe: []}}")
    assert view.page.inner_text("#tab-clusters") == "Regions"
    assert "Region 0" in view.page.inner_text(".legend")
    assert "Region " in view.page.get_attribute("[data-map]", "aria-label")
    assert "Region" in view.page.inner_text(".selection .counts")
    for tab, words in said(view).items():
        assert re.findall(r".{0,40}\bclusters?\b.{0,40}", words, re.IGNORECASE) == [], tab
    view.go("clusters")
    assert view.page.inner_text(".tab-head h2") == "Regions"
    assert view.page.locator("article[aria-label='Region 0']").count() == 1
    view.go("explore")
    view.page.click("button:has-text('Figure')")
    with view.page.expect_download() as waiting:
        view.page.click("text=SVG, with legend")
    path = tmp_path / "map.svg"
    waiting.value.save_as(path)
    assert {"Region", "Region 0"} <= set(re.findall(r">([^<>]+)</text>", path.read_text(encoding="utf-8")))


@pytest.mark.browser
def test_clusters_are_called_so_model_by_model(browser, site):
    opened = View(browser, site)
    opened.page.route("**/data/manifest.json", lambda route: _with_verdicts(route, {"z2": CONTINUUM, "z6": CLUSTERED}))
    opened.page.reload()
    opened.page.wait_for_selector("header.head")
    opened.rested()
    assert opened.page.inner_text("#tab-clusters") == "Clusters"
    assert "Cluster 0" in opened.page.inner_text(".legend")
    opened.go("models")
    opened.rested(700)
    text = opened.page.inner_text("main")
    assert "Clusters and regions of both" in text
    assert re.search(r"Cluster \d of z6 ↔ Region \d of z2|Region \d of z2 ↔ Cluster \d of z6", text)
    opened.page.select_option(".model-choice select", "z2")
    opened.until("document.querySelector('#tab-clusters').textContent === 'Regions'")
    opened.close()
    assert opened.errors == []


def _with_verdicts(route, sentences: dict[str, str]) -> None:
    """The verdicts as they stand in a bundle of today, and for z2 as in one of 0.1.0: in the sentence alone."""
    manifest = route.fetch().json()
    for model in manifest["models"]:
        text = sentences[model["name"]]
        model["clusters"] |= {"text": text, "verdict": "continuum" if text == CONTINUUM else "clusters"}
        if model["name"] == "z2":
            del model["clusters"]["verdict"]
    route.fulfill(body=json.dumps(manifest), content_type="application/json")


def _with_prior(route, prior: str) -> None:
    manifest = route.fetch().json()
    for model in manifest["models"]:
        model["prior"] = prior
    route.fulfill(body=json.dumps(manifest), content_type="application/json")


@pytest.mark.browser
def test_latents_of_a_trained_prior_have_no_unit(browser, site):
    opened = View(browser, site)
    steer = opened.page.inner_text(".steer-column")
    assert "standard deviations of the prior" in steer and "fixes no scale" not in steer
    opened.page.route("**/data/manifest.json", lambda route: _with_prior(route, "flow"))
    opened.page.reload()
    opened.page.wait_for_selector("header.head")
    opened.rested()
    assert "its prior, a normalising flow, was trained with it and fixes no scale" in opened.page.inner_text(
        ".steer-column"
    )
    slider = opened.page.locator("input[data-slider]").first
    assert slider.get_attribute("aria-valuetext").endswith("units of the model's own")
    opened.go("dimensions")
    assert "divergence from the Gaussian of all latents along it" in opened.page.inner_text("main")
    for tab, words in said(opened).items():
        assert "of the prior" not in words, tab
    opened.close()
    assert opened.errors == []


@pytest.mark.browser
def test_one_thing_has_one_word(view):
    view.set("{focus: 0}")
    old = r"ways?|walks?|given back|gives? (?:it|them) back|(?:train\w*|validation|test) part"
    other = rf".{{0,40}}\b(?:{old})\b.{{0,40}}|^part$"
    for tab, words in said(view).items():
        assert re.findall(other, words, re.IGNORECASE | re.MULTILINE) == [], tab
    view.go("paths")
    view.rested(700)
    assert view.page.locator("text=A, reconstruction").count() > 0
    assert view.page.locator("h2:text-is('A path from A to B')").count() == 1
    view.go("run")
    assert view.page.locator("dt:text-is('Splits')").count() == 1
