"""Where the built page of the explorer is.

The page is TypeScript (`web/`); building the package puts it into the folder `static` beside this module. An
installation made with ZATLAS_SKIP_WEB=1 lacks it, and says so here.
"""

from pathlib import Path

from zatlas.errors import DataError

__all__ = ["APP", "RUNTIME", "START", "WIDGET", "is_built", "not_built", "page_files", "static_folder", "widget_script"]

START = "index.html"
APP = "assets/app.js"
RUNTIME = "assets/ort.wasm"
WIDGET = "widget.js"
_STATIC = Path(__file__).parent / "static"


def static_folder() -> Path:
    """The folder of the built page."""
    return _STATIC


def page_files(folder: Path | None = None) -> dict[str, Path]:
    """The files of the page that a browser asks for, by their path relative to it: index.html and assets/*.

    Args:
        folder: Where the built page is; by default the one that came with this installation.

    Raises:
        DataError: the page was not built.
    """
    folder = folder or static_folder()
    for name in (START, APP, RUNTIME):
        if not (folder / name).is_file():
            raise not_built()
    assets = sorted(path for path in (folder / "assets").iterdir() if path.is_file())
    licenses = [path for path in [folder / "licenses.txt"] if path.is_file()]
    return {path.relative_to(folder).as_posix(): path for path in [folder / START, *assets, *licenses]}


def is_built() -> bool:
    """Whether this installation has the page."""
    return all((static_folder() / name).is_file() for name in (START, APP, RUNTIME))


def widget_script(folder: Path | None = None) -> Path:
    """The script of the notebook widget.

    Raises:
        DataError: the page was not built.
    """
    path = (folder or static_folder()) / WIDGET
    if not path.is_file():
        raise not_built()
    return path


def not_built() -> DataError:
    """The error of an installation without the page."""
    return DataError(
        "the explorer's page was not built in this installation",
        hint="pip install --force-reinstall --no-deps .    or, in a checkout, python hatch_build.py",
    )
