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

import numpy as np
from PIL import Image
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


# The image in the middle of the t-SNE map comes into focus, and the map close to it.
LOOK = """async () => {
  const app = document.querySelector('#zatlas').zatlas;
  const model = await app.load(app.store.get().model);
  const { xy } = app.positions(model, 'tsne', [0, 1]);
  const rows = [...Array(app.atlas.n).keys()];
  const far = (row) => Math.hypot(xy[2 * row], xy[2 * row + 1]);
  const row = rows.reduce((best, other) => (far(other) < far(best) ? other : best));
  app.store.set({ focus: row });
  const height = Math.max(...rows.map((other) => xy[2 * other + 1]));
  document.querySelector('[data-map]').zatlasMap.setView({ x: xy[2 * row], y: xy[2 * row + 1], height }, false);
}"""


def explore(page: Page) -> None:
    """Sliders, the map with pictures in it, and an image of the middle of the map in focus."""
    set_state(page, "{theme: 'light', projection: 'tsne'}")
    column = f"{APP}.atlas.manifest.columns.find((column) => column.title === '{LABEL}').name"
    set_state(page, f"{{colour: {column}}}")
    page.evaluate(LOOK)
    set_state(page, "{}")


def paths(page: Page) -> None:
    """The path along PC1 in the dark theme, at its middle."""
    set_state(page, "{focus: null, theme: 'dark', projection: 'pca', colour: 'cluster', view: null}")
    page.click("#tab-paths")
    set_state(page, "{}")
    page.click("button:text-is('PC1')")
    set_state(page, "{}")


def small(picture: Image.Image) -> Image.Image:
    """The picture in 256 colours: half of them greys for the images, the rest those that the page has most of, and
    some that lie far apart."""
    pixels = np.asarray(picture).reshape(-1, 3)
    coloured = pixels[np.ptp(pixels, axis=1) > 5]
    colours, counts = np.unique(coloured, axis=0, return_counts=True)
    usual = colours[np.argsort(-counts)[:64]]
    apart = Image.fromarray(coloured[None]).quantize(64, method=Image.Quantize.MAXCOVERAGE).getpalette() or []
    greys = np.repeat(np.linspace(0, 255, 128).round().astype(int), 3)
    palette = Image.new("P", (1, 1))
    palette.putpalette([*usual.ravel().tolist(), *apart[: 3 * 64], *greys.tolist()][: 3 * 256])
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)


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
            small(Image.open(out / name).convert("RGB")).save(out / name, optimize=True)
        browser.close()
    server.shutdown()


if __name__ == "__main__":
    main()
