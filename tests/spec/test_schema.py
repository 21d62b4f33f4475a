"""The JSON Schema: every example passes, what rbops calls an unknown key fails, editors find texts and examples."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from rbops.spec import load_spec
from rbops.spec.schema import hardware_schema, spec_schema
from rbops.spec.starter import PRESETS, starter

ROOT = Path(__file__).parents[2]
SPECS = [*sorted((ROOT / "inventory").glob("*/router.yml")), *sorted((ROOT / "rbops/spec/presets").glob("*.yml"))]


class Yaml12(yaml.SafeLoader):
    """Reads scalars as editors do: YAML 1.2, where unquoted MACs and ``off`` are text."""


Yaml12.yaml_implicit_resolvers = {}
for pattern, tag, first in (
    (r"^-?[0-9]+$", "int", "-0123456789"),
    (r"^-?[0-9]+\.[0-9]*$", "float", "-0123456789"),
    (r"^(true|false)$", "bool", "tf"),
    (r"^(null|~|)$", "null", "n~\0"),
):
    Yaml12.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


def tree(path: Path) -> Any:
    return yaml.load(path.read_text(), Loader=Yaml12)  # noqa: S506  a SafeLoader


def validator(schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_example_passes(path: Path) -> None:
    load_spec(path)
    assert not list(validator(spec_schema()).iter_errors(tree(path)))


def test_the_hardware_example_passes() -> None:
    assert not list(validator(hardware_schema()).iter_errors(tree(ROOT / "inventory/rack/hardware/server.yml")))


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_tried(preset: str) -> None:
    assert ROOT / f"rbops/spec/presets/{preset}.yml" in SPECS
    assert starter(preset)["router.yml"]


@pytest.mark.parametrize(
    "path",
    ["", "router", "servers", "interconnect", "batching", "click", "ports/0", "ports/0/neighbors/0", "hosts/n0",
     "hosts/n0/ports", "hosts/n0/ports/ext0", "hosts"],
)  # fmt: skip
def test_unknown_keys_fail(path: str) -> None:
    document = tree(ROOT / "inventory/rack/router.yml")
    node = document
    for step in path.split("/") if path else ():
        node = node.setdefault(step, {}) if isinstance(node, dict) else node[int(step)]
    node["-nonsense"] = {}
    assert list(validator(spec_schema()).iter_errors(document))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("router/line_rate", 10),
        ("router/line_rate", "10gbps"),
        ("router/external_ports", 0),
        ("router/application", "rout"),
        ("ports/0/address", "192.0.2.1"),
        ("hosts/n0/ports/ext0/pci", "3:0.0"),
        ("routes", "routes.csv"),
        ("interconnect", {"flowlet_timeout": 100}),
    ],
)
def test_wrong_values_fail(path: str, value: object) -> None:
    document = tree(ROOT / "inventory/rack/router.yml")
    node = document
    *way, last = path.split("/")
    for step in way:
        node = node[int(step)] if isinstance(node, list) else node[step]
    node[last] = value
    assert list(validator(spec_schema()).iter_errors(document))


def test_editors_find_a_text_for_everything() -> None:
    schema = spec_schema()
    sections = {"spec": schema, **schema["$defs"]}
    for name, section in sections.items():
        for arm in (section, *section.get("anyOf", ())):
            for key, field in arm.get("properties", {}).items():
                target = schema["$defs"][field["$ref"].rsplit("/", 1)[1]] if "$ref" in field else {}
                assert field.get("description") or target.get("description"), f"{name}.{key}"
