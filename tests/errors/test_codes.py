"""The codes in the source: every error has one, and each has one meaning."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import rbops
from rbops import errors

ROOT = Path(rbops.__file__).parent
DOCS = ROOT.parent / "docs"
CODE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\.[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Made:
    """A call that makes an error: ``code`` None where it is not a literal, ``exit_code`` None for a helper's."""

    place: str
    room: str
    code: str | None
    exit_code: int | None


@cache
def trees() -> dict[Path, ast.Module]:
    paths = [path for path in sorted(ROOT.rglob("*.py")) if path != ROOT / "errors.py"]
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def classes() -> dict[str, int]:
    """Name -> exit code of every error class that is made with a code, those outside of errors.py too."""
    found = {
        name: kind.exit_code
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.RbopsError) and kind is not errors.SpecError
    }
    found["Diagnostic"] = errors.SpecError.exit_code
    definitions = [node for tree in trees().values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    while True:
        more = {
            node.name: found[base.id]
            for node in definitions
            for base in node.bases
            if isinstance(base, ast.Name) and base.id in found and node.name not in found
        }
        if not more:
            return found
        found |= more


def helpers() -> frozenset[str]:
    """Functions that take the code of the error they make."""
    return frozenset(
        node.name
        for tree in trees().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and "code" in {argument.arg for argument in node.args.kwonlyargs}
    ) - {"__init__"}


def made() -> Iterator[Made]:
    kinds, functions = classes(), helpers()
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name | ast.Attribute):
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            if name not in kinds and name not in functions:
                continue
            value = next((keyword.value for keyword in node.keywords if keyword.arg == "code"), None)
            if isinstance(value, ast.Name | ast.Attribute):
                continue  # it passes on the code that it was given
            literal = value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None
            relative = path.relative_to(ROOT)
            yield Made(f"{relative}:{node.lineno}", relative.parts[0], literal, kinds.get(name))


def test_every_error_has_a_literal_code() -> None:
    assert [one.place for one in made() if one.code is None] == []


def test_codes_are_an_area_and_a_reason() -> None:
    assert [one for one in made() if one.code is not None and not CODE.fullmatch(one.code)] == []


def test_a_code_belongs_to_one_room_and_has_one_exit_code() -> None:
    rooms, exits = defaultdict(set), defaultdict(set)
    for one in made():
        rooms[one.code].add(one.room)
        if one.exit_code is not None:
            exits[one.code].add(one.exit_code)
    assert {code: found for code, found in rooms.items() if code is not None and len(found) > 1} == {}
    assert {code: found for code, found in exits.items() if code is not None and len(found) > 1} == {}


def test_every_code_is_documented() -> None:
    listed = set(re.findall(r"^- `([a-z0-9.-]+)`", (DOCS / "errors.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert {one.code for one in made() if one.code is not None} - listed == set()
