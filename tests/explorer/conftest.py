"""Fixtures of the explorer's tests: one toy study for all of them."""

from pathlib import Path

import pytest
from toy_explorer import toy_bundle, toy_page, toy_study

from zatlas.studies.study import Study


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study with the models z2 and z3 of whole images."""
    return toy_study(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def bundle(made: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The explorer's files of that study, in small."""
    return toy_bundle(tmp_path_factory.mktemp("toy-bundle") / "explorer", made)


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of a few lines in place of the built one."""
    return toy_page(tmp_path_factory.mktemp("toy-page") / "static")
