"""A server's place in the network: addresses, neighbours, routes, rules. What other managers of networks may undo.

In the order in which one needs the other: as stages of the engine, and for the watch, which restores what went missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from socket import AF_INET6

from rbops.common.unnumbered import ANY_LINK_LOCAL
from rbops.node import (
    addresses,
    advertisements,
    devices,
    host,
    managers,
    neighbors,
    netlink,
    routes,
    rules,
    services,
    table,
    tunnels,
    vrf,
)
from rbops.node.devices import PROTOCOL, TABLE, VRF, Device
from rbops.node.schema import NodeConfig
from rbops.node.settings import Setting
from rbops.node.state import State, read_json, write_whole
from rbops.node.system import System
from rbops.node.table import Hop

__all__ = ["Network", "Stage"]

_ZEBRAS = "169.254.0.1"
"""FRR's zebra gives a router that it knows by an interface this neighbour too, for IPv4 without RFC 8950."""

Stage = tuple[str, Callable[[], list[Setting]]]


@dataclass(frozen=True, slots=True)
class Network:
    """``found``: planned port -> device; ``table``: the cluster's routes, None where they are not here.

    ``mends``: for the watch, which leaves alone what cannot be put back as long as a cable is cut.
    """

    system: System
    config: NodeConfig
    state: State
    found: Mapping[str, Device]
    table: tuple[table.Row, ...] | None
    mends: bool = False

    @property
    def _ipv6(self) -> bool:
        return table.has_ipv6(self.config)

    @property
    def names(self) -> dict[str, str]:
        """Planned port -> name of the device."""
        return {port: device.name for port, device in self.found.items()}

    def before_ports(self) -> list[Stage]:
        """What comes before the ports are set: a port that enters a VRF goes down for a moment."""
        found: list[Stage] = [("host interface", self._host), ("VRF", self._vrf)]
        if self.config.ipsec is not None:
            found += [("tunnel interfaces", self._tunnels), ("tunnels", self._protection)]
        if self._ipv6:
            found.append(("advertised routes", lambda: advertisements.settings(self._devices(), self.system)))
        return found

    def after_ports(self) -> list[Stage]:
        """What ports must be up for."""
        return [
            ("addresses", self._addresses),
            ("neighbors", self._neighbors),
            ("routes", self._routes),
            ("rules", self._rules),
            *([("IPv6 routes", self._routes6), ("IPv6 rules", self._rules6)] if self._ipv6 else []),
            (
                "services",
                lambda: services.settings(self.config, self._devices(), self.state, self.system, self._by_port()),
            ),
        ]

    def managers(self) -> list[Setting]:
        """What others who manage this server's network are told."""
        return managers.settings(self._devices(), self.system)

    def _devices(self) -> list[str]:
        """The router's on this server."""
        names = [self.names[port.name] for port in self.config.kernel_ports]
        more = [] if self.config.host is None else [self.config.host.device]
        more += tunnels.devices(self.config)
        return [*names, *more, *([VRF] if vrf.chosen(self.config, self.system) else [])]

    def _by_port(self) -> list[str]:
        """Where the routing daemon knows a neighbour by its port alone."""
        ports = self.config.kernel_ports
        return [self.names[p.name] for p in ports if any(near.address == ANY_LINK_LOCAL for near in p.neighbors)]

    def _host(self) -> list[Setting]:
        if self.config.host is None:
            return []
        now = {device.name: device for device in devices.inventory(self.system)}
        return host.settings(self.config.host, now, addresses.read(self.system))

    def _vrf(self) -> list[Setting]:
        now = {device.name: device for device in devices.inventory(self.system)}
        return vrf.settings(self.config, self.names, now, self.system)

    def _tunnels(self) -> list[Setting]:
        now = {device.name: device for device in devices.inventory(self.system)}
        return tunnels.links(self.config, now, addresses.read(self.system))

    def _protection(self) -> list[Setting]:
        if self.config.ipsec is None:
            return []
        return tunnels.protection(self.config.ipsec, tunnels.read(self.config, self.system))

    def _addresses(self) -> list[Setting]:
        facts = addresses.read(self.system, ipv6=self._ipv6)
        ports = self.config.kernel_ports
        return [each for port in ports for each in addresses.settings(port, self.names[port.name], facts)]

    def _neighbors(self) -> list[Setting]:
        if self.table is None:
            return []
        want = table.neighbors(self.table, self.config, self.names)
        ports = {device: port for port, device in self.names.items()}
        facts = neighbors.read(self.system, ipv6=self._ipv6)
        if self.config.routing is not None and self.config.routing.kind == "frr":
            facts = {place: mac for place, mac in facts.items() if place[1] != _ZEBRAS or place in want}
        return neighbors.settings(ports, want, facts)

    def _routes(self) -> list[Setting]:
        dump = netlink.dump_routes(PROTOCOL, TABLE)
        known = read_json(self.state.routes)
        if known is not None and known.get("fingerprint") == self._fingerprint(dump):
            return [Setting(routes.SUBJECT, "count", str(known["count"]), str(known["count"]))]
        if self.table is None:
            return []
        want = table.hops(self.table, self.config, self.names)
        return self._compared(want, netlink.parse_routes(dump), routes.IPV4)

    def _compared(self, want: Mapping[tuple[int, int], Hop], have: netlink.Routes, kind: routes.Kind) -> list[Setting]:
        """Without those of a cut cable: rbops-fib leads them over another one (``detour.py``)."""
        indexes, cut = self._indexes(), self._cut()
        if cut:
            inside = frozenset(self.found[port].index for port in self._internal)
            want, have = routes.without_cut(want, have, indexes, inside=inside, cut=cut, absent=self.mends)
        return routes.settings(want, have, indexes, kind)

    def _rules(self) -> list[Setting]:
        apart = vrf.chosen(self.config, self.system)
        return rules.settings(self.config, self.names, rules.read(self.system), vrf=apart)

    def _routes6(self) -> list[Setting]:
        if self.table is None:
            return []
        want = table.hops(self.table, self.config, self.names, ipv6=True)
        have = netlink.parse_routes(netlink.dump_routes(PROTOCOL, TABLE, AF_INET6))
        return self._compared(want, have, routes.IPV6)

    def _rules6(self) -> list[Setting]:
        apart = vrf.chosen(self.config, self.system)
        return rules.settings6(self.config, self.names, rules.read(self.system, "-6"), vrf=apart)

    def remember(self) -> None:
        """After all was read back as planned: what is compared by its whole later."""
        self._remember_routes()
        services.remember(self.config, self.state, self.system)

    def _remember_routes(self) -> None:
        """After the routes were read back as planned: the kernel's bytes now represent the planned table.

        Not where some were left alone, which may be missing.
        """
        if self.mends and self._cut():
            return
        dump = netlink.dump_routes(PROTOCOL, TABLE)
        known = read_json(self.state.routes)
        mark = self._fingerprint(dump)
        if known is None or known.get("fingerprint") != mark:
            count = sum(1 for kind, _, _ in netlink.messages(dump) if kind)
            write_whole(self.state.routes, json.dumps({"fingerprint": mark, "count": count}).encode())

    def _indexes(self) -> dict[str, int]:
        found = {device.name: device.index for device in self.found.values()}
        more = [] if self.config.host is None else [self.config.host.device]
        more += tunnels.devices(self.config)
        if more:
            found |= {d.name: d.index for d in devices.inventory(self.system) if d.name in more}
        return found

    @property
    def _internal(self) -> list[str]:
        return [port.name for port in self.config.kernel_ports if port.kind == "internal"]

    def _cut(self) -> frozenset[int]:
        """The internal devices without a carrier, by index: a file that a port which is down refuses to show."""
        inside = [self.found[port] for port in self._internal]
        return frozenset(
            each.index for each in inside if self.system.read(f"/sys/class/net/{each.name}/carrier") != "1"
        )

    def _fingerprint(self, dump: bytes) -> str:
        """With the cables that are cut: what is right meanwhile is not right when they are back."""
        wanted = f"{self.config.digest} {sorted(self._cut())}"
        return routes.fingerprint(self.config.routes.sha256, wanted, self._indexes(), dump)
