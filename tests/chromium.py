"""The browser of the tests: Debian's chromium, which downloads nothing and draws WebGL in software."""

import shutil

__all__ = ["ARGUMENTS", "PATH"]

PATH = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--disable-background-networking"]
