"""A capture as arrays, whatever its file's format and its link layer."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rbops.capture.merged import segments
from rbops.capture.records import Cut, Damaged, Record, records
from rbops.errors import UsageError, Where

__all__ = ["Capture", "read_capture"]

Ints = npt.NDArray[np.int64]

_GZIP = b"\x1f\x8b"
_ETHERNET_HEADER = 14
_MOST_OCTETS = 1 << 32
_TOO_LARGE = ("more than 4 GiB", "cut it with `editcap -c 10000000` or `tcpdump -r FILE -c 10000000 -w PART`")
_SPARE = 64
"""Octets behind the last packet, so that headers can be read without looking for the end first."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """A link layer: its header's length, and where in it the EtherType is (None: the packet is IP itself)."""

    header: int
    ethertype: int | None


_RAW, _LOOPBACK = _Layer(0, None), _Layer(4, None)
_LAYERS = {
    0: _LOOPBACK,  # BSD's and Windows's loopback; the address family, in the byte order of that machine
    12: _RAW,  # raw IP as some systems number it, and OpenBSD
    14: _RAW,
    108: _LOOPBACK,  # OpenBSD's, in network order
    1: _Layer(_ETHERNET_HEADER, 12),
    101: _RAW,
    113: _Layer(16, 14),  # Linux "cooked", as of `tcpdump -i any`
    228: _RAW,  # IPv4
    229: _RAW,  # IPv6
    276: _Layer(20, 0),  # Linux "cooked", version 2
}


@dataclass(frozen=True, slots=True, eq=False)
class Capture:
    """Packets in the order of the file; row i of each array is one.

    ``octets`` is the file's content with some spare behind it. ``ethertype`` is where a packet's EtherType is in it
    (-1: none, the packet is IP), ``network`` where what follows the link layer's header is, ``end`` where the octets
    captured end. ``size`` is the packet's Ethernet frame without FCS, ``time`` in ns. ``warning`` says what is wrong
    with the file though it could be read.
    """

    octets: npt.NDArray[np.uint8]
    ethertype: Ints
    network: Ints
    end: Ints
    size: Ints
    time: Ints
    warning: str | None = None


def read_capture(path: Path) -> Capture:
    """Read a pcap or pcapng file of Ethernet frames, Linux cooked packets or IP packets, which may be gzipped.

    Of a file that is cut short all whole packets count, with a warning, and frames that were merged (GRO) count as the
    segments that they were, with a warning too. Raises UsageError for one that cannot be read, is damaged or is larger
    than 4 GiB, for other link layers, and for a file without a packet.
    """
    try:
        if path.stat().st_size > _MOST_OCTETS:
            raise _refused(path, "capture.too-large", *_TOO_LARGE)
        data = path.read_bytes()
    except OSError as error:
        raise _refused(path, "capture.unreadable", error.strerror or str(error)) from error
    data, warning = _unpacked(path, data)
    found: list[Record] = []
    try:
        for record in records(data):
            found.append(record)  # noqa: PERF402  those before the cut are kept
    except Cut as error:
        warning = f"{path} {error}: the {len(found)} packets before count"
    except Damaged as error:
        raise _refused(path, "capture.damaged", str(error), "read it with `tcpdump -r` to see what is in it") from error
    if not found:
        raise _refused(path, "capture.empty", "no packet in the file")
    return _arrays(path, data, np.array(found, dtype=np.int64), warning)


def _unpacked(path: Path, data: bytes) -> tuple[bytes, str | None]:
    """The content of a gzipped file, as far as it goes; other files as they are."""
    if not data.startswith(_GZIP):
        return data, None
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        plain = unpacker.decompress(data, _MOST_OCTETS)
    except zlib.error as error:
        raise _refused(path, "capture.damaged", f"not a whole gzip file: {error}") from error
    if unpacker.unconsumed_tail:
        raise _refused(path, "capture.too-large", *_TOO_LARGE)
    return plain, None if unpacker.eof else f"{path} ends within its gzip stream"


def _arrays(path: Path, data: bytes, found: Ints, warning: str | None) -> Capture:
    begin, captured, length, time, link = found.T
    header, ethertype = np.zeros_like(link), np.full_like(link, -1)
    for kind in np.unique(link).tolist():
        if kind not in _LAYERS:
            known = "Ethernet, Linux cooked, loopback and IP packets can be read"
            raise _refused(path, "capture.link-type", f"packets of link type {kind}", known)
        layer = _LAYERS[kind]
        header[link == kind] = layer.header
        if layer.ethertype is not None:
            ethertype[link == kind] = layer.ethertype
    return _apart(
        path,
        Capture(
            octets=np.frombuffer(data + bytes(_SPARE), dtype=np.uint8),
            ethertype=np.where(ethertype < 0, -1, begin + ethertype),
            network=begin + header,
            end=begin + captured,
            size=np.maximum(0, length - header) + _ETHERNET_HEADER,
            time=time,
            warning=warning,
        ),
    )


def _apart(path: Path, found: Capture) -> Capture:
    """Each frame that was merged as its segments, which keep its place, time and headers."""
    cut = segments(found.octets, found.ethertype, found.network, found.end, found.size)
    if cut is None:
        return found
    several = cut.count > 1
    row = np.repeat(np.arange(len(found.size)), cut.count)
    size = cut.full[row]
    size[np.cumsum(cut.count) - 1] = cut.last
    text = (
        f"{path}: {int(several.sum()):,} frames are larger than a link takes, merged by the machine that captured them "
        f"(GRO, TSO): they count as {int(cut.count[several].sum()):,} segments of at most 1,500 octets; capture with "
        "`ethtool -K DEVICE gro off lro off tso off gso off` to have the frames themselves"
    )
    return Capture(
        octets=found.octets,
        ethertype=found.ethertype[row],
        network=found.network[row],
        end=found.end[row],
        size=size,
        time=found.time[row],
        warning="\n".join(filter(None, (found.warning, text))),
    )


def _refused(path: Path, code: str, message: str, hint: str | None = None) -> UsageError:
    return UsageError(message, code=code, where=Where(file=str(path)), hint=hint)
