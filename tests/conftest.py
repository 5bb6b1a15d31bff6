"""Fixtures shared by all tests."""

import os
from pathlib import Path

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
