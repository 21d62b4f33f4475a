"""iperf3 as a tester runs it, and the TCP counters of its kernel.

Standard library only. Sources: iperf3(1); Linux, Documentation/networking/snmp_counter.rst (TcpExtTCPOFOQueue: a
segment that was queued behind a gap).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from rbops.errors import CheckFailed, Mismatch

__all__ = ["Iperf", "counters"]

PROGRAM = "iperf3"
_START_S, _POLL_S, _MARGIN_S = 5.0, 0.02, 10.0
_LISTEN = "0A"
"""A listening socket's state in /proc/net/tcp (TCP_LISTEN, net/tcp_states.h)."""


class Iperf:
    """iperf3's server, at most one, and its client. Mismatch (3) where there is no iperf3."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None

    def listen(self, address: str, port: int) -> None:
        """Serve one test, and come back when it listens. CheckFailed (1) when it does not."""
        self.end()
        command = [*_program(), "--server", "--one-off", "--bind", address, "--port", str(port)]
        self._server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        until = time.monotonic() + _START_S
        while not _listens(port):
            if self._server.poll() is not None or time.monotonic() > until:
                raise CheckFailed(f"{PROGRAM} does not listen: {self._said()}", code="tester.iperf")
            time.sleep(_POLL_S)

    def end(self) -> None:
        """End the server."""
        if self._server is not None:
            self._said()
            self._server = None

    def _said(self) -> str:
        """What the server wrote on its standard error; it is ended."""
        server = self._server
        if server is None:
            return ""
        server.kill()
        _, stderr = server.communicate()
        return stderr.decode(errors="replace").strip() or "it said nothing"

    @staticmethod
    def send(*, address: str, own: str, port: int, connections: int, seconds: float, bps: float) -> dict[str, Any]:
        """So many connections at once to a server, ``bps`` bits a second together, paced by the kernel.

        What it measured: ``seconds``, ``rate_bps`` (that arrived), ``retransmitted``. CheckFailed (1) when it fails.
        """
        command = [*_program(), "--client", address, "--port", str(port), "--bind", own, "--json"]
        command += ["--parallel", str(connections), "--time", f"{seconds:.0f}"]
        command += ["--fq-rate", f"{bps / connections:.0f}"]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=seconds + _MARGIN_S,
            )
        except subprocess.TimeoutExpired as error:
            raise CheckFailed(f"{PROGRAM} did not end in {error.timeout:.0f} s", code="tester.iperf") from error
        return summary(done.stdout, done.stderr)


def summary(stdout: str, stderr: str) -> dict[str, Any]:
    """The sums in the JSON of a client. CheckFailed (1) with its own words when it has none."""
    try:
        found = json.loads(stdout)
        sent, received = found["end"]["sum_sent"], found["end"]["sum_received"]
        return {
            "seconds": float(received["seconds"]),
            "rate_bps": float(received["bits_per_second"]),
            "retransmitted": int(sent["retransmits"]),
        }
    except (KeyError, TypeError, ValueError) as error:
        said = found.get("error") if isinstance(found := _json(stdout), dict) else None
        raise CheckFailed(f"{PROGRAM}: {said or stderr.strip() or 'no result'}", code="tester.iperf") from error


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def counters(folder: Path = Path("/proc/thread-self/net")) -> dict[str, int]:
    """The namespace's TCP counters by name (RFC 4022's and the kernel's own)."""
    found: dict[str, int] = {}
    for name in ("snmp", "netstat"):
        lines = [line.split() for line in (folder / name).read_text().splitlines()]
        for names, values in zip(lines[::2], lines[1::2], strict=True):
            if names[0] in {"Tcp:", "TcpExt:"}:
                found |= dict(zip(names[1:], map(int, values[1:]), strict=True))
    return found


def _program() -> list[str]:
    """The command, which ends when the agent does."""
    found = shutil.which(PROGRAM)
    if found is None:
        raise Mismatch(
            f"{PROGRAM} is not installed", code="tester.no-iperf", hint=f"install Debian's package {PROGRAM}"
        )
    return ["setpriv", "--pdeathsig", "KILL", found]


def _listens(port: int) -> bool:
    """Whether something of this namespace listens on the port."""
    lines = Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
    return any(line.split()[3] == _LISTEN and line.split()[1].endswith(f":{port:04X}") for line in lines)
