"""The section ``ipsec:`` and its key files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from ipaddress import IPv4Network, collapse_addresses
from pathlib import Path

from rbops.dataplane import registry
from rbops.errors import Diagnostic
from rbops.spec.ipsec import Tunnel
from rbops.spec.keyfile import check_esp_keys, check_keys, check_psk
from rbops.spec.units import InvalidValue
from rbops.spec.validate import Parts, located, text_at

__all__ = ["check_ipsec"]

_KERNELS = ("local", "sources", "cipher", "spi_in", "replay_window", "esn", "udp", "ike")
"""What Click's ESP does not have."""
_SHORTEST_S, _LONGEST_S = 60.0, 86400.0
"""Of IKE's times. Shorter ones would leave no time for the tenth that they vary by, and for an exchange's retries."""


def check_ipsec(parts: Parts, tunnels: Sequence[Tunnel], base: Path) -> Iterator[Diagnostic]:
    """Tunnels without the application or the other way round, what two have, key files that cannot be used."""
    if tunnels and parts.application != "ipsec":
        message = f"tunnels are for `application: ipsec`, and the application is {parts.application}"
        yield located(parts.root, ("ipsec",), message, code="spec.conflict")
    kind = text_at(parts.root, "dataplane") or registry.KINDS[0]
    if kind in registry.KINDS and "ipsec" not in registry.controller(kind).applications:
        return  # What its key files had to hold is not known.
    in_kernel = kind in registry.KINDS and registry.controller(kind).kernel_ipsec
    if in_kernel:
        yield from _kernels(parts, tunnels)
    spis: set[int] = set()
    owners: dict[bytes, int] = {}
    for number, tunnel in enumerate(tunnels):
        if tunnel.spi in spis:
            message = f"spi {tunnel.spi} is a duplicate of an earlier tunnel"
            yield located(parts.root, ("ipsec", number, "spi"), message, code="spec.duplicate")
        spis.add(tunnel.spi)
        yield from _files(parts, number, tunnel, base, owners if in_kernel else None)
        if not in_kernel:
            yield from _clicks(parts, number, tunnel)
    yield from _prefixes(parts, tunnels)


def _files(
    parts: Parts, number: int, tunnel: Tunnel, base: Path, owners: dict[bytes, int] | None
) -> Iterator[Diagnostic]:
    """Where a tunnel's keys come from, one way and no more; ``owners`` of keys, None of Click's."""
    if (tunnel.keys is None) == (tunnel.ike is None):
        found = "neither" if tunnel.ike is None else "both"
        message = f"expected one of keys and ike, found {found}"
        hint = "keys: a file with static ones; ike: a section, they are negotiated"
        yield located(parts.root, ("ipsec", number), message, hint, code="spec.conflict")
    for key, inner, check in (("keys", (), check_keys), ("ike", ("psk",), check_psk)):
        path = ("ipsec", number, key, *inner)
        file = text_at(parts.root, *path)
        if file is None:
            continue
        try:
            if key == "keys" and owners is not None:
                yield from _shared(parts, number, check_esp_keys(base / file, tunnel.cipher), owners)
            else:
                check(base / file)
        except InvalidValue as wrong:
            yield located(parts.root, path, wrong.message, wrong.hint, code=wrong.code)


def _kernels(parts: Parts, tunnels: Sequence[Tunnel]) -> Iterator[Diagnostic]:
    """What the kernel's IPsec asks for, and what is not there yet."""
    written = parts.root.child("ipsec")
    if parts.application == "ipsec" and (written is None or not written.plain()):
        message = "application ipsec without a tunnel, expected one or more"
        hint = "write a section `ipsec:`"
        yield located(parts.root, ("router", "application"), message, hint, code="spec.no-tunnel")
    routing = parts.root.child("routing")
    if tunnels and routing is not None and routing.value is not None:
        message = "tunnels and a routing daemon do not go together yet"
        hint = "write static `routes:`, or leave out `ipsec:`"
        yield located(parts.root, ("routing",), message, hint, code="spec.unsupported")
    yield from _negotiated(parts, tunnels)
    numbers: set[int] = set()
    for number, tunnel in enumerate(tunnels):
        if tunnel.esn and not tunnel.replay_window:
            message = "sequence numbers of 64 bits need a replay window, found 0"
            hint = "write `esn: false`, or a window of 1024"
            yield located(parts.root, ("ipsec", number, "replay_window"), message, hint, code="spec.conflict")
        if tunnel.ike is None and tunnel.inward_spi in numbers:
            message = f"SPI {tunnel.inward_spi:#x} of what the peer sends is a duplicate of an earlier tunnel"
            key = "spi" if tunnel.spi_in is None else "spi_in"
            yield located(parts.root, ("ipsec", number, key), message, code="spec.duplicate")
        if tunnel.ike is None:
            numbers.add(tunnel.inward_spi)
        yield from _sources(parts, number, tunnel)


def _negotiated(parts: Parts, tunnels: Sequence[Tunnel]) -> Iterator[Diagnostic]:
    """What IKE decides by itself, or cannot share with tunnels that have their keys from a file."""
    negotiated = [number for number, tunnel in enumerate(tunnels) if tunnel.ike is not None]
    seen: set[tuple[str | None, str]] = set()
    for number in negotiated:
        tunnel = tunnels[number]
        if tunnel.ike is None:
            continue
        if tunnel.spi_in is not None:
            message = "IKE negotiates the SPIs"
            yield located(parts.root, ("ipsec", number, "spi_in"), message, "leave it out", code="spec.conflict")
        for key, least, off in (("rekey", _SHORTEST_S, False), ("dpd", 1.0, True)):
            value = getattr(tunnel.ike, key)
            if not (least <= value <= _LONGEST_S or (off and not value)):
                message = f"{key} is {value:g} s, expected {'0, or ' * off}{least:g} s to a day"
                yield located(parts.root, ("ipsec", number, "ike", key), message, code="spec.number")
        if (tunnel.local, tunnel.peer) in seen:
            message = f"another tunnel with ike has the peer {tunnel.peer}: which of them it means is not said"
            hint = "write one tunnel with the prefixes of both"
            yield located(parts.root, ("ipsec", number, "peer"), message, hint, code="spec.duplicate")
        seen.add((tunnel.local, tunnel.peer))
    for number, tunnel in enumerate(tunnels):
        if negotiated and tunnel.udp and tunnel.ike is None:
            message = "udp with static keys and a tunnel with ike need the same port 4500"
            hint = "negotiate this one too: write `ike:` instead of `keys:`"
            yield located(parts.root, ("ipsec", number, "udp"), message, hint, code="spec.conflict")


def _shared(parts: Parts, number: int, keys: frozenset[bytes], owners: dict[bytes, int]) -> Iterator[Diagnostic]:
    """Keys that an earlier tunnel has too: with AES-GCM two tunnels then use a nonce twice (RFC 4106, 3.1)."""
    others = sorted({owners[key] for key in keys if key in owners})
    if others:
        message = f"a key of the tunnel ipsec[{others[0]}] is in this file too: each tunnel has its own"
        hint = "draw new ones; what two tunnels encrypt with one key of AES-GCM can be read without it"
        yield located(parts.root, ("ipsec", number, "keys"), message, hint, code="spec.weak-key")
    owners.update(dict.fromkeys(keys, number))


def _sources(parts: Parts, number: int, tunnel: Tunnel) -> Iterator[Diagnostic]:
    """Each is a policy of its own: of equal ones, and of one within another, one is never asked."""
    networks = [IPv4Network(source) for source in tunnel.sources]
    for index, network in enumerate(networks):
        wider = [
            other for at, other in enumerate(networks) if network.subnet_of(other) and (network != other or at < index)
        ]
        if wider:
            message = f"{network} is within {wider[0]} of the same tunnel: its policy selects nothing"
            path = ("ipsec", number, "sources", index)
            yield located(parts.root, path, message, "leave one of them out", code="spec.tunnel-sources")


def _clicks(parts: Parts, number: int, tunnel: Tunnel) -> Iterator[Diagnostic]:
    usual = {field.name: field.default for field in fields(Tunnel)}
    for key in _KERNELS:
        if getattr(tunnel, key) != usual[key]:
            message = f"{key} is for tunnels of the kernel, which `dataplane: xdp` has"
            yield located(parts.root, ("ipsec", number, key), message, code="spec.unsupported")


def _prefixes(parts: Parts, tunnels: Sequence[Tunnel]) -> Iterator[Diagnostic]:
    """The longest prefix counts: two tunnels with the same one contradict, and so does one that gets nothing."""
    owner: dict[IPv4Network, tuple[int, int]] = {}
    for number, tunnel in enumerate(tunnels):
        for index, prefix in enumerate(map(IPv4Network, tunnel.prefixes)):
            if prefix in owner:
                message = f"{prefix} is a duplicate in this or an earlier tunnel"
                yield located(parts.root, ("ipsec", number, "prefixes", index), message, code="spec.tunnel-prefix")
            owner.setdefault(prefix, (number, index))
    for prefix, (number, index) in owner.items():
        longer = [
            other for other, (its, _) in owner.items() if its != number and other != prefix and other.subnet_of(prefix)
        ]
        if prefix in collapse_addresses(longer):
            message = f"no address of {prefix} is left for this tunnel: longer prefixes of other tunnels cover it"
            yield located(parts.root, ("ipsec", number, "prefixes", index), message, code="spec.tunnel-prefix")
