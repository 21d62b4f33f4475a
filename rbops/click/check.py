"""A configuration checked whole: language, elements, ports, push and pull, then both rules of the paper."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from rbops.click.config import unset
from rbops.click.elements import Driver, Table, with_elementmap
from rbops.click.flatten import FlatRouter, flatten
from rbops.click.graph import Graph
from rbops.click.parser import Library, parse
from rbops.click.processing import Processing, check_ports, check_processing, check_reuse, class_names, unknown_classes
from rbops.click.rules import Breach, ThreadUse, check_rules, thread_uses
from rbops.click.source import ClickText
from rbops.click.threads import homes, reach
from rbops.errors import Diagnostic

__all__ = ["CheckOptions", "PackageMap", "Report", "check"]

PackageMap = Callable[[str], str | None]
"""The element map of a package that a configuration requires; None: there is none."""

_MOST_ERRORS = 100
_SCRIPTS = frozenset({"Script", "DriverManager", "PeriodicScript", "ProxyScript", "TestSuite"})
_DRIVERS: tuple[Driver, ...] = ("userlevel", "linuxmodule")


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """``driver`` None: any driver that has all the classes. ``threads`` None: as many as are named, at least 1.

    ``fastclick``: device elements spread their queues over threads by themselves, as FastClick's do.
    """

    driver: Driver | None = None
    threads: int | None = None
    fastclick: bool = False
    library: Library | None = None
    package: PackageMap | None = None
    defines: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """What was found: ``errors`` end a configuration, ``breaches`` are of the two rules, ``notes`` are for the reader.

    ``router`` is None when the text cannot be read at all.
    """

    path: str
    driver: Driver
    errors: tuple[Diagnostic, ...]
    breaches: tuple[Breach, ...] = ()
    notes: tuple[Diagnostic, ...] = ()
    router: FlatRouter | None = None
    processing: Processing | None = None
    threads: tuple[ThreadUse, ...] = ()


def check(text: ClickText, table: Table, options: CheckOptions | None = None) -> Report:
    """Every error of the configuration; rules are checked when there is none."""
    options = options or CheckOptions()
    parsed = parse(text, table.has, options.library)
    router, wrong = flatten(parsed.tree, dict(options.defines))
    errors = [*parsed.errors, *wrong]
    table = _with_packages(table, router, options.package)
    driver = options.driver or _driver(router, table)
    if errors:
        return Report(text.name, driver, _sorted(errors))
    graph = Graph.of(router, table, driver)
    foreign = _foreign(router, table)
    placed = {element.kind for element in router.elements}
    unknown = list(unknown_classes(parsed.tree, table, driver, placed))
    processing, conflicts = check_processing(graph)
    errors = [*class_names(parsed.tree, table, driver), *(() if foreign else unknown), *conflicts]
    if not conflicts:
        errors += check_reuse(graph, processing)
    errors += check_ports(graph, processing)
    if errors:
        return Report(text.name, driver, _sorted(errors), router=router, processing=processing)
    home, wrong_pins = homes(graph, driver, options.threads, fastclick=options.fastclick)
    if wrong_pins:
        return Report(text.name, driver, _sorted(wrong_pins), router=router, processing=processing)
    found = reach(graph, processing, home)
    breaches, notes = check_rules(graph, processing, home, found)
    unplaced = unknown_classes(parsed.tree, table, driver, placed, unplaced=True)
    said = [*(unknown if foreign else ()), *unplaced]
    said += _unset(router)
    uses = tuple(thread_uses(graph, home, found))
    return Report(text.name, driver, (), tuple(breaches), (*said, *notes), router, processing, uses)


def _unset(router: FlatRouter) -> Iterator[Diagnostic]:
    """Variables that nothing defines; those of a Script are its own, set while it runs."""
    for element in router.elements:
        for name in unset(element.configuration) if element.kind not in _SCRIPTS else ():
            message = f"${name} of '{element.name}' is not defined: Click hands it over as it is written"
            hint = f"write `define(${name} VALUE)`, or `--define {name}=VALUE`"
            yield element.span.diagnostic(message, hint, code="click.undefined-variable")


def _with_packages(table: Table, router: FlatRouter, maps: PackageMap | None) -> Table:
    """The table with the classes of the packages that are required and have an element map."""
    for required in router.requirements:
        if maps is not None and required.kind == "package" and required.value not in table.packages:
            text = maps(required.value)
            if text is not None:
                table = with_elementmap(table, text, f"package {required.value}", required.value)
    return table


def _driver(router: FlatRouter, table: Table) -> Driver:
    """The first driver that has every class, else the one that lacks fewest."""
    kinds = {element.kind for element in router.elements}
    return min(_DRIVERS, key=lambda driver: sum(table.get(kind, driver) is None for kind in kinds))


def _foreign(router: FlatRouter, table: Table) -> list[str]:
    """Required packages whose classes are not known: an unknown class may be theirs."""
    return [r.value for r in router.requirements if r.kind == "package" and r.value not in table.packages]


def _sorted(errors: list[Diagnostic]) -> tuple[Diagnostic, ...]:
    found = sorted(set(errors), key=lambda item: (item.path, item.line, item.column, item.message))
    if len(found) <= _MOST_ERRORS:
        return tuple(found)
    last, more = found[_MOST_ERRORS - 1], len(found) - _MOST_ERRORS
    return (
        *found[:_MOST_ERRORS],
        Diagnostic(last.path, last.line, last.column, f"{more} more errors are not shown", code="click.more"),
    )
