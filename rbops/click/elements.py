"""What is known of element classes: ports, push and pull, threads, for rbops's own table or an installed Click's.

The table of rbops is ``elements.tsv``. Where a Click is installed its ``elementmap.xml`` says which classes
it really has, and their ports; what rbops knows of threads stays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from html import unescape
from pathlib import Path
from typing import Literal

from rbops.errors import UsageError, Where

__all__ = ["Driver", "ElementClass", "Table", "Threads", "bundled", "with_elementmap"]

Driver = Literal["userlevel", "linuxmodule"]
Threads = Literal["safe", "read", "one", "task", "unknown"]

_LETTERS: Mapping[str, Driver] = {"u": "userlevel", "k": "linuxmodule", "f": "userlevel"}
_ENTRY = re.compile(r"<entry\s([^<>]*(?:\"[^\"]*\"[^<>]*)*)/?>")
_ATTRIBUTE = re.compile(r"(\w+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_THREADS: Mapping[str, Threads] = {"safe": "safe", "read": "read", "one": "one", "task": "task"}
_DRIVERS: tuple[Driver, ...] = ("userlevel", "linuxmodule")
_OURS = ("DirectVLB", "HostTap", "MACDispatch")


@dataclass(frozen=True, slots=True)
class ElementClass:
    """A class in one driver; the codes are explained in ``elements.tsv``, empty where nothing is known.

    ``threads`` is unknown for a class that only an installed Click's map has.

    ``fastclick``: of Clicks, only FastClick has it.
    """

    name: str
    ports: str
    processing: str
    flow: str
    threads: Threads = "one"
    fastclick: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Classes by driver and name. ``origin`` says where they come from, for messages."""

    origin: str
    classes: Mapping[Driver, Mapping[str, ElementClass]]
    packages: frozenset[str] = field(default=frozenset())
    """Packages whose classes are in the table."""

    def get(self, name: str, driver: Driver) -> ElementClass | None:
        """The class, None when the driver does not have it."""
        return self.classes[driver].get(name)

    def has(self, name: str) -> bool:
        """Whether any driver has the class."""
        return any(name in classes for classes in self.classes.values())

    def drivers(self, name: str) -> tuple[Driver, ...]:
        """The drivers that have the class."""
        return tuple(driver for driver in _DRIVERS if name in self.classes[driver])


def bundled() -> Table:
    """The table that rbops has itself."""
    classes: dict[Driver, dict[str, ElementClass]] = {"userlevel": {}, "linuxmodule": {}}
    path = Path(__file__).with_name("elements.tsv")
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        name, ports, processing, flow, drivers, threads = line.split("\t")
        known = _THREADS[threads]
        for letter in drivers:
            classes[_LETTERS[letter]][name] = ElementClass(name, ports, processing, flow, known, letter == "f")
    return Table("rbops's table of Click 2.1 and FastClick", classes, frozenset({"rbops"}))


def with_elementmap(table: Table, text: str, origin: str, package: str | None = None) -> Table:
    """``table`` with what an ``elementmap.xml`` says.

    Without ``package`` it is the installed Click's own map: the drivers that it was built for have its
    classes and no others but rbops's. With one, its classes are added. Raises UsageError (2) when it is not valid.
    """
    head = re.search(r"<elementmap\b([^>]*)>", text)
    if head is None:
        raise UsageError(
            "not a valid element map of Click",
            hint="name the prefix that Click was installed to",
            code="click.element-map",
            where=Where(file=str(origin)),
        )
    named = _attributes(head[1]).get("drivers", "")
    built = tuple(driver for driver in _DRIVERS if driver in re.split(r"[\s|]+", named)) or _DRIVERS
    classes = {driver: dict(known) for driver, known in table.classes.items()}
    if package is None:
        for driver in built:
            classes[driver] = {name: known for name, known in classes[driver].items() if name in _OURS}
    for match in _ENTRY.finditer(text):
        entry = _attributes(match[1])
        if not entry.get("name"):
            continue
        requires = re.split(r"[\s|]+", entry.get("requires", ""))
        for driver in [d for d in _DRIVERS if d in requires] or built:
            classes[driver][entry["name"]] = _class(entry, table.get(entry["name"], driver))
    packages = table.packages if package is None else table.packages | {package}
    return Table(table.origin if package else origin, classes, packages)


def _attributes(text: str) -> dict[str, str]:
    return {name: unescape(double or single) for name, double, single in _ATTRIBUTE.findall(text)}


def _class(entry: Mapping[str, str], known: ElementClass | None) -> ElementClass:
    made = ElementClass(
        entry["name"], entry.get("portcount", ""), entry.get("processing", ""), entry.get("flowcode", ""), "unknown"
    )
    if known is None:
        return made
    # Old maps have no port counts, and some classes inherit codes that their map does not see.
    return replace(
        known,
        fastclick=False,
        ports=made.ports or known.ports,
        processing=made.processing or known.processing,
        flow=made.flow or known.flow,
    )
