"""The user's fragment: what is taken, what is refused and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from rbops.click import ClickText, bundled, check, fragment, fragment_of
from rbops.errors import SpecError, UsageError
from tests.support.errors import raises

GOOD = {
    "class": "elementclass Firewall { input -> IPFilter(allow tcp, deny all) -> Counter -> output }",
    "body": "c :: Classifier(12/0800, -); input -> c -> output; c[1] -> [1] output",
    "comment": "input -> Counter -> output // counts",
    "synonym inside": "elementclass F { elementclass C Counter; -> C -> }",
    "define": "define($n 20)\nelementclass F { input -> Strip($n) -> Unstrip($n) -> output }",
}


@pytest.mark.parametrize("name", GOOD)
def test_good_fragment_can_be_placed_and_checked(name: str) -> None:
    made = fragment_of(ClickText("my.click", GOOD[name]))
    assert made.breaches == ()
    assert made.tasks == ()
    drop = " user[1] -> Discard;" if made.outputs == 2 else ""
    router = f"{made.declaration('User')}\nInfiniteSource -> user :: User -> Discard;{drop}"
    assert check(ClickText("router.click", router), bundled()).errors == ()


def test_a_fragment_says_what_it_needs() -> None:
    made = fragment_of(ClickText("my.click", GOOD["body"]))
    assert (made.name, made.outputs, made.classes) == ("", 2, ("Classifier",))


BAD = {
    "input -> Queue -> output": "fragment.pull-output",
    "input -> ToDevice(eth0); Idle -> output": "fragment.element",
    "input -> output; StaticThreadSched(x 0)": "fragment.element",
    "elementclass A { $x | input -> output }": "fragment.parameters",
    "elementclass A { -> } elementclass B { -> }": "fragment.several-bodies",
    "elementclass A { input -> output || input -> [1] output }": "fragment.several-bodies",
    "": "fragment.inputs",
    "input -> Counter -> [2] output": "click.ports",
    "[0] input -> [1] output": "click.ports",
    "input -> Discard; Idle -> output": "fragment.no-output",
    "input -> Kounter -> output": "click.unknown-class",
    "input -> output } FromDevice(eth0) -> { output": "click.syntax",
    "input -> output /* never closed": "fragment.unclosed",
    "input -> Counter(": "click.syntax",
}


@pytest.mark.parametrize("text", BAD)
def test_bad_fragment_is_refused_with_its_place(text: str) -> None:
    with raises(SpecError, BAD[text]) as caught:
        fragment_of(ClickText("my.click", text))
    assert all(item.path == "my.click" for item in caught.value.diagnostics)


def test_a_change_of_core_must_be_allowed_and_is_then_recorded() -> None:
    text = ClickText("my.click", "input -> q :: Queue(100)\n  -> u :: Unqueue -> output")
    with raises(SpecError, "click.cross-core"):
        fragment_of(text)
    made = fragment_of(text, allow=("rule2",))
    assert [(b.rule, b.elements, b.place.line, b.predicted_loss) for b in made.breaches] == [
        ("rule2", ("q",), 1, 0.647)
    ]
    assert made.tasks == ("u",)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with raises(UsageError, "fragment.unreadable"):
        fragment(tmp_path / "none.click")
    (tmp_path / "binary.click").write_bytes(b"\xff\xfe")
    with raises(UsageError, "fragment.unreadable"):
        fragment(tmp_path / "binary.click")
