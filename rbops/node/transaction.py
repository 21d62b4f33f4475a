"""Commit-confirmed: snapshot and timer before a change, confirm or revert after it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbops.errors import CheckFailed, Locked, Mismatch, RbopsError, StateUnknown
from rbops.node import lock, recovery
from rbops.node.clock import boot_id, uptime
from rbops.node.installed import Installed
from rbops.node.state import State, copy_tree, read_json, same_tree, sweep_parts, sync_folder, sync_tree, write_whole
from rbops.node.timer import Timer

__all__ = ["Transaction"]

_SHOWN = 3
_PROGRAM = "rbops-node"


@dataclass(frozen=True, slots=True)
class Transaction:
    """The open change of one server, if there is one: the snapshot folder is its only record."""

    state: State
    etc: Path
    timer: Timer
    options: tuple[str, ...] = ()
    installed: Installed | None = None

    def manifest(self) -> dict[str, Any] | None:
        """What begin wrote; None when no change is open."""
        return read_json(self.state.snapshot / "manifest.json")

    def status(self) -> dict[str, Any] | None:
        """The open change for people and machines: run, holder, age, seconds left, whether the timer runs."""
        manifest = self.manifest()
        if manifest is None:
            return None
        now = uptime()
        return {
            "run": manifest["run"],
            "holder": manifest["holder"],
            "age_s": max(0, int(now - manifest["since"])),
            "left_s": int(manifest["since"] + manifest["timeout_s"] - now),
            "timer_armed": self.timer.armed(),
        }

    def begin(self, holder: str, run: str, timeout_s: int) -> None:
        """Arm the timer and take a snapshot of the configuration.

        Again by the same run re-arms the timer. Locked (7) while another run holds the server or
        has an open change; Mismatch (3), with nothing changed, when the timer cannot be armed.
        """
        lock.check(self.state, run)
        manifest = self.manifest()
        if manifest is not None and manifest["run"] != run:
            age = max(0, int(uptime() - manifest["since"]))
            raise Locked(
                f"{manifest['holder']} has an open change on this server since {age} s (run {manifest['run']})",
                code="node.change-open",
                hint="wait until it is confirmed or reverted: `rbops status` shows the time left",
            )
        record = {"schema_version": 1, "run": run, "holder": holder, "since": uptime(), "timeout_s": timeout_s}
        record["boot"] = boot_id()
        if manifest is not None:
            record |= {name: manifest[name] for name in ("configured", "etc")}
            self.timer.arm(timeout_s, self._command(run))
            write_whole(self.state.snapshot / "manifest.json", json.dumps(record).encode())
            return
        # The timer comes first: one that fires without a snapshot does nothing, a snapshot without a timer would hold
        # this server for ever.
        self._sweep()
        self.timer.arm(timeout_s, self._command(run))
        try:
            self._take(record)
        except OSError as error:
            self._forget()
            self.timer.disarm()
            raise Mismatch(f"cannot take a snapshot, nothing was changed: {error}", code="node.snapshot") from error

    def rebooted(self) -> bool:
        """Whether the open change, if there is one, is of an earlier boot: its timer went with that."""
        manifest = self.manifest()
        return manifest is not None and manifest.get("boot") != boot_id()

    def belongs_to(self, run: str) -> bool:
        """Whether the open change is that run's."""
        manifest = self.manifest()
        return manifest is not None and manifest["run"] == run

    def rearm(self, run: str, timeout_s: int) -> None:
        """Re-arm the timer of the open change, also while another rbops-node is running: writes nothing.

        If the change ends before it fires, the timer finds nothing to do.
        """
        self.timer.arm(timeout_s, self._command(run))

    def confirm(self, run: str, keep: Callable[[], None] = lambda: None) -> str:
        """Keep the change: ``keep`` it, forget the snapshot, then stop the timer, which alone would find nothing to do.

        Whose it was. Again for the run that was confirmed last, whose answer may have been lost, it changes nothing.
        Raises as :meth:`require`.
        """
        done = read_json(self.state.confirmed)
        if done and done["run"] == run and self.manifest() is None:
            self.timer.disarm()
            return str(done["holder"])
        manifest = self.require(run)
        keep()
        write_whole(self.state.confirmed, json.dumps({"run": run, "holder": manifest["holder"]}).encode())
        self._forget()
        self.timer.disarm()
        return str(manifest["holder"])

    def require(self, run: str) -> dict[str, Any]:
        """The manifest of the open change of ``run``.

        CheckFailed (1) when none is open (it was rolled back already), Locked (7) for another run's.
        """
        manifest = self.manifest()
        if manifest is None:
            raise CheckFailed("no change is open: it was rolled back already, or never begun", code="node.no-change")
        self._own(manifest, run)
        return manifest

    def change_to(self, etc: Path | None, installed: Path, reapply: Callable[[], None]) -> None:
        """The files of another configuration, then the kernel by ``reapply``; where it stopped before, it goes on.

        ``etc`` is moved to its place; None: no configuration, ``installed`` need not be there then, and ``reapply``,
        which needs to know what was loaded, comes before the files.
        """
        if self.installed:
            self.installed.pause()
        if etc is None:
            self._guard_boot()
            reapply()
            if self.installed:
                self.installed.stop()
            self._put_etc(None)
        else:
            self._put_etc(etc)
            if self.installed:
                self.installed.put_back_planes(installed)
            reapply()
        if self.installed:
            # Last of all: what runs here may be the very program that is replaced.
            self.installed.put_back(installed)

    def revert(self, run: str | None, reapply: Callable[[], None], remove_all: Callable[[], None]) -> bool:
        """Roll files and kernel back; False when no change is open. StateUnknown (6) when that fails.

        ``reapply`` makes the kernel equal to the restored files; ``remove_all`` leaves nothing of rbops in
        it, for a server that was not configured before.
        """
        manifest = self.manifest()
        if manifest is None:
            # A begin that was killed leaves the part that it had.
            self._unguard_boot()
            self.timer.disarm()
            return False
        if run is not None:
            self._own(manifest, run)
        try:
            if manifest["configured"]:
                self.change_to(self._saved, self._saved_installed, reapply)
            else:
                self.change_to(None, self._saved_installed, remove_all)
                self._restore_etc(manifest)
        except (OSError, RbopsError) as error:
            raise StateUnknown(
                f"the rollback failed: {_reason(error)}",
                code="node.rollback-failed",
                hint=f"what is left of the state before is in {self.state.snapshot}; "
                "`rbops-node revert` goes on where it stopped",
            ) from error
        self._forget()
        self.timer.disarm()
        return True

    def restore_files(self) -> bool:
        """At boot: restore the files before an unconfirmed change; the kernel has nothing of it any more."""
        manifest = self.manifest()
        if manifest is None:
            return False
        self._restore_etc(manifest)
        if self.installed:
            self.installed.put_back_planes(self._saved_installed)
        return True

    def finish_boot(self) -> None:
        """At boot, after the old configuration is active."""
        if self.installed:
            self.installed.put_back(self._saved_installed)
        self._forget()

    def _command(self, run: str) -> tuple[str, ...]:
        """What the timer runs; it gives the server back too, as nobody may be left to do so.

        A run that is still there finds its change undone.
        """
        return (*self._saved_program, "revert", "--run", run, "--unlock", *self.options)

    @property
    def _saved_program(self) -> tuple[str, ...]:
        """The copy of this program in the snapshot, which no push replaces."""
        return (sys.executable, *((str(self.state.snapshot / _PROGRAM),) if _own_program() else ("-m", "rbops.node")))

    def _guard_boot(self) -> None:
        """While a change is open something undoes it at boot, also where rbops.service is not there or about to go."""
        if self.installed:
            recovery.prepare(self.installed.root, self.state.snapshot, (*self._saved_program, "boot", *self.options))

    def _unguard_boot(self) -> None:
        if self.installed:
            recovery.forget(self.installed.root)

    def _take(self, record: dict[str, Any]) -> None:
        part = self._part
        part.mkdir(mode=0o700, parents=True)
        record["configured"] = (self.etc / "node.json").exists()
        record["etc"] = self.etc.is_dir() and (record["configured"] or any(self.etc.iterdir()))
        if record["etc"]:
            copy_tree(self.etc, part / "etc")
        if self.installed:
            (part / "installed").mkdir(mode=0o700)
            self.installed.save(part / "installed")
        program = _own_program()
        if program:
            shutil.copyfile(program, part / _PROGRAM)
        write_whole(part / "manifest.json", json.dumps(record).encode())
        sync_tree(part)
        if self.installed and not self.installed.starts_at_boot():
            self._guard_boot()
        part.rename(self.state.snapshot)
        sync_folder(self.state.base)

    @property
    def _part(self) -> Path:
        return self.state.base / "snapshot.part"

    @property
    def _gone(self) -> Path:
        return self.state.base / "snapshot.gone"

    @property
    def _saved(self) -> Path:
        """What /etc/rbops was; there until it is back at its place."""
        return self.state.snapshot / "etc"

    @property
    def _saved_installed(self) -> Path:
        return self.state.snapshot / "installed"

    def _restore_etc(self, manifest: dict[str, Any]) -> None:
        self._put_etc(self._saved if manifest["etc"] else None)

    def _put_etc(self, saved: Path | None) -> None:
        """Make /etc/rbops what ``saved`` is, by moving it there: a full disk has room for that, a copy it may not have.

        None: no /etc/rbops. A ``saved`` that is gone is at its place already.
        """
        fresh, old = self._beside
        for path in (fresh, old):
            shutil.rmtree(path, ignore_errors=True)
        if saved is not None and not saved.exists():
            return
        if saved is not None and same_tree(saved, self.etc):
            return
        if saved is not None:
            self._bring(saved, fresh)
        if self.etc.exists():
            self.etc.rename(old)
        if saved is not None:
            (fresh if fresh.exists() else saved).rename(self.etc)
        if self.etc.parent.is_dir():
            sync_folder(self.etc.parent)
        if saved is not None:
            shutil.rmtree(saved, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)

    def _bring(self, saved: Path, fresh: Path) -> None:
        """Copy to the file system of /etc where that is another one, so that a rename puts it in place."""
        if saved.stat().st_dev != self.etc.parent.stat().st_dev:
            copy_tree(saved, fresh)

    @property
    def _beside(self) -> tuple[Path, Path]:
        fresh, old = (self.etc.with_name(f".{self.etc.name}.{word}") for word in ("restored", "discarded"))
        return fresh, old

    def _forget(self) -> None:
        """From the rename on no change is open; what is left of the folder then goes with the next :meth:`_sweep`."""
        shutil.rmtree(self._gone, ignore_errors=True)
        if self.state.snapshot.exists():
            self.state.snapshot.rename(self._gone)
            sync_folder(self.state.base)
        self._unguard_boot()
        for path in (self._gone, self._part):
            shutil.rmtree(path, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what was left by changes that were interrupted in the middle of a write."""
        self._unguard_boot()
        for path in (self._part, self._gone, *self._beside, self.state.fresh):
            shutil.rmtree(path, ignore_errors=True)
        sweep_parts(self.state.base)

    def _own(self, manifest: dict[str, Any], run: str) -> None:
        if manifest["run"] != run:
            age = max(0, int(uptime() - manifest["since"]))
            raise Locked(
                f"the open change is of {manifest['holder']}, {age} s old (run {manifest['run']}), expected run {run}",
                code="node.other-run",
                hint="wait until it is confirmed or reverted: `rbops status` shows the time left",
            )


def _own_program() -> Path | None:
    """The file that this process runs, where it is rbops-node's and not Python's module."""
    program = Path(sys.argv[0])
    return program if program.is_file() and program.name == _PROGRAM else None


def _reason(error: Exception) -> str:
    """What went wrong in words: copying a folder gathers its errors in a list of tuples."""
    if isinstance(error, shutil.Error):
        return "; ".join(str(entry[-1]) for entry in error.args[0][:_SHOWN])
    return str(error)
