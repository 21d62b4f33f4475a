"""The files of the IKE daemon, on servers with the address of a tunnel that has its keys by IKE."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from rbops.common.daemons import IKE
from rbops.errors import RbopsError
from rbops.plan import ClusterPlan, Server, Tunnel
from rbops.render.files import File
from rbops.render.ipsec import ike_tunnels
from rbops.render.templates import template

__all__ = ["DAEMON_CONFIG", "REQUEST", "connection", "ike_files"]

DAEMON_CONFIG = str(PurePosixPath(IKE.config).with_name("strongswan.conf"))
REQUEST = 0x10000
"""Offset of reqids: a tunnel's is this plus its number, which tells associations of IKE from static ones."""

_GROUPS = "x25519-ecp256-modp2048"
_PROPOSALS = {
    "aes128gcm16": (f"aes128gcm16-prfsha256-{_GROUPS}", f"aes128gcm16-{_GROUPS}"),
    "aes256gcm16": (f"aes256gcm16-prfsha384-ecp384-{_GROUPS}", f"aes256gcm16-ecp384-{_GROUPS}"),
    "aes128-sha256": (f"aes128-sha256-{_GROUPS}", f"aes128-sha256-{_GROUPS}"),
}
"""Of each cipher of a tunnel, for IKE itself and for the tunnel: key exchange with every rekeying (RFC 7296, 1.3)."""
_START = {"now": ("trap|start", "start"), "traffic": ("trap", "trap")}
"""How it begins, and again after the peer has ended it or does not answer."""


def ike_files(plan: ClusterPlan, server: Server, digest: str) -> tuple[File, ...]:
    """Configuration and unit; nothing on a server that encrypts for no such tunnel."""
    own = [tunnel for tunnel in ike_tunnels(plan) if tunnel.local in server.own_addresses]
    if not own:
        return ()
    common = {"cluster": plan.name, "digest": digest}
    connections = template("ike/ike.conf", server=server.name, tunnels=[connection(each) for each in own], **common)
    return (
        File(IKE.config, connections),
        File(DAEMON_CONFIG, template("ike/strongswan.conf", **common)),
        File(f"/etc/systemd/system/{IKE.unit}", template(f"systemd/{IKE.unit}", **common)),
    )


def connection(tunnel: Tunnel) -> dict[str, Any]:
    """What the template says of one tunnel; times in whole seconds."""
    if tunnel.ike is None:
        raise RbopsError(f"tunnel {tunnel.spi} has static keys", code="render.ike")
    ike, (local_id, peer_id) = tunnel.ike, tunnel.ids
    own, child = _PROPOSALS[tunnel.cipher]
    start, again = _START[ike.start]
    return {
        "name": f"t{tunnel.spi}",
        "number": tunnel.spi,
        "reqid": REQUEST + tunnel.spi,
        "local": tunnel.local,
        "peer": tunnel.peer,
        "local_id": local_id,
        "peer_id": peer_id,
        "sources": tunnel.sources,
        "prefixes": tunnel.prefixes,
        "proposal": own,
        "esp_proposal": f"{child}-{'esn' if tunnel.esn else 'noesn'}",
        "replay_window": tunnel.replay_window,
        "udp": tunnel.udp,
        "rekey_s": round(ike.rekey),
        "ike_rekey_s": round(4 * ike.rekey),
        "dpd_s": round(ike.dpd),
        "start": start,
        "again": again,
    }
