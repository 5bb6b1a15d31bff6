"""The shape of the package, read from its source: import order, ceilings, who may print, what may not be used."""

import ast
import re
from pathlib import Path

import pytest
import shape

# From the ground up: a module imports from the rooms above its own, never from those below. Inside a room, too.
ROOMS = {
    "errors": (),
    "config": (),
    "randomness": (),
    "compute": (),
    "files": (),
    "progress": (),
    "images": (
        "source", "splits", "labels", "resizing", "packing", "collection", "readers", "statistics", "inspection",
        "phantom",
    ),
    "tiles": ("samplers", "transforms", "loader", "greys", "pixel_pca"),
    "model": (
        "automatic", "prior_words", "priors", "likelihoods", "objective", "layers", "linear_path", "consistency",
        "network", "texture", "matching", "textured", "covariate", "told", "building", "own",
    ),
    "training": (
        "adam", "weights", "muon", "sending", "graphs", "optimizer", "average", "jitter", "shards", "linear",
        "checkpoints", "pace", "rehearsal", "devices", "start", "evaluation", "fit",
    ),
    "atlas": (
        "drawing",
        "latent_path", "projection", "axes", "neighbours", "projections", "clusters", "density", "fitted_priors",
        "paths", "atlas", "refinement", "encode",
    ),
    "trust": (
        "uncertainty", "histograms", "associations", "features", "evaluation", "gains", "dimensions",
        "agreement", "amortisation", "invariance", "probes", "support", "importance",
    ),
    "vae": (),
    "results": (
        "records", "maps", "kinds", "levels", "summary", "comparison", "priors", "pictures", "as_if", "amortisation",
        "invariance", "analysis",
    ),
    "report": (
        "figures", "findings", "tables", "cards", "priors", "invariance", "training", "method", "sections", "page",
    ),
    "studies": ("data", "pca", "study", "checks", "plan", "inspect", "run", "verbs", "demo"),
    "explorer": ("greys", "page", "bundle", "server", "share", "notebook"),
    "cli": ("flags", "screen", "verbs", "main"),
    "__main__": (),
}  # fmt: skip
FOLDERS = {
    "images.readers": (
        "reader", "colour", "refused", "arrays", "hdf5", "tiff", "pictures", "plugins", "folder", "table", "opening",
    ),
    "images.phantom": ("radiograph", "section"),
    "model.likelihoods": ("base", "unit", "gaussian", "heavy", "whole"),
    "report.figures": (
        "style", "sheet", "curves", "collection", "latent_maps", "pictures", "as_if", "catalogue", "plot", "writing",
    ),
    "report.findings": ("words", "latent", "models", "encoder", "writing"),
    "explorer.bundle": ("columns", "dimensions", "facts", "onnx_export", "sheets", "model_part", "writing"),
    "explorer.server": ("requests", "folder", "guard", "work", "serving"),
    "explorer.notebook": ("answers", "widget_class", "widget"),
}  # fmt: skip
LIGHT = ("", "errors", "config", "randomness", "files", "progress", "cli.main", "cli.flags")
HEAVY = {"torch", "sklearn", "matplotlib", "scipy", "pandas", "skimage", "anndata"}
BANNED_IMPORTS = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}
MODULES = shape.modules()
ORDERS = {"": tuple(ROOMS), **{name: inner for name, inner in ROOMS.items() if inner}, **FOLDERS}


def child_of(module: str, folder: str) -> str:
    """The part of a folder to which a module belongs: ("images.readers.tiff", "images") -> "readers".

    What a folder's own `__init__` holds counts under the folder's name.
    """
    inside = module.removeprefix(folder).lstrip(".")
    return inside.split(".")[0] or folder.rpartition(".")[2]


def is_inside(module: str, folder: str) -> bool:
    return not folder or module == folder or module.startswith(f"{folder}.")


def back_arrows(edges: dict[str, set[str]], orders: dict[str, tuple[str, ...]]) -> list[str]:
    """Imports against an order, each as "module -> module"."""
    found = []
    for folder, order in orders.items():
        for module, targets in edges.items():
            for target in targets:
                if is_inside(module, folder) and is_inside(target, folder):
                    own, other = child_of(module, folder), child_of(target, folder)
                    if own in order and other in order and order.index(other) > order.index(own):
                        found.append(f"{module} -> {target}")
    return found


EDGES = {name: set(module.targets - {""}) for name, module in MODULES.items() if name}


def test_imports_point_upwards():
    a_circle = {
        "tiles.loader": {"images.source"},
        "images.source": {"tiles.loader"},
        "images.labels": {"images.source"},
    }
    assert back_arrows(a_circle, ORDERS) == ["images.source -> tiles.loader"]
    assert back_arrows({"images.source": {"images.labels"}}, ORDERS) == ["images.source -> images.labels"]
    assert back_arrows(EDGES, ORDERS) == []


def test_no_import_circles():
    assert shape.circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c"]]
    assert shape.circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    assert shape.circles(EDGES) == []


def test_imports_inside_functions_and_for_types_are_seen(tmp_path):
    (tmp_path / "zatlas").mkdir()
    (tmp_path / "zatlas" / "__init__.py").write_text("")
    (tmp_path / "zatlas" / "a.py").write_text("def f():\n    from zatlas.b import g\n    return g\n")
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from zatlas import a\ndef g(): ...\n"
    (tmp_path / "zatlas" / "b.py").write_text(text)
    found = shape.modules(tmp_path / "zatlas")
    assert shape.circles({name: module.targets - {""} for name, module in found.items()}) == [["a", "b"]]


@pytest.mark.parametrize("name", [name for name in MODULES if name])
def test_every_module_has_a_place(name):
    pieces = name.split(".")
    for depth in range(len(pieces)):
        folder = ".".join(pieces[:depth])
        assert folder in ORDERS, f"give the folder {folder} an order"
        assert pieces[depth] in ORDERS[folder], f"give {name} a place in {folder or 'ROOMS'}"


def test_every_place_is_taken():
    there = {tuple(name.rpartition(".")[::2]) for name in MODULES if name}
    listed = {(folder, child) for folder, order in ORDERS.items() for child in order}
    own = {(folder, folder.rpartition(".")[2]) for folder in FOLDERS}
    assert listed - there <= own


def test_the_documentation_shows_this_order():
    text = (shape.PACKAGE.parents[1] / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    table = text.partition("| room |")[2].partition("\n\n")[0]
    named = [name.strip("/").removesuffix(".py") for row in table.splitlines() for name in _first_cell(row)]
    assert named == [name for name in ROOMS if name != "__main__"]


def test_the_picture_of_the_rooms_shows_what_is_there():
    svg = (shape.PACKAGE.parents[1] / "docs" / "_static" / "rooms.svg").read_text(encoding="utf-8")
    shown = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"<text[^>]*>([^<]*)", svg))))
    wanted = {child for folder, order in ORDERS.items() if "." not in folder for child in order} - {"__main__"}
    assert wanted <= shown, "python docs/rooms.py draws it anew"


def _first_cell(row: str) -> list[str]:
    return re.findall(r"`([^`]+)`", row.split("|")[1]) if row.startswith("| `") else []


@pytest.mark.parametrize("name", MODULES)
def test_ceilings(name):
    module = MODULES[name]
    assert module.text.count("\n") <= 600, "a file has at most 600 lines"
    for function, length in shape.functions(module).items():
        assert length <= 80, f"{function} has {length} lines, at most 80"


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("cli")])
def test_only_the_command_line_prints_or_exits(name):
    for node in ast.walk(MODULES[name].tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("print", "exit", "quit", "sys.exit", "os._exit"), f"line {node.lineno}: {called}()"


@pytest.mark.parametrize("name", MODULES)
def test_nothing_runs_code_from_a_file(name):
    module = MODULES[name]
    assert not BANNED_IMPORTS & {dotted.split(".")[0] for dotted in shape.imported(module.tree)}
    for phrase in ("allow_pickle=True", "torch.load(", "torch.save(", "np.random.seed", "manual_seed_all"):
        assert phrase not in module.text, phrase


@pytest.mark.parametrize("name", [name for name in MODULES if name not in ("randomness", "report.figures.latent_maps")])
def test_chance_comes_from_the_table_of_streams(name):
    """A generator of numpy is made in `randomness` alone; the figure shuffles what it draws, which is no result."""
    for maker in ("np.random.default_rng", "np.random.Generator(", "np.random.Philox", "SeedSequence", "RandomState("):
        assert maker not in MODULES[name].text, f"{maker}: draw from zatlas.randomness.generator"


@pytest.mark.parametrize("name", LIGHT)
def test_start_up_imports_nothing_heavy(name):
    top = [node for node in MODULES[name].tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not HEAVY & {dotted.split(".")[0] for node in top for dotted in shape.imported(node)}


def test_public_names_are_few_and_exist():
    import zatlas

    assert len(zatlas.__all__) <= 20
    for name in zatlas.__all__:
        assert getattr(zatlas, name) is not None


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is(name):
    assert ast.get_docstring(MODULES[name].tree) or not MODULES[name].text, "a module starts with a docstring"


def test_the_house_is_the_one_that_is_read():
    assert Path(__import__("zatlas").__file__).parent == shape.PACKAGE
