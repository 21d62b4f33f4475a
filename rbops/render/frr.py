"""FRR's configuration, one for all its daemons, for each server with external ports.

What only a server knows is written ``@name@`` in it; rbops-node puts it in (:mod:`rbops.node.frrd`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from rbops.common.daemons import DAEMONS
from rbops.common.frrfile import MARK, put_in
from rbops.node.devices import VRF
from rbops.render.files import File
from rbops.render.speaking import Speaking
from rbops.render.templates import template

__all__ = ["CONFIG", "frr_files"]

CONFIG = DAEMONS["frr"].config
_FILTER = re.compile(r"([^+{]+)(\+|\{(\d+),(\d+)\})?")
_BITS = {"ip": 32, "ipv6": 128}
_OSPF_TAG = 1380077392
"""Of what the router announces by OSPF, BIRD's too: it does not come back."""
_MIXED = 1 << 20
"""The tag of IPv4 routes whose next hop is an IPv6 address that all servers know."""


def frr_files(here: Speaking, digest: str) -> tuple[File, ...]:
    """The configuration: as rendered, or the user's own with this server's addresses."""
    speaks = here.speaks
    if speaks.own is not None:
        known = {"server": str(here.server.index), "router_id": here.me.router_id, "address": here.me.address}
        return (File(CONFIG, put_in(speaks.own, known).encode()),)
    text = template(
        "frr/frr.conf",
        cluster=here.plan.name,
        mark=MARK,
        server=here.server.name,
        digest=digest,
        router_id=here.me.router_id,
        address=here.me.address,
        as_number=speaks.as_number,
        restarts=speaks.graceful_restart,
        paths=speaks.paths,
        families=list(_families(here)),
        bfd_ms=max(1, round(speaks.bfd_interval_s * 1000)),
        mixed=_MIXED if here.is_mixed else 0,
        own6=here.own6,
        servers=list(here.servers()),
        neighbors=[_neighbor(near, tag) for tag, near in enumerate(here.neighbors(), 1)],
        ospf=here.areas(),
        # FRR 8.4 announces a default route without a tag: who announces it must not learn it.
        announces_default=bool(speaks.neighbors) or "0.0.0.0/0" in speaks.announce,
        ospf_tag=_OSPF_TAG,
        vrf=VRF,
    )
    return (File(CONFIG, text),)


def _families(here: Speaking) -> Iterator[dict[str, Any]]:
    """IPv4 and, where ports have it, IPv6: their words in FRR, and the router's own prefixes."""
    for word, family in (("ip", "ipv4"), ("ipv6", "ipv6")):
        if word == "ip" or here.ipv6:
            foreign = here.foreign if word == "ip" else here.foreign6
            yield {
                "word": word,
                "name": family,
                "announce": here.announced(ipv6=word == "ipv6"),
                "foreign": [_permitted(each, word) for each in foreign],
            }


def _neighbor(near: dict[str, Any], number: int) -> dict[str, Any]:
    """With the filters of its families as the entries of prefix lists; None: all.

    ``tag``: of its routes where other servers are told another next hop than its own, or by another session. Link-local
    neighbours have one each (``number``), as each has a next hop of its own there.
    """
    channels = []
    for channel in near["channels"]:
        word = "ipv6" if channel["six"] else "ip"
        lists = {
            way: None if channel[way] is None else [_permitted(each, word) for each in channel[way]]
            for way in ("imports", "exports")
        }
        tag = number if near["stand_in"] else _MIXED if channel["mixed"] else 0
        channels.append({**channel, **lists, "word": word, "tag": tag})
    return {**near, "channels": channels, "peer": f"@port{near['port']}@" if near["any"] else near["address"]}


def _permitted(wanted: str, word: str) -> str:
    """``10.0.0.0/8{16,24}`` as FRR writes it: ``10.0.0.0/8 ge 16 le 24``."""
    match = _FILTER.fullmatch(wanted)
    assert match is not None  # noqa: S101 - the spec has been checked
    prefix, way, low, high = match[1], match[2] or "", match[3], match[4]
    length = int(prefix.partition("/")[2])
    shortest, longest = length, length
    if way == "+":
        longest = _BITS[word]
    elif way:
        shortest, longest = int(low), int(high)
    words = [prefix]
    words += [f"ge {shortest}"] if shortest > length else []
    words += [f"le {longest}"] if longest > length else []
    return " ".join(words)
