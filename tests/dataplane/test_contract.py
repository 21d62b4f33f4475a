"""Data planes are behind their contract: outside of their folders nothing asks which one it is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import rbops
from rbops.dataplane import registry

ROOT = Path(rbops.__file__).parent
DIALECTS = {"socket", "dpdk", "fastclick", "kernel"}
OURS = {*registry.KINDS, *DIALECTS}
ALONE = OURS - {"kernel"}
"""What is the name of nothing else."""
ASKED = {"dataplane", "data_plane", "dialect", "click_dialect"}
APART = ("dataplane", "click")
"""The data planes' own folders, and the parser of Click's language, which is a library of its own."""


def _words(node: ast.AST) -> tuple[set[str], set[str]]:
    """The names in an expression, and its strings."""
    names, strings = set(), set()
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute):
            names.add(part.attr)
        elif isinstance(part, ast.Name):
            names.add(part.id)
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            strings.add(part.value)
    return names, strings


def _asks(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr in ("click_dialect", "on_sockets")
    if not isinstance(node, (ast.Compare, ast.MatchValue)):
        return False
    if isinstance(node, ast.Compare) and isinstance(node.left, ast.Constant):
        return False  # "xdp" in link: whether a key is there
    names, strings = _words(node)
    return bool(strings & ALONE or ((names | strings) & ASKED and strings & OURS))


def questions(source: str) -> list[int]:
    """Lines that compare a data plane or a dialect with one of those that there are, or ask for Click's dialect."""
    return sorted({node.lineno for node in ast.walk(ast.parse(source)) if _asks(node)})  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "line",
    [
        'spec.dataplane == "xdp"',
        'if kind != "click": pass',
        'plan.forwarding.dataplane in ("click", "kernel")',
        'plan.forwarding.click_dialect',
        'dataplane == "kernel"',
        'plane.get("kind") == "click"',
    ],
)  # fmt: skip
def test_what_a_question_is(line: str) -> None:
    assert questions(line) == [1]


def test_nothing_else_asks_which_data_plane_it_is() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted(ROOT.rglob("*.py"))
        if path.relative_to(ROOT).parts[0] not in APART
        for line in questions(path.read_text(encoding="utf-8"))
    ]
    assert found == []
