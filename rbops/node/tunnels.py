"""ESP tunnels of this server's kernel: an interface each, its associations, its policies, and what stays without them.

What follows a route into the interface is encrypted or dropped, never sent as it is: an interface of type xfrm sends
nothing that no policy of its number selects. Where the interface is gone, a route behind its own one refuses what
would else follow a shorter one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

from rbops.errors import CheckFailed, Mismatch, Where
from rbops.node import xfrm
from rbops.node.devices import PROTOCOL, TABLE, Device
from rbops.node.schema import NodeConfig
from rbops.node.schema.ipsec import CIPHERS, NodeTunnel, TunnelConfig
from rbops.node.settings import Ip, Setting, Xfrm
from rbops.node.system import System

__all__ = ["Facts", "carry_out", "check", "counted", "devices", "lacking", "links", "protection", "read"]

_COUNTED = {
    "out": {"packets": "packets", "bytes": "octets"},
    "in": {"packets": "packets", "bytes": "octets", "replayed": "replayed", "failed": "failed"},
}
_GUARD = PROTOCOL + 1
_LAST = 4294967295
"""The metric of routes that are taken where no other of the same prefix is there."""
_INTERFACES = "CONFIG_XFRM_INTERFACE"
_KERNEL = {
    "not permitted": "to be root's: a network namespace cannot be made",
    "unknown device type": _INTERFACES,
    "operation not supported": _INTERFACES,
    "cannot open netlink socket": "CONFIG_XFRM_USER",
    "protocol not supported": "CONFIG_INET_ESP",
}
_ALGORITHMS = {
    "rfc4106(gcm(aes))": ("aead rfc4106(gcm(aes)) 0x{} 128", 40, "CONFIG_CRYPTO_GCM and CONFIG_CRYPTO_SEQIV"),
    "cbc(aes)": (
        "enc cbc(aes) 0x{} auth-trunc hmac(sha256) 0x{} 128",
        32,
        "CONFIG_CRYPTO_CBC, CONFIG_CRYPTO_SHA256 and CONFIG_CRYPTO_ECHAINIV",
    ),
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What the kernel has: associations, policies, prefixes that are refused without their interface."""

    states: tuple[xfrm.State, ...]
    policies: tuple[xfrm.Policy, ...]
    refused: frozenset[str]


def devices(config: NodeConfig) -> list[str]:
    """The interfaces that lead into tunnels."""
    return [tunnel.device for tunnel in config.tunnels if tunnel.encrypts]


def check(config: NodeConfig, system: System) -> None:
    """Mismatch (3) with the option that this server's kernel lacks: a network namespace of its own tries it."""
    for algorithm in sorted({CIPHERS[tunnel.cipher][0] for tunnel in config.tunnels if tunnel.encrypts}):
        words, digits, _ = _ALGORITHMS[algorithm]
        keys = words.format("01" * (digits // 2), "01" * 32)
        lines = (
            "link add probe type xfrm if_id 1",
            f"xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1000 mode tunnel {keys} if_id 1",
        )
        done = system.run(("unshare", "--net", "ip", "-batch", "-"), "".join(f"{line}\n" for line in lines))
        if done.returncode:
            raise Mismatch(
                f"the kernel cannot encrypt for tunnels with {algorithm}: {' '.join(done.stderr.split())}",
                code="node.no-ipsec",
                where=Where(server=config.server),
                hint=f"{lacking(done.stderr, algorithm)}; Debian's kernels have it",
            )


def lacking(said: str, algorithm: str) -> str:
    """What a kernel needs, by what ``ip`` said of it when it was tried."""
    text = said.lower()
    for reason, option in _KERNEL.items():
        if reason in text and (option != _INTERFACES or "failed -:1" in text):
            return f"it needs {option}"
    return f"it needs {_ALGORITHMS[algorithm][2]}"


def links(config: NodeConfig, now: Mapping[str, Device], facts: Mapping[str, tuple[str, ...]]) -> list[Setting]:
    """The interfaces; ``now`` are the server's devices, ``facts`` addresses by device.

    A server that does not own the tunnel's address has it on lo, where nobody finds it: the kernel sends from no other.
    """
    mtu = min((port.mtu for port in config.kernel_ports if port.kind == "external"), default=1500)
    found = []
    for tunnel in (each for each in config.tunnels if each.encrypts):
        name, device = tunnel.device, now.get(tunnel.device)
        subject = f"tunnel {tunnel.number}"
        make, gone = Ip(f"link add {name} type xfrm if_id {tunnel.number}"), Ip(f"link del {name}")
        found.append(Setting(subject, "interface", "present" if device else "absent", "present", (make,), (gone,)))
        wants = (
            ("mtu", str(device.mtu) if device else "", str(mtu), f"mtu {mtu}"),
            ("state", "up" if device and "UP" in device.flags else "down", "up", "up"),
        )
        found += [
            Setting(subject, key, have, want, (Ip(f"link set dev {name} {do}"),)) for key, have, want, do in wants
        ]
    lent = {tunnel.local for tunnel in config.tunnels if not tunnel.own and tunnel.encrypts}
    for address in sorted(lent):
        line = f"{address}/32 dev lo"
        have = "present" if f"{address}/32" in facts.get("lo", ()) else "absent"
        undo = (Ip(f"address del {line}"),)
        found.append(
            Setting("tunnels", f"address {address}", have, "present", (Ip(f"address add {line} scope host"),), undo)
        )
    return found


def read(config: NodeConfig, system: System) -> Facts:
    """What the kernel has of these tunnels. Raises CheckFailed without IPsec."""
    numbers = {tunnel.number for tunnel in config.tunnels}
    done = system.run(("ip", "-json", "route", "show", "table", str(TABLE), "proto", str(_GUARD)))
    routes = json.loads(done.stdout or "[]") if done.returncode == 0 else []
    return Facts(
        tuple(state for state in xfrm.states() if state.number in numbers and not state.negotiated),
        tuple(policy for policy in xfrm.policies() if policy.number in numbers),
        frozenset(_prefix(str(route["dst"])) for route in routes),
    )


def protection(config: TunnelConfig, facts: Facts) -> list[Setting]:
    """Associations and policies of each tunnel, and the routes that refuse; ``facts`` are the kernel's.

    Those that IKE negotiates are the daemon's affair. Until it has made them its tunnel's interface drops everything.
    """
    keys = _keys(config)
    found = [setting for tunnel in config.tunnels for setting in _guards(tunnel, facts)]
    places = {tunnel.number: at for at, tunnel in enumerate(config.static)}
    for tunnel in config.tunnels:
        subject, number = f"tunnel {tunnel.number}", places.get(tunnel.number, -1)
        wanted = {} if number < 0 else _states(tunnel, keys[number])
        found += [_state(subject, name, state, facts, config.file, number) for name, state in wanted.items()]
        identities = {state.identity for state in wanted.values()}
        strangers = [
            state for state in facts.states if state.number == tunnel.number and state.identity not in identities
        ]
        found += [_stranger(subject, state) for state in strangers]
        found += _policies(subject, tunnel, facts)
    return found


def _guards(tunnel: NodeTunnel, facts: Facts) -> list[Setting]:
    found = []
    for prefix in tunnel.prefixes:
        line = f"unreachable {prefix} table {TABLE} metric {_LAST} proto {_GUARD}"
        have = "refused" if _prefix(prefix) in facts.refused else "not refused"
        actions, undo = (Ip(f"route replace {line}"),), (Ip(f"route del {line}"),)
        name = f"{prefix} without its interface"
        found.append(Setting(f"tunnel {tunnel.number}", name, have, "refused", actions, undo))
    return found


def _states(tunnel: NodeTunnel, keys: tuple[bytes, ...]) -> dict[str, xfrm.State]:
    """By name; ``keys`` of both directions, empty while they are not here."""
    half = len(keys) // 2
    common: dict[str, Any] = {
        "number": tunnel.number, "window": tunnel.replay_window, "esn": tunnel.esn, "udp": tunnel.udp,
    }  # fmt: skip
    outward = xfrm.State(tunnel.local, tunnel.peer, tunnel.spi_out, keys=_salted(keys[:half], tunnel.salt), **common)
    found = {"outbound association": outward}
    if tunnel.own:
        inward = xfrm.State(tunnel.peer, tunnel.local, tunnel.spi_in, keys=keys[half:], **common)
        found["inbound association"] = inward
    return found


def _salted(keys: tuple[bytes, ...], salt: int) -> tuple[bytes, ...]:
    """A nonce is salt and counter (RFC 4106, 4): with one key, servers differ by their salt."""
    if len(keys) != 1:
        return keys
    own = int.from_bytes(keys[0][-4:], "big") ^ salt
    return (keys[0][:-4] + own.to_bytes(4, "big"),)


def _state(subject: str, name: str, want: xfrm.State, facts: Facts, file: str, line: int) -> Setting:
    text = f"SPI {want.spi:#x}, replay window {want.window}{', ESN' * want.esn}{', in UDP' * want.udp}"
    now = next((state for state in facts.states if state.identity == want.identity), None)
    have = "absent"
    if now is not None and want.keys and now.same(want):
        have = text
    elif now is not None:
        have = "other keys" if now.said()[:4] == want.said()[:4] and now.keys != want.keys else "another one"
    record = {"source": want.source, "destination": want.destination, "spi": want.spi, "number": want.number}
    more = {
        "window": want.window,
        "esn": want.esn,
        "udp": want.udp,
        "file": file,
        "line": line,
        "out": name.startswith("out"),
    }
    add, gone = Xfrm(json.dumps({"add": record | more})), _gone(want)
    return Setting(subject, f"{name} {want.spi:#x}", have, text, (add,), (gone,))


def _stranger(subject: str, state: xfrm.State) -> Setting:
    return Setting(subject, f"association {state.spi:#x}", "present", "absent", (_gone(state),))


def _gone(state: xfrm.State) -> Xfrm:
    return Xfrm(json.dumps({"remove": {"destination": state.destination, "spi": state.spi}}))


def _policies(subject: str, tunnel: NodeTunnel, facts: Facts) -> list[Setting]:
    near, far = tunnel.local, tunnel.peer
    wanted = []
    for inside in tunnel.sources if tunnel.ike is None else ():
        for outside in tunnel.prefixes:
            wanted.append(xfrm.Policy(xfrm.OUTWARD, inside, outside, tunnel.number, near, far))
            if tunnel.own:
                ways = (xfrm.INWARD, xfrm.FORWARDED)
                wanted += [xfrm.Policy(way, outside, inside, tunnel.number, far, near) for way in ways]
    have = set(facts.policies)
    found = [_policy(subject, each, there=each in have, wanted=True) for each in wanted]
    selected = {(each.direction, each.source, each.destination) for each in wanted}
    return found + [
        _policy(subject, each, there=True, wanted=False)
        for each in facts.policies
        if each.number == tunnel.number and (each.direction, each.source, each.destination) not in selected
    ]


def _policy(subject: str, policy: xfrm.Policy, *, there: bool, wanted: bool) -> Setting:
    record = {name: getattr(policy, name) for name in ("direction", "source", "destination", "number", "near", "far")}
    add, gone = (Xfrm(json.dumps({verb: record})) for verb in ("select", "release"))
    name = f"policy {policy.direction} {policy.source} to {policy.destination}"
    have, want = "present" if there else "absent", "present" if wanted else "absent"
    return Setting(subject, name, have, want, (add,) if wanted else (gone,), (gone,) if wanted else ())


def carry_out(text: str) -> None:
    """What an action of this module says; CheckFailed where the kernel refuses. Keys are read from their file now."""
    ((verb, record),) = json.loads(text).items()
    if verb == "remove":
        xfrm.remove_state(record["destination"], record["spi"])
    elif verb == "add":
        xfrm.write_state(_keyed(record))
    elif verb == "select":
        xfrm.write_policy(xfrm.Policy(**record))
    else:
        xfrm.remove_policy(xfrm.Policy(**record))


def _keyed(record: dict[str, Any]) -> xfrm.State:
    words = _lines(Path(record["file"]))[record["line"]]
    half = len(words) // 2
    keys = _salted(words[:half], record["spi"] >> 8 & 0xFF) if record["out"] else words[half:]
    names = ("source", "destination", "spi", "number", "window", "esn")
    # What an earlier version wrote down does not say it.
    return xfrm.State(keys=keys, udp=record.get("udp", False), **{name: record[name] for name in names})


def _keys(config: TunnelConfig) -> list[tuple[bytes, ...]]:
    """Of each tunnel; empty ones where the file is not here yet, or of another plan."""
    try:
        found = _lines(Path(config.file))
    except CheckFailed:
        found = []
    sizes = [2 * CIPHERS[tunnel.cipher][1] for tunnel in config.static]
    if [len(words) for words in found] != sizes:
        return [() for _ in sizes]
    return found


def _lines(path: Path) -> list[tuple[bytes, ...]]:
    """A tunnel's words a line. CheckFailed where it cannot be read; its content is in no message."""
    try:
        return [tuple(bytes.fromhex(word) for word in line.split()) for line in path.read_text("ascii").splitlines()]
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it holds no keys"
        raise CheckFailed(
            f"the tunnels' keys cannot be read: {reason}",
            code="node.tunnel-keys",
            where=Where(file=str(path)),
            hint="`rbops apply` installs them",
        ) from None


def _prefix(text: str) -> str:
    return "0.0.0.0/0" if text == "default" else str(IPv4Interface(text).network)


def counted(states: Iterable[xfrm.State], config: TunnelConfig) -> list[dict[str, Any]]:
    """What each tunnel's associations on this server have counted; of one by IKE all that are there, old and new."""
    found, known = [], tuple(states)
    for tunnel in (each for each in config.tunnels if each.encrypts):
        both = {"out": (tunnel.peer, tunnel.spi_out), "in": (tunnel.local, tunnel.spi_in)}
        entry: dict[str, Any] = {"tunnel": tunnel.number, "peer": tunnel.peer}
        for way, identity in both.items():
            if tunnel.ike is None:
                some = [state for state in known if state.identity == identity]
            else:
                mine = (state for state in known if state.negotiated and state.number == tunnel.number)
                some = [state for state in mine if state.destination == identity[0]]
            if some:
                entry[way] = {name: sum(getattr(each, field) for each in some) for name, field in _COUNTED[way].items()}
                entry[way]["sequence"] = max(each.sequence for each in some)
        found.append(entry)
    return found
