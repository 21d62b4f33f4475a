"""rbops-node serve: what each verb would have answered alone."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rbops.errors import UsageError
from rbops.node.serve import serve


def ask(run: Any, *questions: Any) -> list[dict[str, Any]]:
    answers = io.BytesIO()
    serve(run, [line if isinstance(line, str) else json.dumps(line) for line in questions], answers)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def question(*argv: str, timeout: float = 60) -> dict[str, Any]:
    return {"argv": argv, "timeout": timeout}


def test_code_and_both_outputs() -> None:
    def run(argv: Sequence[str]) -> int:
        sys.stdout.write(f"said {' '.join(argv)}\n")
        sys.stdout.flush()
        sys.stderr.write("told\n")
        subprocess.run(["echo", "a child's"], check=True)
        return 7

    first, second = ask(run, question("counters", "--json"), question("x"))
    assert first["code"] == second["code"] == 7
    assert sorted(first["out"].splitlines()) == ["a child's", "said counters --json"]
    assert (first["err"], second["err"]) == ("told\n", "told\n")
    assert "said x" in second["out"]


def test_a_verb_takes_nothing_along_to_the_next() -> None:
    kept: list[str] = []

    def run(argv: Sequence[str]) -> int:
        kept.extend(argv)
        os.chdir("/proc")
        sys.stdout.write(f"{kept} {os.getpid()}\n")
        return 0

    here = Path.cwd()
    answers = ask(run, question("a"), question("b"))
    assert [answer["out"].split("]")[0] for answer in answers] == ["['a'", "['b'"]
    assert len({answer["out"].split()[-1] for answer in answers}) == 2
    assert (kept, Path.cwd()) == ([], here)


def test_arguments_that_are_refused_end_no_more_than_their_verb() -> None:
    from rbops.node.__main__ import run

    wrong, right = ask(run, question("no-such-verb"), question("--version"))
    assert wrong["code"] == 2
    assert "invalid choice: 'no-such-verb'" in wrong["err"]
    assert (right["code"], right["out"].split()[0]) == (0, "rbops-node")


def test_a_failure_that_nobody_expects_is_told_like_any() -> None:
    def run(argv: Sequence[str]) -> int:
        raise LookupError(*argv)

    failed, again = ask(run, question("gone"), question("gone"))
    assert failed["code"] == again["code"] == 1


def test_a_verb_that_does_not_end_is_ended() -> None:
    def run(argv: Sequence[str]) -> int:
        time.sleep(60 if argv == ["slow"] else 0)
        return 0

    assert [one["code"] for one in ask(run, question("slow", timeout=1), question("quick"))] == [124, 0]


@pytest.mark.parametrize("line", ["", "x", "[]", '{"argv": 7, "timeout": 1}', '{"argv": ["status"]}'])
def test_a_line_that_is_no_question(line: str) -> None:
    with pytest.raises(UsageError) as caught:
        ask(print, line)
    assert caught.value.code == "node.question"
