"""Elements that touch a device's queues: which device, which queue, and which direction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rbops.click.config import keywords
from rbops.click.elements import Driver
from rbops.click.flatten import FlatElement

__all__ = ["DeviceQueue", "Use", "use"]

Direction = Literal["receive", "transmit"]


@dataclass(frozen=True, slots=True, order=True)
class DeviceQueue:
    """One queue of a device; ``queue`` is a number, or the element's name where each element gets its own."""

    device: str
    direction: Direction
    queue: str

    def __str__(self) -> str:
        queue = self.queue if self.queue.isdecimal() else f"({self.queue})"
        return f"{self.direction} queue {queue} of device {self.device}"


@dataclass(frozen=True, slots=True)
class Use:
    """How an element uses its device. ``threads``: FastClick's own choice, None: as for any other element.

    ``own_queues``: every thread that comes by gets a queue of its own.
    """

    queue: DeviceQueue
    threads: tuple[int, ...] | None = None
    own_queues: bool = False


@dataclass(frozen=True, slots=True)
class _Kind:
    direction: Direction
    names: tuple[str, ...] = ("DEVNAME", "DEV")
    numbered: bool = True
    """Whether it has a QUEUE argument."""
    each_own: bool = False
    """Whether without QUEUE each element gets the next free one."""


_NETMAP = ("DEVNAME",)
_DPDK = ("PORT",)
_USER: Mapping[str, _Kind] = {
    "FromDevice": _Kind("receive", numbered=False),
    "ToDevice": _Kind("transmit", numbered=False),
    "FromDPDKDevice": _Kind("receive", _DPDK, each_own=True),
    "ToDPDKDevice": _Kind("transmit", _DPDK, each_own=True),
    "FromNetmapDevice": _Kind("receive", _NETMAP, each_own=True),
    "ToNetmapDevice": _Kind("transmit", _NETMAP, each_own=True),
}
_KERNEL: Mapping[str, _Kind] = {
    "FromDevice": _Kind("receive", numbered=False),
    "PollDevice": _Kind("receive", numbered=False),
    "ToDevice": _Kind("transmit"),
    "MQPollDevice": _Kind("receive"),
    "MQToDevice": _Kind("transmit"),
    "MQPushToDevice": _Kind("transmit"),
}
_SPREADS = ("FromDPDKDevice", "ToDPDKDevice", "FromNetmapDevice", "ToNetmapDevice")


def use(element: FlatElement, driver: Driver, threads: int, *, fastclick: bool) -> Use | None:
    """How ``element`` uses a device, None when it is none or names none; ``threads`` is how many run."""
    kind = (_USER if driver == "userlevel" else _KERNEL).get(element.kind)
    if kind is None:
        return None
    positional, named = keywords(element.arguments)
    device = next((named[name] for name in kind.names if name in named), positional[0] if positional else "")
    if not device:
        return None
    written = (
        named.get("QUEUE", positional[1] if kind.numbered and len(positional) > 1 else "") if kind.numbered else ""
    )
    queue = written if written.isdecimal() else element.name if kind.each_own else "0"
    found = DeviceQueue(device, kind.direction, queue)
    if not fastclick or element.kind not in _SPREADS:
        return Use(found)
    if kind.direction == "transmit":
        return Use(found, own_queues=_number(named, "N_QUEUES", 0 if not written.isdecimal() else 1) != 1)
    first, count = _number(named, "THREADOFFSET", 0), _number(named, "MAXTHREADS", threads)
    taken = tuple(thread for thread in range(first, first + count) if thread < threads)
    return Use(found, taken or (0,), own_queues=True)


def _number(named: Mapping[str, str], name: str, otherwise: int) -> int:
    text = named.get(name, "")
    return int(text) if text.isdecimal() else otherwise
