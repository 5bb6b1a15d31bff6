"""The shape of the page, read from its source: import order, circles, ceilings, and text that stays text."""

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "web" / "src"

# From the ground up: a file imports from places above it in this list, or from its own; the places of a line are
# in order too.
ORDER = [
    *("manifest.ts", "source.ts", "notebook.ts", "verdict.ts", "prior.ts", "levels.ts", "chance.ts"),
    "map/",
    *("pictures.ts", "atlas.ts"),
    *("colour.ts", "latent.ts"),
    *("decoder.worker.ts", "decoder.ts"),
    *("store.ts", "app.ts"),
    *("clusterNames.ts", "path.ts", "recipe.ts"),
    *("act.ts", "keys.ts", "url.ts"),
    *("parts/", "save/", "panels/", "tabs/"),
    *("Help.tsx", "Shell.tsx"),
    "style/",
    *("mount.tsx", "main.tsx", "widget.ts"),
]
SHARED = {"tabs/common.tsx"}  # what the folders inside a folder may take from it
BEGINNINGS = {"main.tsx", "widget.ts"}
MODULES = sorted(
    path for path in SOURCE.rglob("*") if path.suffix in (".ts", ".tsx") and not path.name.endswith(".d.ts")
)
IMPORT = re.compile(r"""\b(?:from|import)\s*\(?\s*["'](\.{1,2}/[^"'?]+)(?:\?[^"']*)?["']""")
HTML_FROM_TEXT = (
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "document.write",
    "createContextualFragment",
    "srcdoc",
)


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def imports(path: Path) -> set[str]:
    """Modules of the page that a module imports, types and dynamic imports included; styles are left out."""
    found = set()
    for target in IMPORT.findall(path.read_text(encoding="utf-8")):
        base = os.path.normpath(path.parent / target)
        if base.endswith(".css"):
            continue
        there = [name for name in (base, f"{base}.ts", f"{base}.tsx", f"{base}/index.ts") if Path(name).is_file()]
        assert there, f"{name_of(path)} imports {target}, which does not exist"
        found.add(name_of(Path(there[0])))
    return found


EDGES = {name_of(path): imports(path) for path in MODULES}


def place_of(name: str) -> str:
    """`panels/map/Legend.tsx` -> `panels/`, `app.ts` -> `app.ts`."""
    first, slash, _ = name.partition("/")
    return first + slash


def circle(edges: dict[str, set[str]]) -> list[str]:
    """One circle of imports, its first module again at its end; empty where there is none."""
    done: set[str] = set()

    def visit(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in done:
            return []
        for target in sorted(edges.get(name, ())):
            if found := visit(target, [*trail, name]):
                return found
        done.add(name)
        return []

    return next((found for name in edges if (found := visit(name, []))), [])


def test_no_import_circles():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    assert circle(EDGES) == []


def test_every_module_is_reached_from_where_the_page_begins():
    reached: set[str] = set()
    waiting = [*BEGINNINGS]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += EDGES[name]
    assert set(EDGES) - reached == set()


@pytest.mark.parametrize("name", EDGES)
def test_imports_point_upwards(name):
    for target in EDGES[name]:
        is_above = ORDER.index(place_of(target)) <= ORDER.index(place_of(name))
        assert is_above, f"{name} imports {target}, which stands below it"


@pytest.mark.parametrize("name", [name for name in EDGES if name.count("/") == 2])
def test_folders_inside_a_folder_stand_alone(name):
    own, outer = f"{name.rsplit('/', 1)[0]}/", place_of(name)
    taken = {target for target in EDGES[name] if target.startswith(outer) and not target.startswith(own)}
    assert taken <= SHARED, f"{name} imports {sorted(taken - SHARED)}"


def test_the_documentation_shows_this_order():
    text = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    page = text.split("## The page")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.+?) \|", page, flags=re.MULTILINE)
    assert [place for row in rows for place in re.findall(r"`([^`]+)`", row)] == ORDER
    assert {place_of(name) for name in EDGES} == set(ORDER)


@pytest.mark.parametrize("name", EDGES)
def test_ceiling(name):
    assert (SOURCE / name).read_text(encoding="utf-8").count("\n") <= 600, "a file has at most 600 lines"


@pytest.mark.parametrize("name", EDGES)
def test_text_never_becomes_html(name):
    text = (SOURCE / name).read_text(encoding="utf-8").lower()
    assert [word for word in HTML_FROM_TEXT if word.lower() in text] == []


@pytest.mark.parametrize("name", EDGES)
def test_every_module_says_what_it_is(name):
    assert (SOURCE / name).read_text(encoding="utf-8").startswith("/**"), "a module starts with what it does"
