"""Every number of the spec at zero, negative, absurd, not a number, and in a wrong unit.

The fields come from the JSON Schema, so that none is forgotten: a new one fails ``test_every_number_is_tried``
until it stands in ``WHOLE`` too.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from rbops.cli.app import build
from rbops.dataplane.xdp.guard import PUNTED
from rbops.errors import SpecError
from rbops.spec.load import load_bytes
from rbops.spec.renamed import KEYS
from rbops.spec.schema import spec_schema

FILE = Path(__file__).parent / "router.yml"

HARDWARE = """
sockets: 1
cores_per_socket: 4
threads_per_core: 1
clock: 2.8GHz
numa_nodes: 1
l3_per_socket: 8MiB
cpus: [{id: 0, socket: 0, core: 0, numa_node: 0}, {id: 1, socket: 0, core: 1, numa_node: 0},
       {id: 2, socket: 0, core: 2, numa_node: 0}, {id: 3, socket: 0, core: 3, numa_node: 0}]
housekeeping: "0"
offline: "3"
slots: [{name: slot1, pcie: 3, lanes: 8, numa_node: 0}]
nics: [{driver: ixgbe, ports: 4, port_rate: 10Gbps, queues: 16, slot: slot1, numa_node: 0, achievable: 30Gbps}]
bounds:
  memory: {nominal: 410Gbps, empirical: 262Gbps}
  io: {nominal: 400Gbps, empirical: 117Gbps}
  inter_socket: {nominal: 200Gbps, empirical: 144Gbps}
  pcie: {nominal: 64Gbps, empirical: 50Gbps}
power: 650W
price: 3625USD
rack_units: 1
"""

WHOLE: dict[str, Any] = yaml.safe_load("""
router: {external_ports: 4, line_rate: 10Gbps, packets: 64B}
interconnect: {flowlet_timeout: 100ms, probe_interval: 10ms, probe_multiplier: 3}
batching: {rx_burst: 32, tx_burst: 16, timeout: 100us}
nic:
  rings: {rx: 1024, tx: 1024}
  coalescing: {rx: 50us, tx: 50us, rx_frames: 16, tx_frames: 16}
  defer_hard_irqs: 2
  flush_timeout: 200us
  hugepages: {size: 2MB, count: 512}
kernel: {hugepages: {size: 1GB, count: 8}}
ports: [{id: 0, address: 192.0.2.1/24, neighbors: [{address: 192.0.2.2}], ipv6: {address: "2001:db8::1/64"}}]
routes: [{prefix: "2001:db8:1::/48", via: "fe80::2", port: 0}]
routing:
  daemon: bird
  routes: 1000
  as: 64512
  bfd: 300ms
  paths: 4
  neighbors: [{address: "fe80::2", port: 0, as: 65001}]
  ospf: [{port: 1, cost: 7}]
monitoring: {exporter: {port: 9482}, sflow: {collector: 10.20.0.9, port: 6343, sampling: 1000, polling: 20s}}
""")
WHOLE["punts"] = dict.fromkeys(PUNTED, "10")
WHOLE["servers"] = {"hardware": yaml.safe_load(HARDWARE)}
WHOLE["hosts"] = {"n0": {"hardware": yaml.safe_load(HARDWARE), "nic": copy.deepcopy(WHOLE["nic"])}}

BAD = (
    "-1", "-10Gbps", "nan", ".nan", "NaNGbps", "inf", "-inf", "1e400", "1e3", "99999999999999999999",
    "999999999999999999Tbps", "0x10", "1_000", "1,5", "\u0663", "10 parsecs", "10GBps", "10gbps", "5%", "ten",
    "--5", "1 2",
)  # fmt: skip
"""No number of the spec is any of these."""

ZERO_IS_MEANT = {
    "interconnect.flowlet_timeout", "batching.timeout", "ports.id", "ospf.port", "neighbors.port", "routes.port",
    "cpus.id", "cpus.socket", "cpus.core",
    "cpus.numa_node", "housekeeping", "offline", "slots.numa_node", "nics.numa_node", "coalescing.rx",
    "coalescing.tx", "nic.defer_hard_irqs", "nic.flush_timeout", "hugepages.count",
    *(f"punts.{reason}" for reason in PUNTED),
}  # fmt: skip
MINUS_ONE_IS_MEANT = {"slots.numa_node", "nics.numa_node"}

Place = tuple[str | int, ...]


def numbers(schema: dict[str, Any], node: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all numbers that the schema knows, without the indexes of lists."""
    if "$ref" in node:
        yield from numbers(schema, schema["$defs"][node["$ref"].rpartition("/")[2]], path)
        return
    if node.get("type") in {"integer", "number"} or str(node.get("pattern", "")).startswith("^[0-9]+"):
        yield path
    for arm in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        yield from numbers(schema, arm, path)
    for key, item in node.get("properties", {}).items():
        yield from numbers(schema, item, (*path, key))
    for item in (*node.get("patternProperties", {}).values(), node.get("additionalProperties")):
        if isinstance(item, dict):
            yield from numbers(schema, item, path)
    if isinstance(node.get("items"), dict):
        yield from numbers(schema, node["items"], path)


def places(tree: Any, path: Place = ()) -> Iterator[Place]:
    """The paths of all scalars in ``tree``; of list items the first only."""
    if isinstance(tree, dict):
        for key, item in tree.items():
            yield from places(item, (*path, key))
    elif isinstance(tree, list):
        yield from places(tree[0], (*path, 0))
    else:
        yield path


def name(place: Place) -> tuple[str, ...]:
    """``place`` as the schema has it: without indexes and names of hosts."""
    return tuple(str(part) for part in place if not isinstance(part, int) and part != "n0")


WITH_A_KEY_FILE = {
    ("ipsec", "spi"),
    ("ipsec", "spi_in"),
    ("ipsec", "replay_window"),
    ("ipsec", "ike", "rekey"),
    ("ipsec", "ike", "dpd"),
}
"""Tried in tests/click/test_ipsec.py, tests/plan/test_tunnels.py and tests/plan/test_ike.py: without a key
file the section is wrong."""

KNOWN = sorted(set(numbers(spec_schema(), spec_schema())) - WITH_A_KEY_FILE - KEYS.keys())
PLACES = [place for place in places(WHOLE) if name(place) in KNOWN]


def replaced(changes: dict[Place, str]) -> dict[str, Any]:
    tree = copy.deepcopy(WHOLE)
    for place, text in changes.items():
        node: Any = tree
        for part in place[:-1]:
            node = node[part]
        node[place[-1]] = text
    return tree


def complaints(tree: dict[str, Any]) -> list[str]:
    """The dotted paths at which ``tree`` is wrong."""
    try:
        load_bytes(yaml.dump(tree, Dumper=yaml.CSafeDumper, allow_unicode=True).encode(), FILE, {})
    except SpecError as error:
        return [item.message.partition(": ")[0] for item in error.diagnostics]
    return []


def fits(place: Place, wanted: set[str]) -> bool:
    dotted = ".".join(name(place))
    return any(dotted.endswith(end) for end in wanted)


def dotted(place: Place) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)[1:]


def test_every_number_is_tried() -> None:
    assert {name(place) for place in PLACES} == set(KNOWN)
    assert len(KNOWN) > 50


def test_the_spec_is_right_as_it_stands() -> None:
    assert complaints(WHOLE) == []


@pytest.mark.parametrize("place", PLACES, ids=dotted)
def test_no_number(place: Place) -> None:
    bad = [text for text in BAD if not (text == "-1" and fits(place, MINUS_ONE_IS_MEANT))]
    bad += [] if fits(place, ZERO_IS_MEANT) else ["0", "0Gbps", "0.0"]
    for text in bad:
        found = complaints(replaced({place: text}))
        assert any(path.startswith(dotted(place)) for path in found), (text, found)


@pytest.mark.parametrize("text", ["nan", "-7", "99999999999999999999", "10 parsecs"])
def test_all_at_once(text: str) -> None:
    found = complaints(replaced(dict.fromkeys(PLACES, text)))
    assert {dotted(place) for place in PLACES} <= set(found)


@pytest.mark.parametrize("verb", ["check", "plan", "explain", "predict", "scale", "simulate", "graph"])
def test_every_verb_says_so_and_ends_with_2(verb: str, tmp_path: Path) -> None:
    spec = tmp_path / "router.yml"
    spec.write_text(yaml.safe_dump(replaced(dict.fromkeys(PLACES, "nan"))))
    done = CliRunner().invoke(build(), [verb, str(spec)])
    assert done.exit_code == 2
    assert all(f"{dotted(place)}: " in done.output for place in PLACES)
    assert "Traceback" not in done.output
