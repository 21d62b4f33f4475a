"""Route files: CSV of ``prefix,via``, 256K lines and more in well under a second.

A header line, empty lines and lines that begin with ``#`` are passed over.
"""

from __future__ import annotations

import csv
import hashlib
from array import array
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise
from pathlib import Path
from socket import AF_INET, inet_pton

from rbops.errors import Diagnostic
from rbops.spec import words
from rbops.spec.foreign_routes import ECMP, header_mistake, line_mistake, next_hop
from rbops.spec.reader import decode, read_bytes
from rbops.spec.routes import RouteColumns, RouteFile
from rbops.spec.source import Place, Text
from rbops.spec.units import InvalidValue, shown

__all__ = ["MAX_ROUTE_BYTES", "read_route_file"]

MAX_ROUTE_BYTES = 256 * 2**20
_MOST_ERRORS = 20
_HEADER = ("prefix", "via")

_LENGTHS = {str(length): length for length in range(33)}
_HOST_BITS = [0xFFFFFFFF >> length for length in range(33)]
_UNRESERVED = frozenset(range(1, 224)) - {127, 169}
"""First numbers of addresses that no reserved range (``words.prefix``) has."""
_ADDRESS = 32
_LENGTH = 6


@dataclass(frozen=True, slots=True)
class _Read:
    """Routes packed into one integer each (network, length, via), and the lines that are wrong."""

    packed: list[int]
    errors: list[Diagnostic]


def read_route_file(path: Path, neighbors: Collection[str] | None) -> tuple[RouteFile | None, list[Diagnostic]]:
    """The routes of the CSV ``path``, or None and what is wrong with it, at most 20 lines of it.

    ``neighbors`` are the addresses that a route may go via; None: not known, so not checked.
    Raises InvalidValue when the file cannot be read and SpecError when it is not UTF-8.
    """
    data = read_bytes(path, MAX_ROUTE_BYTES)
    text = decode(data, str(path))
    lines = text.split("\n")
    source = Text(str(path), text)
    known = None if neighbors is None else {int(IPv4Address(address)) for address in neighbors}
    read = _rows(lines, source, known)
    packed = sorted(read.packed)
    errors = read.errors or _twice(packed, lines, source)
    if errors:
        return None, errors
    return RouteFile(str(path.absolute()), hashlib.sha256(data).hexdigest(), _columns(packed)), []


def _rows(lines: list[str], source: Text, known: set[int] | None) -> _Read:
    packed: list[int] = []
    errors: list[Diagnostic] = []
    vias: dict[str, int] = {}
    head_line = _head(lines)
    for number, line in enumerate(lines, 1):
        prefix, _, via = line.partition(",")
        head, _, tail = prefix.partition("/")
        hop = vias.get(via)
        try:
            network = int.from_bytes(inet_pton(AF_INET, head), "big")
            length = _LENGTHS[tail]
        except (OSError, ValueError, KeyError):
            hop = None
        if hop is not None and not network & _HOST_BITS[length] and length > 0 and network >> 24 in _UNRESERVED:
            packed.append(network << (_ADDRESS + _LENGTH) | length << _ADDRESS | hop)
            continue
        # Whatever is not plainly right is read again with care: the first of each next hop, and mistakes.
        try:
            row = _careful(line, known, header=number == head_line)
        except InvalidValue as wrong:
            errors.append(_wrong(source, number, line, wrong))
            if len(errors) == _MOST_ERRORS:
                break
            continue
        if row is not None:
            network, length, hop = row
            vias[via] = hop
            packed.append(network << (_ADDRESS + _LENGTH) | length << _ADDRESS | hop)
    return _Read(packed, errors)


def _careful(line: str, known: set[int] | None, *, header: bool) -> tuple[int, int, int] | None:
    """One line as (network, length, via); None for a line that holds no route; raises InvalidValue."""
    stripped = line.strip()
    if not stripped or stripped.startswith("#"):
        return None
    try:
        cells = [cell.strip() for cell in next(csv.reader([stripped]), [])]
    except csv.Error as error:
        raise InvalidValue(f"malformed CSV: {error}", code="spec.csv") from None
    while len(cells) > len(_HEADER) and not cells[-1]:  # spreadsheets end lines with empty cells
        cells.pop()
    if header and tuple(cell.lower() for cell in cells) == _HEADER:
        return None
    wrong = header_mistake(cells) if header else None
    if wrong or len(cells) != len(_HEADER):
        raise wrong or line_mistake(stripped, cells)
    network = IPv4Network(words.prefix(cells[0]))
    via = int(IPv4Address(next_hop(cells[1])))
    if known is not None and via not in known:
        raise InvalidValue(
            f"{cells[1]} is not a neighbour on any port",
            "add it to the neighbors of a port; next hops that a route leads to (recursive ones) are not resolved",
            code="spec.next-hop",
        )
    return int(network.network_address), network.prefixlen, via


def _head(lines: list[str]) -> int:
    """The number of the line that may be a header: the first that is not empty and no comment."""
    return next((at for at, line in enumerate(lines, 1) if line.strip() and not line.lstrip().startswith("#")), 0)


def _wrong(source: Text, number: int, line: str, wrong: InvalidValue) -> Diagnostic:
    return source.diagnostic(Place(number, 1, max(1, len(line.rstrip()))), wrong.message, wrong.hint, code=wrong.code)


def _twice(packed: list[int], lines: list[str], source: Text) -> list[Diagnostic]:
    """The prefixes that stand in the file twice; ``packed`` is sorted, so they are neighbours."""
    doubles = {a >> _ADDRESS for a, b in pairwise(packed) if a >> _ADDRESS == b >> _ADDRESS}
    errors: list[Diagnostic] = []
    first: dict[int, tuple[int, int]] = {}
    head = _head(lines)
    for number, line in enumerate(lines, 1) if doubles else ():
        row = _careful(line, None, header=number == head)
        key = (row[0] << _LENGTH | row[1]) if row else None
        if row is None or key is None or key not in doubles:
            continue
        if key in first:
            prefix, (there, via) = shown(line.partition(",")[0].strip()), first[key]
            wrong = InvalidValue(f"{prefix} is a duplicate of line {there}", code="spec.duplicate")
            if via != row[2]:
                wrong = InvalidValue(f"{prefix} has another next hop on line {there}", ECMP, code="spec.unsupported")
            errors.append(_wrong(source, number, line, wrong))
        first.setdefault(key, (number, row[2]))
        if len(errors) == _MOST_ERRORS:
            break
    return errors


def _columns(packed: list[int]) -> RouteColumns:
    return RouteColumns(
        networks=array("I", [row >> (_ADDRESS + _LENGTH) for row in packed]),
        lengths=array("B", [row >> _ADDRESS & 63 for row in packed]),
        vias=array("I", [row & 0xFFFFFFFF for row in packed]),
    )
