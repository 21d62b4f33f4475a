"""The values of ``nic:`` as people write them; see ``units`` and ``words``."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Literal

from rbops.spec.units import SECONDS, Wrong, nearest, shown, whole

__all__ = ["OFFLOADS", "microseconds", "nanoseconds", "offload", "ring", "rss_key"]

_RINGS = (64, 16384)
_LONGEST_USECS = 10_000
_LONGEST_NS = 1_000_000_000

OFFLOADS = (
    "gro", "gso", "lro", "tso", "rx", "tx", "sg", "rxvlan", "txvlan", "rxhash", "ntuple", "rx-gro-hw", "rx-gro-list",
    "rx-udp-gro-forwarding", "rx-udp_tunnel-port-offload", "rx-vlan-filter", "tx-gso-partial", "tx-nocache-copy",
    "tx-udp-segmentation", "hw-tc-offload",
)  # fmt: skip
"""Features by the names that ``ethtool -K`` takes."""


def ring(text: str) -> int | Literal["keep"]:
    """A number of descriptors, or ``keep``."""
    return "keep" if text == "keep" else whole(*_RINGS)(text)


def microseconds(text: str) -> int | Literal["keep"]:
    """A time that ``ethtool -C`` can express, or ``keep``."""
    if text == "keep":
        return "keep"
    value = SECONDS(text) * 1_000_000
    if value != value.to_integral_value():
        raise Wrong(f"{shown(text)} is no whole number of microseconds, which NICs count in", "for example 50us")
    if value > _LONGEST_USECS:
        raise Wrong(f"{shown(text)} is longer than NICs can wait", f"at most {_LONGEST_USECS // 1000}ms")
    return int(value)


def nanoseconds(text: str) -> int:
    """A time that ``gro_flush_timeout`` can express."""
    value: Decimal = SECONDS(text) * 1_000_000_000
    if value > _LONGEST_NS:
        raise Wrong(f"{shown(text)} is longer than a packet may wait", "at most 1s, for example 200us")
    return int(value)


def rss_key(text: str) -> str:
    """``keep``, ``symmetric`` or bytes as ethtool prints them."""
    lower = text.strip().lower().replace("-", ":")
    if lower in {"keep", "symmetric"} or re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){7,255}", lower):
        return lower
    hint = "keep, symmetric, or hexadecimal bytes with colons, as many as `ethtool -x` shows"
    raise Wrong(f"{shown(text)} is no RSS key", hint)


def offload(text: str) -> str:
    """A feature's name."""
    if text in OFFLOADS:
        return text
    near = nearest(text, OFFLOADS)
    hint = f"did you mean {near}?" if near else f"known are {', '.join(OFFLOADS)}"
    raise Wrong(f"{shown(text)} is no offload that rbops knows", hint)
