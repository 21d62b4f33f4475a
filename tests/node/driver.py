"""rbops-node with a timer made of a process, for namespaces without systemd: driver.py STATE CONFIG VERB...

``driver.py serve`` answers as ``rbops-node serve`` does: PID STATE CONFIG VERB, in the namespaces of that process.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rbops.dataplane import registry
from rbops.node.__main__ import run
from rbops.node.commands import Node
from rbops.node.dataplane import open_plane
from rbops.node.restarts import Started
from rbops.node.serve import serve
from rbops.node.state import State
from rbops.node.system import Kernel


@dataclass(frozen=True, slots=True)
class ProcessTimer:
    """A process that sleeps and then reverts; its pid is in a file."""

    state: Path
    config: Path

    @property
    def _pid(self) -> Path:
        return self.state / "timer.pid"

    def arm(self, seconds: int, command: tuple[str, ...]) -> None:
        self.disarm()
        verb = command[command.index("revert") :][:3]
        again = [sys.executable, __file__, str(self.state), str(self.config), *verb]
        code = f"import os, time; time.sleep({seconds}); os.execv({again[0]!r}, {again!r})"
        with (self.state / "timer.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", code], start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._pid.write_text(str(process.pid))

    def disarm(self) -> None:
        if self.armed() and int(self._pid.read_text()) != os.getpid():
            os.kill(int(self._pid.read_text()), signal.SIGTERM)
        self._pid.unlink(missing_ok=True)

    def armed(self) -> bool:
        try:
            text = Path(f"/proc/{self._pid.read_text()}/status").read_text(encoding="utf-8")
        except OSError:
            return False
        return "\nState:\tZ" not in text


def main(words: Sequence[str]) -> int:
    state, config, *verb = words
    timer = ProcessTimer(Path(state), Path(config))
    started = Started(run=Path(state))
    node = Node(Kernel(), State(Path(state)), Path(config), timer, open_plane, started=started)
    start = time.monotonic()
    code = run([*verb, "--json"], node)
    sys.stderr.write(f"{verb[0]}: {time.monotonic() - start:.3f} s\n")
    return code


def within(words: Sequence[str]) -> int:
    """The same in the mount and network namespaces of a process (setns(2)), which comes first."""
    process, *rest = words
    libc = ctypes.CDLL(None, use_errno=True)
    for kind in ("net", "mnt"):
        with Path(f"/proc/{process}/ns/{kind}").open() as namespace:
            assert libc.setns(namespace.fileno(), 0) == 0, os.strerror(ctypes.get_errno())
    return main(rest)


if __name__ == "__main__":
    if sys.argv[1:] != ["serve"]:
        sys.exit(main(sys.argv[1:]))
    list(registry.node_halves())  # the children have it imported
    serve(within, sys.stdin, sys.stdout.buffer)
