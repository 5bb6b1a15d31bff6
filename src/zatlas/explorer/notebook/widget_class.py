"""The notebook widget itself; needs anywidget and is imported only where a person asks for it (`widget.py`)."""

import json
import math
from pathlib import Path
from typing import Any

import anywidget
import pandas as pd
import traitlets

from zatlas.explorer.notebook.answers import Answers
from zatlas.studies.study import Study

__all__ = ["Explorer"]

_THEMES = ("", "system", "light", "dark")


class Explorer(anywidget.AnyWidget):  # type: ignore[misc, no-any-unimported, unused-ignore]
    """The explorer of a study in an output cell."""

    height = traitlets.Int(720, help="height of the cell [px]").tag(sync=True)
    selection = traitlets.List(traitlets.Int(), help="selected rows of the atlas").tag(sync=True)
    recipe = traitlets.Unicode("[]", help="how the selection was made, as JSON").tag(sync=True)
    z = traitlets.List(traitlets.Float(), help="the latent that is steered").tag(sync=True)
    model = traitlets.Unicode("", help="the model shown").tag(sync=True)
    theme = traitlets.Unicode("", help="light, dark, or system: as the notebook").tag(sync=True)

    def __init__(self, study: Study, bundle: Path, page: Path, script: str, model: str, height: int) -> None:
        self._answers = Answers(bundle, page, study)
        self._study = study
        self._tables: dict[str, pd.DataFrame] = {}
        self._is_page_speaking = False
        super().__init__(_esm=script, model=model, height=height)
        self.on_msg(self._answer)

    @property
    def selected(self) -> pd.DataFrame:
        """The selected images: their rows of the atlas table."""
        return self._table().iloc[self.selection]

    def _table(self) -> pd.DataFrame:
        name = self._study.name(self.model)
        if name not in self._tables:
            self._tables[name] = self._study.atlas(name).table
        return self._tables[name]

    def _answer(self, _: Any, content: Any, buffers: Any) -> None:
        answer = self._answers.answer(content)
        if answer is not None:
            self.send(*answer)

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take what a page says."""
        self._is_page_speaking = True
        try:
            super().set_state(sync_data)
        finally:
            self._is_page_speaking = False

    @traitlets.observe("selection")  # type: ignore[misc, untyped-decorator, unused-ignore]
    def _selected_by_hand(self, change: Any) -> None:
        if not self._is_page_speaking:
            step = {"kind": "rows", "mode": "replace", "rows": sorted(change["new"])}
            self.recipe = json.dumps([step] if change["new"] else [], separators=(",", ":"))

    @traitlets.validate("selection")  # type: ignore[misc, untyped-decorator, unused-ignore]
    def _rows_exist(self, proposal: Any) -> list[int]:
        rows = list(dict.fromkeys(proposal["value"]))
        if rows and (min(rows) < 0 or max(rows) >= self._answers.n):
            raise traitlets.TraitError(f"rows of the atlas are numbered 0 to {self._answers.n - 1}")
        return rows

    @traitlets.validate("model")  # type: ignore[misc, untyped-decorator, unused-ignore]
    def _is_model(self, proposal: Any) -> str:
        if proposal["value"] not in self._study.names:
            raise traitlets.TraitError(f"the models of this study are {', '.join(self._study.names)}")
        return str(proposal["value"])

    @traitlets.validate("z")  # type: ignore[misc, untyped-decorator, unused-ignore]
    def _is_finite(self, proposal: Any) -> list[float]:
        z = [float(value) for value in proposal["value"]]
        if not all(map(math.isfinite, z)):
            raise traitlets.TraitError("a latent is made of finite numbers")
        return z

    @traitlets.validate("theme")  # type: ignore[misc, untyped-decorator, unused-ignore]
    def _is_theme(self, proposal: Any) -> str:
        if proposal["value"] not in _THEMES:
            raise traitlets.TraitError("the themes are light, dark and system")
        return str(proposal["value"])

    @traitlets.validate("recipe")  # type: ignore[misc, untyped-decorator, unused-ignore]
    def _is_json(self, proposal: Any) -> str:
        try:
            json.loads(proposal["value"])
        except ValueError as err:
            raise traitlets.TraitError("the recipe must be JSON") from err
        return str(proposal["value"])
