"""Runs on a server: rbops-node that is killed at the N-th call of a function of its own.

Sent as text to ``python3 - N PROGRAM VERB ARGUMENTS...``; N 0 kills nothing and writes how many calls there were to
``/run/calls``. Standard library only.
"""

import os
import runpy
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

at, program = int(sys.argv[1]), sys.argv[2]
calls = 0


def passing(frame: FrameType, event: str, _argument: Any) -> None:
    """Count a call of a function that is rbops's."""
    global calls  # noqa: PLW0603 - a hook has no other place
    if event == "call" and "/rbops/" in frame.f_code.co_filename:
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)


sys.argv = [program, *sys.argv[3:]]
threading.setprofile(passing)
sys.setprofile(passing)
try:
    runpy.run_path(program, run_name="__main__")
finally:
    sys.setprofile(None)
    if not at:
        Path("/run/calls").write_text(str(calls), encoding="ascii")
