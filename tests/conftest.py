"""Fixtures shared by all tests."""

import logging
import os
from pathlib import Path

import chromium
import pytest

# Tests run one per core: threads of several trainings on the same cores would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real images that stands beside the checkout; the test is skipped where it is absent."""
    if not REAL_DATA.is_dir():
        pytest.skip("no real images: ../shared/data is absent")
    return REAL_DATA


@pytest.fixture(scope="module")
def playwright():
    """Playwright; the test is skipped where it or the browser is absent."""
    library = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if chromium.PATH is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    with library.sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def browser(playwright):
    """A headless browser."""
    started = playwright.chromium.launch(executable_path=chromium.PATH, args=chromium.ARGUMENTS)
    yield started
    started.close()


@pytest.fixture(autouse=True)
def _log_untouched():
    """The command line points the log at its own stderr, which is gone when the test or the module ends."""
    logger = logging.getLogger("zatlas")
    logger.handlers[:], logger.propagate = [], True
    logger.setLevel(logging.NOTSET)
    yield
    logger.handlers[:], logger.propagate = [], True
    logger.setLevel(logging.NOTSET)
