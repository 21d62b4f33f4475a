"""The section ``ipsec:`` and its key files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, collapse_addresses
from pathlib import Path

from rbops.errors import Diagnostic
from rbops.spec.ipsec import Tunnel
from rbops.spec.keyfile import check_keys
from rbops.spec.units import InvalidValue
from rbops.spec.validate import Parts, located, text_at

__all__ = ["check_ipsec"]


def check_ipsec(parts: Parts, tunnels: Sequence[Tunnel], base: Path) -> Iterator[Diagnostic]:
    """Tunnels without the application, SPIs and prefixes that two have, key files that cannot be used."""
    if tunnels and parts.application != "ipsec":
        message = f"tunnels are for `application: ipsec`, and the application is {parts.application}"
        yield located(parts.root, ("ipsec",), message, code="spec.conflict")
    spis: set[int] = set()
    for number, tunnel in enumerate(tunnels):
        if tunnel.spi in spis:
            yield located(
                parts.root,
                ("ipsec", number, "spi"),
                f"spi {tunnel.spi} is a duplicate of an earlier tunnel",
                code="spec.duplicate",
            )
        spis.add(tunnel.spi)
        try:
            check_keys(base / (text_at(parts.root, "ipsec", number, "keys") or tunnel.keys))
        except InvalidValue as wrong:
            yield located(parts.root, ("ipsec", number, "keys"), wrong.message, wrong.hint, code=wrong.code)
    yield from _prefixes(parts, tunnels)


def _prefixes(parts: Parts, tunnels: Sequence[Tunnel]) -> Iterator[Diagnostic]:
    """The longest prefix counts: two tunnels with the same one contradict, and so does one that gets nothing."""
    owner: dict[IPv4Network, int] = {}
    for number, tunnel in enumerate(tunnels):
        for prefix in map(IPv4Network, tunnel.prefixes):
            if prefix in owner:
                message = f"{prefix} is a duplicate in this or an earlier tunnel"
                yield located(parts.root, ("ipsec", number), message, code="spec.tunnel-prefix")
            owner.setdefault(prefix, number)
    for prefix, number in owner.items():
        longer = [
            other for other, its in owner.items() if its != number and other != prefix and other.subnet_of(prefix)
        ]
        if prefix in collapse_addresses(longer):
            message = f"no address of {prefix} is left for this tunnel: longer prefixes of other tunnels cover it"
            yield located(parts.root, ("ipsec", number), message, code="spec.tunnel-prefix")
