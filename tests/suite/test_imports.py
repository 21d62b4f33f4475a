"""Which module imports which: the package has no circle, wherever in a file the imports are, types left out."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def graph() -> dict[str, set[str]]:
    """Each module of the package with those that it imports, also those that functions import when they run."""
    files = {_name(path): path for path in (ROOT / "rbops").rglob("*.py")}
    return {name: _imports(path, files.keys()) - {name} for name, path in files.items()}


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _imports(path: Path, modules: Collection[str]) -> set[str]:
    found = set()
    for node in _when_run(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            # `from package import module` needs the module; any other name needs the package's own file.
            found |= whole & set(modules) if whole <= set(modules) else {node.module, *whole}
    return found & set(modules)


def _when_run(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only type checkers read."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from _when_run(node)


def test_no_circle() -> None:
    circle: list[str] = []
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        circle = error.args[1]
    assert circle == [], " <- ".join(circle)
