"""The section ``routes:``: static routes, written there or in a file of their own."""

import dataclasses
from array import array
from typing import Annotated

from pydantic import Discriminator, Field, Tag
from pydantic.dataclasses import dataclass

from rbops.common.limits import MAX_EXTERNAL_PORTS
from rbops.spec.scalars import FilePath, RouteNextHop, RoutePrefix, number
from rbops.spec.section import CONFIG, Section, Unwritten, key

__all__ = ["RouteColumns", "RouteFile", "Routes", "StaticRoute"]


@dataclass(frozen=True, slots=True, config=CONFIG)
class StaticRoute(Section):
    """A static route."""

    prefix: RoutePrefix
    """The destination, IPv4 or IPv6, without host bits."""
    via: RouteNextHop
    """A neighbour on one of the external ports, of the same family; an IPv6 link-local address with `port`."""
    port: Annotated[int | None, number(0, MAX_EXTERNAL_PORTS - 1), Field(examples=[0])] = None
    """The external port that the neighbour is on, where its address is link-local (fe80::/10)."""


@dataclasses.dataclass(frozen=True, slots=True)
class RouteColumns:
    """A route file by columns, row i of each being one route, sorted by network, then length.

    ``networks`` and ``vias`` are IPv4 addresses as integers in host order (array type "I"),
    ``lengths`` prefix lengths (array type "B"); ``numpy.frombuffer`` reads them without a copy.
    """

    networks: "array[int]" = dataclasses.field(default_factory=lambda: array("I"))
    lengths: "array[int]" = dataclasses.field(default_factory=lambda: array("B"))
    vias: "array[int]" = dataclasses.field(default_factory=lambda: array("I"))

    def __len__(self) -> int:
        return len(self.lengths)


@dataclass(frozen=True, slots=True, config=CONFIG)
class RouteFile(Section):
    """Routes from a CSV file."""

    path: Annotated[FilePath, key("file")]
    """A CSV file with a line `prefix,via` per IPv4 route."""
    # What the file holds: the SHA-256 of its bytes in hex, and the routes.
    sha256: Annotated[str, Unwritten()] = ""
    columns: Annotated[RouteColumns, Unwritten()] = dataclasses.field(
        default_factory=RouteColumns, compare=False, repr=False
    )


def _shape(value: object) -> str:
    return "file" if isinstance(value, dict | RouteFile) else "list"


Routes = Annotated[
    Annotated[tuple[StaticRoute, ...], Tag("list")] | Annotated[RouteFile, Tag("file")], Discriminator(_shape)
]
