"""The outermost frame: what a verb raises becomes one message and the exit code of the error tree."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rbops import __version__

VERBS = (
    *("init", "check", "schema", "plan", "explain", "predict", "scale", "graph", "simulate", "render", "click-check"),
    *(
        "lab",
        "diff",
        "apply",
        "status",
        "history",
        "rollback",
        "remove",
        "drain",
        "undrain",
        "verify",
        "selftest",
        "demo",
    ),
)


def rbops(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from rbops.cli import main; main()", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env={**os.environ, **environment}
    )


def run_raising(statement: str, *, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """The application with a verb that does ``statement``; ``before`` is what runs it."""
    program = f"""
import typer
from rbops.cli import app as root
from rbops.errors import *
def verb() -> None:
    {statement}
build = root.build
def built() -> typer.Typer:
    app = build()
    app.command("verb")(verb)
    return app
root.build = built
root.main()
"""
    command = [*before, sys.executable, "-c", program, "verb"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_help_lists_every_verb() -> None:
    done = rbops("--help")
    assert done.returncode == 0
    shown = [line.split()[0] for line in done.stdout.partition("Commands:")[2].splitlines() if line[:3].strip()]
    assert set(VERBS) <= set(shown) | set(done.stdout.split())
    assert "70 a bug in rbops" in " ".join(done.stdout.split())


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str) -> None:
    done = rbops(verb, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage: " in done.stdout


def test_version() -> None:
    assert rbops("--version").stdout == f"rbops {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["plan"], ["plan", "x.yml", "--format", "xml"], ["verify", "x.yml"]]
)
def test_a_wrong_command_line_is_2(arguments: list[str]) -> None:
    done = rbops(*arguments)
    assert done.returncode == 2
    assert "Usage" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("CheckFailed", 1),
        ("UsageError", 2),
        ("Mismatch", 3),
        ("Unreachable", 4),
        ("ApplyFailed", 5),
        ("StateUnknown", 6),
        ("Locked", 7),
    ],
)
def test_errors_become_exit_codes(error: str, code: int) -> None:
    done = run_raising(f"raise {error}('n1: no such device', hint='plug it in', code='test.device')")
    assert done.returncode == code
    assert done.stderr == "rbops: n1: no such device\nhint: plug it in\n"


def test_a_bug_leaves_its_traceback_in_a_file() -> None:
    done = run_raising("raise ZeroDivisionError('by nought')")
    assert done.returncode == 70
    assert "Traceback" not in done.stderr
    path = Path(done.stderr.split()[-1])
    try:
        assert "ZeroDivisionError: by nought" in path.read_text(encoding="utf-8")
        assert path.stat().st_mode & 0o077 == 0
    finally:
        path.unlink()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_verb_says_so(number: signal.Signals) -> None:
    statement = f"import os, signal, time; os.kill(os.getpid(), {int(number)}); time.sleep(600)"
    done = run_raising(statement)  # one that went on would take longer than this waits
    assert done.returncode == 1
    assert done.stderr == "rbops: interrupted\n"


def test_a_verb_under_nohup_goes_on_when_the_terminal_goes() -> None:
    statement = "import os, signal, sys; os.kill(os.getpid(), signal.SIGHUP); sys.stderr.write('on')"
    done = run_raising(statement, before=("sh", "-c", 'trap "" HUP; exec "$@"', "sh"))
    assert (done.returncode, done.stderr) == (0, "on")


def test_no_colour_and_no_cursor_movement_in_a_pipe(tmp_path: Path) -> None:
    for arguments in (
        ["init", str(tmp_path)],
        ["plan", str(tmp_path / "router.yml")],
        ["explain", str(tmp_path / "router.yml")],
    ):
        done = rbops(*arguments)
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout + done.stderr


def test_a_closed_pipe_is_no_bug(tmp_path: Path) -> None:
    assert rbops("init", str(tmp_path)).returncode == 0
    script = f"{sys.executable} -c 'from rbops.cli import main; main()' plan --format json {tmp_path}/router.yml | true"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stderr
    assert "a bug" not in done.stderr


def test_format_json_has_the_error_on_stdout(tmp_path: Path) -> None:
    missing = tmp_path / "inventory.yml"
    (tmp_path / "router.yml").write_text("router: {external_ports: 4, line_rate: 10Gbps}\n", encoding="utf-8")
    done = rbops("diff", str(tmp_path / "router.yml"), "-i", str(missing), "--format", "json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["schema_version"]) == (2, 1)
    assert found["error"]["exit_code"] == done.returncode
    assert found["error"]["message"] in done.stderr.splitlines()[0]
