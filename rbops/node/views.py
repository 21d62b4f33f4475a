"""What the verbs of rbops-node say that change nothing on the server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

from rbops import __version__
from rbops.common.daemons import UNITS
from rbops.dataplane import registry
from rbops.dataplane.base import Followable, RouteTable
from rbops.errors import Mismatch, Where
from rbops.node import fib, frr, guard, kernel_stages, lock, queues, sample, sampler, table, tunnelcounts, vrf
from rbops.node.daemon import Bird
from rbops.node.dataplane import Opener
from rbops.node.devices import VRF, resolve
from rbops.node.frrd import Frr, Surroundings
from rbops.node.generations import Generations
from rbops.node.ike import Ike
from rbops.node.installed import Installed
from rbops.node.matched import Matcher, neighbors
from rbops.node.restarts import EXPORTER, FIB, SFLOW, WATCH, Started
from rbops.node.schema import NodeConfig, SflowConfig, load
from rbops.node.state import State, read_json
from rbops.node.system import System
from rbops.node.timer import Timer
from rbops.node.transaction import Transaction

__all__ = ["Views", "resolve_names"]

_UNITS = (
    "rbops.service",
    WATCH,
    FIB,
    *UNITS,
    EXPORTER,
    SFLOW,
    *(plane.unit for plane in registry.node_halves() if plane.unit),
    "irqbalance.service",
)


@dataclass(frozen=True, slots=True)
class Views:
    """One server, with everything a verb looks at; tests put other systems, timers and data planes in."""

    system: System
    state: State
    config_path: Path
    timer: Timer
    open_plane: Opener
    options: tuple[str, ...] = ()
    installed: Installed | None = None
    bird: Bird = field(default_factory=Bird)
    frr: Frr = field(default_factory=Frr)
    ike: Ike = field(default_factory=Ike)
    started: Started = field(default_factory=Started)

    def prepare_daemon(self) -> None:
        """Write the files that the routing daemon reads when it starts. Mismatch (3) if it has no configuration."""
        config = self._config()
        around = self._surroundings(config)
        if _speaks_frr(config):
            self.frr.prepare(around)
        else:
            self.bird.prepare(around.devices)
            self.bird.recovery()

    def reload_daemon(self) -> str:
        """Have the routing daemon read its configuration again; what it says."""
        config = self._config()
        around = self._surroundings(config)
        return self.frr.reload(around) if _speaks_frr(config) else self.bird.reload(around.devices)

    def load_ike(self) -> dict[str, list[str]]:
        """Give the IKE daemon its connections and secrets; which are new, ended, and live on."""
        return self.ike.load(self._config().ipsec)

    def ike_status(self) -> dict[int, dict[str, Any]]:
        """The state of each tunnel whose keys this server negotiates, by its number."""
        return self.ike.status(self._config().ipsec)

    def daemon_status(self) -> dict[str, Any] | None:
        """The sessions of the routing daemon that runs; None where none does."""
        return self.bird.status() or self.frr.status()

    def _planned_daemon(self, config: NodeConfig) -> dict[str, Any] | None:
        if config.routing is None:
            return None
        found = self.frr.status() if _speaks_frr(config) else self.bird.status()
        return found or {"daemon": config.routing.kind, "sessions": [], "error": "it does not run"}

    def _surroundings(self, config: NodeConfig) -> Surroundings:
        """External port of the router -> its device here, and the ways to others; none where a device is missing."""
        try:
            names = resolve_names(config, self.system)
        except Mismatch:
            # Sessions of other ports shall not wait for it.
            return Surroundings({}, ())
        devices = {port.id: names[port.name] for port in config.ports if port.id is not None and port.name in names}
        if not _speaks_frr(config):
            return Surroundings(devices, ())
        return Surroundings(devices, tuple(frr.host_routes(config, table.rows(table.load(config)), names)))

    def frr_lines(self) -> list[str]:
        """What an FRR of the user's own needs in its configuration on this server."""
        config = self._config()
        devices = resolve_names(config, self.system)
        in_vrf = vrf.chosen(config, self.system)
        return list(frr.lines(config, table.rows(table.load(config)), devices, in_vrf=in_vrf))

    def waiting(self) -> list[dict[str, str]]:
        """What is planned and takes effect with the next reboot only."""
        found = kernel_stages.after_reboot(self._config(), self.system, self.state)
        return [setting.to_json() for setting in found]

    def outdated(self) -> list[str]:
        """The services that have to start again to know what is planned now."""
        config = self._config()
        return self.started.outdated(config, resolve_names(config, self.system))

    def history(self) -> list[dict[str, Any]]:
        """The generations on this server, oldest first."""
        return [generation.to_json() for generation in self._generations().all()]

    def counters(self, *, by_queue: bool = False) -> dict[str, Any]:
        """The data plane's counters; ``by_queue`` also what the kernel counted of queues, interrupts and cores."""
        config = self._config()
        names = resolve_names(config, self.system)
        found = {"server": config.server, **self.open_plane(config, names).counters()}
        found |= self._tunnels(config)
        if not by_queue:
            return found
        kernels = {"queues": queues.read(self.system, config, names), "cpus": sample.cpus(self.system, config)}
        return {**found, **kernels, "at_s": time.monotonic()}

    def sample(self) -> dict[str, Any]:
        """Everything that this server measures, at one time (:mod:`rbops.node.sample`)."""
        config = self._config()
        names = resolve_names(config, self.system)
        return sample.take(
            config, names, self.open_plane(config, names), self.system, self.state, self._planned_daemon(config)
        )

    def metrics_addresses(self) -> dict[str, Any]:
        """Where the exporter listens: its port and addresses. Mismatch (3) where none is planned, or none is there."""
        from rbops.node import exporter

        config = self._config()
        if config.exporter is None:
            raise Mismatch(
                "no exporter is planned",
                code="node.no-exporter",
                where=Where(server=config.server),
                hint="write `monitoring: {exporter: {}}` in the spec",
            )
        found = exporter.addresses(config.exporter, self._data_devices(config), self.system)
        return {"port": config.exporter.port, "addresses": list(found)}

    def _data_devices(self, config: NodeConfig) -> list[str]:
        """Devices whose addresses are the router's."""
        names = resolve_names(config, self.system)
        return [*names.values(), VRF, *([config.host.device] if config.host else [])]

    def export(self, say: Callable[[str], None]) -> None:
        """Answer Prometheus until killed, or until the addresses change."""
        from rbops.node import exporter

        port = self.metrics_addresses()["port"]
        config = self._config()
        self.started.keep(EXPORTER, config, resolve_names(config, self.system))
        exporter.serve(port, self.sample, lambda: tuple(self.metrics_addresses()["addresses"]), say)

    def sflow_agent(self) -> dict[str, Any]:
        """The sFlow collector and the agent address. Mismatch (3) where no collector is planned, or no address fits."""
        from rbops.node import management

        config = self._config()
        wanted = self._planned_sflow(config)
        found = management.addresses(wanted.network, self._data_devices(config), self.system)
        return {"agent": sampler.agent(wanted, found), "collector": wanted.collector, "port": wanted.port}

    @staticmethod
    def _planned_sflow(config: NodeConfig) -> SflowConfig:
        if config.sflow is None:
            raise Mismatch(
                "no collector of samples is planned",
                code="node.no-sflow",
                where=Where(server=config.server),
                hint="write `monitoring: {sflow: {collector: ADDRESS}}` in the spec",
            )
        return config.sflow

    def sflow(self, say: Callable[[str], None]) -> None:
        """Send samples until killed, or until the management address changes."""
        config = self._config()
        wanted = self._planned_sflow(config)
        names = resolve_names(config, self.system)
        self.started.keep(SFLOW, config, names)
        speeds = {port.name: port.rate_bps for port in config.ports}
        plane, find = self.open_plane(config, names), lambda: str(self.sflow_agent()["agent"])
        matcher = Matcher(_own_addresses(config), neighbors(Path(config.routes.file)))
        sampler.Sender(wanted, speeds, names, plane, self.system, find, matcher=matcher).run(say)

    def sflow_off(self) -> None:
        """Sample nothing any more."""
        config = self._config()
        sampler.switch_off(self.open_plane(config, resolve_names(config, self.system)))

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
            found |= self._configured()
        return found

    def _configured(self) -> dict[str, Any]:
        """What ``status`` says beyond that where there is a configuration."""
        config = self._config()
        names = resolve_names(config, self.system)
        waiting = kernel_stages.after_reboot(config, self.system, self.state)
        missing = guard.missing(guard.network(config, self.system, self.state))
        found: dict[str, Any] = {
            "server": config.server,
            "index": config.dataplane.fabric.server,
            "reboot": [setting.to_json() for setting in waiting],
            "digest": config.digest,
            "applied": (read_json(self.state.applied) or {}).get("digest"),
            "ports": names,
            "missing": [setting.to_json() for setting in missing],
            "restored": guard.restored(self.state),
            "separation": "vrf" if vrf.chosen(config, self.system) else "rules",
            "dataplane": self.open_plane(config, names).status(),
        }
        found |= self._tunnels(config)
        if (follower := fib.read_status()) is not None:
            found["routes"] = follower
        if (daemon := self._planned_daemon(config)) is not None:
            found["daemon"] = daemon
        if config.sflow is not None:
            found["sflow"] = sampler.read_status()
        return found

    def _tunnels(self, config: NodeConfig) -> dict[str, Any]:
        """What passed through the kernel's tunnels here; nothing where there are none."""
        return {} if config.ipsec is None else {"tunnels": tunnelcounts.look(config.ipsec, self.ike)}

    def fib_follow(self, say: Callable[[str], None]) -> None:
        """Let the data plane's table follow the kernel's until killed."""
        follower = fib.Follower(self._followed(), say)
        config = self._config()
        self.started.keep(FIB, config, resolve_names(config, self.system))
        follower.run()

    def fib_audit(self) -> dict[str, Any]:
        """Kernel and data plane compared."""
        return fib.audit(self._followed())

    def fib_get(self, address: IPv4Address | IPv6Address) -> dict[str, Any]:
        """Where packets for an address go."""
        return {"server": self._config().server, **fib.trace(self._followed(reading=True), address)}

    def fib_changes(self) -> Iterator[str]:
        """A line for every change of the table, until killed."""
        return fib.changes(self._followed())

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

    def _config(self) -> NodeConfig:
        return load(self.config_path)

    def _transaction(self) -> Transaction:
        return Transaction(self.state, self.config_path.parent, self.timer, self.options, self.installed)

    def _generations(self) -> Generations:
        return Generations(self.state, self.config_path.parent, self.installed)

    def _service(self, unit: str) -> str:
        if not Path("/run/systemd/system").is_dir():
            return "no systemd"
        return self.system.run(("systemctl", "is-active", unit)).stdout.strip() or "unknown"


def _speaks_frr(config: NodeConfig) -> bool:
    return config.routing is not None and config.routing.kind == "frr"


def resolve_names(config: NodeConfig, system: System) -> dict[str, str]:
    """Planned port -> device."""
    return {port: device.name for port, device in resolve(config, system).items()}


def _own_addresses(config: NodeConfig) -> dict[int, str]:
    """Family -> an address of the router on this server."""
    found: dict[int, str] = {}
    for port in config.kernel_ports:
        for address in port.addresses if port.kind == "external" else ():
            found.setdefault(6 if ":" in address else 4, address.partition("/")[0])
    return found
