"""A port of node.json."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rbops.nic.settings import NicSetup
from rbops.node.schema.fields import FieldError, Fields, only_one_end
from rbops.node.schema.nic import MAC, Rule, parse_nic

__all__ = ["KINDS", "NAME", "Neighbor", "NodePort", "Queue"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
"""What a device may be called, planned or real."""
KINDS = ("external", "internal")


@dataclass(frozen=True, slots=True)
class Queue:
    """A receive and transmit queue and the CPU that touches each."""

    index: int
    rx_core: int
    tx_core: int

    def to_json(self) -> dict[str, object]:
        """As in node.json."""
        return {"index": self.index, "rx_core": self.rx_core, "tx_core": self.tx_core}


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A neighbour on an external port; ``mac`` None: the kernel resolves it."""

    index: int
    address: str
    mac: str | None

    def to_json(self) -> dict[str, object]:
        """As in node.json."""
        return {"index": self.index, "address": self.address, "mac": self.mac}


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePort:
    """A planned port; ``rate_bps`` is its line rate, ``peer`` the ``server:port`` at the far end of its cable.

    ``select``: the device is found by its ``name``, ``pci`` or ``mac``, and what that is.
    ``rss`` is over how many queues frames are spread (None: the device decides), ``steering`` which MACs have queues.
    ``closed``: a program reads the device's frames, and the kernel shall not.
    """

    name: str
    kind: str
    id: int | None = None
    peer: str | None = None
    peer_server: int | None = None
    select: tuple[str, str]
    driver: str
    mtu: int
    rate_bps: int
    promiscuous: bool
    arp: bool
    addresses: tuple[str, ...] = ()
    neighbors: tuple[Neighbor, ...] = ()
    queues: tuple[Queue, ...]
    nic: NicSetup
    rss: int | None = None
    steering: tuple[Rule, ...] = ()
    closed: bool = False

    @property
    def addresses4(self) -> tuple[str, ...]:
        """The IPv4 ones."""
        return tuple(address for address in self.addresses if ":" not in address)

    @property
    def addresses6(self) -> tuple[str, ...]:
        """The IPv6 ones."""
        return tuple(address for address in self.addresses if ":" in address)

    @property
    def subject(self) -> str:
        """How differences name the port."""
        return f"port {self.name}"

    @classmethod
    def parse(cls, port: Fields) -> NodePort:
        """FieldError for what is wrong: these become arguments of programs that root runs."""
        number, peer, peer_server = port.find("id"), port.find("peer"), port.find("peer_server")
        rss, steering, said = port.find("rss"), port.find("steering"), port.find("nic")
        driver = port["driver"].text()
        nic = NicSetup(driver) if said is None else parse_nic(driver, said.fields())
        rules = () if steering is None else tuple(entry.fields() for entry in steering.items())
        select = _select(port["select"].fields())
        only_one_end(port["kind"].choice(*KINDS), number, peer, peer_server)
        if nic.bind and select[0] != "pci":
            raise (
                port["nic"]
                .fields()["bind"]
                .error(f"a device for {nic.bind} has no name or MAC: select it by PCI address")
            )
        return cls(
            name=port["name"].text(NAME),
            kind=port["kind"].choice(*KINDS),
            id=None if number is None else number.number(),
            peer=None if peer is None else peer.text(),
            peer_server=None if peer_server is None else peer_server.number(),
            select=select,
            driver=driver,
            mtu=port["mtu"].number(),
            rate_bps=port["rate_bps"].number(),
            promiscuous=port["promiscuous"].flag(),
            arp=port["arp"].flag(),
            addresses=tuple(address.any_interface() for address in port["addresses"].items()),
            neighbors=tuple(_neighbor(neighbor.fields()) for neighbor in port["neighbors"].items()),
            queues=_queues(port),
            nic=nic,
            rss=None if rss is None else rss.number(),
            steering=tuple(Rule(rule["mac"].text(MAC), rule["queue"].number()) for rule in rules),
            closed=port.flag("closed", default=False),
        )

    def to_json(self) -> dict[str, object]:
        """As in node.json."""
        far: dict[str, object] = {"peer": self.peer, "peer_server": self.peer_server}
        return {
            "name": self.name,
            "kind": self.kind,
            **(far if self.kind == "internal" else {"id": self.id}),
            "select": dict([self.select]),
            "driver": self.driver,
            "mtu": self.mtu,
            "rate_bps": self.rate_bps,
            "promiscuous": self.promiscuous,
            "arp": self.arp,
            "addresses": list(self.addresses),
            "neighbors": [neighbor.to_json() for neighbor in self.neighbors],
            "queues": [queue.to_json() for queue in self.queues],
            "nic": self.nic.to_json(),
            "rss": self.rss,
            "steering": [rule.to_json() for rule in self.steering],
            **({"closed": True} if self.closed else {}),
        }


def _queues(port: Fields) -> tuple[Queue, ...]:
    entries = (entry.fields() for entry in port["queues"].items())
    found = tuple(Queue(q["index"].number(), q["rx_core"].number(), q["tx_core"].number()) for q in entries)
    if [queue.index for queue in found] != list(range(len(found))) or not found:
        raise port["queues"].error("queues must count from 0 without gaps")
    return found


def _select(selector: Fields) -> tuple[str, str]:
    if len(selector.values) != 1:
        raise FieldError(selector.place, "select by exactly one of name, pci, mac")
    ((kind, value),) = selector
    if kind not in ("name", "pci", "mac"):
        raise FieldError(selector.place, f"select by one of name, pci, mac, not by {kind}")
    return kind, value.text(NAME) if kind == "name" else value.text().lower()


def _neighbor(neighbor: Fields) -> Neighbor:
    mac = neighbor.find("mac")
    return Neighbor(
        neighbor["index"].number(), neighbor["address"].any_address(), None if mac is None else mac.text(MAC)
    )
