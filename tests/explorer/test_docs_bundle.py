"""The documentation describes every key of a manifest and of the keyboard, and names what stands on the page."""

import re
from pathlib import Path

import pytest
from toy_explorer import toy_finished

from zatlas import files
from zatlas.explorer.bundle.writing import write_bundle

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a real study with two models lies, of which the bundle is in xray-study/explorer."""
    folder = tmp_path_factory.mktemp("docs-bundle")
    write_bundle(toy_finished(folder), folder / "xray-study" / "explorer", with_originals=True)
    return folder


@pytest.fixture(scope="module")
def manifest(folder):
    """Its manifest."""
    return files.read_json(folder / "xray-study" / "explorer" / "manifest.json")


def sections() -> dict[str, str]:
    """The text under each heading of the page on the bundle."""
    text = (REFERENCE / "bundle.md").read_text(encoding="utf-8")
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def first_cells(text: str) -> set[str]:
    """The keys in the first column of the tables of a section."""
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {key for row in rows for key in re.findall(r"`(\w+)`", row)}


def test_every_key_at_the_top_is_described(manifest) -> None:
    assert first_cells(sections()["Top of the manifest"]) == set(manifest)
    for name in ("privacy", "images", "run", "comparison", "sources"):
        line = next(line for line in sections()["Top of the manifest"].splitlines() if line.startswith(f"| `{name}` |"))
        described = set(re.findall(r"`(\w+)`", line))
        assert {key for key in manifest[name] if not key.startswith("with_")} <= described, name


def test_every_key_of_a_model_is_described(manifest) -> None:
    model = manifest["models"][0]
    text = sections()["Models"]
    assert first_cells(text) == set(model)
    described = set(re.findall(r"`(\w+)`", text))
    for inner in ("pca", "knn", "support", "clusters", "mismatch"):
        assert set(model[inner]) <= described, inner
    for inner in ("projections", "dimensions", "walks"):
        assert set(model[inner][0]) <= described, inner
    assert set(model["clusters"]["items"][0]) <= described
    assert set(model["decoder"]) <= set(re.findall(r"`(\w+)`", sections()["Networks"]))


def test_every_key_of_columns_sheets_and_files_is_described(manifest) -> None:
    columns = [*manifest["columns"], *manifest["models"][0]["columns"]]
    assert {key for column in columns for key in column} == first_cells(sections()["Columns"])
    assert {column["name"] for column in columns} <= set(re.findall(r"`(\w+)`", sections()["Columns"]))
    assert set(manifest["thumbnails"]) <= set(re.findall(r"`(\w+)`", sections()["Sheets"]))
    assert set(manifest["names"]) == first_cells(sections()["File entries"])


def test_python_shown_reads_a_bundle(folder, manifest, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    code = re.search(r"^```python\n(.*?)^```", (REFERENCE / "bundle.md").read_text(), flags=re.MULTILINE | re.DOTALL)
    names: dict = {}
    exec(code[1], names)
    assert names["mean"].shape == (manifest["images"]["n"], 2)
    assert names["neighbours"].shape[1] == manifest["models"][0]["knn"]["k"]


def test_every_key_of_the_page_is_listed() -> None:
    source = (ROOT / "web" / "src" / "keys.ts").read_text(encoding="utf-8")
    shown = re.search(r"export const KEYS.*?^\];", source, flags=re.MULTILINE | re.DOTALL)[0]
    text = (REFERENCE / "keys.md").read_text(encoding="utf-8")
    pairs = re.findall(r'\{ keys: "([^"]+)", does: "([^"]+)" \}', shown)
    assert len(pairs) == shown.count('keys: "')
    assert re.findall(r"^\| (?!keys)([^|-][^|]*) \| (.+) \|$", text, flags=re.MULTILINE) == pairs
    assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == re.findall(r'title: "([^"]+)"', shown)


def test_words_quoted_in_the_tutorial_stand_on_the_page() -> None:
    text = re.sub(r"\s+", " ", (ROOT / "docs" / "tutorials" / "explore.md").read_text(encoding="utf-8"))
    page = " ".join(path.read_text(encoding="utf-8") for path in (ROOT / "web" / "src").rglob("*.ts*"))
    page = re.sub(r"\s+", " ", page).replace('All {count || "paths"}', "All five")
    quoted = re.findall(r"\*\*([A-Z][^*]+)\*\*|(?<!\*)\*([A-Z][^*]+)\*(?!\*)", text)
    assert len(quoted) > 10
    assert [words for pair in quoted for words in pair if words and words not in page] == []
