"""Commit-confirmed: snapshot and timer before a change, confirm or revert after it."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbops.errors import CheckFailed, Locked, Mismatch, RbopsError, StateUnknown
from rbops.node import lock
from rbops.node.installed import Installed
from rbops.node.state import State, copy_tree, read_json, sync_folder, sync_tree, write_whole
from rbops.node.timer import Timer

__all__ = ["Transaction"]


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
        now = time.time()
        return {
            "run": manifest["run"],
            "holder": manifest["holder"],
            "age_s": max(0, int(now - manifest["since"])),
            "left_s": int(manifest["since"] + manifest["timeout_s"] - now),
            "timer_armed": self.timer.armed(),
        }

    def begin(self, holder: str, run: str, timeout_s: int) -> None:
        """Snapshot the configuration and arm the timer.

        Again by the same run re-arms the timer. Locked (7) while another run holds the server or
        has an open change; Mismatch (3), with nothing changed, when the timer cannot be armed.
        """
        lock.check(self.state, run)
        manifest = self.manifest()
        if manifest is not None and manifest["run"] != run:
            age = max(0, int(time.time() - manifest["since"]))
            raise Locked(
                f"{manifest['holder']} has an open change on this server since {age} s (run {manifest['run']})",
                code="node.change-open",
                hint="wait until it is confirmed or reverted: `rbops status` shows the time left",
            )
        record = {"schema_version": 1, "run": run, "holder": holder, "since": time.time(), "timeout_s": timeout_s}
        if manifest is not None:
            record["configured"] = manifest["configured"]
            self.timer.arm(timeout_s, self._command(run))
            write_whole(self.state.snapshot / "manifest.json", json.dumps(record).encode())
            return
        try:
            self._take(record)
        except OSError as error:
            raise Mismatch(f"cannot take a snapshot, nothing was changed: {error}", code="node.snapshot") from error
        try:
            self.timer.arm(timeout_s, self._command(run))
        except RbopsError:
            self._forget()
            raise

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

        Whose it was. Raises as :meth:`require`.
        """
        manifest = self.require(run)
        keep()
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
        """Within the open change: the files of an earlier configuration, then the kernel by ``reapply``.

        ``etc`` None, and an empty ``installed``: no configuration; ``reapply`` comes first then, and takes all away.
        """
        if self.installed:
            self.installed.pause()
        if etc is None:
            reapply()
            if self.installed:
                self.installed.stop()
            self._put_back(None)
        else:
            self._put_back(etc)
            if self.installed:
                self.installed.put_back_planes(installed)
            reapply()
        if self.installed:
            self.installed.put_back(installed)

    def revert(self, run: str | None, reapply: Callable[[], None], remove_all: Callable[[], None]) -> bool:
        """Roll files and kernel back; False when no change is open. StateUnknown (6) when that fails.

        ``reapply`` makes the kernel equal to the restored files; ``remove_all`` leaves nothing of rbops in
        it, for a server that was not configured before.
        """
        manifest = self.manifest()
        if manifest is None:
            self.timer.disarm()
            return False
        if run is not None:
            self._own(manifest, run)
        try:
            if self.installed:
                self.installed.pause()
            # The kernel's part needs to know what was loaded, so that the files go back after a first-time undo.
            if manifest["configured"]:
                self._put_back(self._saved(configured=True))
                self._put_planes_back()
                reapply()
            else:
                remove_all()
                if self.installed:
                    self.installed.stop()
                self._put_back(self._saved(configured=False))
            self._put_program_back()
        except (OSError, RbopsError) as error:
            raise StateUnknown(
                f"the rollback failed: {error}",
                code="node.rollback-failed",
                hint=f"the state before is in {self.state.snapshot}",
            ) from error
        self._forget()
        self.timer.disarm()
        return True

    def restore_files(self) -> bool:
        """At boot: restore the files before an unconfirmed change; the kernel has nothing of it any more."""
        manifest = self.manifest()
        if manifest is None:
            return False
        self._put_back(self._saved(configured=manifest["configured"]))
        self._put_planes_back()
        return True

    def finish_boot(self) -> None:
        """At boot, after the old configuration is active."""
        self._put_program_back()
        self._forget()

    def _put_planes_back(self) -> None:
        saved = self.state.snapshot / "installed"
        if self.installed and saved.is_dir():
            self.installed.put_back_planes(saved)

    def _put_program_back(self) -> None:
        """Last of all: what runs here may be the very program that is replaced."""
        saved = self.state.snapshot / "installed"
        if self.installed and saved.is_dir():
            self.installed.put_back(saved)

    def _command(self, run: str) -> tuple[str, ...]:
        """What the timer runs: the copy of this program in the snapshot, which no push replaces."""
        program = self.state.snapshot / "rbops-node"
        start = (str(program),) if program.exists() else ("-m", "rbops.node")
        return (sys.executable, *start, "revert", "--run", run, *self.options)

    def _take(self, record: dict[str, Any]) -> None:
        part = self.state.base / "snapshot.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(mode=0o700, parents=True)
        record["configured"] = (self.etc / "node.json").exists()
        if self.etc.is_dir():
            copy_tree(self.etc, part / "etc")
        if self.installed:
            (part / "installed").mkdir(mode=0o700)
            self.installed.save(part / "installed")
        program = Path(sys.argv[0])
        if program.is_file() and program.name == "rbops-node":
            shutil.copyfile(program, part / "rbops-node")
        write_whole(part / "manifest.json", json.dumps(record).encode())
        sync_tree(part)
        part.rename(self.state.snapshot)
        sync_folder(self.state.base)

    def _saved(self, *, configured: bool) -> Path | None:
        """What /etc/rbops was; None when it is not to be there."""
        saved = self.state.snapshot / "etc"
        return saved if saved.is_dir() and (configured or any(saved.iterdir())) else None

    def _put_back(self, saved: Path | None) -> None:
        fresh, old = (self.etc.with_name(f".{self.etc.name}.{word}") for word in ("restored", "discarded"))
        for path in (fresh, old):
            if path.exists():
                shutil.rmtree(path)
        if saved is not None:
            copy_tree(saved, fresh)
        if self.etc.exists():
            self.etc.rename(old)
        if fresh.exists():
            fresh.rename(self.etc)
        sync_folder(self.etc.parent)
        if old.exists():
            shutil.rmtree(old)

    def _forget(self) -> None:
        gone = self.state.base / f"snapshot.gone.{os.getpid()}"
        if self.state.snapshot.exists():
            self.state.snapshot.rename(gone)
            sync_folder(self.state.base)
            shutil.rmtree(gone)

    def _own(self, manifest: dict[str, Any], run: str) -> None:
        if manifest["run"] != run:
            age = max(0, int(time.time() - manifest["since"]))
            raise Locked(
                f"the open change is of {manifest['holder']}, {age} s old (run {manifest['run']}), expected run {run}",
                code="node.other-run",
                hint="wait until it is confirmed or reverted: `rbops status` shows the time left",
            )
