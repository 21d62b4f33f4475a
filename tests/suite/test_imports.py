"""Which module imports which: the package has no circle, wherever in a file the imports are."""

from __future__ import annotations

import ast
from collections.abc import Collection
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KNOWN = {("rbops.cli.app", "rbops.cli.demo")}
"""Imports (importer, imported) that are known to close a circle: none is to be added."""


def graph() -> dict[str, set[str]]:
    """Each module of the package with those that it imports, also those that functions import when they run."""
    files = {_name(path): path for path in (ROOT / "rbops").rglob("*.py")}
    return {name: _imports(path, files.keys()) - {name} for name, path in files.items()}


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _imports(path: Path, modules: Collection[str]) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            # `from package import module` needs the module; any other name needs the package's own file.
            found |= whole & set(modules) if whole <= set(modules) else {node.module, *whole}
    return found & set(modules)


def test_no_circle() -> None:
    imports = graph()
    for importer, imported in KNOWN:
        imports[importer].discard(imported)
    circle: list[str] = []
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        circle = error.args[1]
    assert circle == [], " <- ".join(circle)
