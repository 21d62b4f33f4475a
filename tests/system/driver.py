"""Runs rbops as a user does, as a process of its own, and looks at the cluster from outside."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from rbops.lab.model import Lab
from rbops.lab.providers import load
from rbops.plan import ClusterPlan
from rbops.planner import load_plan
from tests.lab.traces import traces

__all__ = ["Cluster", "Done", "Running", "wait_for"]

RBOPS = Path(sys.executable).with_name("rbops")
LONGEST_S = 180.0


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Running:
    """A command at work on a terminal of its own, as a user's; ``seen`` is what it wrote there so far."""

    process: subprocess.Popen[bytes]
    terminal: int
    seen: str = ""

    def wait_for(self, text: str, seconds: float = LONGEST_S) -> None:
        """Return as soon as it has written ``text`` to its terminal."""
        wait_for(f"{text!r} in {self.seen!r}", lambda: self._read() and text in self.seen, seconds)

    def press_ctrl_c(self) -> None:
        """What a terminal does: every process of its foreground group gets SIGINT."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self, seconds: float = LONGEST_S) -> Done:
        """Wait until it has ended by itself."""
        wait_for(f"the end of {self.process.args}: {self.seen}", self._ended, seconds)
        assert self.process.stdout is not None
        return Done(self.process.returncode, self.process.stdout.read().decode(), self.seen.replace("\r\n", "\n"))

    def _ended(self) -> bool:
        code = self.process.poll()
        self._read()
        return code is not None

    def _read(self) -> bool:
        while select.select([self.terminal], [], [], 0.05)[0]:
            try:
                data = os.read(self.terminal, 65536)
            except OSError:  # EIO: nobody has the other end any more
                break
            if not data:
                break
            self.seen += data.decode("utf-8", "replace")
        return True


@dataclass(frozen=True)
class Cluster:
    """The lab, its spec and inventory, and the commands that are given to both."""

    folder: Path
    name: str
    environment: Mapping[str, str] = field(repr=False)

    @property
    def spec(self) -> Path:
        return self.folder / "router.yml"

    @property
    def plan(self) -> ClusterPlan:
        return load_plan(self.spec)

    @property
    def lab(self) -> Lab:
        return load(self.name)

    @cached_property
    def inventory(self) -> Path:
        return self.lab.inventory

    def run(self, *arguments: str, seconds: float = LONGEST_S) -> Done:
        """``rbops ARGUMENTS`` to its end."""
        done = subprocess.run(
            [RBOPS, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
            cwd=self.folder,
            env=self.environment,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def verb(self, verb: str, *arguments: str, seconds: float = LONGEST_S) -> Done:
        """``rbops VERB SPEC -i INVENTORY ARGUMENTS``."""
        return self.run(verb, str(self.spec), "-i", str(self.inventory), *arguments, seconds=seconds)

    @contextmanager
    def with_spec(self, text: str) -> Iterator[str]:
        """Another spec while it lasts; whatever happens, what was there is there again. Yields what was there."""
        before = self.spec.read_text()
        self.spec.write_text(text)
        try:
            yield before
        finally:
            self.spec.write_text(before)

    def wait_for_cables(self) -> None:
        """Return when no server leaves a cable out because its far end does not answer."""
        servers = [server.name for server in self.plan.servers]

        def silent(server: str) -> list[int]:
            return list(json.loads(self.on(server, "rbops-node", "status", "--json"))["dataplane"]["silent"])

        wait_for("all cables to answer", lambda: not any(silent(server) for server in servers), 120)

    def healthy(self) -> None:
        """The self-test passes."""
        done = self.verb("selftest", "--quick", "--duration", "1")
        assert done.code == 0, done.out + done.err

    @contextmanager
    def start(self, *arguments: str) -> Iterator[Running]:
        """``rbops ARGUMENTS`` on a terminal; killed with all its children if it is still at work at the end."""
        near, far = pty.openpty()
        process = subprocess.Popen(
            [RBOPS, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=far,
            cwd=self.folder,
            env={**self.environment, "TERM": "xterm", "COLUMNS": "200"},
            start_new_session=True,
        )
        os.close(far)
        try:
            yield Running(process, near)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
            os.close(near)

    def on(self, target: str, *command: str, stdin: str | None = None, check: bool = True, seconds: float = 60) -> str:
        """Stdout of a command on a server or in a tester's namespace."""
        done = subprocess.run(
            self.lab.command(target, command), input=stdin, capture_output=True, text=True, check=False, timeout=seconds
        )
        assert not check or done.returncode == 0, f"{target}: {command}: {done.stdout}{done.stderr}"
        return done.stdout

    def netns(self, server: str) -> str:
        """The network namespace a server lives in, by its name on this machine."""
        return next(entry.netns for entry in self.lab.servers if entry.name == server)

    def left_behind(self, subnet: int) -> list[str]:
        """What is still there of the lab on management network ``subnet``, of its self-test, of temporary files."""
        found = [line for line in traces(self.name, subnet) if not line.startswith("temporary")]
        return [*found, *self.agents(), *(str(path) for path in (self.folder / "tmp").iterdir())]

    def agents(self) -> list[str]:
        """The command lines of a self-test's agents that are at work on this lab's testers."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:  # it has ended
                continue
            if "rbops.selftest.agent" in command and f"rbops-{self.name}-t" in command:
                found.append(command)
        return found


def wait_for(what: str, condition: Callable[[], Any], seconds: float = 60) -> None:
    """Return when ``condition`` holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)
