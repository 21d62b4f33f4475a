"""From a file to a ``Spec``, or to every mistake in it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path

from rbops.dataplane import registry
from rbops.errors import Diagnostic, SpecError
from rbops.spec.check_hosts import check_hardware, check_hosts, check_servers
from rbops.spec.check_ipsec import check_ipsec
from rbops.spec.check_ipv6 import check_ipv6, refused_ipv6
from rbops.spec.check_kernel import check_kernel
from rbops.spec.check_monitoring import check_sflow
from rbops.spec.check_nic import check_nic
from rbops.spec.check_ports import check_ports, check_routes, neighbors
from rbops.spec.check_routing import check_routing
from rbops.spec.document import Spec
from rbops.spec.include import attach_hardware, override
from rbops.spec.reader import MAX_SPEC_BYTES, decode, parse, read_bytes
from rbops.spec.renamed import modernize
from rbops.spec.routefile import read_route_file
from rbops.spec.routes import RouteFile
from rbops.spec.source import Source
from rbops.spec.units import InvalidValue
from rbops.spec.validate import Parts, located, parts_of, salvage, validate

__all__ = ["load", "load_bytes"]

_MOST_ERRORS = 200

_log = logging.getLogger(__name__)


def load(path: str | PathLike[str], overrides: Mapping[str, str]) -> Spec:
    """The spec in the file ``path`` with ``overrides`` written over it; raises SpecError."""
    file = Path(path)
    try:
        data = read_bytes(file, MAX_SPEC_BYTES)
    except InvalidValue as wrong:
        raise SpecError([Diagnostic(str(file), 1, 1, wrong.message, wrong.hint, code=wrong.code)]) from None
    return load_bytes(data, file, overrides)


def load_bytes(data: bytes, file: Path, overrides: Mapping[str, str]) -> Spec:
    """The spec that ``data``, the contents of ``file``, holds; raises SpecError with every mistake."""
    root, errors = parse(decode(data, str(file)), str(file))
    if not isinstance(root.value, dict):
        raise SpecError(
            [
                *errors,
                root.diagnostic("expected a mapping, lines of `key: value`", "see `rbops init`", code="spec.shape"),
            ]
        )
    base = file.parent
    found, deprecated = modernize(root)
    wrong, overridden = override(root, overrides)
    again, more = modernize(root)  # what an override wrote
    errors = [*errors, *found, *wrong, *again, *attach_hardware(root, base)]
    deprecated = sorted({*deprecated, *overridden, *more}, key=_place)
    for warning in deprecated:
        _log.warning(replace(warning, message=f"warning: {warning.message}").render())
    spec, found = validate(root, _name(file), base)
    parts = parts_of(root, spec) if spec else salvage(root)
    errors += [*found, *_across(parts)]
    route_file, found = _route_file(parts, base)
    errors += found + _click_element(parts, base)
    errors += check_ipsec(parts, spec.ipsec if spec else (), base)
    errors += check_sflow(parts, spec.monitoring.sflow if spec else None)
    errors += check_routing(parts, spec.routing if spec else None, base)
    if errors or spec is None:
        raise SpecError(_first(errors))
    return replace(spec, routes=route_file or spec.routes, source=Source(root), deprecated=tuple(deprecated))


def _across(parts: Parts) -> Iterator[Diagnostic]:
    yield from _data_plane(parts)
    yield from check_servers(parts)
    yield from check_ports(parts)
    yield from check_hosts(parts)
    yield from check_hardware(parts)
    yield from check_routes(parts)
    yield from check_ipv6(parts)
    yield from check_nic(parts)
    yield from check_kernel(parts)


def _data_plane(parts: Parts) -> Iterator[Diagnostic]:
    """What the chosen data plane cannot do, and what any one's section says against itself."""
    written = parts.root.child("dataplane")
    kind = registry.KINDS[0] if written is None or written.value is None else written.value
    # Where the data plane's name is wrong, what it cannot do is not known.
    if kind in registry.KINDS:
        chosen = registry.controller(str(kind))
        if parts.application is not None and parts.application not in chosen.applications:
            message = f"the {kind} data plane has no {parts.application}"
            able = [each for each in registry.KINDS if parts.application in registry.controller(each).applications]
            hint = " or ".join(f"`dataplane: {each}`" for each in able)
            yield located(parts.root, ("router", "application"), message, f"write {hint}", code="spec.unsupported")
        if parts.click_element and not chosen.own_element:
            message = f"only dataplane click takes an element, found dataplane {kind}"
            yield located(
                parts.root, ("router", "click_element"), message, "add `dataplane: click`", code="spec.unsupported"
            )
        routing = parts.root.child("routing")
        if routing is not None and routing.value is not None and not chosen.dynamic:
            message = f"the {kind} data plane has static routes alone"
            yield located(
                parts.root,
                ("routing",),
                message,
                "write `dataplane: xdp` or `dataplane: kernel`",
                code="spec.unsupported",
            )
        if not chosen.ipv6:
            yield from refused_ipv6(parts, f"the {kind} data plane forwards IPv4 alone", "write `dataplane: xdp`")
    for each in registry.controllers():
        yield from each.mistakes(parts.root)


def _route_file(parts: Parts, base: Path) -> tuple[RouteFile | None, list[Diagnostic]]:
    if parts.route_file is None:
        return None, []
    path = base / parts.route_file
    try:
        return read_route_file(path, neighbors(parts))
    except InvalidValue as wrong:
        return None, [located(parts.root, ("routes", "file"), f"{wrong.message}: {path}", wrong.hint, code=wrong.code)]
    except SpecError as error:
        return None, error.diagnostics


def _click_element(parts: Parts, base: Path) -> list[Diagnostic]:
    if parts.click_element is None:
        return []
    path = base / parts.click_element
    if path.is_file():
        return []
    return [located(parts.root, ("router", "click_element"), f"there is no such file: {path}", code="spec.file")]


def _name(file: Path) -> str:
    """The router's name when the spec has none: the file's, as far as it can be one."""
    name = re.sub(r"[^a-z0-9]+", "-", file.stem.lower())[:32].strip("-")
    return name or "router"


def _place(item: Diagnostic) -> tuple[str, int, int]:
    return item.path, item.line, item.column


def _first(errors: list[Diagnostic]) -> list[Diagnostic]:
    """The first errors in the order of the file, and how many there are beyond them."""
    ordered = sorted(dict.fromkeys(errors), key=_place)
    if len(ordered) <= _MOST_ERRORS:
        return ordered
    last = ordered[_MOST_ERRORS]
    rest = Diagnostic(
        last.path,
        last.line,
        last.column,
        f"{len(ordered) - _MOST_ERRORS} more errors from here on",
        code="spec.more-errors",
    )
    return [*ordered[:_MOST_ERRORS], rest]
