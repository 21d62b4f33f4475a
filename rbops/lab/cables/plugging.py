"""Pulling a cable out and putting it back.

A veth pair has no plug. Its carrier goes when the far device is set down: the port that is named then is without
carrier, as a port whose cable was pulled; the other end is administratively down as long, which a server shows.
"""

from __future__ import annotations

from rbops.errors import Mismatch
from rbops.lab.cables.ends import End, all_ends, link_of, one_end
from rbops.lab.command import ip_batch
from rbops.lab.manifest import Manifest

__all__ = ["cut", "plug"]


def cut(manifest: Manifest, text: str) -> tuple[End, End]:
    """Take the carrier from the port ``NODE:PORT``; returns it and the other end, which is set down.

    Can be repeated. Raises Mismatch for a port that is not there, or while a server at either end is off.
    """
    end = one_end(manifest, text)
    far = all_ends(manifest)[end.peer]
    _device(manifest, end)
    ip_batch([f"link set {_device(manifest, far)} down"], netns=far.netns)
    return end, far


def plug(manifest: Manifest, text: str) -> tuple[End, End]:
    """Set both ends of a port's cable up; a tester gets its route back. As :func:`cut` otherwise."""
    end = one_end(manifest, text)
    far = all_ends(manifest)[end.peer]
    for side in (end, far):
        lines = [f"link set {_device(manifest, side)} up"]
        if side.tester and (gateway := manifest.tester(side.node).gateway):
            lines.append(f"route replace default via {gateway} dev {side.device}")
        ip_batch(lines, netns=side.netns)
    return end, far


def _device(manifest: Manifest, end: End) -> str:
    """The device's present name."""
    link = link_of(end)
    if link is None:
        raise Mismatch(
            f"{end.name} is not plugged in: {end.node} is off",
            code="lab.unplugged",
            hint=f"rbops lab restart {manifest.name} {end.node}",
        )
    return str(link["ifname"])
