"""A tester on this machine: a process in its network namespace."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from contextlib import suppress

from rbops.errors import CheckFailed
from rbops.selftest.tester import TesterAgent

__all__ = ["local_tester"]


def local_tester(port: int, device: str, netns: str | None, *, lifetime_s: float) -> TesterAgent:
    """Start the agent of external ``port``; it ends with this process, and after ``lifetime_s`` seconds."""
    command = [sys.executable, "-P", "-m", "rbops.selftest.agent", "--device", device]
    command += ["--lifetime", str(lifetime_s), "--parent", str(os.getpid())]
    if netns:
        command += ["--netns", netns]
    return TesterAgent(port, _Process(port, command))


class _Process:
    def __init__(self, port: int, command: list[str]) -> None:
        self._port = port
        # A session of its own: Ctrl-C reaches the controller alone, which then ends its agents.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._buffer = b""

    def send(self, line: bytes) -> None:
        stdin = self._process.stdin
        if stdin is None or stdin.closed:
            raise CheckFailed(f"the tester of port {self._port} was closed", code="tester.closed")
        try:
            stdin.write(line)
            stdin.flush()
        except BrokenPipeError as error:
            raise self._gone() from error

    def receive(self, timeout_s: float) -> bytes | None:
        end = time.monotonic() + timeout_s
        while b"\n" not in self._buffer:
            left = end - time.monotonic()
            data = self._read(left) if left > 0 else None
            if data is None:
                return None
            if not data:
                raise self._gone()
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def close(self) -> None:
        """By closing its input, then by force."""
        if self._process.stdin:
            with suppress(BrokenPipeError):  # it ended before reading everything
                self._process.stdin.close()
        try:
            self._process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdout, self._process.stderr):
            if stream:
                stream.close()

    def _read(self, timeout_s: float) -> bytes | None:
        stream = self._process.stdout
        if stream is None or not select.select([stream], [], [], timeout_s)[0]:
            return None
        return os.read(stream.fileno(), 1 << 20)

    def _gone(self) -> CheckFailed:
        stderr = self._process.stderr
        said = ""
        if self._process.poll() is not None and stderr:
            said = stderr.read().decode(errors="replace").strip()
        text = f"the tester of port {self._port} ended" + (f":\n{said}" if said else "")
        return CheckFailed(text, code="tester.ended")
