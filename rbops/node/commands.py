"""What each verb of rbops-node does; returns what it has to say as plain values."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from socket import AF_INET6
from threading import Thread
from typing import Any

from rbops.dataplane.base import Probeable
from rbops.errors import Locked, Mismatch, RbopsError, StateUnknown
from rbops.node import (
    drain,
    espsocket,
    guard,
    kernel_stages,
    lock,
    managers,
    netlink,
    pending,
    prober,
    recovery,
    routes,
    tunnelcounts,
    vrf,
    watch,
)
from rbops.node.devices import PROTOCOL, TABLE, inventory, resolve
from rbops.node.engine import Applied, Engine, prepare
from rbops.node.execute import execute
from rbops.node.prior import Prior
from rbops.node.restarts import WATCH
from rbops.node.schema import NodeConfig, parse
from rbops.node.settings import Setting, differing
from rbops.node.state import read_json
from rbops.node.system import NotInstalled, System
from rbops.node.views import Views, resolve_names

__all__ = ["Node"]

_DEVICES_WAIT_S = 60.0
_REVERT_WAIT_S = 300.0
_WAIT_S, _AGAIN_WAIT_S = 10.0, 1.0
_OUTLIVES = kernel_stages.SUBJECTS | {managers.SUBJECT}
"""What is there after a reboot, though the kernel has forgotten everything else."""


@dataclass(frozen=True, slots=True)
class Node(Views):
    """One server, with what its verbs change."""

    def settings(self) -> list[Setting]:
        """Everything in node.json, as it is and as planned."""
        return self._engine(self._config(), check=True).settings()

    def diff(self) -> list[Setting]:
        """What apply would change."""
        return differing(self.settings())

    def apply(self) -> Applied:
        """Make the kernel equal to node.json."""
        with self.state.exclusive():
            done = self._engine(self._config()).apply()
            # Within a change the next boot stays as it is until the confirmation.
            if self._transaction().manifest() is None:
                pending.commit(self.system)
            return done

    def validate(self) -> bool:
        """Check that this server can be as planned: Mismatch (3) when it cannot. Changes nothing.

        False when programs that the check needs are not installed yet.
        """
        try:
            self._engine(self._config(), check=True).feasible()
        except NotInstalled:
            return False
        return True

    def open(self, holder: str, run: str, timeout_s: int, *, takeover: bool, config: Path | None) -> None:
        """What a run does first: take the server, check ``config`` where one is given, snapshot and timer.

        A change that a reboot interrupted, and that nothing has undone since, is undone before.
        Raises what :meth:`lock`, :meth:`validate` and :meth:`begin` do; the lock stays then.
        """
        if self._transaction().rebooted():
            self.boot()
        self.lock(holder, run, takeover=takeover)
        if config is not None:
            replace(self, config_path=config).validate()
        self.begin(holder, run, timeout_s)

    def rearm(self, run: str, timeout_s: int) -> None:
        """Re-arm the timer of the open change of ``run``; CheckFailed (1) when it was rolled back, Locked (7)."""
        transaction = self._transaction()
        try:
            with self.state.exclusive(wait_s=_AGAIN_WAIT_S):
                transaction.begin(transaction.require(run)["holder"], run, timeout_s)
        except Locked as error:
            if error.code != "node.busy":
                raise
            # The run's own apply is running, for minutes where it makes GRUB's menu.
            transaction.require(run)
            transaction.rearm(run, timeout_s)

    def begin(self, holder: str, run: str, timeout_s: int) -> None:
        """Open a change: snapshot and timer. Again for the same change: re-arm the timer."""
        transaction = self._transaction()
        again = transaction.belongs_to(run)
        try:
            with self.state.exclusive(wait_s=_AGAIN_WAIT_S if again else _WAIT_S):
                if transaction.manifest() is None:
                    pending.discard(self.system)
                transaction.begin(holder, run, timeout_s)
        except Locked:
            if not again:
                raise
            # The run's own apply is running, for minutes where it makes GRUB's menu: no reason to undo it.
            transaction.rearm(run, timeout_s)

    def confirm(self, run: str, reason: str = "") -> dict[str, Any]:
        """Keep the open change, as a generation too; the generation's number, or why there is none.

        A configuration that cannot be read, as it was cut since, is not kept: the change stays open, and its timer.
        """
        with self.state.exclusive():
            transaction = self._transaction()
            if transaction.belongs_to(run) and self.config_path.exists():
                self._config()
            holder = transaction.confirm(run, lambda: pending.commit(self.system))
            if not self.config_path.exists():
                return {"generation": None}
            try:
                if self.state.held.exists():
                    drain.settle(self.state, self._config())
                return {"generation": self._generations().keep(run, holder, reason)}
            except OSError as error:
                # What was confirmed is in force all the same.
                return {"generation": None, "not_kept": str(error)}

    def after_confirm(self, run: str, *, unlock: bool) -> dict[str, Any]:
        """What waits for a reboot, and the lock given back. Nothing here fails: the change is in force."""
        answer: dict[str, Any] = {"reboot": []}
        stays = recovery.left(self.installed.root) if self.installed else []
        if stays:
            answer["stays"] = stays
        try:
            if self.config_path.exists():
                answer["reboot"] = self.waiting()
            if unlock:
                self.unlock(run)
        except (OSError, RbopsError) as error:
            answer["left"] = str(error)
        return answer

    def restore(self, run: str, number: int) -> Applied:
        """Within the open change of ``run``: the configuration of generation ``number``, files and kernel."""
        with self.state.exclusive():
            transaction = self._transaction()
            transaction.require(run)
            generations = self._generations()
            found = generations.find(number)
            fresh = self.state.fresh
            shutil.rmtree(fresh, ignore_errors=True)
            done: list[Applied] = []
            try:
                generations.tree(found, fresh)
                transaction.change_to(fresh, found.installed, lambda: done.append(self._engine(self._config()).apply()))
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
            return done[0]

    def remove(self, run: str) -> None:
        """Within the open change of ``run``: nothing of rbops in the kernel and among the files."""
        with self.state.exclusive():
            transaction = self._transaction()
            transaction.require(run)
            transaction.change_to(None, self.state.base / "nothing", self._remove_all)

    def revert(self, run: str | None, *, unlock: bool = False, drained: bool = False) -> bool:
        """Undo the open change; False when there is none. ``unlock``: give the server back too, if ``run`` has it.

        ``drained``: what ``run`` drained stays so until :meth:`unlock`.
        """
        # The timer may fire while an apply of a killed run is still running: what it does is undone after it.
        with self.state.exclusive(wait_s=_REVERT_WAIT_S):
            transaction = self._transaction()
            open_ = transaction.manifest()
            held = open_ is not None and run in (None, open_["run"]) and drain.undo(self.state, run, keep=drained)
            done = transaction.revert(run, self._reapply, self._remove_all)
            if held and self.config_path.exists():
                config = self._config()
                drain.sync(self.open_plane(config, resolve_names(config, self.system)), self.state, config)
            if unlock and run is not None and (lock.held(self.state) or {}).get("run") == run:
                self._give_back(run)
            return done

    def boot(self) -> dict[str, Any]:
        """After a reboot: the old files if the last change was not confirmed, then the kernel equal to them.

        Within a change that was begun since the last reboot the files stay: its run, or its timer, decides.
        """
        with self.state.exclusive(wait_s=_REVERT_WAIT_S):
            transaction = self._transaction()
            if transaction.manifest() is not None and not transaction.rebooted():
                done = self._engine(self._config()).apply().changes if self.config_path.exists() else ()
                return {"schema_version": 1, "restored": False, "changes": list(done)}
            restored = transaction.restore_files()
            if restored:
                pending.discard(self.system)
                drain.undo(self.state, None)
            changes: list[dict[str, str]] = []
            if self.config_path.exists():
                config = self._config()
                self._wait_for_devices(config)
                changes = list(self._engine(config).apply().changes)
            elif restored:
                self._forget_all()
            pending.commit(self.system)
            if restored:
                transaction.finish_boot()
            lock.sweep(self.state)
            return {"schema_version": 1, "restored": restored, "changes": changes}

    def lock(self, holder: str, run: str, *, takeover: bool) -> None:
        """Take the server for a run; what another run drained is used again: it is gone, or the lock would be its."""
        with self.state.exclusive():
            lock.lock(self.state, holder, run, takeover=takeover)
            if drain.by_others(self.state, run):
                with suppress(RbopsError):  # a configuration that is cut, say: whoever mends it takes the server again
                    self._release(run)

    def _release(self, run: str) -> None:
        """Use again what other runs than ``run`` drained."""
        config = self._config()
        drain.release(self.open_plane(config, resolve_names(config, self.system)), self.state, config, run)

    def unlock(self, run: str, *, undrain: bool = False) -> bool:
        """Give the server back; where rbops is not installed, nothing stays of what it kept there.

        ``undrain``: what the run drained is used again, or what any did: this one had the lock.
        """
        with self.state.exclusive():
            if undrain and drain.by_others(self.state, "") and self.config_path.exists():
                self._release("")
            return self._give_back(run)

    def _give_back(self, run: str) -> bool:
        there = lock.unlock(self.state, run)
        needed = (self.config_path, self.state.snapshot, self.state.undo)
        if not any(path.exists() for path in needed):
            shutil.rmtree(self.state.base)
        return there

    def watch(self) -> None:
        """Follow and probe the internal links until killed; restore what others take away of the network."""
        config = self._config()
        names = resolve_names(config, self.system)
        self.started.keep(WATCH, config, names)
        plane = self.open_plane(config, names)
        if isinstance(plane, Probeable):
            prober.start(config.dataplane.fabric, names, plane)
        Thread(target=self._guard, daemon=True).start()
        if config.ipsec is not None:
            Thread(target=tunnelcounts.keep, args=(config.ipsec,), daemon=True).start()
            held = {"in_vrf": vrf.chosen(config, self.system)}
            Thread(target=espsocket.hold, args=(config.ipsec,), kwargs=held, daemon=True).start()
        watch.watch(config, names, plane, renew=lambda: drain.renew(plane, self.state, config))

    def drain(self, server: int, *, drained: bool, run: str | None = None) -> dict[str, Any]:
        """Leave the server with that index out as an intermediate, or use it again; those that are left out now.

        ``run``: until that run undrains it, or another one has this server's lock.
        """
        with self.state.exclusive():
            config = self._config()
            plane = self.open_plane(config, resolve_names(config, self.system))
            return {"drained": drain.change(plane, self.state, config, server, drained=drained, run=run)}

    def hold(self, run: str, servers: int, newcomers: Sequence[int]) -> dict[str, Any]:
        """Within the open change of ``run``: what is left out once the cluster has ``servers`` servers."""
        with self.state.exclusive():
            self._transaction().require(run)
            config = self._config()
            plane = self.open_plane(config, resolve_names(config, self.system))
            return {"held": drain.hold(plane, self.state, config, run, servers, newcomers)}

    def _guard(self) -> None:
        """For as long as the watch runs: without it the watch ends too, and systemd starts both again."""
        try:
            guard.follow(self._mend)
        finally:
            os._exit(1)

    def _mend(self) -> bool:
        """Restore what is missing of what was applied last; False while another rbops-node is at work."""
        try:
            with self.state.exclusive(wait_s=0):
                config = self._last_config()
                if config is not None:
                    guard.mended(config, self.system, self.state)
        except Locked:
            return False
        return True

    def _engine(self, config: NodeConfig, *, check: bool = False) -> Engine:
        return prepare(config, self.system, self.state, self.open_plane, check=check)

    def _reapply(self) -> None:
        """The kernel's part of a revert to an earlier configuration, whose files are back."""
        pending.discard(self.system)
        self._engine(self._config()).apply()
        pending.commit(self.system)

    def _remove_all(self) -> None:
        """The kernel's part of a revert to nothing: everything as it was before the first apply."""
        pending.discard(self.system)
        config = self._last_config()
        if config is not None:
            present = {device.name for device in inventory(self.system)}
            names = {port: name for port, name in _names(config, self.system).items() if name in present}
            self.open_plane(config, names).detach()
        # Line by line: `ip route flush` takes a minute for 256K routes.
        have = netlink.parse_routes(netlink.dump_routes(PROTOCOL, TABLE))
        execute(self.system, [action for s in routes.settings({}, have, {}) for action in s.actions])
        if self.system.read("/proc/sys/net/ipv6/conf/all/forwarding") is not None:
            have = netlink.parse_routes(netlink.dump_routes(PROTOCOL, TABLE, AF_INET6))
            gone = routes.settings({}, have, {}, routes.IPV6)
            execute(self.system, [action for s in gone for action in s.actions])
        failures = Prior(self.state.undo).restore(self.system)
        if failures:
            raise StateUnknown(
                "; ".join(failures), code="node.undo-failed", hint=f"what is left to undo is in {self.state.undo}"
            )
        pending.commit(self.system)
        for path in self._records:
            path.unlink(missing_ok=True)

    @property
    def _records(self) -> tuple[Path, ...]:
        """What is known of an applied configuration, and means nothing without one."""
        state = self.state
        return state.applied, state.routes, state.boot, state.services, state.restored

    def _forget_all(self) -> None:
        """After a reboot nothing of a first change is in the kernel; what of it outlives one is removed."""
        failures = Prior(self.state.undo).restore(self.system, _OUTLIVES)
        if failures:
            raise StateUnknown(
                "; ".join(failures), code="node.undo-failed", hint=f"what is left to undo is in {self.state.undo}"
            )
        for path in (*self._records, self.state.undo):
            path.unlink(missing_ok=True)

    def _last_config(self) -> NodeConfig | None:
        """What was applied last, even if its file was cut or replaced since; None when nothing was."""
        record = read_json(self.state.applied)
        return None if record is None else parse(record["config"], self.config_path)

    def _wait_for_devices(self, config: NodeConfig) -> None:
        """At boot drivers may still be probing: wait a bounded time for the planned devices."""
        deadline = time.monotonic() + _DEVICES_WAIT_S
        while True:
            try:
                resolve(config, self.system)
            except Mismatch:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
            else:
                return


def _names(config: NodeConfig, system: System) -> dict[str, str]:
    """As far as they are still there: for taking things away."""
    try:
        return resolve_names(config, system)
    except Mismatch:
        return {port.name: port.select[1] for port in config.ports if port.select[0] == "name"}
