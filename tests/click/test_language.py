"""Each feature of the language: a configuration beside the flat router it gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rbops.click import ClickText, Report, bundled, check
from rbops.click.check import CheckOptions
from tests.click.flat import flat_text

FOLDER = Path(__file__).with_name("language")


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.click")))
def test_feature(name: str, checked: Callable[..., Report], golden: Callable[[Path, str], None]) -> None:
    report = checked((FOLDER / f"{name}.click").read_text(encoding="utf-8"))
    assert [error.render() for error in report.errors] == []
    assert report.router is not None
    golden(FOLDER / f"{name}.flat", flat_text(report.router))


@pytest.mark.parametrize("text", ["", ";;;", "// nothing", "/* nothing"])
def test_nothing(text: str, checked: Callable[..., Report]) -> None:
    report = checked(text)
    assert report.errors == ()
    assert report.router is not None
    assert report.router.elements == ()


def test_line_directives_name_another_place(checked: Callable[..., Report]) -> None:
    report = checked('Idle;\n#line 40 "other.click"\nIdle;\n  Nonsense(1);\n# 7\nNonsens2(\n#line 1 "third.click"\n2)')
    assert [(e.path, e.line, e.column, e.snippet) for e in report.errors] == [
        ("other.click", 7, 1, "Nonsens2("),
        ("other.click", 41, 3, "  Nonsense(1);"),
    ]


def test_a_file_with_carriage_returns(checked: Callable[..., Report]) -> None:
    report = checked("Idle;\r\nIdle;\rNonsense")
    assert [(e.line, e.column) for e in report.errors] == [(3, 1)]


def test_library() -> None:
    def library(name: str, asking: ClickText) -> ClickText | None:
        assert asking.name in {"test.click", "way.click"}
        return (
            ClickText(name, "elementclass Way { -> Null -> }\nrequire(library way.click)")
            if name == "way.click"
            else None
        )

    text = ClickText("test.click", "require(library way.click)\nInfiniteSource -> Way -> Discard")
    assert check(text, bundled(), CheckOptions(library=library)).errors == ()
    missing = ClickText("test.click", "require(library none.click)")
    (error,) = check(missing, bundled(), CheckOptions(library=library)).errors
    assert (error.line, error.column, "not found" in error.message) == (1, 8, True)
