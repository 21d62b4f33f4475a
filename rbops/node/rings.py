"""Rings: descriptors a queue (``ethtool -G``)."""

from __future__ import annotations

from rbops.errors import Mismatch
from rbops.node.schema import NodePort
from rbops.node.settings import Run, Setting
from rbops.node.system import System
from rbops.node.tool import ask, sections

__all__ = ["RingFacts", "parse", "read", "settings"]

RingFacts = tuple[dict[str, int], dict[str, int]]
"""(maximums, current), by ``rx`` and ``tx``."""


def read(system: System, device: str) -> RingFacts | None:
    """The facts of one device; None when the driver has no rings to set."""
    text = ask(system, "-g", device)
    return None if text is None else parse(text)


def parse(text: str) -> RingFacts:
    """Facts from the text of ``ethtool -g``."""
    return sections(text)


def settings(port: NodePort, device: str, facts: RingFacts | None, server: str) -> list[Setting]:
    """One setting for each planned ring.

    Mismatch (3) when the spec asks for more descriptors than the device has; sizes that rbops chose itself
    (``ring_fit``) are cut to what it has.
    """
    found = []
    for kind, count in (port.nic.ring or {}).items():
        name = f"ring {kind}"
        if facts is None or kind not in facts[1]:
            reason = f"driver {port.driver} has no {kind} ring to set"
            found.append(Setting(port.subject, name, "none", str(count), unsupported=reason))
            continue
        maximum, have = facts[0].get(kind, 0), facts[1][kind]
        if count > maximum and not port.nic.ring_fit:
            raise Mismatch(
                f"{server}: port {port.name} needs a {kind} ring of {count}, device {device} has {maximum}",
                hint=f"write at most {maximum} under nic.rings in the spec",
            )
        want = str(min(count, maximum))
        do, undo = (Run(("ethtool", "-G", device, kind, text)) for text in (want, str(have)))
        found.append(Setting(port.subject, name, str(have), want, (do,), (undo,), tuning=port.nic.ring_fit))
    return found
