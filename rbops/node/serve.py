"""Many verbs by one process, for a controller that asks often: Python starts and imports once.

A question is a line of JSON, ``{"argv": ["counters", "--json"], "timeout": 60}``; its answer is one too:
``{"code": 0, "out": ..., "err": ...}``, what the verb alone would have ended with and printed. Each verb runs in a
child, which takes nothing along to the next. The end of the input ends it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import BinaryIO

from rbops.errors import UsageError

__all__ = ["serve"]

_TIMED_OUT = 124  # timeout(1)
_LONGEST_S = 3600

Run = Callable[[Sequence[str]], int]


def serve(run: Run, questions: Iterable[str], answers: BinaryIO) -> None:
    """Answer every question. Raises UsageError (2) for a line that is none."""
    for line in questions:
        try:
            question = json.loads(line)
            argv, timeout = [str(word) for word in question["argv"]], int(question["timeout"])
        except (ValueError, LookupError, TypeError) as error:
            raise UsageError(
                f"not understood: {line.strip()[:80]}",
                code="node.question",
                hint='a line of JSON with "argv" and "timeout"',
            ) from error
        answers.write(json.dumps(_in_child(run, argv, min(max(timeout, 1), _LONGEST_S))).encode() + b"\n")
        answers.flush()


def _in_child(run: Run, argv: Sequence[str], timeout_s: int) -> dict[str, object]:
    out, err = (os.memfd_create(name) for name in ("out", "err"))
    try:
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if child == 0:
            _child(run, argv, timeout_s, out, err)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        said = {name: _text(number) for name, number in (("out", out), ("err", err))}
    finally:
        os.close(out)
        os.close(err)
    return {"code": _TIMED_OUT if code == -signal.SIGALRM else code, **said}


def _child(run: Run, argv: Sequence[str], timeout_s: int, out: int, err: int) -> None:
    """Run the verb and end; nothing of the parent's is cleaned up here."""
    code = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(timeout_s)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
        code = run(argv)
    except SystemExit as end:  # argparse
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _text(number: int) -> str:
    size = os.lseek(number, 0, os.SEEK_END)
    return os.pread(number, size, 0).decode("utf-8", "replace")
