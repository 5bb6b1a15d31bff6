"""What all tests of the page in a browser stand on: an open view of it, and what torch makes of latents."""

import http.server
import time
from pathlib import Path

import pytest

APP = "document.querySelector('#zatlas').zatlas"
MAP = "document.querySelector('[data-map]').zatlasMap"
TABS = ("explore", "paths", "clusters", "dimensions", "models", "run")
DECODE = """async ([name, z]) => {
  const app = document.querySelector('#zatlas').zatlas;
  const model = await app.load(name);
  return Array.from((await app.decoder.decode(model.info, z)).data);
}"""
HARMLESS = ("GL Driver Message", "WebGL")


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files without a word, and without any header that a page could lean on."""

    def log_message(self, *_: object) -> None:
        pass


class View:
    """An open page with everything that it said and asked for."""

    def __init__(self, browser, address: str, **options) -> None:
        options.setdefault("viewport", {"width": 1280, "height": 900})
        options.setdefault("reduced_motion", "reduce")
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.errors.append(f"dialog {dialog.message}"), dialog.dismiss()))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)
        self.page.wait_for_selector("header.head, .failure", timeout=60_000)

    def _hear(self, message) -> None:
        if message.type in ("error", "warning") and not any(word in message.text for word in HARMLESS):
            self.errors.append(message.text)

    def state(self, name: str = ""):
        """The state of the page, or a part of it."""
        return self.page.evaluate(f"{APP}.store.get(){'.' + name if name else ''}")

    def set(self, change: str) -> None:
        """Change the state, by the text of a JavaScript object."""
        self.page.evaluate(f"{APP}.store.set({change})")

    def go(self, tab: str) -> None:
        """Open a tab."""
        self.page.click(f"#tab-{tab}")
        self.page.wait_for_selector(f"main.tab-{tab}")

    def rested(self, wait_ms: int = 300) -> None:
        """Until pictures are decoded and the map stands still."""
        self.page.wait_for_timeout(wait_ms)
        self.until("![...document.querySelectorAll('figure[data-generated]')].some((f) => f.ariaBusy === 'true')")

    def until(self, condition: str, timeout_s: float = 20) -> None:
        """Wait for a condition; asked from outside, because the page's policy lets nothing be evaluated inside."""
        end = time.monotonic() + timeout_s
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, f"still not so after {timeout_s} s: {condition}"
            self.page.wait_for_timeout(50)

    def close(self) -> None:
        self.context.close()


def decoded(study, name: str, z):
    """What torch makes of latents, on the network's grey scale."""
    import torch

    with torch.inference_mode():
        return study.vae(name).network.x_hat(torch.from_numpy(z)).numpy()


def axe_script() -> Path:
    """axe-core, installed with the page's tools; a visible skip where it is not."""
    path = Path(__file__).resolve().parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
    if not path.is_file():
        pytest.skip("axe-core is not installed (npm ci in web/)")
    return path
