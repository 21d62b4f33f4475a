"""The kernel's IPsec states and policies over netlink (linux/xfrm.h): keys are on no command line and in no output."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from rbops.errors import CheckFailed
from rbops.node.netlink import attribute, attributes, messages

__all__ = [
    "FORWARDED",
    "INWARD",
    "OUTWARD",
    "Policy",
    "State",
    "policies",
    "remove_policy",
    "remove_state",
    "states",
    "write_policy",
    "write_state",
]

_NETLINK_XFRM = 6
_NEW_STATE, _DEL_STATE, _GET_STATE, _DEL_POLICY, _GET_POLICY, _UPDATE_POLICY = 0x10, 0x11, 0x12, 0x14, 0x15, 0x19
_ERROR, _DONE = 2, 3
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_CREATE, _EXCLUSIVE = 0x400, 0x200
_CRYPT, _TEMPLATE, _AEAD, _AUTH_TRUNCATED, _REPLAY_ESN, _IF_ID = 2, 5, 18, 20, 23, 31
_ENCAPSULATED, _ESP_IN_UDP, _PORT = 4, 2, 4500
"""XFRMA_ENCAP, UDP_ENCAP_ESPINUDP (linux/udp.h), and the port of both ends (RFC 3948)."""
_ESP, _TUNNEL, _ESN = 50, 1, 0x80
_FOREVER = b"\xff" * 32 + bytes(32)
"""struct xfrm_lifetime_cfg: no limits."""

_HEADER = struct.Struct("=IHHII")
_ID = struct.Struct("=16s4sB3x")
_SELECTOR = struct.Struct("=16s16sHHHHHBBB3xiI")
_STATE = struct.Struct("=56s24s16s64s32sIII II HBBB7x".replace(" ", ""))
_POLICY = struct.Struct("=56s64s32sIIBBBB4x")
_TEMPLATES = struct.Struct("=24sH2x16sIBBBxIII")
_STATE_ID = struct.Struct("=16s4sHBx")
_POLICY_ID = struct.Struct("=56sIB3x")
_REPLAY = struct.Struct("=IIIIII")
_ENCAPSULATION = struct.Struct("=H2s2s2x16x")
_NAME = 64

OUTWARD, INWARD, FORWARDED = "out", "in", "fwd"
_DIRECTIONS = {INWARD: 0, OUTWARD: 1, FORWARDED: 2}


@dataclass(frozen=True, slots=True)
class State:
    """A security association in tunnel mode, ESP. ``keys``: one for AES-GCM (with salt), or AES's and HMAC's.

    What it has counted: ``packets`` and ``octets`` that passed, ``replayed`` and ``failed``: dropped as late or twice,
    and for a wrong check value (a wrong key, or tampered). ``sequence``: the last number sent, or the highest received.
    ``negotiated``: the IKE daemon's, by its request id, which is not the number.
    """

    source: str
    destination: str
    spi: int
    number: int
    keys: tuple[bytes, ...] = field(repr=False)
    window: int
    esn: bool
    udp: bool = False
    negotiated: bool = False
    packets: int = 0
    octets: int = 0
    replayed: int = 0
    failed: int = 0
    sequence: int = 0

    @property
    def identity(self) -> tuple[str, int]:
        """What the kernel finds it by."""
        return self.destination, self.spi

    def same(self, other: State) -> bool:
        """Whether it does the same with packets, whatever it has counted."""
        return self.said() == other.said()

    def said(self) -> tuple[object, ...]:
        """All that is configured."""
        return self.source, self.destination, self.spi, self.number, self.keys, self.window, self.esn, self.udp


@dataclass(frozen=True, slots=True)
class Policy:
    """Packets of these networks go into the tunnel between these two, or come out of it; ``out``, ``in``, ``fwd``."""

    direction: str
    source: str
    destination: str
    number: int
    near: str
    far: str


def states() -> list[State]:
    """All that the kernel has of this form. CheckFailed without XFRM."""
    return [found for body, rest in _dump(_GET_STATE) if (found := _state(body, rest)) is not None]


def policies() -> list[Policy]:
    """All that the kernel has of this form. CheckFailed without XFRM."""
    return [found for body, rest in _dump(_GET_POLICY) if (found := _policy(body, rest)) is not None]


def write_state(state: State) -> None:
    """Add it, in place of one with the same SPI; its sequence numbers begin anew. CheckFailed."""
    remove_state(*state.identity)
    _send(_NEW_STATE, _state_message(state), _CREATE | _EXCLUSIVE, f"the association {state.spi:#x}")


def remove_state(destination: str, spi: int) -> None:
    """Fine where there is none."""
    body = _STATE_ID.pack(_address(destination), spi.to_bytes(4, "big"), socket.AF_INET, _ESP)
    _send(_DEL_STATE, body, 0, f"the association {spi:#x}", absent=True)


def write_policy(policy: Policy) -> None:
    """Add it, or change the one with the same networks at once. CheckFailed."""
    _send(_UPDATE_POLICY, _policy_message(policy), 0, f"the policy for {policy.destination}")


def remove_policy(policy: Policy) -> None:
    """Fine where there is none."""
    body = _POLICY_ID.pack(_selector(policy.source, policy.destination), 0, _DIRECTIONS[policy.direction])
    body += attribute(_IF_ID, struct.pack("=I", policy.number))
    _send(_DEL_POLICY, body, 0, f"the policy for {policy.destination}", absent=True)


def _state_message(state: State) -> bytes:
    identity = _ID.pack(_address(state.destination), state.spi.to_bytes(4, "big"), _ESP)
    flags = _ESN if state.esn else 0
    counted = bytes(32), 0, 0, 0, 0
    # No selector: the policies say what goes in. The window stands in its own attribute.
    head = _STATE.pack(
        _any(), identity, _address(state.source), _FOREVER, *counted, state.number, socket.AF_INET, _TUNNEL, 0, flags
    )
    words = -(-max(state.window, 1) // 32)
    replay = _REPLAY.pack(words, 0, 0, 0, 0, state.window) + bytes(4 * words)
    more = attribute(_REPLAY_ESN, replay) if state.esn or state.window else b""
    if state.udp:
        port = _PORT.to_bytes(2, "big")
        more += attribute(_ENCAPSULATED, _ENCAPSULATION.pack(_ESP_IN_UDP, port, port))
    return head + _algorithms(state.keys) + more + attribute(_IF_ID, struct.pack("=I", state.number))


def _algorithms(keys: tuple[bytes, ...]) -> bytes:
    if len(keys) == 1:
        return attribute(_AEAD, _named("rfc4106(gcm(aes))") + struct.pack("=II", 8 * len(keys[0]), 128) + keys[0])
    cipher, mac = keys
    # RFC 4868: 128 bits; the kernel's own default for this name is 96.
    return attribute(_CRYPT, _named("cbc(aes)") + struct.pack("=I", 8 * len(cipher)) + cipher) + attribute(
        _AUTH_TRUNCATED, _named("hmac(sha256)") + struct.pack("=II", 8 * len(mac), 128) + mac
    )


def _state(body: bytes, rest: dict[int, bytes]) -> State | None:
    if len(body) < _STATE.size:
        return None
    fields = _STATE.unpack_from(body)
    destination, spi, protocol = _ID.unpack(fields[1])
    family, mode, window, flags = fields[10:14]
    if (family, mode, protocol) != (socket.AF_INET, _TUNNEL, _ESP):
        return None
    sequence = 0
    octets, packets = struct.unpack_from("=QQ", fields[4])
    if _REPLAY_ESN in rest:
        _, out, seen, out_high, seen_high, window = _REPLAY.unpack_from(rest[_REPLAY_ESN])
        # An association has one direction: the other one's number is 0.
        sequence = max(out_high << 32 | out, seen_high << 32 | seen)
    return State(
        source=_text(fields[2]),
        destination=_text(destination),
        spi=int.from_bytes(spi, "big"),
        number=_if_id(rest),
        keys=_keys(rest),
        window=window,
        esn=bool(flags & _ESN),
        udp=_ENCAPSULATED in rest,
        negotiated=fields[9] != _if_id(rest),
        packets=packets,
        octets=octets,
        replayed=fields[6],
        failed=fields[7],
        sequence=sequence,
    )


def _keys(rest: dict[int, bytes]) -> tuple[bytes, ...]:
    """Of what this module writes; none of other algorithms, which are then other keys."""
    if _AEAD in rest and rest[_AEAD].startswith(_named("rfc4106(gcm(aes))")):
        return (rest[_AEAD][_NAME + 8 :][: _bits(rest[_AEAD])],)
    if _CRYPT in rest and _AUTH_TRUNCATED in rest:
        crypt, mac = rest[_CRYPT], rest[_AUTH_TRUNCATED]
        named = crypt.startswith(_named("cbc(aes)")) and mac.startswith(_named("hmac(sha256)"))
        if named and struct.unpack_from("=I", mac, _NAME + 4)[0] == 128:  # noqa: PLR2004 - bits
            return crypt[_NAME + 4 :][: _bits(crypt)], mac[_NAME + 8 :][: _bits(mac)]
    return ()


def _bits(algorithm: bytes) -> int:
    """Octets of a key, which the kernel counts in bits."""
    return int(struct.unpack_from("=I", algorithm, _NAME)[0]) // 8


def _policy_message(policy: Policy) -> bytes:
    head = _POLICY.pack(
        _selector(policy.source, policy.destination), _FOREVER, bytes(32), 0, 0, _DIRECTIONS[policy.direction], 0, 0, 0
    )
    identity = _ID.pack(_address(policy.far), bytes(4), _ESP)
    every = 0xFFFFFFFF
    template = _TEMPLATES.pack(
        identity, socket.AF_INET, _address(policy.near), policy.number, _TUNNEL, 0, 0, every, every, every
    )
    return head + attribute(_TEMPLATE, template) + attribute(_IF_ID, struct.pack("=I", policy.number))


def _policy(body: bytes, rest: dict[int, bytes]) -> Policy | None:
    if len(body) < _POLICY.size or len(rest.get(_TEMPLATE, b"")) != _TEMPLATES.size:
        return None
    selector, *_, direction, action, _, _ = _POLICY.unpack_from(body)
    identity, family, near, number, mode, _, optional, *_ = _TEMPLATES.unpack(rest[_TEMPLATE])
    destination, source, *_, selected, length, from_length, protocol, _, _ = _SELECTOR.unpack(selector)
    if (family, selected, mode, action, optional, protocol) != (socket.AF_INET, socket.AF_INET, _TUNNEL, 0, 0, 0):
        return None
    far, _, kind = _ID.unpack(identity)
    names = {value: name for name, value in _DIRECTIONS.items()}
    if kind != _ESP or number != _if_id(rest) or direction not in names:
        return None
    networks = f"{_text(source)}/{from_length}", f"{_text(destination)}/{length}"
    return Policy(names[direction], *networks, number, _text(near), _text(far))


def _selector(source: str, destination: str) -> bytes:
    near, far = IPv4Network(source), IPv4Network(destination)
    addresses = (_address(str(net.network_address)) for net in (far, near))
    return _SELECTOR.pack(*addresses, 0, 0, 0, 0, socket.AF_INET, far.prefixlen, near.prefixlen, 0, 0, 0)


def _any() -> bytes:
    return _selector("0.0.0.0/0", "0.0.0.0/0")


def _named(name: str) -> bytes:
    return name.encode().ljust(_NAME, b"\0")


def _address(text: str) -> bytes:
    return IPv4Address(text).packed.ljust(16, b"\0")


def _text(packed: bytes) -> str:
    return str(IPv4Address(packed[:4]))


def _if_id(rest: dict[int, bytes]) -> int:
    return int.from_bytes(rest.get(_IF_ID, b""), sys.byteorder)


def _open() -> socket.socket:
    try:
        link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_XFRM)
    except OSError as error:
        raise CheckFailed(
            f"the kernel has no IPsec: {error.strerror}", code="node.no-xfrm", hint="run one with CONFIG_XFRM_USER"
        ) from error
    link.settimeout(10)
    return link


def _dump(kind: int) -> Iterator[tuple[bytes, dict[int, bytes]]]:
    """Body and attributes of each answer."""
    size = _STATE.size if kind == _GET_STATE else _POLICY.size
    with _open() as link:
        link.send(_HEADER.pack(_HEADER.size, kind, _REQUEST | _DUMP, 1, 0))
        while True:
            data = link.recv(1 << 20)
            for found, start, end in messages(data):
                if found == _DONE:
                    return
                if found == _ERROR:
                    raise CheckFailed(_refused("a list of its associations", data[start:end]), code="node.xfrm")
                yield data[start : start + size], dict(attributes(data, start + size, end))


def _send(kind: int, body: bytes, flags: int, what: str, *, absent: bool = False) -> None:
    """One request and its answer; ``absent``: fine where it is not there."""
    with _open() as link:
        link.send(_HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | _ACK | flags, 1, 0) + body)
        answer = link.recv(1 << 16)
    number = -struct.unpack_from("=i", answer, _HEADER.size)[0]
    if number and not (absent and number in (errno.ESRCH, errno.ENOENT)):
        raise CheckFailed(_refused(what, answer[_HEADER.size :]), code="node.xfrm")


def _refused(what: str, answer: bytes) -> str:
    number = -struct.unpack_from("=i", answer)[0]
    return f"the kernel refuses {what}: {os.strerror(number)}"
