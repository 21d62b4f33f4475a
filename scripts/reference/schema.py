"""The keys of the spec, section by section, read from its JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from rbops.spec.schema import spec_schema
from scripts.reference.model import Key, Section

__all__ = ["sections"]

_UNITS = {"bps": "rate", "ns": "time", "Hz": "frequency", "B": "size", "W": "power", "USD": "price"}
"""What a quantity is, by the first unit that its pattern allows."""

_Schema = Mapping[str, Any]


def sections() -> tuple[Section, ...]:
    """All mappings of a spec in the order of the document; one that occurs twice is described where it is first."""
    schema = spec_schema()
    seen: dict[str, str] = {}
    return tuple(_walk("", schema, schema["$defs"], seen))


def _walk(path: str, section: _Schema, defs: _Schema, seen: dict[str, str]) -> Iterator[Section]:
    keys, below = [], []
    for name, schema in section["properties"].items():
        inner = list(_inside(schema, f"{path}.{name}".lstrip("."), defs))
        below += [(at, ref) for at, ref in inner if ref not in seen]
        as_in = next((f" As `{seen[ref]}`." for _, ref in inner if ref in seen), "")
        seen.update({ref: at for at, ref in inner if ref not in seen})
        keys.append(_key(name, schema, section, defs, as_in))
    yield Section(path, section.get("description", ""), tuple(keys))
    for at, ref in below:
        yield from _walk(at, _mapping(defs[ref]), defs, seen)


def _inside(schema: _Schema, path: str, defs: _Schema) -> Iterator[tuple[str, str]]:
    """Path and definition of each mapping that a value of this schema may hold."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if _mapping(defs[name]):
            yield path, name
    for arm in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _inside(arm, path, defs)
    if "items" in schema:
        yield from _inside(schema["items"], f"{path}[]", defs)
    for inner in schema.get("patternProperties", {}).values():
        yield from _inside(inner, f"{path}.NAME", defs)


def _mapping(schema: _Schema) -> _Schema:
    """The schema itself, or its arm that has keys; empty when there is none."""
    if "properties" in schema:
        return schema
    return next((arm for arm in schema.get("anyOf", ()) if "properties" in arm), {})


def _key(name: str, schema: _Schema, section: _Schema, defs: _Schema, as_in: str) -> Key:
    text = schema.get("description") or _described(schema, defs)
    default, examples = schema.get("default"), schema.get("examples") or _examples(schema)
    return Key(
        name,
        " or ".join(dict.fromkeys(_kinds(schema, defs))),
        f"{text}{as_in}",
        name in section.get("required", ()),
        None if default is None else _yaml(default),
        _yaml(examples[0]) if examples else None,
    )


def _described(schema: _Schema, defs: _Schema) -> str:
    ref = schema.get("$ref", "").rpartition("/")[2]
    return str(defs[ref].get("description", "")) if ref else ""


def _examples(schema: _Schema) -> list[Any]:
    return next((arm["examples"] for arm in schema.get("anyOf", ()) if "examples" in arm), [])


def _kinds(schema: _Schema, defs: _Schema) -> Iterator[str]:
    """What may be written: each alternative in a few words."""
    arms = (*schema.get("anyOf", ()), *schema.get("oneOf", ()))
    if arms:
        for arm in arms:
            yield from _kinds(arm, defs)
    elif "$ref" in schema:
        yield from _kinds({**defs[schema["$ref"].rpartition("/")[2]]}, defs)
    elif "enum" in schema:
        yield " | ".join(map(str, schema["enum"]))
    elif "const" in schema:
        yield str(schema["const"])
    elif schema.get("type") == "array":
        yield f"list of: {' or '.join(dict.fromkeys(_kinds(schema['items'], defs)))}"
    elif schema.get("type") == "object" or "properties" in schema:
        yield "mapping"
    else:
        yield _scalar(schema)


def _scalar(schema: _Schema) -> str:
    kind = schema.get("type", "text")
    if kind == "boolean":
        return "true | false"
    if kind == "integer":
        low, high = schema.get("minimum"), schema.get("maximum")
        return "number" if low is None else f"number from {low}" + ("" if high is None else f" to {high}")
    units = re.search(r"\?\(([A-Za-z|]+)\)\$$", schema.get("pattern", ""))
    if units:
        names = units[1].split("|")
        return f"{_UNITS.get(names[0], 'quantity')} in {' '.join(names)}"
    return "text"


def _yaml(value: object) -> str:
    """As in a spec, where scalars are read as the text that was written: ``off`` needs no quotes."""
    if isinstance(value, str):
        return value or '""'
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n...\n").strip()
