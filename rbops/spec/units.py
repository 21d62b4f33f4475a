"""Numbers with units as people write them (``10Gbps``, ``100ms``, ``64B``) -> plain numbers.

Every reader takes the text the user wrote, returns the number in the base unit, and raises
``InvalidValue`` with what is wrong and what to write instead. Limits are stated in the message.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

__all__ = [
    "DOLLARS",
    "HERTZ",
    "PACKET",
    "RATE",
    "SECONDS",
    "SIZE",
    "WATTS",
    "InvalidValue",
    "Unit",
    "choice",
    "flag",
    "nearest",
    "shown",
    "whole",
]

_LONGEST_SHOWN = 60
_NUMBER = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,9})?")
_BITS = re.compile(r"([kMGT])(?:b|bE|b/s|bit|bits|bit/s|bits/s|bitps|BASE-\w+)")
"""Other spellings of a rate: 10GbE, 10Gbit/s, and what IEEE 802.3 calls a medium: 10GBASE-T."""
_QUANTITY = re.compile(
    r"(?P<number>[+-]?[0-9.,_eE+-]*[0-9]|[+-]?(?:nan|inf|infinity))\s?(?P<unit>\D*|[A-Z]BASE-\w+)", re.IGNORECASE
)


class InvalidValue(ValueError):
    """A value that cannot be used: why, what to write instead, and the code of the error."""

    def __init__(self, message: str, hint: str | None = None, *, code: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Unit:
    """A quantity: its name, the factor of each unit's symbol to the base unit, and its limits.

    ``low`` and ``high`` are in the base unit, with the text that the message states them by.
    """

    noun: str
    factors: Mapping[str, Decimal]
    example: str
    low: Decimal
    high: Decimal
    limits: str
    zero: bool = False

    def __call__(self, text: str) -> Decimal:
        """``text`` in the base unit; raises InvalidValue."""
        if self.zero and text.strip() == "0":
            return Decimal(0)
        number, symbol = self._split(text)
        value = number * self.factors[symbol]
        if value == 0 and self.zero:
            return value
        if not self.low <= value <= self.high:
            raise InvalidValue(
                f"{shown(text)} is outside {self.limits}", f"for example {self.example}", code="spec.range"
            )
        return value

    def _split(self, text: str) -> tuple[Decimal, str]:
        match = _QUANTITY.fullmatch(text.strip()[:100])
        if not match:
            raise InvalidValue(
                f"{shown(text)} is not {self.noun}",
                f"write a number and its unit, for example {self.example}",
                code="spec.unit",
            )
        number, symbol = match["number"], match["unit"].strip()
        if number.startswith("-"):
            raise InvalidValue(f"{shown(text)} is negative", f"for example {self.example}", code="spec.unit")
        if not _NUMBER.fullmatch(number):
            hint = f"write plain digits with at most one decimal point, for example {self.example}"
            raise InvalidValue(f"{shown(number)} in {shown(text)} is not a plain number", hint, code="spec.unit")
        if not symbol:
            raise InvalidValue(
                f"{shown(text)} has no unit",
                f"write the unit with the value, for example {self.example}",
                code="spec.unit",
            )
        if symbol not in self.factors:
            meant = self._meant(symbol)
            hint = f"did you mean {number}{meant}?" if meant else f"units are {', '.join(self.factors)}"
            raise InvalidValue(f"{shown(symbol)} is not a unit of {self.noun}", hint, code="spec.unit")
        return Decimal(number), symbol

    def _meant(self, symbol: str) -> str | None:
        if (bits := _BITS.fullmatch(symbol)) and (rate := f"{bits[1]}bps") in self.factors:
            return rate
        for known in self.factors:
            if known.lower() == symbol.lower():
                return known
        starts = [known for known in self.factors if known.lower().startswith(symbol.lower())]
        return starts[0] if starts else nearest(symbol, self.factors)


def _unit(noun: str, factors: dict[str, str], example: str, low: str, high: str, *, zero: bool = False) -> Unit:
    def base(text: str) -> Decimal:
        match = re.fullmatch(r"([0-9.]+)(\D+)", text)
        if match is None:
            raise ValueError(text)
        return Decimal(match[1]) * Decimal(factors[match[2]])

    decimals = {symbol: Decimal(factor) for symbol, factor in factors.items()}
    span = f"{low} to {high}{' (or 0)' if zero else ''}"
    return Unit(noun, decimals, example, base(low), base(high), span, zero)


RATE = _unit(
    "a rate",
    {"bps": "1", "kbps": "1e3", "Mbps": "1e6", "Gbps": "1e9", "Tbps": "1e12"},
    "10Gbps",
    "1Mbps",
    "100Tbps",
)
SECONDS = _unit("a time", {"ns": "1e-9", "us": "1e-6", "ms": "1e-3", "s": "1"}, "100ms", "1ns", "3600s", zero=True)
HERTZ = _unit("a frequency", {"Hz": "1", "kHz": "1e3", "MHz": "1e6", "GHz": "1e9"}, "2.8GHz", "1MHz", "100GHz")
SIZE = _unit(
    "a size",
    {"B": "1", "kB": "1e3", "MB": "1e6", "GB": "1e9", "KiB": "1024", "MiB": "1048576", "GiB": "1073741824"},
    "8MiB",
    "1B",
    "1024GiB",
)
PACKET = _unit("a packet size", {"B": "1"}, "64B", "64B", "1518B")
WATTS = _unit("a power", {"W": "1", "kW": "1e3"}, "650W", "1W", "100kW")
DOLLARS = _unit("a price", {"USD": "1"}, "3625USD", "1USD", "10000000USD")


def whole(low: int, high: int) -> Callable[[str], int]:
    """A reader of whole numbers from ``low`` to ``high``."""

    def read(text: str) -> int:
        digits = text.strip()
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", digits):
            raise InvalidValue(
                f"{shown(text)} is not a whole number",
                f"write digits only, from {low:,} to {high:,}",
                code="spec.number",
            )
        if not low <= int(digits) <= high:
            raise InvalidValue(f"{shown(text)} is outside {low:,} to {high:,}", code="spec.range")
        return int(digits)

    return read


def choice(words: tuple[str, ...]) -> Callable[[str], str]:
    """A reader of one of ``words``."""

    def read(text: str) -> str:
        if text in words:
            return text
        near = nearest(text, words)
        known = ", ".join(words)
        raise InvalidValue(
            f"{shown(text)} is not one of {known}", f"did you mean {near}?" if near else None, code="spec.choice"
        )

    return read


def flag(text: str) -> bool:
    """``true`` or ``false``; YAML 1.1's other spellings are refused rather than guessed."""
    if text not in {"true", "false"}:
        raise InvalidValue(f"{shown(text)} is not a boolean, expected true or false", code="spec.choice")
    return text == "true"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that ``word`` was probably meant to be."""
    lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word[:80].lower(), lower, n=1, cutoff=0.6)
    return lower[found[0]] if found else None


def shown(text: str) -> str:
    """``text`` as a message shows it: quoted, escaped where a terminal would act on it, cut when long."""
    cut = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
    return ascii(cut) if not cut.isprintable() else f'"{cut}"'
