"""The document's sections checked by pydantic, and its complaints put into words with their places.

A mistake in one section must not hide those in another: what is valid by itself is salvaged, so
that the checks across sections run over it and every error is reported at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union, cast, get_args, get_origin

from pydantic import ValidationError

from rbops.spec.document import Spec
from rbops.spec.foreign_routes import ECMP, key_hint, key_meant
from rbops.spec.hardware import Hardware
from rbops.spec.hosts import Host
from rbops.spec.ports import PortSpec
from rbops.spec.router import Router
from rbops.spec.routes import RouteFile, StaticRoute
from rbops.spec.scalars import Scalar
from rbops.spec.section import UNKNOWN, From, description, keys, names, read
from rbops.spec.source import Node, Path, Source, dotted
from rbops.spec.units import InvalidValue, nearest, shown

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

    from rbops.errors import Diagnostic

__all__ = ["Parts", "located", "parts_of", "salvage", "text_at", "validate"]

_TAGS = frozenset({"list", "file"})  # of the union in routes.Routes
_KEY = "[key]"
_UNKNOWN = frozenset({"extra_forbidden", "unexpected_keyword_argument", UNKNOWN})
_SHAPES = {
    "dataclass_type": "expected a mapping, lines of `key: value`",
    "model_type": "expected a mapping, lines of `key: value`",
    "model_attributes_type": "expected a mapping, lines of `key: value`",
    "dict_type": "expected a mapping, lines of `key: value`",
    "tuple_type": "expected a list, lines of `- item`",
    "too_short": "at least one is needed",
}

_S = TypeVar("_S")


@dataclass(frozen=True, slots=True)
class Parts:
    """What of a document is valid by itself; lists are keyed by the index in the file.

    ``external_ports`` is None where the spec does not say it; ``ports_complete`` says that no port was
    left out, so that the set of neighbours is known.
    """

    root: Node
    external_ports: int | None = None
    application: str | None = None
    click_element: str | None = None
    port_ids: dict[int, int] = field(default_factory=dict)
    ports: dict[int, PortSpec] = field(default_factory=dict)
    hosts: Mapping[str, Host] = field(default_factory=dict)
    hardware: Hardware | None = None
    routes: dict[int, StaticRoute] = field(default_factory=dict)
    route_file: str | None = None
    ports_complete: bool = True

    def line(self, path: Path) -> int:
        """The line on which the value at ``path`` was written."""
        return Source(self.root).node(path).place.line

    def key_line(self, path: Path) -> int:
        """The line on which the key at ``path`` was written."""
        node = Source(self.root).node(path)
        return (node.key or node.place).line


def validate(root: Node, name: str, base: FilePath) -> tuple[Spec | None, list[Diagnostic]]:
    """The spec that ``root`` holds, or None and every mistake that pydantic finds.

    ``name`` is the router's where the document has none; ``base`` is where relative paths start.
    """
    tree = root.plain()
    if isinstance(tree, dict) and tree.get("name") is None:
        tree["name"] = name
    try:
        return read(Spec, tree, base), []
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        misspelt = {_meant(detail["loc"]) for detail in details if detail["type"] in _UNKNOWN}
        found = [_diagnostic(detail, root) for detail in details if not _implied(detail, misspelt, root)]
        # Hosts that share a hardware file share its mistakes.
        return None, list(dict.fromkeys(found))


def parts_of(root: Node, written: Spec) -> Parts:
    """The parts of a valid document."""
    return Parts(
        root,
        external_ports=written.router.external_ports,
        application=written.router.application,
        click_element=text_at(root, "router", "click_element"),
        port_ids={index: port.id for index, port in enumerate(written.ports)},
        ports=dict(enumerate(written.ports)),
        hosts=written.hosts,
        hardware=written.servers.hardware,
        routes={} if isinstance(written.routes, RouteFile) else dict(enumerate(written.routes)),
        route_file=text_at(root, "routes", "file"),
    )


def salvage(root: Node) -> Parts:
    """The parts of ``root`` that are valid by themselves."""
    tree = root.plain()
    top: dict[str, Any] = tree if isinstance(tree, dict) else {}
    ports = _list(top.get("ports"))
    hosts = top.get("hosts")
    servers = top.get("servers")
    routes = top.get("routes")
    route_file = _one(RouteFile, routes) if isinstance(routes, dict) else None
    valid_ports = _each(PortSpec, enumerate(ports))
    router = _router(top.get("router"))
    return Parts(
        root,
        external_ports=router.get("external_ports"),
        application=router.get("application"),
        click_element=text_at(root, "router", "click_element") if "click_element" in router else None,
        port_ids={index: port.id for index, port in _each(PortSpec, _only_ids(ports)).items()},
        ports=valid_ports,
        hosts=_hosts(hosts) if isinstance(hosts, dict) else {},
        hardware=_one(Hardware, servers.get("hardware")) if isinstance(servers, dict) else None,
        routes=_each(StaticRoute, enumerate(_list(routes))),
        route_file=text_at(root, "routes", "file") if route_file else None,
        ports_complete=len(valid_ports) == len(ports) and isinstance(top.get("ports"), list | None),
    )


def located(
    root: Node,
    path: Path,
    message: str,
    hint: str | None = None,
    *,
    code: str,
    key: bool = False,
) -> Diagnostic:
    """An error about the value (or the key) at ``path``, with the path in front of the message.

    In a file that the spec names (``hardware:``) the path starts at that file's root.
    """
    node, way = _written(root, path)
    text = f"{dotted(way)}: {message}" if way else message
    make = node.diagnostic_at_key if key else node.diagnostic
    return make(text, hint, code=code, field=dotted(way))


def text_at(root: Node, *path: str | int) -> str | None:
    """What was written at ``path``, as text."""
    node: Node | None = root
    for step in path:
        node = node.child(step) if node else None
    return node.value if node and isinstance(node.value, str) else None


def _router(value: object) -> dict[str, Any]:
    """The fields of the router that are valid, whatever the others are."""
    needed = {"external_ports": "1", "line_rate": "10Gbps"}
    written = value if isinstance(value, dict) else {}
    tried = {name: _one(Router, {**needed, name: text}) for name, text in written.items()}
    fields = names(Router)
    return {
        name: getattr(router, fields[name]) for name, router in tried.items() if router is not None and written[name]
    }


def _hosts(hosts: dict[str, Any]) -> dict[str, Host]:
    """The hosts with what of each is valid by itself; wrong names too, since devices may still be given twice."""
    found = {}
    for name, host in hosts.items():
        written = host if isinstance(host, dict) else {}
        ports = written.get("ports")
        kept = {
            field: value
            for field, value in written.items()
            if field in {"profile", "hardware", "nic"} and _one(Host, {field: value}) is not None
        }
        selectors = {
            port: value
            for port, value in (ports.items() if isinstance(ports, dict) else ())
            if _one(Host, {"ports": {port: value}}) is not None
        }
        found[name] = read(Host, {**kept, "ports": selectors})
    return found


def _only_ids(ports: list[Any]) -> list[tuple[int, Any]]:
    return [(index, {"id": port.get("id")}) for index, port in enumerate(ports) if isinstance(port, dict)]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _one(section: type[_S], value: object) -> _S | None:
    try:
        return read(section, value)
    except ValidationError:
        return None


def _each(section: type[_S], items: Any) -> dict[Any, _S]:
    found = ((key, _one(section, value)) for key, value in items)
    return {key: value for key, value in found if value is not None}


def _meant(loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """The location that the unknown key at ``loc`` was probably meant for."""
    name = str(loc[-1])
    foreign = key_meant(name) if loc[:1] == ("routes",) else None
    return (*loc[:-1], foreign or nearest(name, _fields(loc[:-1])) or "")


def _implied(detail: ErrorDetails, misspelt: set[tuple[str | int, ...]], root: Node) -> bool:
    """Whether another error says it better: a key that is only misspelt, a list short of what is wrong in it."""
    if detail["type"] == "too_short":
        return bool(Source(root).node(_path(root, detail["loc"])).value)
    return detail["type"] == "missing" and detail["loc"] in misspelt


def _diagnostic(detail: ErrorDetails, root: Node) -> Diagnostic:
    loc = detail["loc"]
    path = _path(root, loc)
    kind = detail["type"]
    if kind == "missing":
        name = str(loc[-1])
        return located(root, path, f"{name} is missing", _example(loc), key=True, code="spec.missing")
    if kind in _UNKNOWN:
        name = str(loc[-1])
        what = "unknown key " + shown(name)
        return _at_key(root, path, what, _known(name, loc[:-1]), code="spec.unknown-key")
    if kind == "value_error":
        wrong = cast("InvalidValue", detail["ctx"]["error"])
        if loc and loc[-1] == _KEY:
            return _at_key(root, path, wrong.message, wrong.hint, code=wrong.code)
        hint = ECMP if loc[:1] == ("routes",) and loc[-1] == "via" and wrong.code == "spec.shape" else wrong.hint
        return located(root, path, wrong.message, hint, code=wrong.code)
    if loc[:1] == ("routes",) and loc[-1] in _TAGS:
        return located(root, path, "expected a list of routes, or {file: routes.csv}", code="spec.shape")
    return located(root, path, _SHAPES.get(kind, detail["msg"]), code="spec.shape")


def _written(root: Node, path: Path) -> tuple[Node, Path]:
    """The innermost node of ``path`` that was written, and its path from the root of the file it stands in."""
    node, way = root, tuple[str | int, ...]()
    for step in path:
        child = node.child(step)
        if child is None:
            break
        way = () if child.text is not node.text else (*way, step)
        node = child
    return node, way


def _at_key(root: Node, path: Path, message: str, hint: str | None, *, code: str) -> Diagnostic:
    """An error about the key itself, which the text in front of the message therefore leaves out."""
    node, way = _written(root, path)
    above = dotted(way[:-1])
    return node.diagnostic_at_key(f"{above}: {message}" if above else message, hint, code=code, field=dotted(way))


def _path(root: Node, loc: tuple[str | int, ...]) -> Path:
    """Pydantic's location without the steps that the document does not have (union tags, ``[key]``)."""
    path: list[str | int] = []
    node = root
    for step in loc:
        child = node.child(step)
        if child is not None:
            path.append(step)
            node = child
    return tuple(path)


def _known(name: str, above: tuple[str | int, ...]) -> str:
    """What may stand where ``name`` stands: the nearest right word, another place for it, or all words."""
    fields = _fields(above)
    foreign = key_hint(name) if above[:1] == ("routes",) else None
    if foreign:
        return foreign
    near = nearest(name, fields)
    if near:
        return f"did you mean {near}?"
    for section, info in keys(Spec).items():
        if any(name in keys(found) for found in _sections(_type(info))):
            return f"it belongs under {section}"
    return f"known here: {', '.join(fields)}"


def _example(loc: tuple[str | int, ...]) -> str | None:
    """What may be written for the missing key at ``loc``."""
    name = str(loc[-1])
    for section in _sections_at(Spec, loc[:-1]):
        info = keys(section).get(name)
        if info is None:
            continue
        shown_by = (part.schema.get("examples") for part in info.metadata if isinstance(part, Scalar))
        examples = info.examples or next(shown_by, None)
        return f"for example {name}: {examples[0]}" if examples else description(section, name)
    return None


def _sections(annotation: Any) -> list[type]:
    """The sections that a field's type is made of, outermost only."""
    if keys(annotation):
        return [annotation]
    return [found for part in get_args(annotation) for found in _sections(part)]


def _type(info: FieldInfo) -> Any:
    """What a document may hold for a field."""
    return next((part.section for part in info.metadata if isinstance(part, From)), info.annotation)


def _sections_at(annotation: Any, loc: tuple[str | int, ...]) -> list[type]:
    """The sections that may stand at ``loc`` below a value of type ``annotation``."""
    if known := keys(annotation):
        info = known.get(str(loc[0])) if loc else None
        return [annotation] if not loc else _sections_at(_type(info), loc[1:]) if info else []
    origin = get_origin(annotation)
    if origin is Annotated:
        return _sections_at(get_args(annotation)[0], loc)
    if origin in {Union, UnionType}:
        rest = loc[1:] if loc and loc[0] in _TAGS else loc
        return [found for arm in get_args(annotation) for found in _sections_at(arm, rest)]
    if origin in {tuple, Mapping, dict} and loc:
        return _sections_at(get_args(annotation)[0 if origin is tuple else -1], loc[1:])
    return []


def _fields(loc: tuple[str | int, ...]) -> list[str]:
    """The keys that may be written at ``loc``."""
    return [name for section in _sections_at(Spec, loc) for name in keys(section)]
