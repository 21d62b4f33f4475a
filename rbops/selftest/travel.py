"""A tester on another machine: the agent goes there over SSH, into memory, and leaves nothing behind.

What is sent is one zip archive of the sources that the agent imports and of its BPF objects. Python runs it from a
file in memory (memfd_create(2)), so that nothing has to be removed however it ends. It needs root, Python and libbpf
as a server does.
"""

from __future__ import annotations

import base64
import functools
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import rbops
from rbops.common.archive import zip_archive
from rbops.deploy.inventory import Target
from rbops.deploy.ssh import Conversation, Session, each, open_session, raise_errors
from rbops.errors import CheckFailed, RbopsError, Unreachable
from rbops.resources import bpf_object
from rbops.selftest.tester import TesterAgent

__all__ = ["open_sessions", "remote_tester"]

_PYTHON = "/usr/bin/python3"
# Standard input is read through sys.stdin alone, which keeps what it has read ahead for the agent.
_START = """\
import base64, os, sys
program = os.memfd_create("rbops")
with os.fdopen(program, "wb", closefd=False) as file:
    file.write(base64.b64decode(sys.stdin.readline()))
sys.path.insert(0, f"/proc/self/fd/{program}")
from rbops.selftest.agent import main
sys.exit(main())
"""
_MODULES = (
    "__init__.py",
    "errors.py",
    "resources.py",
    "common/__init__.py",
    "common/versions.py",
    "dataplane/__init__.py",
    "dataplane/xdp/__init__.py",
    "dataplane/xdp/ctlibbpf.py",
    "dataplane/xdp/libbpf.py",
    "selftest/__init__.py",
    "selftest/agent.py",
    "selftest/device.py",
    "selftest/discovery.py",
    "selftest/floor.py",
    "selftest/iperf.py",
    "selftest/programs.py",
    "selftest/raw.py",
    "selftest/wire.py",
)
_OBJECTS = ("gen.bpf.o", "sink.bpf.o")
_LAST_S = 5.0


def open_sessions(targets: Iterable[Target], held: ExitStack) -> dict[str, Session]:
    """A login to each machine, by its name; ``held`` closes them. Raises Unreachable naming all that refuse."""
    found = each({target.name: target for target in targets}.items(), open_session)
    sessions = {
        name: held.enter_context(session) for name, session in found.items() if not isinstance(session, RbopsError)
    }
    raise_errors(found)
    return sessions


def remote_tester(port: int, device: str, netns: str | None, session: Session, *, lifetime_s: float) -> TesterAgent:
    """Start the agent of external ``port`` over ``session``; it ends with it, and after ``lifetime_s`` seconds.

    Raises Unreachable when the connection breaks.
    """
    command = [_PYTHON, "-I", "-c", _START, "--device", device, "--lifetime", str(lifetime_s)]
    if netns:
        command += ["--netns", netns]
    talk = session.start(command, lifetime_s)
    talk.send(base64.b64encode(agent_program()).decode())
    return TesterAgent(port, _Remote(port, session.target.name, talk))


@functools.cache
def agent_program() -> bytes:
    """The archive: sources and objects by their paths below the folder that holds the package."""
    root = Path(rbops.__file__).parent
    members: Mapping[str, bytes] = {f"rbops/{name}": (root / name).read_bytes() for name in _MODULES} | {
        f"rbops/selftest/obj/{name}": bpf_object("selftest", name).read_bytes() for name in _OBJECTS
    }
    return zip_archive(members, zipfile.ZIP_DEFLATED)


class _Remote:
    def __init__(self, port: int, machine: str, talk: Conversation) -> None:
        self._port, self._machine, self._talk = port, machine, talk

    def send(self, line: bytes) -> None:
        self._talk.send(line.decode().rstrip("\n"))

    def receive(self, timeout_s: float) -> bytes | None:
        try:
            line = self._talk.receive(timeout_s)
        except Unreachable as error:
            if error.code == "ssh.timeout":
                return None
            raise
        if line is None:
            done = self._talk.finish(_LAST_S)
            raise CheckFailed(
                f"the tester of port {self._port} on {self._machine} ended: {done.reason}", code="tester.ended"
            )
        return line.encode()

    def close(self) -> None:
        with suppress(RbopsError):  # it is gone already
            self._talk.finish(_LAST_S)
