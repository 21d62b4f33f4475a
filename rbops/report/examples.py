"""Wrong packets of a self-test as a pcapng file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

from rbops.capture.pcapng import PcapngWriter
from rbops.selftest.example import Example

__all__ = ["write_examples"]


def write_examples(file: IO[bytes], examples: Sequence[Example], name: str) -> None:
    """Each example at the interface of its port, in order of time, with phase and kind as its comment.

    ``name`` is the router's. Raises OSError.
    """
    writer = PcapngWriter(file, "rbops selftest")
    interfaces = {
        port: writer.interface(f"port {port}", f"tester at external port {port} of {name}")
        for port in sorted({example.port for example in examples})
    }
    for example in sorted(examples, key=lambda one: one.time_ns):
        comment = f"{example.phase}: {example.kind}, came out of port {example.port}"
        writer.packet(interfaces[example.port], example.time_ns, example.frame, direction="in", comment=comment)
