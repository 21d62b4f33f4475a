"""docs/architecture.md against the tree: rooms, what they import, and the recipes' files, names and counts."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rbops.dataplane.registry import KINDS
from rbops.selftest.phases import PHASES

ROOT = Path(__file__).parents[2]
CODE = ROOT / "rbops"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without the table's own header."""
    text = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in lines[2:]]


def words(cell: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", cell)


def room(module: str) -> str:
    """The part of rbops that a module is in: ``spec``, ``plan``; ``rbops`` for the package's own names."""
    _, _, rest = module.partition(".")
    return rest.split(".")[0] if rest and not rest.startswith("__") else "rbops"


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from (f"rbops.{name.name}" for name in node.names) if node.module == "rbops" else (node.module,)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def imports() -> dict[str, set[str]]:
    """What each room imports of the others."""
    found: dict[str, set[str]] = {}
    for path in CODE.rglob("*.py"):
        here = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
        others = {room(module) for module in imported(path) if module.split(".")[0] == "rbops"}
        found.setdefault(here, set()).update(others - {here, "rbops"})
    del found["rbops"]
    return found


def test_the_rooms_are_those_of_the_tree_and_import_what_they_may() -> None:
    listed = {words(row[0])[0].removesuffix("/").removesuffix(".py"): row[2] for row in rows("Rooms")}
    found = imports()
    assert set(listed) == set(found)
    more = {here: others - set(words(listed[here])) for here, others in found.items() if listed[here] != "everything"}
    assert {here: others for here, others in more.items() if others} == {}


def protocols() -> dict[str, set[str]]:
    """The members of each protocol of a data plane."""
    tree = ast.parse((CODE / "dataplane" / "base.py").read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return {
        node.name: {member.name for member in node.body if isinstance(member, ast.FunctionDef)}
        for node in classes
        if any(ast.unparse(base) == "Protocol" for base in node.bases)
    }


def test_the_data_planes_contract_is_listed() -> None:
    assert {words(row[0])[0]: set(words(row[2])) for row in rows("A data plane")} == protocols()


def test_nothing_outside_of_their_folders_asks_which_data_plane_it_is() -> None:
    asked = []
    for path in CODE.rglob("*.py"):
        if (CODE / "dataplane") not in path.parents:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq):
                    sides = [side.value for side in (node.left, *node.comparators) if isinstance(side, ast.Constant)]
                    asked += [f"{path}:{node.lineno}" for side in sides if side in KINDS]
    assert asked == []


RECIPES = rows("To add something")


@pytest.mark.parametrize("row", RECIPES, ids=[row[0] for row in RECIPES])
def test_a_recipe_names_files_and_names_that_are_there(row: list[str]) -> None:
    """The second column has `path` or `path: name`; the third how many production files that are at most."""
    touched = [word for word in words(row[1]) if re.match(r"[a-z]+/", word)]
    files = {place.split(": ")[0] for place in touched}
    for place in touched:
        path, _, name = place.partition(": ")
        text = "".join(_text(found) for found in _paths(path))
        assert not name or re.search(rf"\b{re.escape(name)}\b", text), f"{path} has no {name}"
    production = {path for path in files if path.startswith(("rbops/", "roles/", "templates/"))}
    limit = re.match(r"\d+", row[2])
    if limit:
        assert len(production) <= int(limit[0])


def _paths(path: str) -> list[Path]:
    """The file, or for a place with NAME or a * those that are there already."""
    found = sorted(ROOT.glob(path.replace("NAME", "*")))
    assert found, f"there is no {path}"
    return found


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def test_every_phase_of_the_self_test_has_a_row_in_its_page() -> None:
    text = (ROOT / "docs" / "verify-selftest.md").read_text(encoding="utf-8").partition("\n### Phases\n")[2]
    listed = re.findall(r"^\| (\w+) \|", text.partition("\n### ")[0], re.MULTILINE)[1:]
    assert listed == [kind.name for kind in PHASES]
