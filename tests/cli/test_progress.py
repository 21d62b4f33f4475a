"""A push's progress: plain lines in a pipe, one row a server on a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.live import Live

from rbops.cli.progress import _Moving, deploy_progress
from rbops.deploy.events import TaskEvent


def test_a_pipe_gets_what_changed_and_what_failed(capsys: pytest.CaptureFixture[str]) -> None:
    with deploy_progress(show_diff=True) as reporter:
        reporter.step("push")
        reporter.server("n0", "snapshot taken")
        reporter.task(TaskEvent("n0", "Copy", "changed", diff="-old\n+[new]\n"))
        reporter.task(TaskEvent("n0", "Look", "ok"))
        reporter.task(TaskEvent("n1", "Copy", "failed", message="no space"))
        reporter.warn("[b]n2[/b] is left as it is")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith(" s] push")
    assert lines[1:] == [
        "  n0: snapshot taken",
        "  n0: Copy: changed",
        "-old",
        "+[new]",
        "  n1: Copy: failed: no space",
        "warning: [b]n2[/b] is left as it is",
    ]


def test_a_terminal_gets_a_row_a_server() -> None:
    screen = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    with Live(console=screen, auto_refresh=False, transient=True) as live:
        moving = _Moving(screen, live, show_diff=False)
        moving.task(TaskEvent("n1", "Copy", "started"))
        moving.task(TaskEvent("n0", "Copy", "changed"))
        out = io.StringIO()
        Console(file=out, width=80).print(live.renderable)
    assert [line.split() for line in out.getvalue().splitlines()[2:]] == [
        ["n0", "Copy", "changed", "1"],
        ["n1", "Copy", "0"],
    ]
