"""The shape of the package, read from its source: import order, ceilings, who may print, what may not be used."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "zatlas"

# Data-flow order: a module imports from those above it, never from those below.
ORDER = [
    *(
        "errors",
        "config",
        "files",
        "progress",
        "images",
        "tiles",
        "model",
        "training",
        "atlas",
        "vae",
        "report",
        "studies",
    ),
    *("explorer", "cli"),
]
WITHIN = {
    "images": [
        "source",
        "colour",
        "packing",
        "labels",
        "splits",
        "collection",
        "statistics",
        "inspection",
        "phantom",
    ],
    "tiles": ["samplers", "transforms", "loader"],
    "model": ["network", "objective"],
    "training": ["devices", "checkpoints", "fit"],
}
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = {"torch", "sklearn", "matplotlib", "scipy", "pandas", "skimage", "anndata"}
BANNED_IMPORTS = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.AST) -> list[str]:
    """Modules imported anywhere in the tree, dotted."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def part_of(module: str) -> str:
    """`zatlas.images.source` -> `images`."""
    return [*module.split("."), ""][1]


@pytest.mark.parametrize("path", [p for p in MODULES if p.name != "__init__.py"], ids=name_of)
def test_imports_point_upwards(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py").replace("__main__", "cli")
    for module in imports(tree_of(path)):
        part = part_of(module) if module.startswith("zatlas.") else ""
        if part in ORDER:
            assert ORDER.index(part) <= ORDER.index(own), f"{name_of(path)} imports {module}, which stands below it"


@pytest.mark.parametrize("part", WITHIN)
def test_imports_point_upwards_inside_a_part(part):
    order = WITHIN[part]

    def rank(stem: str) -> int:
        matches = [i for i, name in enumerate(order) if stem == name or stem.startswith(f"{name}_")]
        return matches[0] if matches else -1

    for path in (PACKAGE / part).glob("*.py"):
        for module in imports(tree_of(path)):
            pieces = module.split(".")
            if pieces[:2] == ["zatlas", part] and len(pieces) > 2:
                both_known = rank(pieces[2]) >= 0 and rank(path.stem) >= 0
                assert not both_known or rank(pieces[2]) <= rank(path.stem), f"{name_of(path)} imports {module}"


def test_no_import_cycles():
    edges = {}
    known = {".".join(["zatlas", *p.relative_to(PACKAGE).with_suffix("").parts]): p for p in MODULES}
    for name, path in known.items():
        top_level = ast.Module(body=[n for n in tree_of(path).body if not isinstance(n, ast.If)], type_ignores=[])
        for function in [n for n in ast.walk(top_level) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]:
            function.body = []
        edges[name] = {m for m in imports(top_level) if m in known}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"import cycle: {' -> '.join([*trail, name])}"
        if name not in done:
            for target in sorted(edges[name]):
                visit(target, (*trail, name))
            done.add(name)

    for name in known:
        visit(name, ())


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_ceilings(path):
    assert path.read_text(encoding="utf-8").count("\n") <= 600, "a file has at most 600 lines"
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 80, f"{node.name} has {length} lines, at most 80"


@pytest.mark.parametrize("path", [p for p in MODULES if p.parent.name != "cli"], ids=name_of)
def test_only_the_command_line_prints_or_exits(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("print", "exit", "quit", "sys.exit", "os._exit"), f"line {node.lineno}: {called}()"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_runs_code_from_a_file(path):
    text = path.read_text(encoding="utf-8")
    assert not BANNED_IMPORTS & {m.split(".")[0] for m in imports(tree_of(path))}
    for phrase in ("allow_pickle=True", "torch.load(", "torch.save(", "np.random.seed", "manual_seed_all"):
        assert phrase not in text, phrase


@pytest.mark.parametrize("name", ["__init__", "errors", "config", "files", "progress", "cli/main", "cli/flags"])
def test_start_up_imports_nothing_heavy(name):
    for node in tree_of(PACKAGE / f"{name}.py").body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            assert not HEAVY & {m.split(".")[0] for m in imports(node)}


def test_public_names_are_few_and_exist():
    import zatlas

    assert len(zatlas.__all__) <= 20
    for name in zatlas.__all__:
        assert getattr(zatlas, name) is not None


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is(path):
    if path.read_text(encoding="utf-8").strip():
        assert ast.get_docstring(tree_of(path)), "a module starts with a docstring"
