"""No text makes the checker fail, whatever it is: it says what is wrong, and where, and comes to an end."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rbops.click import ClickText, Report, bundled, check, fragment_of
from rbops.click.config import argvec, quote, unquote, words
from rbops.errors import SpecError

TABLE = bundled()
CORPUS = [path.read_text() for path in sorted(Path(__file__).parent.glob("*/*.click"))]
WORDS = [
    *("->", "=>", "::", "||", "...", "{", "}", "(", ")", "[", "]", ",", ";", "|", "#", "$", "/*", "*/", "//", "\n"),
    *('"', "'", "\\<", ">", "\\", "$a", "${a}", "${a-b}", "input", "output", "elementclass", "define", "require"),
    *(
        "a",
        "b",
        "X",
        "Queue",
        "Unqueue",
        "Idle",
        "Null",
        "Tee",
        "FromDevice(eth0)",
        "ToDevice(eth0)",
        "Discard",
        "0",
        "1",
    ),
    *(
        "StaticThreadSched(a 1)",
        "elementclass X {",
        "a :: X",
        "library",
        "package",
        "KEY $k |",
        "\0",
        "\u2028",
        "\udc80",
    ),
]
MANY = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def sane(report: Report) -> None:
    for item in [*report.errors, *report.notes, *(breach.place for breach in report.breaches)]:
        assert item.line >= 0
        assert item.column >= 1
        assert item.render().isprintable() or "\n" in item.render()


@given(st.text(max_size=300))
@MANY
def test_any_text(text: str) -> None:
    sane(check(ClickText("x.click", text), TABLE))


@given(st.lists(st.sampled_from(WORDS), max_size=60))
@MANY
def test_any_words(parts: list[str]) -> None:
    text = ClickText("x.click", " ".join(parts))
    sane(check(text, TABLE))
    with suppress(SpecError):
        fragment_of(text, TABLE)


@given(st.sampled_from(CORPUS), st.data())
@MANY
def test_any_change_of_a_good_text(text: str, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(text)))
        text = text[:place] + data.draw(st.sampled_from(WORDS)) + text[place + data.draw(st.integers(0, 9)) :]
    sane(check(ClickText("x.click", text), TABLE))


@given(st.text(max_size=60))
@MANY
def test_quoting_is_undone(text: str) -> None:
    assert unquote(quote(text)) == text
    assert argvec(quote(text)) == [quote(text)]
    assert words(quote(text)) == [quote(text)]


DEEP = {
    "parentheses": "(" * 50_000,
    "braces": "{" * 50_000,
    "classes": "elementclass A {" * 50_000,
    "brackets": "a [" * 50_000,
    "quotes": 'Idle("' + "\\<" * 50_000,
    "comments": "Idle(" + "/* " * 50_000,
    "configuration": "Idle(" * 50_000,
    "chain": "Idle " + "-> Null " * 20_000,
    "doubling": "".join(f"elementclass A{i} {{ -> A{i - 1} -> A{i - 1} -> }}\n" for i in range(1, 64))
    + "Idle -> A63 -> Idle",
    "nesting": "".join(f"elementclass A{i} {{ -> A{i - 1} -> }}\n" for i in range(1, 3000)) + "Idle -> A2999 -> Idle",
    "variables": "".join(f"define($a{i} {f'$a{i - 1}' * 30})" for i in range(1, 30)) + "Idle($a29)",
    "itself": "define($a $b, $b $a) elementclass E { e :: E } Idle($a); E",
    "circle": "elementclass W { -> } w :: W; v :: W; w -> v -> w;",
    "ports": "a :: Hub; b :: Hub; a [0-1000] => [0-1000] b; b [0-1000] => [0-1000] a;",
    "mistakes": "a :: B; " * 20_000,
    "unknown": "".join(f"x{i} :: Y{i};" for i in range(5_000)),
}


@pytest.mark.parametrize("head", ["{ -> q", "a :: { b :: { input -> ", "elementclass A { input -> "])
def test_too_many_mistakes_within_a_compound_element(head: str) -> None:
    """Found by the fuzzer: what was inside counted as the whole file."""
    text = ClickText("x.click", head + "\0" * 120)
    sane(check(text, TABLE))
    with suppress(SpecError):
        fragment_of(text, TABLE)


@pytest.mark.parametrize("name", DEEP)
def test_no_size_or_depth_is_too_much(name: str) -> None:
    report = check(ClickText("x.click", DEEP[name]), TABLE)
    sane(report)
    assert len(report.errors) <= 101


def test_a_large_configuration_is_flat_in_the_end() -> None:
    text = "FromDevice(eth0) -> c0 :: Counter;\n" + "".join(f"c{i - 1} -> c{i} :: Counter;\n" for i in range(1, 10_000))
    report = check(ClickText("x.click", f"{text}c9999 -> Discard;"), TABLE)
    assert report.errors == ()
    assert report.router is not None
    assert (len(report.router.elements), report.threads[0].elements) == (10_002, 10_002)
