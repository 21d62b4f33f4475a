"""A server's change, interrupted at each of its writes: afterwards files and kernel are the old or the new ones.

About 2,000 faults: every change of the file system that ``begin``, ``confirm``, ``revert``, ``restore``, ``remove`` and
``boot`` make, times a full disk, a disk that turned read-only, a kill, and a power cut. The kernel is a text that is
made equal to node.json.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rbops.errors import RbopsError, UsageError
from rbops.node import recovery
from rbops.node.commands import Node
from rbops.node.installed import Installed
from rbops.node.state import State
from tests.faults.tripwire import Cut, Tripwire, tripwire
from tests.node.recorded import Recorded
from tests.node.test_transaction import FakeTimer, no_plane
from tests.support.errors import raises

__all__ = ["tripwire"]

_RUN = "20260101T000000-apply-000001"
_NEXT = "20260101T000001-apply-000002"
_UNITS = "etc/systemd/system"


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder where putting files on the disk costs nothing."""
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else None) as name:
        yield Path(name)


@dataclass
class _Engine:
    """Makes the toy kernel equal to a configuration."""

    server: Server
    config: str

    def apply(self) -> Any:
        self.server.kernel[:] = [self.config]
        return self.server


class Server(Node):
    """A node whose kernel is a list with one text, or empty."""

    def __init__(self, root: Path) -> None:
        etc = root / "etc/rbops"
        system = Recorded()
        installed = Installed(system, root)
        super().__init__(system, State(root / "var/lib/rbops"), etc / "node.json", FakeTimer(), no_plane, (), installed)
        object.__setattr__(self, "root", root)
        object.__setattr__(self, "kernel", [])

    __slots__ = ("kernel", "root")
    changes: tuple[()] = ()

    def _config(self) -> Any:
        text = self.config_path.read_text(encoding="utf-8")
        try:
            json.loads(text)
        except ValueError as error:
            raise UsageError("not valid JSON", code="node.config-json") from error
        return text

    def _engine(self, config: Any, *, check: bool = False) -> Any:
        del check
        return _Engine(self, config)

    def _wait_for_devices(self, config: Any) -> None:
        del config

    def _remove_all(self) -> None:
        self.kernel.clear()

    def _forget_all(self) -> None:
        self.kernel.clear()

    def push(self, text: str) -> None:
        """What Ansible does: files, then their effect."""
        files = {
            "etc/rbops/node.json": f'{{"cluster": "c", "server": "n0", "digest": "{text}"}}',
            "etc/rbops/routes.csv": text * 1000,
            "usr/sbin/rbops-node": f"program {text}",
            f"{_UNITS}/rbops.service": f"unit {text}",
        }
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        wanted = self.root / _UNITS / "multi-user.target.wants" / "rbops.service"
        wanted.parent.mkdir(parents=True, exist_ok=True)
        if not wanted.is_symlink():
            wanted.symlink_to("../rbops.service")
        self._engine(self._config()).apply()

    def reboot(self) -> None:
        """The kernel forgets; timers too; then rbops.service where it is enabled, or rbops-recovery.service."""
        self.kernel.clear()
        self.timer.disarm()
        manifest = self.state.snapshot / "manifest.json"
        if manifest.exists():
            manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "boot": "an earlier one"}))
        assert self.installed
        if self.installed.starts_at_boot():
            if self.config_path.exists() or self.state.snapshot.exists():
                self.boot()
        elif recovery.enabled(self.root):
            if manifest.exists():
                self.boot()
            else:
                recovery.forget(self.root)

    def seen(self) -> tuple[dict[str, tuple[str, int]], list[str]]:
        """Files outside of rbops's own state, and the kernel; a recovery without a change to undo does nothing."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            inert = not self.state.snapshot.exists() and "rbops-recovery.service" in name
            if not name.startswith(("var/", "etc/.rbops.")) and not inert and (path.is_file() or path.is_symlink()):
                text = str(path.readlink()) if path.is_symlink() else path.read_text(encoding="utf-8")
                found[name] = (text, stat.S_IMODE(path.lstat().st_mode))
        return found, list(self.kernel)

    def own(self) -> set[str]:
        """The names in rbops's own state, generations apart."""
        base = self.state.base
        return {path.name for path in base.iterdir()} if base.is_dir() else set()


def fresh(_: Server) -> None:
    """A server that rbops never touched."""


def configured(server: Server) -> None:
    """A server with a confirmed configuration."""
    change(server, "old")


def change(server: Server, text: str) -> None:
    server.begin("ann", _RUN, 60)
    server.push(text)
    server.confirm(_RUN)


@dataclass(frozen=True)
class Step:
    """What is interrupted. ``ready`` comes before it; ``ends``: whether the new state may be what results."""

    name: str
    ready: Callable[[Server], None]
    run: Callable[[Server], object]
    ends: bool = False
    starts: tuple[Callable[[Server], None], ...] = (fresh, configured)


def _opened(server: Server) -> None:
    server.begin("ann", _RUN, 60)


def _pushed(server: Server) -> None:
    server.begin("ann", _RUN, 60)
    server.push("new")


STEPS = (
    Step("begin", lambda _: None, lambda server: server.begin("ann", _RUN, 60)),
    Step("begin-again", _pushed, lambda server: server.begin("ann", _RUN, 60)),
    Step("confirm", _pushed, lambda server: server.confirm(_RUN), ends=True),
    Step("revert", _pushed, lambda server: server.revert(_RUN)),
    Step("boot", _pushed, lambda server: server.reboot()),
    Step("restore", _opened, lambda server: server.restore(_RUN, 1), starts=(configured,)),
    Step("remove", _opened, lambda server: server.remove(_RUN), starts=(configured,)),
)
FAULTS: dict[str, tuple[Callable[[], BaseException], bool]] = {
    "full": (lambda: OSError(errno.ENOSPC, "No space left on device"), True),
    "full-once": (lambda: OSError(errno.ENOSPC, "No space left on device"), False),
    "read-only": (lambda: OSError(errno.EROFS, "Read-only file system"), True),
    "kill": (Cut, False),
    "power-cut": (Cut, False),
}


def _prepared(root: Path, step: Step, start: Callable[[Server], None]) -> tuple[Server, object]:
    server = Server(root)
    (root / "etc").mkdir(parents=True)
    start(server)
    old = server.seen()
    step.ready(server)
    return server, old


def _recover(server: Server, step: Step, fault: str) -> None:
    """What follows in life, with the disk well again: a boot after a power cut or a failed boot, else the timer."""
    if fault == "power-cut" or step.name == "boot":
        server.reboot()
    assert server.timer.armed() or not server.state.snapshot.exists(), "a change is open, and nothing will revert it"
    if server.timer.armed():
        server.revert(_RUN)


def _cases() -> Iterator[Any]:
    for step in STEPS:
        for start in step.starts:
            for fault in FAULTS:
                yield pytest.param(step, start, fault, id=f"{step.name}-{start.__name__}-{fault}")


@pytest.mark.parametrize(("step", "start", "fault"), _cases())
def test_each_write(
    step: Step,
    start: Callable[[Server], None],
    fault: str,
    tripwire: Tripwire,
    memory: Path,
    record_property: Callable[[str, object], None],
) -> None:
    make, lasting = FAULTS[fault]
    reference, _ = _prepared(memory / "reference", step, start)
    with tripwire.set() as wire:
        step.run(reference)
    total = len(wire.passed)
    assert total or step.name == "remove"
    record_property("faults", total)
    new = _new(memory)
    wrong: list[str] = []
    for at in range(total):
        server, old = _prepared(memory / str(at), step, start)
        with tripwire.set(at, make(), lasting=lasting) as wire, contextlib.suppress(OSError, RbopsError, Cut):
            step.run(server)
        where = f"at {at} of {total}: {wire.passed[at].replace(str(memory / str(at)), '')}"
        try:
            _recover(server, step, fault)
            found = server.seen()
            assert found == old or (step.ends and found == new), "neither old nor new"
            _clean_afterwards(server)
        except (AssertionError, OSError, RbopsError) as error:
            wrong.append(f"{where}: {error!r}")
    assert not wrong, "\n".join(wrong)


def _new(folder: Path) -> object:
    server = Server(folder / "new")
    (server.root / "etc").mkdir(parents=True)
    change(server, "new")
    return server.seen()


def _clean_afterwards(server: Server) -> None:
    """The next change works, and nothing of the interrupted one is left."""
    server.open("bob", _NEXT, 60, takeover=False, config=None)
    server.push("next")
    server.confirm(_NEXT)
    server.unlock(_NEXT)
    left = server.own() - {"generations", ".busy", "undo.json", "applied.json", "confirmed.json"}
    names = {path.name for path in (server.root / "etc").iterdir()} - {"rbops", "systemd"}
    names |= {path.name for path in server.root.rglob("*rbops-recovery*")}
    assert not left | names, f"left behind: {sorted(left | names)}"


def test_a_configuration_that_was_cut_is_not_confirmed(tmp_path: Path) -> None:
    """The change stays open: its timer, or the run, reverts it."""
    server = Server(tmp_path / "server")
    (server.root / "etc").mkdir(parents=True)
    change(server, "old")
    before = server.seen()
    server.begin("bob", _NEXT, 60)
    server.push("new")
    os.truncate(server.config_path, 30)
    with raises(UsageError, "node.config-json"):
        server.confirm(_NEXT)
    assert server.timer.armed()
    assert server.revert(_NEXT)
    assert server.seen() == before
