"""The table of promises: every one has a test that there is, and the page is what was recorded."""

from __future__ import annotations

import ast
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pytest

from scripts.faults.__main__ import current
from scripts.faults.model import Promise, merged, promises, read_results, summary
from tests.faults.cases import cases

_TOP = Path(__file__).parents[2]
_ALL = promises()


@cache
def functions(path: str) -> frozenset[str]:
    """The test functions of a file."""
    tree = ast.parse((_TOP / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("promise", _ALL, ids=lambda promise: str(promise.number))
def test_it_has_tests(promise: Promise) -> None:
    assert promise.tests
    for node in promise.nodes:
        path, name = node.partition("[")[0].split("::")
        assert name in functions(path), node
        if node.startswith("tests/spec/test_errors.py"):
            assert (_TOP / "tests/spec/errors" / f"{node.partition('[')[2][:-1]}.yml").exists(), node
    names = [str(case) for case in cases()]
    for pattern in promise.patterns:
        assert any(fnmatchcase(name, pattern) for name in names), pattern


def test_they_are_numbered() -> None:
    assert [promise.number for promise in _ALL] == list(range(1, len(_ALL) + 1))
    assert len({promise.text for promise in _ALL}) == len(_ALL)


def test_the_page_is_current() -> None:
    assert (_TOP / "docs" / "faults.md").read_text(encoding="utf-8") == current(), "run `python -m scripts.faults`"


def test_the_last_run_had_a_result_for_each() -> None:
    assert sorted(read_results().promises) == [promise.number for promise in _ALL]


def test_the_last_result_of_a_test_counts() -> None:
    case = str(cases()[0])
    node = f"tests/faults/test_cluster.py::test_fault[{case}]"
    lines = [
        [node, "failed", 60.0, 1],
        [node, "passed", 60.0, 1],
        ["tests/faults/test_every_write.py::x", "passed", 0, 40],
    ]
    found = summary("2026-01-01", lines)
    assert (found.in_the_lab, found.memory, found.minutes) == (1, 40, 1.0)
    assert [(group.passed, group.failed) for group in found.groups] == [(1, 0)]


def test_a_record_of_other_tests_adds_to_the_matrix_and_the_promises() -> None:
    case = str(cases()[0])
    first = summary("2026-01-01", [[f"tests/faults/test_cluster.py::test_fault[{case}]", "passed", 60.0, 1]])
    (node, *_) = _ALL[0].nodes
    later = merged(first, summary("2026-01-02", [[node, "failed", 1.0, 1]]))
    assert later.groups == first.groups
    assert later.day == first.day
    assert later.promises[_ALL[0].number] == {"failed": 1}
    assert later.promises == first.promises | {_ALL[0].number: {"failed": 1}}
