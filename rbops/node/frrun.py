"""``rbops-node daemon run``: FRR's daemons under one parent, which ends when one of them does.

As the user frr, in the runtime folder of rbops-frr.service. All are killed then, so that the kernel keeps the routes
and neighbours that do graceful restart theirs; systemd starts all again. Told to end (SIGTERM), it ends zebra last,
which takes the routes away.
"""

from __future__ import annotations

import os
import select
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from rbops.errors import CheckFailed, Mismatch
from rbops.node.frrd import PROGRAMS, load

__all__ = ["Running", "run"]

_START_S = 60.0
_END_S = 20.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGUSR1)


@dataclass(slots=True)
class Running:
    """The daemons of ``folder``, by name."""

    folder: Path
    programs: Path = PROGRAMS
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self) -> None:
        """All that ``daemons`` names, and their configuration. CheckFailed (1) with what went wrong."""
        for line in (self.folder / "daemons").read_text(encoding="utf-8").splitlines():
            name, *options = shlex.split(line)
            self._socket(name).unlink(missing_ok=True)
            command = [str(self.programs / name), "-u", "frr", "-g", "frr", "-A", "127.0.0.1", "-P", "0"]
            command += ["-z", str(self.folder / "zserv.api"), "--vty_socket", str(self.folder)]
            command += ["-i", str(self.folder / f"{name}.pid"), "-f", "/dev/null", "--log", "stdout", *options]
            self.processes[name] = subprocess.Popen(command)
            self._wait_for(name)
        wrong = load(self.folder, "frr.conf", ())
        if wrong:
            raise CheckFailed(f"frr refuses its configuration: {wrong}", code="node.daemon-refused")
        (self.folder / "ready").touch(0o600)

    def ended(self) -> str | None:
        """One that runs no more."""
        return next((name for name, process in self.processes.items() if process.poll() is not None), None)

    def kill(self) -> None:
        """At once: nothing that they did is undone."""
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()
        self.processes.clear()

    def stop(self) -> None:
        """One after the other, zebra last; what does not end is killed."""
        for process in reversed(self.processes.values()):
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_S)
        self.kill()

    def _wait_for(self, name: str) -> None:
        deadline = time.monotonic() + _START_S
        while not self._socket(name).exists():
            if self.processes[name].poll() is not None or time.monotonic() > deadline:
                raise CheckFailed(
                    f"{name} did not start", code="node.daemon-silent", hint="its own words are above, in the journal"
                )
            time.sleep(0.02)

    def _socket(self, name: str) -> Path:
        return self.folder / f"{name}.vty"


def run(folder: Path, programs: Path = PROGRAMS) -> int:
    """Run them until told to end (0). CheckFailed (1) when one ends, Mismatch (3) outside of its unit."""
    running = Running(folder, programs)
    try:
        (folder / "main.pid").write_text(f"{os.getpid()}\n", encoding="ascii")
    except (FileNotFoundError, PermissionError) as error:
        raise Mismatch(
            f"{error.filename}: {error.strerror}",
            code="node.daemon-files",
            hint="rbops-frr.service has its folder and its user: `systemctl start rbops-frr.service`",
        ) from error
    with _signals() as caught:
        try:
            running.start()
            _notify("READY=1")
            for signals in caught:
                if signals & {signal.SIGTERM, signal.SIGINT}:
                    running.stop()
                    return 0
                if signal.SIGUSR1 in signals:
                    running.kill()
                    running.start()
                elif (name := running.ended()) is not None:
                    raise CheckFailed(f"{name} ended: all start again", code="node.daemon-ended")
        finally:
            running.kill()
    return 0


@contextmanager
def _signals() -> Iterator[Iterator[set[int]]]:
    """Those that have come since the last look, waited for; children get none of this."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def nothing(_number: int, _frame: FrameType | None) -> None:
        pass

    before = {number: signal.signal(number, nothing) for number in _SIGNALS}
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def caught() -> Iterator[set[int]]:
        while True:
            select.select([reading], [], [])
            yield set(os.read(reading, 512))

    try:
        yield caught()
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)


def _notify(text: str) -> None:
    """To systemd (sd_notify(3)); by hand there is none."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
            link.connect("\0" + address[1:] if address.startswith("@") else address)
            link.send(text.encode())
