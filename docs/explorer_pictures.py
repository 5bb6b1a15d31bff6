"""The pictures of the explorer in README and documentation, taken in chromium of 900 synthetic radiographs.

    python -c "from zatlas import phantom; phantom.radiographs('xray_images.npz', images=900, size=64)"
    zatlas study xray_images.npz --labels xray_labels.csv --group patient --latent-dim 16 --likelihood bernoulli \
        --widths 16 32 64 128 --epochs 30 --jitter 0 --clusters 3 --title "Synthetic radiographs" -o xray-study
    zatlas export xray-study -o site
    python docs/explorer_pictures.py site docs/_static

Needs playwright (`pip install -e ".[test]"`) and chromium.
"""

import functools
import http.server
import shutil
import sys
import threading
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

APP = "document.querySelector('#zatlas').zatlas"
SIZE = {"width": 1440, "height": 900}
SHARPNESS = 1.5  # pixels of the picture for each of the page
LABEL = "lung_size"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def set_state(page: Page, change: str) -> None:
    """Change the state of the page and wait until pictures are decoded."""
    page.evaluate(f"{APP}.store.set({change})")
    page.wait_for_timeout(1500)
    busy = "[...document.querySelectorAll('figure[data-generated]')].some((f) => f.ariaBusy === 'true')"
    while page.evaluate(busy):
        page.wait_for_timeout(200)


def explore(page: Page) -> None:
    """Sliders, the map with pictures in it, and an image of the middle of the map in focus."""
    set_state(page, "{theme: 'light', projection: 'tsne'}")
    column = f"{APP}.atlas.manifest.columns.find((column) => column.title === '{LABEL}').name"
    set_state(page, f"{{colour: {column}}}")
    for _ in range(4):
        page.click("button[aria-label='Zoom in']")
        page.wait_for_timeout(600)
    box = page.locator("[data-map]").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.4)
    set_state(page, "{}")
    page.click("summary:has-text('What is known of it')")
    page.mouse.move(10, SIZE["height"] - 10)
    page.wait_for_timeout(800)


def paths(page: Page) -> None:
    """The path along PC1 in the dark theme, at its middle."""
    set_state(page, "{theme: 'dark', projection: 'pca', focus: null}")
    page.click("#tab-paths")
    set_state(page, "{}")
    page.click("button:text-is('PC1')")
    set_state(page, "{}")
    page.locator("input[type=range]").nth(1).evaluate(
        "(slider) => { slider.value = String((Number(slider.min) + Number(slider.max)) / 2);"
        " slider.dispatchEvent(new Event('input', { bubbles: true })) }"
    )
    set_state(page, "{}")


def main() -> None:
    """Take both pictures."""
    site, out = Path(sys.argv[1]), Path(sys.argv[2])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader"],
        )
        page = browser.new_page(viewport=SIZE, device_scale_factor=SHARPNESS, reduced_motion="reduce")
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        page.wait_for_selector("header.head", timeout=240_000)
        for take, name in ((explore, "explorer.png"), (paths, "explorer_paths.png")):
            take(page)
            page.screenshot(path=out / name)
        browser.close()
    server.shutdown()


if __name__ == "__main__":
    main()
