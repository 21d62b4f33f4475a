"""The spec's JSON Schema (draft 2020-12), for editors and for other tools' checks."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from rbops.spec.document import Spec
from rbops.spec.hardware import Hardware
from rbops.spec.renamed import KEYS, VALUES

__all__ = ["hardware_schema", "spec_schema"]

_NULL = {"type": "null"}


def spec_schema() -> dict[str, Any]:
    """The schema of a spec file. It is looser than ``load_spec``, which knows units, addresses and ranges."""
    made = _schema(Spec, "rbops spec")
    made["required"].remove("name")  # left out, it is the file's
    _former_names(made["$defs"])
    return made


def _former_names(sections: dict[str, Any]) -> None:
    """What is still read under another name, marked as deprecated."""
    for (section, old), new in KEYS.items():
        keys = sections[section.capitalize()]["properties"]
        same = {name: item for name, item in keys[new].items() if name != "default"}
        keys[old] = {**same, "description": f"The former name of {new}.", "deprecated": True}
    for (section, key), names in VALUES.items():
        values = sections[section.capitalize()]["properties"][key]
        values["items"] = {"anyOf": [values["items"], {"enum": list(names), "deprecated": True}]}


def hardware_schema() -> dict[str, Any]:
    """The schema of a file that ``hardware:`` names."""
    return _schema(Hardware, "rbops hardware")


def _schema(section: type, title: str) -> dict[str, Any]:
    made = _tidy(TypeAdapter(section).json_schema(by_alias=True))
    return {"$schema": GenerateJsonSchema.schema_dialect, **made, "title": title}


def _noise(key: str, item: Any) -> bool:
    if key in {"title", "propertyNames"}:
        return True
    # A section's default is that of its fields, and an empty list of examples shows nothing.
    return (key == "default" and (item is None or isinstance(item, dict))) or (key == "examples" and not item)


def _tidy(value: Any, *, names: bool = False) -> Any:
    """Without pydantic's titles and its null beside every optional value; ``names``: keys are the user's words."""
    if isinstance(value, list):
        return [_tidy(item) for item in value]
    if not isinstance(value, dict):
        return value
    if names:
        return {key: _tidy(item) for key, item in value.items()}
    kept = {
        key: item if key in {"default", "examples", "enum"} else _tidy(item, names=key in {"properties", "$defs"})
        for key, item in value.items()
        if not _noise(key, item)
    }
    if "patternProperties" in kept:
        kept["additionalProperties"] = False
    arms = [arm for arm in kept.get("anyOf", []) if arm != _NULL]
    if len(arms) == 1:
        del kept["anyOf"]
        # What is written at the field says more than its type does.
        return {**arms[0], **kept}
    if arms:
        kept["anyOf"] = arms
    return kept
