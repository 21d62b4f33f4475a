"""CPU lists and masks as the kernel writes them; any number of CPUs."""

from __future__ import annotations

from collections.abc import Iterable

from rbops.common.cpulist import list_text, parse_list
from rbops.errors import Mismatch, Where
from rbops.node.schema import NodeConfig
from rbops.node.system import System

__all__ = ["check", "list_text", "mask_text", "parse_list", "parse_mask"]

_WORD = 32


def parse_mask(text: str) -> frozenset[int]:
    """A mask in the kernel's groups of 32 bits (``1,00000000``) as a set."""
    value = int(text.replace(",", "") or "0", 16)
    return frozenset(bit for bit in range(value.bit_length()) if value >> bit & 1)


def mask_text(cpus: Iterable[int]) -> str:
    """A set as a mask: hexadecimal, groups of 32 bits, highest first (Documentation/core-api/irq)."""
    value = 0
    for cpu in cpus:
        value |= 1 << cpu
    words = [value & 0xFFFFFFFF]
    while value := value >> _WORD:
        words.append(value & 0xFFFFFFFF)
    head, *rest = reversed(words)
    return ",".join([f"{head:x}", *(f"{word:08x}" for word in rest)])


def check(config: NodeConfig, system: System) -> None:
    """Mismatch (3) unless every planned CPU is there and online."""
    online = parse_list(system.read("/sys/devices/system/cpu/online") or "")
    present = parse_list(system.read("/sys/devices/system/cpu/present") or "") or online
    wanted = {*config.cores} | {core for port in config.ports for q in port.queues for core in (q.rx_core, q.tx_core)}
    absent, offline = sorted(wanted - present), sorted((wanted & present) - online)
    if absent:
        raise Mismatch(
            f"planned CPU {list_text(absent)} does not exist, the server has {list_text(present)}",
            code="node.no-cpu",
            where=Where(server=config.server),
            hint="describe the CPUs it has under `hardware:` in the spec, `cpus:` included",
        )
    if offline:
        raise Mismatch(
            f"planned CPU {list_text(offline)} is offline",
            code="node.cpu-offline",
            where=Where(server=config.server),
            hint="bring it online (/sys/devices/system/cpu/cpuN/online) or plan without it",
        )
