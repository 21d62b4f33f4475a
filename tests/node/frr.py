"""FRR in a namespace, as another AS's router: zebra, staticd and bgpd with one configuration."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DAEMONS", "Frr", "frr", "is_installed"]

DAEMONS = ("zebra", "staticd", "bgpd")
_PROGRAMS = Path("/usr/lib/frr")


def is_installed() -> bool:
    """Whether Debian's package is there."""
    return (_PROGRAMS / "bgpd").exists()


@dataclass(frozen=True)
class Frr:
    """``folder`` is its user's, with its sockets."""

    folder: Path
    enter: tuple[str, ...]

    def ask(self, question: str) -> str:
        """What ``vtysh`` says."""
        command = [*self.enter, "vtysh", "--vty_socket", str(self.folder), "-c", question]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout


@contextmanager
def frr(enter: tuple[str, ...], configuration: str) -> Iterator[Frr]:
    """FRR while the block runs; ``enter`` is the command that goes into its namespace."""
    folder = Path(tempfile.mkdtemp(prefix="rbops-frr-"))
    running = []
    try:
        (folder / "frr.conf").write_text(configuration)
        for path in (folder, folder / "frr.conf"):
            shutil.chown(path, "frr", "frr")
        sockets = ["-z", str(folder / "zserv"), "--vty_socket", str(folder), "-A", "127.0.0.1"]
        for name in DAEMONS:
            files = ["-f", str(folder / "frr.conf"), "-i", str(folder / f"{name}.pid")]
            running.append(subprocess.Popen([*enter, str(_PROGRAMS / name), *files, *sockets]))
            _wait_for(folder / f"{name}.vty")
        yield Frr(folder, enter)
    finally:
        for process in reversed(running):
            process.terminate()
        for process in running:
            process.wait(20)
        shutil.rmtree(folder)


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.05)
