"""One small study with hostile names, drawn and reported once for all tests of the report."""

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import pytest
from example_results import example_results
from hostile_words import HOSTILE, MATHS

from zatlas.report.figures.writing import Manifest, write_figures
from zatlas.report.page import report
from zatlas.results.kinds import StudyResults


class Made(NamedTuple):
    """A written report with all that it was made from."""

    results: StudyResults
    manifest: Manifest
    page: Path


def hostile_results() -> StudyResults:
    """Results whose names are an attack on HTML, on matplotlib's mathematics and on a spreadsheet."""
    results = example_results(n_models=2, n_images=60, size=24, points=3)
    data = results.data
    data.name = f"{HOSTILE}.npz"
    data.groups["group"] = data.groups["group"].replace({"B01": HOSTILE, "B02": MATHS})
    names = {"B01": HOSTILE, "B02": MATHS}
    data.histograms = {names.get(name, name): shares for name, shares in data.histograms.items()}
    data.contact_ids = [f"=cmd|' /C calc'!A{i}" for i in range(len(data.contact_ids))]
    data.warnings = [f"label column {HOSTILE} looks like patients"]
    for model in results.models:
        model.projections["group"] = model.projections["group"].replace({"B01": HOSTILE, "B02": MATHS})
        model.projections = model.projections.rename(columns={"kind": HOSTILE})
        model.probes["label"] = model.probes["label"].replace({"kind": HOSTILE, "stain": MATHS})
        model.cluster_info["tables"] = {HOSTILE: model.cluster_info["tables"]["group"]}
        model.walks = [dataclasses.replace(model.walks[0], name=HOSTILE, start_image=HOSTILE, end_image="</script>")]
        model.walks.append(dataclasses.replace(model.walks[0], name="\u202eimg\x00 src"))
    results.config["title"] = ""
    results.config["data"]["input"] = f"/home/secret/{HOSTILE}"
    results.provenance["command"] = ["zatlas", "study", "/home/secret/images/example.npz"]
    return results


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Made:
    folder = tmp_path_factory.mktemp("study")
    results = hostile_results()
    manifest = write_figures(results, folder / "figures")
    return Made(results, manifest, report(results, manifest, folder / "report.html"))


class Page(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.S))

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="session")
def page(made) -> Page:
    return Page(made.page.read_text(encoding="utf-8"))
