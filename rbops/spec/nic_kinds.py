"""Each kind of NIC setting as people write it: text in, value out (else ``InvalidValue``), and its JSON Schema."""

import re
from collections.abc import Callable
from typing import Annotated, Any

from rbops.nic.kinds import KEEP, SYMMETRIC, Features, Flag, HashKey, Keep, Number
from rbops.nic.settings import Row
from rbops.spec import scalars as kind
from rbops.spec.scalars import Scalar
from rbops.spec.units import SECONDS, InvalidValue, nearest, shown, whole

__all__ = ["written"]

_TIME = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?(ns|us|ms|s)$"}


def written(row: Row) -> Any:
    """The type of a setting as a field of a section."""
    match row.kind:
        case Number() as number:
            return Annotated[int | Keep, Scalar(_number(number), _number_schema(number, row))]
        case Flag():
            return kind.Flag
        case HashKey():
            pattern = f"^({KEEP}|{SYMMETRIC}|[0-9A-Fa-f]{{2}}([:-][0-9A-Fa-f]{{2}}){{7,255}})$"
            return Annotated[str, Scalar(_hash_key, {"type": "string", "pattern": pattern, "examples": [SYMMETRIC]})]
        case Features(known):
            return dict[Annotated[str, Scalar(_feature(known), {"enum": list(known)})], kind.Flag]


def _number(number: Number) -> Callable[[str], int | Keep]:
    plain = {"us": _microseconds, "ns": _nanoseconds}.get(number.unit or "")
    read = plain(number) if plain else whole(number.low, number.high)

    def keep(text: str) -> int | Keep:
        return KEEP if text == KEEP else read(text)

    return keep if number.keep else read


def _number_schema(number: Number, row: Row) -> dict[str, Any]:
    bounds: dict[str, Any] = {"type": "integer", "minimum": number.low, "maximum": number.high}
    kinds: list[dict[str, Any]] = [{"const": KEEP}] if number.keep else []
    kinds = [{"const": 0}, *kinds, _TIME] if number.unit else [bounds, *kinds]
    return {"anyOf": kinds, "examples": list(row.examples)} if len(kinds) > 1 else bounds


def _microseconds(number: Number) -> Callable[[str], int]:
    """A time that ``ethtool -C`` can express."""

    def read(text: str) -> int:
        value = SECONDS(text) * 1_000_000
        if value != value.to_integral_value():
            raise InvalidValue(
                f"{shown(text)} is not a whole number of microseconds", "for example 50us", code="spec.unit"
            )
        if value > number.high:
            raise InvalidValue(
                f"{shown(text)} is longer than NICs support", f"at most {number.high // 1000}ms", code="spec.range"
            )
        return int(value)

    return read


def _nanoseconds(number: Number) -> Callable[[str], int]:
    """A time that the kernel takes in nanoseconds."""

    def read(text: str) -> int:
        value = SECONDS(text) * 1_000_000_000
        if value > number.high:
            hint = f"at most {number.high // 1_000_000_000}s, for example 200us"
            raise InvalidValue(f"{shown(text)} is too long", hint, code="spec.range")
        return int(value)

    return read


def _hash_key(text: str) -> str:
    """``keep``, ``symmetric`` or bytes as ethtool prints them."""
    lower = text.strip().lower().replace("-", ":")
    if lower in {KEEP, SYMMETRIC} or re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){7,255}", lower):
        return lower
    hint = "keep, symmetric, or hexadecimal bytes with colons, as many as `ethtool -x` shows"
    raise InvalidValue(f"{shown(text)} is not an RSS key", hint, code="spec.rss-key")


def _feature(known: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text in known:
            return text
        near = nearest(text, known)
        hint = f"did you mean {near}?" if near else f"known are {', '.join(known)}"
        raise InvalidValue(f"{shown(text)} is not a known offload", hint, code="spec.choice")

    return read
