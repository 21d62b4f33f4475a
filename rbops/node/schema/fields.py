"""JSON from another program, read value by value: each has its type, each error its place in the document."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, ip_address, ip_interface

__all__ = ["Field", "FieldError", "Fields", "only_one_end"]


class FieldError(ValueError):
    """A value that cannot be used; ``place`` is where it is, for instance ``ports[0].queues``."""

    def __init__(self, place: str, message: str) -> None:
        super().__init__(f"{place}: {message}")
        self.place = place
        self.message = message


@dataclass(frozen=True, slots=True)
class Field:
    """A value and its place in the document. All methods raise FieldError for a value of another type."""

    place: str
    value: object

    def text(self, pattern: re.Pattern[str] | None = None) -> str:
        """A string, which ``pattern`` matches as a whole."""
        if not isinstance(self.value, str):
            raise self.error(f"{self.value!r} is not a string")
        if pattern is not None and not pattern.fullmatch(self.value):
            raise self.error(f"{self.value!r} is not allowed")
        return self.value

    def choice(self, *values: str) -> str:
        """One of ``values``."""
        if self.value not in values:
            raise self.error(f"{self.value!r} is not one of {', '.join(values)}")
        return str(self.value)

    def number(self) -> int:
        """A whole number."""
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            raise self.error(f"{self.value!r} is not a number")
        return self.value

    def decimal(self) -> float:
        """A number; one that was written whole stays so."""
        if not isinstance(self.value, (int, float)) or isinstance(self.value, bool):
            raise self.error(f"{self.value!r} is not a number")
        return self.value

    def flag(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            raise self.error(f"{self.value!r} is not true or false")
        return self.value

    def address(self) -> str:
        """An IPv4 address."""
        try:
            return str(IPv4Address(self.text()))
        except ValueError as error:
            raise self.error(str(error)) from error

    def interface(self) -> str:
        """An IPv4 address with its prefix length."""
        try:
            return str(IPv4Interface(self.text()))
        except ValueError as error:
            raise self.error(str(error)) from error

    def any_address(self) -> str:
        """An address of either family."""
        return self._of_a_family(ip_address)

    def any_interface(self) -> str:
        """An address of either family with its prefix length."""
        return self._of_a_family(ip_interface)

    def _of_a_family(self, read: Callable[[str], object]) -> str:
        text = self.text()
        try:
            made = str(read(text))
        except ValueError as error:
            raise self.error(str(error)) from error
        if "%" in made:
            raise self.error(f"{made!r} has a zone")
        return made

    def items(self) -> Iterator[Field]:
        """The values of an array."""
        if not isinstance(self.value, list):
            raise self.error("is not an array")
        for number, value in enumerate(self.value):
            yield Field(f"{self.place}[{number}]", value)

    def numbers(self) -> tuple[int, ...]:
        """The whole numbers of an array."""
        return tuple(entry.number() for entry in self.items())

    def texts(self) -> tuple[str, ...]:
        """The strings of an array."""
        return tuple(entry.text() for entry in self.items())

    def pair(self) -> tuple[Field, Field]:
        """The two values of an array."""
        found = tuple(self.items())
        if len(found) != 2:  # noqa: PLR2004 - a pair
            raise self.error("is not a pair")
        return found[0], found[1]

    def fields(self) -> Fields:
        """The fields of an object."""
        if not isinstance(self.value, dict):
            raise self.error("is not an object")
        return Fields(self.place, self.value)

    def error(self, message: str) -> FieldError:
        """What is wrong with the value."""
        return FieldError(self.place, message)


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of a JSON object at ``place``, which is empty for the document itself."""

    place: str
    values: Mapping[str, object]

    def __getitem__(self, key: str) -> Field:
        """The field ``key``; FieldError where there is none."""
        if key not in self.values:
            raise FieldError(self._at(key), "missing field")
        return Field(self._at(key), self.values[key])

    def find(self, key: str) -> Field | None:
        """The field ``key``, None where it is absent or null."""
        return None if self.values.get(key) is None else Field(self._at(key), self.values[key])

    def flag(self, key: str, *, default: bool) -> bool:
        """The field ``key``, ``default`` where it is absent."""
        found = self.find(key)
        return default if found is None else found.flag()

    def __iter__(self) -> Iterator[tuple[str, Field]]:
        """Every key with its field."""
        for key, value in self.values.items():
            yield key, Field(self._at(key), value)

    def keys(self, pattern: re.Pattern[str]) -> Iterator[tuple[str, Field]]:
        """As iteration; FieldError for a key that ``pattern`` does not match as a whole."""
        for key, field in self:
            if not pattern.fullmatch(key):
                raise FieldError(self.place, f"key {key!r} is not allowed")
            yield key, field

    def _at(self, key: str) -> str:
        return f"{self.place}.{key}" if self.place else key


def only_one_end(kind: str, number: Field | None, *far: Field | None) -> None:
    """FieldError where a port has what the other kind has: external ones a number, internal ones a far end."""
    for field in (number,) if kind == "internal" else far:
        if field is not None:
            raise field.error(f"an {kind} port has none")
