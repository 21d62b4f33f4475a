"""The element classes that a configuration is made of, for asking a Click whether it has them all."""

from __future__ import annotations

from collections.abc import Mapping

from rbops.click.elements import Table
from rbops.click.flatten import flatten
from rbops.click.parser import parse
from rbops.click.source import ClickText

__all__ = ["OWN", "element_classes"]

OWN = frozenset({"DirectVLB", "MACDispatch"})
"""Those of rbops's package, which is compiled for the Click it runs in."""


def element_classes(text: str, table: Table, libraries: Mapping[str, str]) -> tuple[str, ...]:
    """The C++ classes in the flat router, sorted, without rbops's own; ``libraries``: name in `require` -> text."""

    def library(name: str, _asking: ClickText) -> ClickText | None:
        return ClickText(name, libraries[name]) if name in libraries else None

    router, _ = flatten(parse(ClickText("router.click", text), table.has, library).tree)
    return tuple(sorted({element.kind for element in router.elements} - OWN))
