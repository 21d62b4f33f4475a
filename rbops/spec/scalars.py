"""The kinds of scalar a spec holds, each with its reader and its JSON Schema, as pydantic types.

A document's scalars are all text (see ``reader``); the reader makes the value of it. The schema
says what an editor, which reads YAML as YAML 1.2, may find there.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from rbops.spec import units, words, words6
from rbops.spec.units import InvalidValue

__all__ = [
    "Address",
    "Address6",
    "CpuIds",
    "FilePath",
    "Flag",
    "Frequency",
    "HostName",
    "InterfaceAddress",
    "InterfaceAddress6",
    "InterfaceName",
    "LinkLocal",
    "Mac",
    "NumaNode",
    "Package",
    "PacketMix",
    "Packets",
    "Pci",
    "PcieGeneration",
    "PortName",
    "Power",
    "Prefix",
    "Price",
    "Rate",
    "RouteNextHop",
    "RoutePrefix",
    "RouterName",
    "Scalar",
    "ServerPath",
    "Size",
    "Time",
    "Word",
    "number",
    "one_of",
]

PacketMix = Literal["abilene", "imix"]

_LATEST_PCIE = 7
_GENERATION = re.compile(r"([0-9])(?:\.[0-9])?")


@dataclass(frozen=True, slots=True)
class Scalar:
    """Marks a field as text that ``read`` turns into its value (raising InvalidValue), with its JSON Schema."""

    read: Callable[[str], Any]
    schema: dict[str, Any] = field(hash=False)

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        del source, handler
        return core_schema.with_info_plain_validator_function(self._validate)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        del schema, handler
        return dict(self.schema)

    def _validate(self, value: object, info: ValidationInfo) -> Any:
        if info.context is None:  # made in Python: a value already
            return value
        if not isinstance(value, str):
            kind = "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else "nothing"
            raise InvalidValue(f"expected one value, found {kind}", code="spec.shape")
        return self.read(value)


def number(low: int, high: int) -> Scalar:
    """A whole number from ``low`` to ``high``."""
    return Scalar(units.whole(low, high), {"type": "integer", "minimum": low, "maximum": high})


def one_of(literal: Any) -> Scalar:
    """One of the words of a ``Literal``, or of a tuple."""
    names = tuple(str(name) for name in (literal if isinstance(literal, tuple) else get_args(literal)))
    return Scalar(units.choice(names), {"enum": list(names)})


def _text(pattern: str, *examples: str) -> dict[str, Any]:
    return {"type": "string", "pattern": pattern, "examples": list(examples)}


def _quantity(unit: units.Unit, *examples: str) -> dict[str, Any]:
    # The schema is looser about numbers than the reader: an editor marks wrong units, `rbops check` the rest.
    symbols = "|".join(unit.factors)
    return _text(rf"^[0-9]+(\.[0-9]+)? ?({symbols})$", *(examples or (unit.example,)))


def _integral(unit: units.Unit) -> Callable[[str], int]:
    def read(text: str) -> int:
        value = unit(text)
        if value != value.to_integral_value():
            raise InvalidValue(
                f"{units.shown(text)} is not a whole number of {next(iter(unit.factors))}", code="spec.unit"
            )
        return int(value)

    return read


def _real(unit: units.Unit) -> Callable[[str], float]:
    def read(text: str) -> float:
        return float(unit(text))

    return read


def _packets(text: str) -> int | str:
    mixes = get_args(PacketMix)
    if text in mixes:
        return text
    if not text[:1].isdigit() and text[:1] not in "+-.":
        near = units.nearest(text, mixes)
        hint = f"did you mean {near}?" if near else f"a size from {units.PACKET.limits}, or {' or '.join(mixes)}"
        raise InvalidValue(f"{units.shown(text)} is neither a packet size nor a mix", hint, code="spec.unit")
    return _integral(units.PACKET)(text)


def _numa_node(text: str) -> int | None:
    return None if text.strip() == "-1" else units.whole(0, 1023)(text)


def _generation(text: str) -> int:
    match = _GENERATION.fullmatch(text.strip())
    generation = int(match[1]) if match else 0
    if not 1 <= generation <= _LATEST_PCIE:
        raise InvalidValue(
            f"{units.shown(text)} is not a PCIe generation", f"1 to {_LATEST_PCIE}, for example 3", code="spec.range"
        )
    return generation


class _ControllersPath(Scalar):
    """Made absolute: a relative one starts at the spec's directory."""

    __slots__ = ()

    def _validate(self, value: object, info: ValidationInfo) -> Any:
        path = super()._validate(value, info)
        return path if info.context is None else str((info.context.base / path).absolute())


class _CpuList(Scalar):
    """Takes a YAML list of numbers too."""

    __slots__ = ()

    def _validate(self, value: object, info: ValidationInfo) -> Any:
        if isinstance(value, list):
            if not value:
                return ()
            value = ",".join(item if isinstance(item, str) else "?" for item in value)
        return super()._validate(value, info)


_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?"
_DOTTED = r"[0-9]{1,3}(\.[0-9]{1,3}){3}"
_COLONS = r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*"

Rate = Annotated[int, Scalar(_integral(units.RATE), _quantity(units.RATE, "10Gbps", "100Mbps"))]
Frequency = Annotated[int, Scalar(_integral(units.HERTZ), _quantity(units.HERTZ))]
Size = Annotated[int, Scalar(_integral(units.SIZE), _quantity(units.SIZE))]
Power = Annotated[float, Scalar(_real(units.WATTS), _quantity(units.WATTS))]
Price = Annotated[float, Scalar(_real(units.DOLLARS), _quantity(units.DOLLARS))]
Time = Annotated[
    float, Scalar(_real(units.SECONDS), {"anyOf": [{"const": 0}, _quantity(units.SECONDS, "100ms", "100us")]})
]
Flag = Annotated[bool, Scalar(units.flag, {"type": "boolean"})]
Packets = Annotated[
    int | PacketMix,
    Scalar(_packets, {"anyOf": [{"enum": list(get_args(PacketMix))}, _text("^[0-9]+ ?B$", "64B", "1024B")]}),
]
RouterName = Annotated[str, Scalar(words.router_name, _text("^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$", "rb4"))]
HostName = Annotated[str, Scalar(words.host_name, _text(f"^{_NAME}$", "n0", "n0.example.net"))]
InterfaceName = Annotated[str, Scalar(words.interface_name, _text("^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$", "enp3s0f0"))]
PortName = Annotated[str, Scalar(words.port_name, _text("^(ext[0-9]+|int[0-9]+(p[0-9]+)?)$", "ext0", "int1"))]
ServiceName = Annotated[
    str, Scalar(words.service, _text("^([a-z]+|tcp/[0-9]{1,5}|udp/[0-9]{1,5}|ip/[0-9]{1,3})$", "bgp", "tcp/8080"))
]
Word = Annotated[str, Scalar(words.word, _text("^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,63}$"))]
Package = Annotated[str, Scalar(words.package, _text("^[A-Za-z0-9/~][A-Za-z0-9+._:/~@=-]*$", "click"))]
FilePath = Annotated[str, _ControllersPath(words.file_path, _text("^[^-]", "routes.csv"))]
ServerPath = Annotated[str, Scalar(words.file_path, _text("^[^-]"))]
Pci = Annotated[
    str, Scalar(words.pci, _text(r"^([0-9A-Fa-f]{4,8}:)?[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7]$", "0000:03:00.0"))
]
Mac = Annotated[str, Scalar(words.mac, _text("^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$", "3c:fd:fe:00:00:01"))]
InterfaceAddress = Annotated[str, Scalar(words.interface_address, _text(f"^{_DOTTED}/[0-9]{{1,2}}$", "198.18.0.1/24"))]
Address = Annotated[str, Scalar(words.neighbor_address, _text(f"^{_DOTTED}$", "198.18.0.2"))]
Prefix = Annotated[str, Scalar(words.prefix, _text(f"^{_DOTTED}/[0-9]{{1,2}}$", "203.0.113.0/24"))]
Address6 = Annotated[str, Scalar(words6.neighbor_address6, _text(f"^{_COLONS}$", "2001:db8::2"))]
InterfaceAddress6 = Annotated[
    str, Scalar(words6.interface_address6, _text(f"^{_COLONS}/[0-9]{{1,3}}$", "2001:db8::1/64"))
]
LinkLocal = Annotated[str, Scalar(words6.link_local, _text(f"^{_COLONS}$", "fe80::7"))]
PeerAddress = Annotated[
    str, Scalar(words6.peer_address, _text(f"^({_DOTTED}|{_COLONS})$", "198.18.0.2", "2001:db8::2"))
]
RouteNextHop = Annotated[
    str, Scalar(words6.route_next_hop, _text(f"^({_DOTTED}|{_COLONS})$", "198.18.0.2", "2001:db8::2"))
]
RoutePrefix = Annotated[
    str,
    Scalar(
        words6.route_prefix,
        _text(f"^({_DOTTED}|{_COLONS})/[0-9]{{1,3}}$", "203.0.113.0/24", "2001:db8:1::/48"),
    ),
]
NumaNode = Annotated[int | None, Scalar(_numa_node, {"type": "integer", "minimum": -1})]
PcieGeneration = Annotated[int, Scalar(_generation, {"type": "number", "minimum": 1, "exclusiveMaximum": 8})]
CpuIds = Annotated[
    tuple[int, ...],
    _CpuList(
        words.cpu_list,
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                _text("^[0-9]+(-[0-9]+)?(, ?[0-9]+(-[0-9]+)?)*$", "0,2-5"),
                {"type": "array", "items": {"type": "integer", "minimum": 0}},
            ]
        },
    ),
]
