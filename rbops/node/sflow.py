"""sFlow version 5 datagrams: flow samples with a packet's header, counter samples of interfaces.

Source: sFlow.org, "sFlow Version 5" (July 2004), section 5: the XDR of a datagram; numbers of formats are its.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

__all__ = ["MOST_BYTES", "Counters", "FlowSample", "Router", "counter_sample", "datagrams", "flow_sample"]

MOST_BYTES = 1400
"""A datagram's longest: one packet of an Ethernet."""

_VERSION = 5
_FLOW_SAMPLE, _COUNTER_SAMPLE = 1, 2
_RAW_HEADER, _GENERIC_COUNTERS, _EXTENDED_ROUTER = 1, 1, 1002
_ETHERNET = 1  # header_protocol ETHERNET-ISO88023
_FCS = 4
_ETHERNET_CSMACD, _FULL_DUPLEX = 6, 1  # IANAifType, ifDirection
_UNKNOWN, _UNKNOWN_OUTPUT = 0xFFFFFFFF, 0
_WORD = 1 << 32
_LONG = 1 << 64


@dataclass(frozen=True, slots=True)
class Router:
    """The routes of a packet's addresses: ``next_hop`` in 4 or 16 bytes, zeros where none is known, and both lengths.

    A source without a route has the length 0.
    """

    next_hop: bytes
    source_length: int
    destination_length: int


@dataclass(frozen=True, slots=True)
class FlowSample:
    """One frame of an interface: ``sequence`` counts the interface's samples, ``pool`` the frames it received.

    ``drops`` of them were sampled and lost. ``size`` is the frame's without FCS, ``header`` its first bytes, ``router``
    the routes that it matches (None where that is not known).
    """

    interface: int
    sequence: int
    rate: int
    pool: int
    drops: int
    size: int
    header: bytes
    router: Router | None = None


@dataclass(frozen=True, slots=True)
class Counters:
    """An interface's counters; ``speed_bps``, and whether it is ``up`` (administratively, by its carrier)."""

    interface: int
    sequence: int
    speed_bps: int
    up: tuple[bool, bool]
    in_bytes: int
    in_packets: int
    out_bytes: int
    out_packets: int


def flow_sample(sample: FlowSample) -> bytes:
    """``sample_data`` with a ``flow_sample``: a ``sampled_header``, and where it is known an ``extended_router``.

    Which interface it leaves by is not said.
    """
    padded = sample.header + bytes(-len(sample.header) % 4)
    raw = struct.pack(">4I", _ETHERNET, sample.size + _FCS, _FCS, len(sample.header)) + padded
    head = (
        sample.sequence % _WORD,
        sample.interface,
        sample.rate,
        sample.pool % _WORD,
        sample.drops % _WORD,
        sample.interface,
        _UNKNOWN_OUTPUT,
        1 if sample.router is None else 2,
    )
    extended = b"" if sample.router is None else _framed(_EXTENDED_ROUTER, _router(sample.router))
    return _framed(_FLOW_SAMPLE, struct.pack(">8I", *head) + _framed(_RAW_HEADER, raw) + extended)


def _router(router: Router) -> bytes:
    hop = struct.pack(">I", _address_type(router.next_hop)) + router.next_hop
    return hop + struct.pack(">II", router.source_length, router.destination_length)


def counter_sample(counters: Counters) -> bytes:
    """``sample_data`` with a ``counters_sample`` of one ``if_counters``; what is not counted is 2^32 - 1, unknown."""
    status = int(counters.up[0]) | int(counters.up[1]) << 1
    block = struct.pack(
        ">IIQII Q6I Q5I I",
        counters.interface,
        _ETHERNET_CSMACD,
        counters.speed_bps,
        _FULL_DUPLEX,
        status,
        counters.in_bytes % _LONG,
        counters.in_packets % _WORD,
        *(_UNKNOWN,) * 5,
        counters.out_bytes % _LONG,
        counters.out_packets % _WORD,
        *(_UNKNOWN,) * 4,
        _UNKNOWN,
    )
    head = struct.pack(">3I", counters.sequence % _WORD, counters.interface, 1)
    return _framed(_COUNTER_SAMPLE, head + _framed(_GENERIC_COUNTERS, block))


def datagrams(agent: str, first: int, uptime_ms: int, samples: Iterable[bytes]) -> Iterator[bytes]:
    """Datagrams with the samples in order, none longer than MOST_BYTES; ``first``: the number of the first one."""
    packed = ip_address(agent).packed
    fixed = struct.pack(">II", _VERSION, _address_type(packed)) + packed
    room = MOST_BYTES - len(fixed) - 16
    for number, group in enumerate(_grouped(samples, room)):
        yield fixed + struct.pack(">4I", 0, (first + number) % _WORD, uptime_ms % _WORD, len(group)) + b"".join(group)


def _grouped(samples: Iterable[bytes], room: int) -> Iterator[list[bytes]]:
    group: list[bytes] = []
    for sample in samples:
        if group and sum(map(len, group)) + len(sample) > room:
            yield group
            group = []
        group.append(sample)
    if group:
        yield group


def _address_type(packed: bytes) -> int:
    return 1 if len(packed) == 4 else 2  # noqa: PLR2004 - bytes of IPv4


def _framed(form: int, content: bytes) -> bytes:
    return struct.pack(">II", form, len(content)) + content
