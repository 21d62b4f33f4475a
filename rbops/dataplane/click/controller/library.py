"""``routes.click``: the router's look-up as a compound element, the same on every server."""

from __future__ import annotations

from rbops.dataplane.click import kernel_mode
from rbops.dataplane.click.controller.hops import NO_HOST, NO_ROUTE, Outputs
from rbops.errors import UsageError
from rbops.plan import PUNT
from rbops.render.routes import Table

__all__ = ["library"]

_NO_HOSTS = ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3")
_LONGER_LIMIT = 1 << 15
"""DirectIPLookup holds so many /24s with longer prefixes in them (directiplookup.hh: tbl_24_31_capacity_limit)."""


def library(table: Table, outputs: Outputs, dialect: str) -> bytes:
    """Text of the file; in the kernel there is no DirectIPLookup, so the next best.

    UsageError (2) for more long prefixes than Click's DirectIPLookup holds.
    """
    lines = {f"0.0.0.0/0 {NO_ROUTE}": None, **{f"{prefix} {NO_HOST}": None for prefix in _NO_HOSTS}}
    known = set(_NO_HOSTS)
    longer: set[str] = set()
    for row in table.csv.decode().splitlines()[1:]:
        prefix, port, adjacency, via = row.split(",")
        if prefix == "0.0.0.0/0":
            del lines[f"0.0.0.0/0 {NO_ROUTE}"]
        if prefix in known:
            continue
        if int(prefix.rpartition("/")[2]) > 24:  # noqa: PLR2004 - the first table's width
            longer.add(prefix.rpartition(".")[0])
        gateway = f"{via} " if via and int(adjacency) == PUNT else ""
        lines[f"{prefix} {gateway}{outputs.numbers[int(port), int(adjacency)]}"] = None
    element = kernel_mode.LOOKUP if dialect == kernel_mode.DIALECT else "DirectIPLookup"
    if len(longer) > _LONGER_LIMIT and element == "DirectIPLookup":
        raise UsageError(
            f"{len(longer)} /24 networks with longer prefixes in them: Click's DirectIPLookup holds {_LONGER_LIMIT}",
            hint="aggregate the routes, or write `dataplane: xdp`",
            code="click.routes",
        )
    wires = "\n".join(f"  table[{number}] -> [{number}]output;" for number in range(outputs.count))
    return (
        "// The router's routes: prefix, next hop where ARP has to find it, output (see router.click).\n"
        f"elementclass Routes {{\n  input -> table :: {element}(\n    " + ",\n    ".join(lines) + f");\n{wires}\n}}\n"
    ).encode()
