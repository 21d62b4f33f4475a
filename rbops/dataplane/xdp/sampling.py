"""Frames that the programs have sampled (sample.h), and how many they take. Standard library only."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable

from rbops.dataplane.sampled import Sample, SampledPort
from rbops.dataplane.xdp import layout as shape
from rbops.dataplane.xdp.ctlibbpf import library
from rbops.dataplane.xdp.libbpf import Map
from rbops.dataplane.xdp.pins import Loaded
from rbops.node.schema.dataplane import Fabric

__all__ = ["XdpSampling", "read_rate", "read_sampled"]

_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class _Ring:
    """A ring buffer of one reader (Documentation/bpf/ringbuf.rst), by libbpf, which knows the order of its loads."""

    def __init__(self, ring: Map, take: Callable[[bytes], None]) -> None:
        def one(_context: int, at: int, size: int) -> int:
            take(ctypes.string_at(at, size))
            return 0

        self._callback, self._ring = _CALLBACK(one), ring
        self._handle = library().call(
            "cannot read the samples", "ring_buffer__new", ring.fd, self._callback, None, None
        )
        weakref.finalize(self, library().dll.ring_buffer__free, self._handle)

    def consume(self) -> None:
        """Call ``take`` with all that is there."""
        library().call("cannot read the samples", "ring_buffer__consume", self._handle)


class XdpSampling:
    """The sampling of what is loaded now; another load has another one (``DataPlane.instance``)."""

    def __init__(self, fabric: Fabric, loaded: Loaded) -> None:
        self._control, self._cores = loaded.memory("control"), loaded.memory("cores")
        self._layout = loaded.layout
        self._names = [(number, port.name) for number, port in enumerate(fabric.ports) if port.kind == "external"]
        self._found: list[bytes] = []
        self._ring = _Ring(loaded.maps["samples"], self._found.append)

    def set_rate(self, rate: int) -> None:
        """Sample one frame in ``rate`` of those that external ports receive; 0: none."""
        shape.SAMPLING.pack_into(self._control, shape.SAMPLING_AT, rate)

    def take(self) -> list[Sample]:
        """Those that came since, in the order in which each core took them."""
        self._ring.consume()
        raw, names = list(self._found), dict(self._names)
        self._found.clear()
        samples = []
        for one in raw:
            number, size, captured, rate, header = shape.SAMPLE.unpack_from(one)
            if number in names:
                samples.append(Sample(names[number], size, rate, header[:captured]))
        return samples

    def ports(self) -> list[SampledPort]:
        """What external ports have received, and how many of their samples were lost; both only grow."""
        found = []
        for number, name in self._names:
            received = lost = 0
            for cpu in range(self._layout.cpus):
                block = self._cores[cpu * self._layout.core :]
                packets, _ = shape.TRAFFIC.unpack_from(block, shape.PORT_TRAFFIC_AT + number * 2 * shape.TRAFFIC.size)
                received, lost = received + packets, lost + read_sampled(number, block)["lost"]
            found.append(SampledPort(name, received, lost))
        return found


def read_rate(control: memoryview) -> int:
    """One frame in so many is sampled; 0: none."""
    return int(shape.SAMPLING.unpack_from(control, shape.SAMPLING_AT)[0])


def read_sampled(number: int, block: memoryview) -> dict[str, int]:
    """What a core's block counted of a device's samples."""
    taken, lost = shape.SAMPLED.unpack_from(block, shape.SAMPLED_AT + number * shape.SAMPLED.size)
    return {"taken": taken, "lost": lost}
