"""The settings of NICs: a field of :class:`NicSettings` is a setting, its :class:`Row` all that rbops knows of it.

From here come the keys of the spec's section ``nic:`` and their JSON Schema, what the planner chooses by driver, a
port's part of node.json, what rbops-node reads and writes in which order, and what verify checks. A new setting is
a field here, and a capability of drivers or a reader in rbops-node where it needs one that is not there yet.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal, get_args

from rbops.nic.drivers import Driver
from rbops.nic.kinds import KEEP, Features, Flag, HashKey, Keep, Kind, Number

__all__ = [
    "GROUPS",
    "QUEUE_STAGES",
    "ROWS",
    "STAGES",
    "NicSettings",
    "NicSetup",
    "Row",
    "Situation",
    "Tool",
    "plan_settings",
]

STAGES = (
    "channels", "rings", "sysctl", "ingress", "links", "offloads",
    "coalescing", "rss", "steering", "xps", "irqbalance", "irq", "napi",
)  # fmt: skip
"""The order that works on a server.

Channels reset all that follows. Many drivers ask for their interrupts when the link is set up, so what is set for
queues comes after it; veth tells the far end that it takes redirected frames only when GRO is turned on while it is
up. What has no row here (channels, links, the indirection table, rules, CPUs) rbops-node computes from the plan.
"""

QUEUE_STAGES = STAGES[STAGES.index("coalescing") :]
"""What belongs to queues: drivers forget some of it when they make their queues anew."""

GROUPS = {
    "rings": "Descriptors a queue (`ethtool -G`).",
    "coalescing": "When a NIC interrupts (`ethtool -C`).",
}
"""The sections within ``nic:``, by the part of a key before the dot."""

_SMALLEST_RING, _LARGEST_RING = 512, 4096


@dataclass(frozen=True, slots=True)
class Tool:
    """How settings are read and written: an option of ethtool each, or (None) a file of /sys/class/net/DEVICE.

    ``label`` is what rbops-node calls them; ``lacking`` says why a device has no such setting.
    ``tuning``: packets are forwarded without it too, so that a refusal is reported and nothing else.
    """

    stage: str
    label: str = "{name}"
    read: str | None = None
    write: str | None = None
    lacking: str = "driver {driver} has no {name}"
    tuning: Callable[["NicSetup"], bool] = lambda _: True

    def title(self, parameter: str) -> str:
        """What rbops-node calls the setting of a parameter."""
        return self.label.format(name=parameter)


# A size that the spec insists on is not tuning; one that rbops chose is cut to what the device has.
_RING = Tool(
    "rings", "ring {name}", "-g", "-G", "driver {driver} has no {name} ring to set", lambda setup: setup.ring_fit
)
_COALESCE = Tool("coalescing", "coalesce {name}", "-c", "-C")
_FEATURE = Tool("offloads", "offload {name}", "-k", "-K", "driver {driver} has {name} fixed {have}")
_HASH = Tool("rss", "rss key", "-x", "-X", "driver {driver} shows no hash key")
_FILE = Tool("napi", lacking="this kernel has no such file")


@dataclass(frozen=True, slots=True)
class Situation:
    """What rbops chooses a setting by, where the spec says nothing.

    ``timeout_usecs`` and ``batch`` are the spec's batching, ``queue_pps`` the smallest frames a second that one
    receive queue may get at line rate, ``offloads`` what the data plane needs.
    """

    driver: Driver
    timeout_usecs: int
    batch: int
    queue_pps: float
    offloads: tuple[tuple[str, bool], ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """A setting: its key below ``nic:``, the text of it that editors show, what it may be, and where it is on a server.

    ``name`` is its field's. ``parameters`` are the tool's names of it; features name themselves. ``absent`` is what a
    device that does not know it counts as. ``default`` is what rbops chooses, None: nothing.
    """

    key: str
    text: str
    kind: Kind
    tool: Tool
    parameters: tuple[str, ...] = ()
    absent: str | None = None
    default: Callable[["NicSettings", Situation], Any] | None = None
    examples: tuple[Any, ...] = ()
    name: str = ""

    def of(self, settings: "NicSettings") -> Any:
        """The value of this setting."""
        return getattr(settings, self.name)

    def over(self, own: Any, general: Any) -> Any:
        """``own``, or ``general`` where it says nothing; of features each by itself."""
        if isinstance(self.kind, Features):
            return tuple({**dict(general or ()), **dict(own or ())}.items())
        return general if own is None else own


def _timeout(asked: "NicSettings", place: Situation) -> int | None:
    del asked
    return place.timeout_usecs if "usecs" in place.driver.has else None


def _usecs(asked: "NicSettings", place: Situation) -> int | None:
    """An adaptive driver chooses the time itself."""
    return None if asked.adaptive else _timeout(asked, place)


def _frames(asked: "NicSettings", place: Situation) -> int | None:
    left = asked.adaptive or asked.rx_usecs == KEEP
    return place.batch if "frames" in place.driver.has and not left else None


def _adaptive(asked: "NicSettings", place: Situation) -> bool | None:
    return False if "adaptive" in place.driver.has and asked.rx_usecs != KEEP else None


def _ring(asked: "NicSettings", place: Situation) -> int | None:
    """Room for twice what a queue may get while the interrupt waits, in powers of two."""
    if "rings" not in place.driver.has:
        return None
    usecs = _timeout(asked, place) if asked.rx_usecs is None else asked.rx_usecs
    room = 0.0 if usecs is None or usecs == KEEP else 2 * place.queue_pps * usecs / 1_000_000
    chosen = _SMALLEST_RING
    while chosen < min(room, _LARGEST_RING):
        chosen *= 2
    return chosen


def _offloads(asked: "NicSettings", place: Situation) -> tuple[tuple[str, bool], ...]:
    del asked
    return place.offloads


_RING_SIZE = Number(64, 16384, keep=True)
_MICROSECONDS = Number(0, 10_000, "us", keep=True)
_FRAMES = Number(1, 1024)
_NANOSECONDS = Number(0, 1_000_000_000, "ns")
_FEATURES = Features((
    "gro", "gso", "lro", "tso", "rx", "tx", "sg", "rxvlan", "txvlan", "rxhash", "ntuple", "rx-gro-hw", "rx-gro-list",
    "rx-udp-gro-forwarding", "rx-udp_tunnel-port-offload", "rx-vlan-filter", "rx-vlan-stag-hw-parse", "tx-gso-partial",
    "tx-nocache-copy", "tx-udp-segmentation", "hw-tc-offload",
))  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class NicSettings:
    """How devices are set. None: nothing is said, so the device's own value stays.

    Rings count descriptors, ``_usecs`` microseconds, ``_ns`` nanoseconds.
    """

    # fmt: off
    rx_ring: Annotated[int | Keep | None, Row(
        "rings.rx", "Receive; left out: enough for twice what may come in during the coalescing time.",
        _RING_SIZE, _RING, ("rx",), default=_ring, examples=(1024, KEEP),
    )] = None
    tx_ring: Annotated[int | Keep | None, Row(
        "rings.tx", "Transmit; left out: as many as receive.",
        _RING_SIZE, _RING, ("tx",), default=_ring, examples=(1024, KEEP),
    )] = None
    adaptive: Annotated[bool | None, Row(
        "coalescing.adaptive", "Whether the driver may change the times by itself; left out: no.",
        Flag(), _COALESCE, ("adaptive-rx", "adaptive-tx"), absent="off", default=_adaptive,
    )] = None
    rx_usecs: Annotated[int | Keep | None, Row(
        "coalescing.rx", "The longest a received frame waits; left out: batching.timeout.",
        _MICROSECONDS, _COALESCE, ("rx-usecs",), default=_usecs, examples=("50us", 0),
    )] = None
    tx_usecs: Annotated[int | Keep | None, Row(
        "coalescing.tx", "The longest a sent frame's memory waits; left out: the driver's own.",
        _MICROSECONDS, _COALESCE, ("tx-usecs",), examples=("50us", 0),
    )] = None
    rx_frames: Annotated[int | None, Row(
        "coalescing.rx_frames", "Interrupt after as many frames; left out: batching.tx_burst where it can be.",
        _FRAMES, _COALESCE, ("rx-frames",), default=_frames,
    )] = None
    tx_frames: Annotated[int | None, Row(
        "coalescing.tx_frames", "The same for sent frames; left out: the driver's own.",
        _FRAMES, _COALESCE, ("tx-frames",),
    )] = None
    rss_key: Annotated[str | None, Row(
        "rss_key", "The key of the receive hash: keep, symmetric (both directions of a flow to one queue) or bytes.",
        HashKey(), _HASH, ("hkey",), examples=("symmetric",),
    )] = None
    threaded_napi: Annotated[bool | None, Row(
        "threaded_napi", "Whether each queue is polled by a kernel thread of its own, pinned to the queue's core.",
        Flag("1", "0"), _FILE, ("threaded",), absent="0",
    )] = None
    defer_hard_irqs: Annotated[int | None, Row(
        "defer_hard_irqs", "How many empty polls before the interrupt is switched on again; needs flush_timeout.",
        Number(0, 1000), _FILE, ("napi_defer_hard_irqs",), absent="0",
    )] = None
    flush_timeout_ns: Annotated[int | None, Row(
        "flush_timeout", "How long the kernel waits between two polls while the interrupt is off (gro_flush_timeout).",
        _NANOSECONDS, _FILE, ("gro_flush_timeout",), absent="0", examples=("200us", 0),
    )] = None
    offloads: Annotated[tuple[tuple[str, bool], ...], Row(
        "offloads", "Features by ethtool's short names, over what the data plane needs.",
        _FEATURES, _FEATURE, absent="off", default=_offloads, examples=({"gro": True, "lro": False},),
    )] = ()
    # fmt: on


def _rows() -> tuple[Row, ...]:
    # The types are objects: without `from __future__ import annotations` in this module.
    types = ((part.name, get_args(part.type)) for part in fields(NicSettings))
    return tuple(replace(row, name=name) for name, (_, row) in types)


ROWS = _rows()
"""Every setting, in the order in which a stage carries them out."""

_BY_NAME = {row.name: row for row in ROWS}


def plan_settings(asked: NicSettings, place: Situation) -> dict[str, Any]:
    """Field -> value for devices in ``place``: what is asked, else what rbops chooses; None for ``keep`` or nothing."""
    found = {}
    for row in ROWS:
        chosen = row.default(asked, place) if row.default else None
        value = row.over(row.of(asked), chosen)
        found[row.name] = None if value == KEEP else value
    return found


@dataclass(frozen=True, slots=True)
class NicSetup(NicSettings):
    """How a server's devices of one ``driver`` are set, as the plan and node.json have it.

    ``ring_fit``: rings are cut to what the device has. ``rss_queues``: over at most how many queues the driver
    spreads frames. ``steering_fallback``: where the NIC has no rules by MAC the data plane dispatches. ``bind``: the
    driver by which the devices are handed to a program.
    """

    driver: str
    ring_fit: bool = True
    rss_queues: int | None = None
    steering: Literal["hardware", "software"] = "software"
    steering_fallback: bool = True
    bind: str | None = None

    def to_json(self) -> dict[str, Any]:
        """What is said, without the driver; features as an object."""
        said = {part.name: getattr(self, part.name) for part in fields(self) if part.name != "driver"}
        nothing = {part.name: part.default for part in fields(self)}
        found = {name: value for name, value in said.items() if value != nothing[name]}
        return {**found, "offloads": dict(self.offloads)} if self.offloads else found
