"""The testers' own part of a latency: generator and sink on a cable of their own, in a namespace of their own.

Standard library only.
"""

from __future__ import annotations

import os
import socket
import subprocess

from rbops.resources import bpf_object
from rbops.selftest.device import TesterDevice, private_namespace
from rbops.selftest.programs import Generator, Sink
from rbops.selftest.wire import Epoch, FlowHeaders, headers, mac_bytes, pack_headers

__all__ = ["FLOWS", "ROOM", "measure"]

FLOWS = 8
_NEAR, _FAR = "02:4e:ff:00:00:01", "02:4e:ff:00:00:02"
ROOM, _WORDS = 8192, 4096


def measure(length: int, seconds: float, pps: float, chunk: int, schedule: bytes = b"") -> tuple[bytes, bytes]:
    """Send so, with nothing between; (sent, received) as the stamps of ``FLOWS`` flows, ``ROOM`` each.

    Raises OSError without the rights, CalledProcessError without `ip`.
    """
    shift = max(0, int(pps * seconds / FLOWS / ROOM).bit_length())
    epoch = Epoch(0x7F000001, (1, 2), length, FLOWS, shift=shift, room=ROOM, mixed=bool(schedule))
    with private_namespace() as namespace:
        os.close(namespace)
        pair = ["ip", "link", "add", "near", "address", _NEAR, "type", "veth", "peer", "name", "far", "address", _FAR]
        for command in (pair, ["ip", "link", "set", "near", "up"], ["ip", "link", "set", "far", "up"]):
            subprocess.run(command, check=True, capture_output=True)
        near, far = (
            TesterDevice(name, socket.if_nametoindex(name), mac, 1500, 1)
            for name, mac in (("near", _NEAR), ("far", _FAR))
        )
        sink = Sink(bpf_object("selftest", "sink.bpf.o"), far, testers=1, entries=FLOWS, words=FLOWS * _WORDS)
        generator = Generator(bpf_object("selftest", "gen.bpf.o"), near, FLOWS)
        entries = b"".join(pack_headers(headers(_flow(flow), length), 0, flow) for flow in range(FLOWS))
        sink.expect(epoch, 0, _WORDS, {0: entries}, ["198.18.0.2"])
        # A veth sends natively only with a program at the far end, which the sink is, and one of its own, or none.
        generator.prepare(epoch, 0, entries, FLOWS, 1, schedule)
        most = _WORDS * 64 * FLOWS
        generator.send(most, seconds=seconds, pps=pps, chunk=chunk)
        found = generator.stamps(FLOWS * ROOM), sink.stamps(FLOWS * ROOM)
        sink.link.close()
    return found


def _flow(number: int) -> FlowHeaders:
    return FlowHeaders(mac_bytes(_FAR), mac_bytes(_NEAR), "198.18.0.2", "198.18.0.3", 64, number)
