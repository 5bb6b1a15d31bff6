"""The page in a browser, for `explorer.py`: opens it cold, moves the mouse as a person does, and listens to frames.

Chromium by Playwright, with WebGL computed by the processor (SwiftShader) or switched off. Times are those of the
page's own clock. A map counts as drawn when a pixel of it has been read back, which waits until everything is done, and
not merely asked for.
"""

import contextlib
import io
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

__all__ = [
    "Opened", "browsers", "decode", "drag", "first_paint", "host", "lasso", "panned", "percentile", "projected",
]  # fmt: skip

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
WEBGL, CANVAS = "--enable-unsafe-swiftshader", "--disable-3d-apis"
VIEWPORT = {"width": 1280, "height": 900}
MAP = "document.querySelector('[data-map]').zatlasMap"
APP = "document.querySelector('#zatlas').zatlas"
_LONGEST_MS = 180_000

# Before any script of the page: notes when the head, the whole map and a decoded picture are there.
WATCH = """
(() => {
  const seen = (window.zatlasSeen = {});
  const layer = () => document.querySelector('[data-map] canvas');
  const finish = (window.zatlasFinish = () => {
    const canvas = layer();
    const gl = canvas.getContext('webgl2') || canvas.getContext('webgl');
    if (gl) gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
    else canvas.getContext('2d').getImageData(0, 0, 1, 1);
  });
  const isDrawn = () => {
    const map = document.querySelector('[data-map]')?.zatlasMap;
    return !!map && document.querySelector('#zatlas').zatlas.loaded('z16') !== null
      && [0, 1, 2, 3].some((row) => map.place(row) !== null);
  };
  const isDecoded = () => !!document.querySelector('.evidence-generated figure[data-generated] canvas:not(.empty)');
  let framesSincePoints = 0;
  const note = (name) => requestAnimationFrame(() => (seen[name] ??= performance.now()));
  const look = () => {
    if (!('head' in seen) && document.querySelector('header.head')) note('head');
    if (!('map' in seen) && isDrawn() && ++framesSincePoints > 1) {
      finish();
      seen.map = performance.now();
    }
    if (!('picture' in seen) && isDecoded()) note('picture');
    if (!('map' in seen && 'picture' in seen && 'head' in seen)) requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})();
"""

TRANSFERRED = """() => {
  const entries = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
  return entries.reduce((sum, entry) => sum + entry.transferSize, 0);
}"""

# Intervals between frames until `stop` is called.
LISTEN = """() => {
  const times = [];
  let isOn = true;
  const frame = (now) => {
    times.push(now);
    if (isOn) requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  window.zatlasStop = () => {
    isOn = false;
    return times.slice(1).map((now, i) => now - times[i]);
  };
}"""

# A closed outline around the middle of the view, through half of its height.
WITHIN = """() => {
  const map = document.querySelector('[data-map]').zatlasMap;
  const { x, y, height } = map.getView();
  const outline = new Float32Array(80);
  for (let i = 0; i < 40; i++) {
    outline[2 * i] = x + 0.25 * height * Math.cos((i * Math.PI) / 20);
    outline[2 * i + 1] = y + 0.25 * height * Math.sin((i * Math.PI) / 20);
  }
  const begin = performance.now();
  const rows = map.within(outline);
  return [performance.now() - begin, rows.length];
}"""

RELEASE = """() => {
  window.zatlasReleased = null;
  const app = document.querySelector('#zatlas').zatlas;
  document.querySelector('[data-map]').addEventListener('pointerup', () => {
    const begin = performance.now();
    const look = () => {
      if (app.store.get().selection === null) return requestAnimationFrame(look);
      requestAnimationFrame(() => {
        window.zatlasFinish();
        window.zatlasReleased = [performance.now() - begin, app.store.get().selection.rows.length];
      });
    };
    requestAnimationFrame(look);
  }, { capture: true, once: true });
}"""

PROJECT = """async (name) => {
  const app = document.querySelector('#zatlas').zatlas;
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const begin = performance.now();
  app.store.set({ projection: name, axes: [0, 1] });
  await frame();
  await frame();
  await frame();
  window.zatlasFinish();
  return performance.now() - begin;
}"""

# 60 values a second through the first slider, and what was shown meanwhile.
DRAG = """async (seconds) => {
  const holder = document.querySelector('.evidence-generated');
  const slider = document.querySelector('.slider input[data-slider]');
  const dim = Number(slider.closest('.slider').dataset.dim);
  const shown = [];
  const observer = new MutationObserver(() => {
    const z = JSON.parse(holder.dataset.z);
    if (z) shown.push([performance.now(), z[dim]]);
  });
  observer.observe(holder, { attributes: true, attributeFilter: ['data-z'] });
  const [low, high] = [Number(slider.min), Number(slider.max)];
  const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set;
  const begin = performance.now();
  let events = 0;
  let last = 0;
  let lastAt = begin;
  while (performance.now() - begin < 1000 * seconds) {
    last = low + ((high - low) * (performance.now() - begin)) / (1000 * seconds);
    set.call(slider, String(last));
    last = Number(slider.value);
    lastAt = performance.now();
    slider.dispatchEvent(new Event('input', { bubbles: true }));
    events++;
    const rest = begin + (events * 1000) / 60 - performance.now();
    await new Promise((done) => setTimeout(done, Math.max(0, rest)));
  }
  const end = performance.now();
  const inTime = shown.filter(([at]) => at <= end);
  while ((shown.length === 0 || Math.abs(shown.at(-1)[1] - last) > 1e-6) && performance.now() - end < 10000) {
    await new Promise((done) => setTimeout(done, 10));
  }
  await new Promise((done) => setTimeout(done, 500));
  observer.disconnect();
  const times = [begin, ...inTime.map(([at]) => at), end];
  return {
    events, pictures: inTime.length, seconds: (end - begin) / 1000,
    longest_gap_ms: Math.max(...times.slice(1).map((at, i) => at - times[i])),
    is_newest_last: shown.length > 0 && Math.abs(shown.at(-1)[1] - last) < 1e-6,
    is_in_order: shown.every(([, value], i) => i === 0 || value >= shown[i - 1][1]),
    last_after_ms: shown.length ? shown.at(-1)[0] - lastAt : NaN,
  };
}"""

DECODE = """async ([count, batch]) => {
  const app = document.querySelector('#zatlas').zatlas;
  const model = await app.load(app.store.get().model);
  const drawn = () => Array.from({ length: model.d }, () => 2 * Math.random() - 1);
  const times = [];
  for (let i = 0; i < count; i++) {
    const latents = Array.from({ length: batch }, drawn);
    const begin = performance.now();
    await app.decoder.decode(model.info, latents);
    times.push((performance.now() - begin) / batch);
  }
  return times;
}"""


@contextlib.contextmanager
def browsers() -> Iterator[Callable[[str], Any]]:
    """Gives Chromium by kind, started when first asked for: "webgl" in software, or "canvas" without WebGL."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        raise SystemExit("this part needs Playwright: pip install playwright") from None
    if CHROMIUM is None:
        raise SystemExit("this part needs Chromium: apt-get install chromium")
    with sync_playwright() as playwright, contextlib.ExitStack() as stack:
        started: dict[str, Any] = {}

        def of(kind: str) -> Any:
            if kind not in started:
                flags = [*ARGUMENTS, WEBGL if kind == "webgl" else CANVAS]
                started[kind] = playwright.chromium.launch(executable_path=CHROMIUM, args=flags, timeout=60_000)
                stack.callback(started[kind].close)
            return started[kind]

        yield of


@contextlib.contextmanager
def host(folder: Path) -> Iterator[str]:
    """The address of a folder served by `python -m http.server`, a process of its own without compression."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline().split(' port ')[1].split()[0])}"
    finally:
        server.terminate()
        server.wait()


class Opened:
    """A page in a new context, whose caches are empty.

    Args:
        browser: Where.
        address: Of the page.
        is_still: Whether the page is asked not to move things smoothly.
    """

    def __init__(self, browser: Any, address: str, *, is_still: bool = True) -> None:
        motion = "reduce" if is_still else "no-preference"
        self.context = browser.new_context(viewport=VIEWPORT, reduced_motion=motion)
        self.page = self.context.new_page()
        self.page.set_default_timeout(_LONGEST_MS)
        self.page.add_init_script(WATCH)
        self.page.goto(address, wait_until="commit")

    def until(self, condition: str) -> Any:
        """Wait until a JavaScript expression is true; asked from outside, because the page's policy forbids eval."""
        end = time.monotonic() + _LONGEST_MS / 1000
        while not (value := self.page.evaluate(condition)):
            if time.monotonic() > end:
                raise SystemExit(f"the page did not come to this: {condition}\n{self.page.inner_text('body')[:500]}")
            time.sleep(0.1)
        return value

    def settled(self) -> None:
        """Until everything is drawn and decoded."""
        self.until("!!window.zatlasSeen && ['head', 'map', 'picture'].every((name) => name in window.zatlasSeen)")
        self.page.wait_for_timeout(500)

    def fit(self) -> None:
        """Show all points."""
        self.page.evaluate(f"{MAP}.fit(false)")
        self.page.wait_for_timeout(600)

    def middle(self) -> tuple[float, float, float]:
        """Middle of the map and the radius of a circle inside it [CSS px]."""
        box = self.page.locator("[data-map]").bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, 0.3 * min(box["width"], box["height"])

    def __enter__(self) -> "Opened":
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


def first_paint(browser: Any, address: str) -> dict[str, float]:
    """Seconds from the navigation to the head, the whole map and a decoded picture, and megabytes transferred."""
    with Opened(browser, address) as view:
        view.settled()
        seen = view.page.evaluate("window.zatlasSeen")
        kind = view.page.get_attribute("[data-map]", "data-kind")
        if kind != "webgl" or _share_of_map_drawn(view) < 0.002:
            raise SystemExit(f"the map is empty or drawn by {kind}, not by WebGL")
        size = view.page.evaluate(TRANSFERRED)
    return {**{f"{name}_s": seen[name] / 1000 for name in ("head", "map", "picture")}, "transferred_mb": size / 1e6}


def _share_of_map_drawn(view: Opened) -> float:
    """Share of the pixels of the map that have a colour, as points do."""
    png = view.page.locator("[data-map]").screenshot()
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), np.int16)
    return float((pixels.max(axis=2) - pixels.min(axis=2) > 24).mean())


def panned(view: Opened, seconds: float) -> dict[str, float]:
    """Drag the map in circles with the mouse; mean and 95th percentile of the time from frame to frame [ms]."""
    x, y, radius = view.middle()
    mouse = view.page.mouse
    view.fit()
    mouse.move(x, y)
    mouse.down()
    mouse.move(x + 8, y)
    before = view.page.evaluate(f"{MAP}.getView()")
    view.page.evaluate(LISTEN)
    begin = time.monotonic()
    while (passed := time.monotonic() - begin) < seconds:
        turn = 2 * math.pi * passed  # once around in a second
        mouse.move(x + radius * math.sin(turn), y + radius * (1 - math.cos(turn)) / 2)
        time.sleep(0.004)
    gaps = view.page.evaluate("window.zatlasStop()")
    if view.page.evaluate(f"{MAP}.getView()") == before:
        raise SystemExit("the mouse did not move the map")
    mouse.up()
    view.fit()
    return {"mean_ms": sum(gaps) / len(gaps), "p95_ms": percentile(gaps, 0.95), "frames": float(len(gaps))}


def lasso(view: Opened) -> dict[str, float]:
    """Milliseconds to find the points in an outline, the first time and later, and from the release of the mouse until
    the selection is drawn.
    """
    found = [view.page.evaluate(WITHIN) for _ in range(6)]
    view.page.evaluate(f"{APP}.store.set({{tool: 'lasso', selection: null}})")
    view.page.wait_for_timeout(300)
    x, y, radius = view.middle()
    mouse = view.page.mouse
    mouse.move(x + radius, y)
    mouse.down()
    for step in range(1, 30):
        turn = 2 * math.pi * step / 30
        mouse.move(x + radius * math.cos(turn), y + radius * math.sin(turn))
    view.page.evaluate(RELEASE)
    mouse.up()
    took, chosen = view.until("window.zatlasReleased")
    view.page.evaluate(f"{APP}.store.set({{tool: 'pan', selection: null}})")
    view.page.wait_for_timeout(600)
    later = sorted(ms for ms, _ in found[1:])
    return {
        "first_ms": found[0][0], "within_ms": later[len(later) // 2], "rows": float(found[0][1]),
        "selected_ms": took, "selected_rows": float(chosen),
    }  # fmt: skip


def projected(view: Opened, name: str) -> float:
    """Milliseconds until another projection is drawn, without smooth motion."""
    took = float(view.page.evaluate(PROJECT, name))
    view.page.wait_for_timeout(600)
    return took


def drag(view: Opened, seconds: float) -> dict[str, Any]:
    """Drag the first slider from end to end with 60 events per second."""
    found: dict[str, Any] = view.page.evaluate(DRAG, seconds)
    return found


def decode(view: Opened, count: int, batch: int) -> list[float]:
    """Milliseconds per image of decoding `count` batches one after another, by the page's own decoder."""
    found: list[float] = view.page.evaluate(DECODE, [count, batch])
    return found


def percentile(values: list[float], share: float) -> float:
    """The value that a share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]
