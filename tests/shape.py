"""What the source of the package looks like, read without importing it: modules, imports, circles, sizes.

    python tests/shape.py [SRC/ZATLAS]     prints the measures of a tree

Every import counts: those inside functions, those under TYPE_CHECKING and those of names too.
"""

import ast
import statistics
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "zatlas"


@dataclass(frozen=True)
class Module:
    """One file of the package.

    Attributes:
        name: Dotted, without the package: "images.source"; a folder's `__init__` has the folder's name.
        path: Where it lies.
        tree: Its syntax.
        targets: Names of the modules that it imports.
    """

    name: str
    path: Path
    tree: ast.Module
    targets: frozenset[str]

    @property
    def text(self) -> str:
        """The source."""
        return self.path.read_text(encoding="utf-8")


def modules(package: Path = PACKAGE) -> dict[str, Module]:
    """All modules by name; "" is the package itself."""
    trees = {_name(path, package): (path, ast.parse(path.read_text("utf-8"))) for path in sorted(package.rglob("*.py"))}
    return {
        name: Module(name, path, tree, frozenset(_targets(tree, trees, package.name) - {name}))
        for name, (path, tree) in trees.items()
    }


def _name(path: Path, package: Path) -> str:
    return ".".join(path.relative_to(package).with_suffix("").parts).removesuffix("__init__").rstrip(".")


def _targets(tree: ast.AST, known: Mapping[str, object], package: str) -> set[str]:
    """Modules of the package that are imported anywhere in the tree; `from package import name` means `package`."""
    found = set()
    for dotted in imported(tree):
        pieces = dotted.split(".")
        if pieces[0] != package:
            continue
        while ".".join(pieces[1:]) not in known:
            pieces.pop()
        found.add(".".join(pieces[1:]))
    return found


def imported(tree: ast.AST) -> list[str]:
    """What a tree imports, dotted, the longest form: `from a import b` is a.b."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def circles(edges: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Groups of modules each of which reaches all others (strongly connected components of two or more).

    Source: Tarjan 1972, https://doi.org/10.1137/0201010, in the form of two numbers a node
    """
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = lowest[node] = len(order)
        stack.append(node)
        for target in edges.get(node, ()):
            if target not in order:
                visit(target)
                lowest[node] = min(lowest[node], lowest[target])
            elif target in stack:
                lowest[node] = min(lowest[node], order[target])
        if lowest[node] == order[node]:
            members = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(members) > 1:
                found.append(sorted(members))

    for node in edges:
        if node not in order:
            visit(node)
    return found


def functions(module: Module) -> dict[str, int]:
    """Lines of each function, inner ones too."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    nodes = [node for node in ast.walk(module.tree) if isinstance(node, kinds)]
    return {f"{node.name}:{node.lineno}": (node.end_lineno or 0) - node.lineno + 1 for node in nodes}


def measures(package: Path = PACKAGE) -> dict[str, object]:
    """The figures of a tree."""
    found = modules(package)
    lines = [module.text.count("\n") for module in found.values()]
    lengths = sorted(length for module in found.values() for length in functions(module).values())
    edges = {name: module.targets - {""} for name, module in found.items() if name}
    return {
        "files": len(found),
        "lines": sum(lines),
        "lines a file (median, largest)": (statistics.median(lines), max(lines)),
        "functions": len(lengths),
        "lines a function (median, p90, largest)": (
            statistics.median(lengths), lengths[int(0.9 * len(lengths))], lengths[-1],
        ),
        "Any in annotations": sum(_count_any(module.tree) for module in found.values()),
        "circles": circles(edges),
    }  # fmt: skip


def _count_any(tree: ast.AST) -> int:
    return sum(isinstance(node, ast.Name) and node.id == "Any" for node in ast.walk(tree))


if __name__ == "__main__":
    for name, value in measures(Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE).items():
        print(f"{name}: {value}")
