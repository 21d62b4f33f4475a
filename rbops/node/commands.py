"""What each verb of rbops-node does; returns what it has to say as plain values."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from socket import AF_INET6
from threading import Thread
from typing import Any

from rbops import __version__
from rbops.dataplane import registry
from rbops.dataplane.base import Followable, Probeable, RouteTable
from rbops.errors import Locked, Mismatch, RbopsError, StateUnknown, Where
from rbops.node import (
    drain,
    fib,
    guard,
    kernel_stages,
    lock,
    netlink,
    pending,
    prober,
    queues,
    recovery,
    routes,
    vrf,
    watch,
)
from rbops.node.daemon import Bird
from rbops.node.dataplane import Opener
from rbops.node.devices import PROTOCOL, TABLE, inventory, resolve
from rbops.node.engine import Applied, Engine, prepare
from rbops.node.execute import execute
from rbops.node.generations import Generations
from rbops.node.installed import Installed
from rbops.node.prior import Prior
from rbops.node.restarts import FIB, WATCH, Started
from rbops.node.route6 import trace6
from rbops.node.schema import NodeConfig, load, parse
from rbops.node.settings import Setting, differing
from rbops.node.state import State, read_json
from rbops.node.system import NotInstalled, System
from rbops.node.timer import Timer
from rbops.node.transaction import Transaction

__all__ = ["Node"]

_DEVICES_WAIT_S = 60.0
_REVERT_WAIT_S = 300.0
_WAIT_S, _AGAIN_WAIT_S = 10.0, 1.0
_UNITS = (
    "rbops.service",
    WATCH,
    FIB,
    "rbops-bird.service",
    *(plane.unit for plane in registry.node_halves() if plane.unit),
    "irqbalance.service",
)


@dataclass(frozen=True, slots=True)
class Node:
    """One server, with everything a verb touches; tests put other systems, timers and data planes in."""

    system: System
    state: State
    config_path: Path
    timer: Timer
    open_plane: Opener
    options: tuple[str, ...] = ()
    installed: Installed | None = None
    bird: Bird = field(default_factory=Bird)
    started: Started = field(default_factory=Started)

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

    def waiting(self) -> list[dict[str, str]]:
        """What is planned and takes effect with the next reboot only."""
        found = kernel_stages.after_reboot(self._config(), self.system, self.state)
        return [setting.to_json() for setting in found]

    def outdated(self) -> list[str]:
        """The services that have to start again to know what is planned now."""
        config = self._config()
        return self.started.outdated(config, resolve_names(config, self.system))

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
        """Keep the open change, as a generation too; the generation's number, or why there is none."""
        with self.state.exclusive():
            holder = self._transaction().confirm(run, lambda: pending.commit(self.system))
            if not self.config_path.exists():
                return {"generation": None}
            try:
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

    def history(self) -> list[dict[str, Any]]:
        """The generations on this server, oldest first."""
        return [generation.to_json() for generation in self._generations().all()]

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

    def revert(self, run: str | None, *, unlock: bool = False) -> bool:
        """Undo the open change; False when there is none. ``unlock``: give the server back too, if ``run`` has it."""
        # The timer may fire while an apply of a killed run is still running: what it does is undone after it.
        with self.state.exclusive(wait_s=_REVERT_WAIT_S):
            done = self._transaction().revert(run, self._reapply, self._remove_all)
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
        """Take the server for a run."""
        with self.state.exclusive():
            lock.lock(self.state, holder, run, takeover=takeover)

    def unlock(self, run: str) -> bool:
        """Give the server back; where rbops is not installed, nothing stays of what it kept there."""
        with self.state.exclusive():
            return self._give_back(run)

    def _give_back(self, run: str) -> bool:
        there = lock.unlock(self.state, run)
        needed = (self.config_path, self.state.snapshot, self.state.undo)
        if not any(path.exists() for path in needed):
            shutil.rmtree(self.state.base)
        return there

    def counters(self, *, by_queue: bool = False) -> dict[str, Any]:
        """The data plane's counters; ``by_queue`` also what the kernel counted of queues and interrupts."""
        config = self._config()
        names = resolve_names(config, self.system)
        found = {"server": config.server, **self.open_plane(config, names).counters()}
        return {**found, "queues": queues.read(self.system, config, names)} if by_queue else found

    def status(self) -> dict[str, Any]:
        """The state of this server, for operators and programs."""
        transaction = self._transaction().status()
        found: dict[str, Any] = {
            "schema_version": 1,
            "program": __version__,
            "configured": self.config_path.exists(),
            "transaction": transaction,
            "timer_armed": self.timer.armed(),
            "lock": lock.held(self.state),
            "services": {unit: self._service(unit) for unit in _UNITS},
            "machine_id": self.system.read("/etc/machine-id"),
        }
        if found["configured"]:
            config = self._config()
            names = resolve_names(config, self.system)
            waiting = kernel_stages.after_reboot(config, self.system, self.state)
            found |= {
                "server": config.server,
                "index": config.dataplane.fabric.server,
                "reboot": [setting.to_json() for setting in waiting],
                "digest": config.digest,
                "applied": (read_json(self.state.applied) or {}).get("digest"),
                "ports": names,
                "missing": [
                    setting.to_json() for setting in guard.missing(guard.network(config, self.system, self.state))
                ],
                "restored": guard.restored(self.state),
                "separation": "vrf" if vrf.chosen(config, self.system) else "rules",
                "dataplane": self.open_plane(config, names).status(),
            }
            if (follower := fib.read_status()) is not None:
                found["routes"] = follower
            if config.routing is not None:
                found["daemon"] = self.bird.status() or {"daemon": "bird", "sessions": [], "error": "it does not run"}
        return found

    def watch(self) -> None:
        """Follow and probe the internal links until killed; restore what others take away of the network."""
        config = self._config()
        names = resolve_names(config, self.system)
        self.started.keep(WATCH, config, names)
        plane = self.open_plane(config, names)
        if isinstance(plane, Probeable):
            prober.start(config.dataplane.fabric, names, plane)
        Thread(target=self._guard, daemon=True).start()
        watch.watch(config, names, plane, renew=lambda: drain.renew(plane, self.state, config))

    def drain(self, server: int, *, drained: bool) -> dict[str, Any]:
        """Leave the server with that index out as an intermediate, or use it again; those that are left out now."""
        with self.state.exclusive():
            config = self._config()
            plane = self.open_plane(config, resolve_names(config, self.system))
            return {"drained": drain.change(plane, self.state, config, server, drained=drained)}

    def fib_follow(self, say: Callable[[str], None]) -> None:
        """Let the data plane's table follow the kernel's until killed."""
        follower = self._follower(say)
        config = self._config()
        self.started.keep(FIB, config, resolve_names(config, self.system))
        follower.run()

    def fib_audit(self) -> dict[str, Any]:
        """Kernel and data plane compared."""
        return fib.audit(self._followed())

    def fib_get(self, address: IPv4Address | IPv6Address) -> dict[str, Any]:
        """Where packets for an address go."""
        table = self._followed(reading=True)
        if isinstance(address, IPv4Address):
            return {"server": self._config().server, **fib.trace(table, int(address))}
        return {"server": self._config().server, **trace6(table, int(address), self.system)}

    def fib_changes(self) -> Iterator[str]:
        """A line for every change of the table, until killed."""
        return fib.changes(self._followed())

    def _follower(self, say: Callable[[str], None]) -> fib.Follower:
        return fib.Follower(self._followed(), say)

    def _followed(self, *, reading: bool = False) -> RouteTable:
        config = self._config()
        plane = self.open_plane(config, resolve_names(config, self.system))
        if not isinstance(plane, Followable) or not (plane.follows or reading):
            raise Mismatch(
                "the data plane has static routes alone: its table does not follow the kernel's",
                code="node.not-followed",
                where=Where(server=config.server),
                hint="write `routing:` in the spec",
            )
        return plane.table()

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

    def _config(self) -> NodeConfig:
        return load(self.config_path)

    def _engine(self, config: NodeConfig, *, check: bool = False) -> Engine:
        return prepare(config, self.system, self.state, self.open_plane, check=check)

    def _transaction(self) -> Transaction:
        return Transaction(self.state, self.config_path.parent, self.timer, self.options, self.installed)

    def _generations(self) -> Generations:
        return Generations(self.state, self.config_path.parent, self.installed)

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
        for path in (self.state.applied, self.state.routes, self.state.boot, self.state.services, self.state.restored):
            path.unlink(missing_ok=True)

    def _forget_all(self) -> None:
        """After a reboot nothing of a first change is in the kernel; what of it outlives one is removed."""
        failures = Prior(self.state.undo).restore(self.system, kernel_stages.SUBJECTS)
        if failures:
            raise StateUnknown(
                "; ".join(failures), code="node.undo-failed", hint=f"what is left to undo is in {self.state.undo}"
            )
        for path in (self.state.applied, self.state.undo, self.state.boot):
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

    def _service(self, unit: str) -> str:
        if not Path("/run/systemd/system").is_dir():
            return "no systemd"
        return self.system.run(("systemctl", "is-active", unit)).stdout.strip() or "unknown"


def resolve_names(config: NodeConfig, system: System) -> dict[str, str]:
    """Planned port -> device."""
    return {port: device.name for port, device in resolve(config, system).items()}


def _names(config: NodeConfig, system: System) -> dict[str, str]:
    """As far as they are still there: for taking things away."""
    try:
        return resolve_names(config, system)
    except Mismatch:
        return {port.name: port.select[1] for port in config.ports if port.select[0] == "name"}
