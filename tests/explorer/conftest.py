"""Fixtures of the explorer's tests: a toy study for the server; a phantom study, served three ways, for the page."""

import http.server
import threading
from functools import partial
from pathlib import Path

import pytest
from page_ground import QuietHandler, View
from phantom_study import phantom_study
from toy_explorer import toy_bundle, toy_page, toy_study

from zatlas.explorer import page as page_module
from zatlas.explorer.bundle.writing import write_bundle
from zatlas.explorer.share import export_file, export_folder
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


@pytest.fixture(scope="session")
def page_study(tmp_path_factory):
    """The study behind the page."""
    if not page_module.is_built():
        pytest.skip("the explorer's page is not built (python hatch_build.py)")
    return phantom_study(tmp_path_factory.mktemp("page-study"))


@pytest.fixture(scope="session")
def page_bundle(page_study, tmp_path_factory):
    """Its bundle, with originals."""
    folder = tmp_path_factory.mktemp("page-bundle") / "explorer"
    write_bundle(page_study, folder, with_originals=True)
    return folder


@pytest.fixture(scope="session")
def site(page_bundle, tmp_path_factory):
    """Address of the exported folder on a web server that adds no headers, under a sub-path."""
    root = tmp_path_factory.mktemp("site")
    export_folder(page_bundle, root / "deep" / "atlas")
    handler = partial(QuietHandler, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/deep/atlas/"
        server.shutdown()


@pytest.fixture(scope="session")
def single_file(page_bundle, tmp_path_factory):
    """The exported single file."""
    return export_file(page_bundle, tmp_path_factory.mktemp("single") / "atlas.html").path


@pytest.fixture
def view(browser, site):
    """The page on a static host."""
    opened = View(browser, site)
    yield opened
    opened.close()
    assert opened.errors == []
