"""The page wherever it lies: a sub-path of a static host, one file without network, the local server; and axe-core."""

import re
import subprocess
import sys

import numpy as np
import pytest
from page_ground import APP, DECODE, TABS, View, axe_script, decoded

pytestmark = pytest.mark.browser


def test_a_folder_under_a_sub_path_asks_for_nothing_else(view, site):
    view.rested()
    assert view.page.locator("figure[data-generated] canvas").first.evaluate("(c) => c.width") == 32
    assert all(url.startswith((site, "blob:", "data:")) for url in view.requests)


def test_a_single_file_works_without_network_and_makes_no_request(browser, single_file, page_study):
    opened = View(browser, single_file.as_uri(), offline=True)
    opened.rested()
    z = np.random.default_rng(1).standard_normal((20, 6)).astype(np.float32)
    found = np.asarray(opened.page.evaluate(DECODE, ["z6", z.tolist()]), np.float32)
    expected = decoded(page_study, "z6", z)
    assert np.abs(found.reshape(expected.shape) - expected).max() < 1e-4
    for tab in TABS:
        opened.go(tab)
        opened.rested(400)
    asked = [url for url in opened.requests if not url.startswith(("blob:", "data:"))]
    assert asked == [single_file.as_uri()]
    opened.close()
    assert opened.errors == []


@pytest.fixture(scope="module")
def served(page_study):
    """`zatlas explore` as a user starts it; its address with the token."""
    command = [sys.executable, "-m", "zatlas", "explore", str(page_study.folder), "--no-browser", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    address = ""
    while not (found := re.search(r"http://\S+", address)):
        address = process.stdout.readline()
        assert address, process.stderr.read()
    yield found.group()
    process.terminate()
    process.communicate(timeout=20)


def test_the_local_server_shows_the_page_within_its_policy(browser, served):
    opened = View(browser, served)
    for tab in TABS:
        opened.go(tab)
        opened.rested(500)
    assert "?t=" not in opened.page.url
    host = re.match(r"http://[^/]+/", served).group()
    assert all(url.startswith((host, "blob:", "data:")) for url in opened.requests)
    opened.close()
    assert opened.errors == []


def test_the_local_server_decodes_what_is_too_heavy_for_a_browser(browser, served, page_study):
    opened = View(browser, served)
    opened.page.evaluate(f"{APP}.atlas.manifest.models.forEach((model) => (model.decoder.live = 'server'))")
    z = page_study.atlas("z6").mean[:3]
    found = np.asarray(opened.page.evaluate(DECODE, ["z6", z.tolist()]), np.float32)
    expected = decoded(page_study, "z6", z)
    assert np.abs(found.reshape(expected.shape) - expected).max() < 1e-4
    opened.close()


def test_the_local_server_gives_full_resolution(browser, served):
    opened = View(browser, served)
    opened.set("{focus: 2}")
    opened.page.click("text=Full resolution")
    opened.until("document.querySelector('img.full')?.naturalWidth > 0")
    assert opened.page.evaluate("document.querySelector('img.full').naturalWidth") == 32
    opened.close()
    assert opened.errors == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_serious_finding_of_axe(browser, site, theme):
    script = axe_script().read_text(encoding="utf-8")
    opened = View(browser, site, color_scheme=theme)
    opened.page.evaluate(script)
    opened.set("{focus: 3, selection: {rows: [1, 2, 3], recipe: []}}")
    for tab in TABS:
        opened.go(tab)
        opened.rested(700)
        found = opened.page.evaluate("axe.run('#zatlas', {resultTypes: ['violations']})")
        bad = [
            f"{v['id']}: {v['nodes'][0]['html'][:120]} ({len(v['nodes'])} times)"
            for v in found["violations"]
            if v["impact"] in ("serious", "critical")
        ]
        assert bad == [], f"{tab} in {theme}"
    opened.close()
    assert opened.errors == []
