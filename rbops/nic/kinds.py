"""What the value of a NIC setting may be: what a spec may say, and what node.json may hold."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["KEEP", "SYMMETRIC", "Features", "Flag", "HashKey", "Keep", "Kind", "Number"]

Keep = Literal["keep"]
KEEP: Keep = "keep"
"""In a spec: the device's own value is left alone."""

SYMMETRIC = "symmetric"
"""The hash key that gives both directions of a flow the same hash: 6d:5a repeated (Woo and Park, 2012)."""

_KEY = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){7,255}")
_FEATURE = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}")


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number from ``low`` to ``high``, in a spec written with a ``unit`` if it has one, or ``keep``."""

    low: int
    high: int
    unit: Literal["us", "ns"] | None = None
    keep: bool = False

    def check(self, value: Any) -> int:
        """ValueError for anything that no device could be given; what rbops computes may be above ``high``."""
        if type(value) is not int or value < self.low:
            raise ValueError(f"{value!r} is not a number from {self.low}")
        return value

    def words(self, value: Any, names: Iterable[str]) -> tuple[tuple[str, str], ...]:
        """(name, value) as the tool takes them."""
        return tuple((name, str(value)) for name in names)


@dataclass(frozen=True, slots=True)
class Flag:
    """On or off, by the tool's words for them."""

    on: str = "on"
    off: str = "off"

    def check(self, value: Any) -> bool:
        """ValueError for anything but true and false."""
        if type(value) is not bool:
            raise ValueError(f"{value!r} is neither true nor false")
        return value

    def words(self, value: Any, names: Iterable[str]) -> tuple[tuple[str, str], ...]:
        """(name, value) as the tool takes them."""
        return tuple((name, self.on if value else self.off) for name in names)


@dataclass(frozen=True, slots=True)
class HashKey:
    """``symmetric``, or bytes in hexadecimal with colons; in a spec also ``keep``."""

    def check(self, value: Any) -> str:
        """ValueError for anything else."""
        if not isinstance(value, str) or not (value == SYMMETRIC or _KEY.fullmatch(value)):
            raise ValueError(f"{value!r} is not a hash key")
        return value

    def words(self, value: Any, names: Iterable[str]) -> tuple[tuple[str, str], ...]:
        """(name, value) as the tool takes them, but for ``symmetric``, whose length is the device's."""
        return tuple((name, str(value)) for name in names)


@dataclass(frozen=True, slots=True)
class Features:
    """Features (name, on) by the names that ``ethtool -K`` takes; a spec may name ``known`` ones."""

    known: tuple[str, ...]

    def check(self, value: Any) -> tuple[tuple[str, bool], ...]:
        """From the pairs, or a JSON object of them; ValueError for anything but names with true and false."""
        pairs = tuple(value.items() if isinstance(value, dict) else value)
        for name, on in pairs:
            if not isinstance(name, str) or not _FEATURE.fullmatch(name) or type(on) is not bool:
                raise ValueError(f"{name!r}: {on!r} is not a feature")
        return pairs

    def words(self, value: Any, names: Iterable[str]) -> tuple[tuple[str, str], ...]:
        """(name, value) as the tool takes them."""
        del names
        return tuple((name, "on" if on else "off") for name, on in value)


Kind = Number | Flag | HashKey | Features
