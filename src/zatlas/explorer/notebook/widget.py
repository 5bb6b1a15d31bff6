"""The explorer in a notebook: `za.explore(study)`.

The page runs in the output cell and asks the kernel for its files, for latents too heavy to decode in a browser, and
for images at their full size. What a person selects there, Python reads: `widget.selected` is a table of the selected
images, `widget.z` the latent that is steered; what Python sets, the page shows. Needs anywidget, which works in
Jupyter, VS Code, marimo and Colab.
"""

from pathlib import Path
from typing import Any

from zatlas.errors import DataError, UsageError
from zatlas.explorer.bundle.writing import bundle_of
from zatlas.explorer.page import static_folder, widget_script
from zatlas.studies.study import Study

__all__ = ["explore"]

_SMALLEST_PX, _LARGEST_PX = 200, 4000


def explore(study: Study | str | Path, *, model: str = "", height: int = 720) -> Any:
    """The explorer of a study as a notebook widget.

    Args:
        study: A finished study, or its folder.
        model: Which model to show first, such as "z16"; by default the last one.
        height: Of the output cell [px]; 200 to 4000.

    Returns:
        A widget with `selection` (rows of the atlas), `selected` (the same as a table), `recipe` (how the selection
        was made), `z` (the latent that is steered), `model` and `theme`; each can be observed, and all but `selected`
        and `recipe` set.

    Raises:
        DataError: anywidget is not installed, the page was not built, or the study is not finished.
        UsageError: the study has no such model.

    Example:
        >>> explore("no-study")
        Traceback (most recent call last):
        zatlas.errors.DataError: no-study is not a study: it holds no study.toml
        hint: zatlas study IMAGES -o STUDY
    """
    made = study if isinstance(study, Study) else Study(study)
    if not _SMALLEST_PX <= height <= _LARGEST_PX:
        raise UsageError(f"height is {height}, expected {_SMALLEST_PX} to {_LARGEST_PX}", hint="height=720")
    name = made.name(model)
    made_class, script, folder = _widget_class(), widget_script().read_text(encoding="utf-8"), static_folder()
    return made_class(made, bundle_of(made), folder, script, name, height)


def _widget_class() -> Any:
    try:
        from zatlas.explorer.notebook.widget_class import Explorer
    except ImportError as err:
        if err.name not in ("anywidget", "traitlets"):
            raise
        raise DataError("the notebook widget needs anywidget", hint='pip install "zatlas[notebook]"') from err
    return Explorer
