"""rbops-node with a timer made of a process, for namespaces without systemd: driver.py STATE CONFIG VERB..."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rbops.node.__main__ import run
from rbops.node.commands import Node
from rbops.node.dataplane import open_plane
from rbops.node.restarts import Started
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


def main() -> int:
    state, config, *verb = sys.argv[1:]
    timer = ProcessTimer(Path(state), Path(config))
    started = Started(run=Path(state))
    node = Node(Kernel(), State(Path(state)), Path(config), timer, open_plane, started=started)
    start = time.monotonic()
    code = run([*verb, "--json"], node)
    sys.stderr.write(f"{verb[0]}: {time.monotonic() - start:.3f} s\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
