"""Any text gives a spec or a SpecError, never another exception; what is written comes back."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rbops.errors import SpecError
from rbops.spec.load import load_bytes
from rbops.spec.units import RATE, SECONDS, InvalidValue

HERE = Path(__file__).parent
ERRORS = sorted((HERE / "errors").glob("*.yml"))
FILE = HERE / "errors" / "router.yml"

KEYS = st.sampled_from(
    """
    name router servers interconnect batching dataplane click ports hosts routes external_ports line_rate packets
    application allow fragment profile hardware numa topology flowlet_timeout poll id server address neighbors mac
    prefix via file n0 n1 ext0 int1 pci sockets cores_per_socket clock nics driver port_rate queues bounds memory
    cpus offline housekeeping slots lanes numa_node list devices management [key] ''
    """.split()  # noqa: SIM905  a list of these would fill a screen
)
SCALARS = st.one_of(
    st.sampled_from(
        """
        4 0 -1 10Gbps 100ms 64B abilene route mesh xdp click 192.0.2.1/24 192.0.2.2 203.0.113.0/24 0000:03:00.0
        52:54:00:00:00:01 nan 1e400 0-99999 rule1 lab true . .. / ~ {{x}} 9999999999999999999999
        """.split()  # noqa: SIM905
    ),
    st.text(max_size=20),
    st.none(),
    st.integers(),
    st.floats(),
)
TREES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=30
)


def outcome(data: bytes) -> None:
    """Load ``data``: a spec, or errors that can be shown."""
    errors = []
    try:
        load_bytes(data, FILE, {})
    except SpecError as error:
        errors = [error]
    for error in errors:
        assert error.diagnostics
        assert all(item.line >= 1 and item.column >= 1 and item.render() for item in error.diagnostics)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    outcome(data)


@settings(deadline=None)
@given(st.text(alphabet="abc:-[]{}&*!|>'\"%@`#,? \n\t~0\u2028\x85\x00\ufeff\U0001f600", max_size=120))
@example("? [")
@example("a: &a {b: *a}")
@example("&a : *a")
@example("- - - -\n  -")
@example("\ufeff\ufeffa: b")
@example("<<: {router: 1}")
def test_any_yaml_like_text(text: str) -> None:
    outcome(text.encode())


@settings(deadline=None)
@given(st.dictionaries(KEYS, TREES, max_size=8))
def test_any_tree(tree: dict[str, Any]) -> None:
    outcome(yaml.safe_dump(tree).encode())


@settings(deadline=None)
@given(st.sampled_from(ERRORS), st.data())
def test_any_cut_of_a_spec(path: Path, data: st.DataObject) -> None:
    text = path.read_bytes()
    start = data.draw(st.integers(0, len(text)))
    outcome(text[:start] + text[data.draw(st.integers(start, len(text))) :])


@settings(deadline=None)
@given(st.integers(10**6, 10**14), st.sampled_from(["bps", "kbps", "Mbps", "Gbps"]))
def test_rates_come_back(bps: int, unit: str) -> None:
    factor = {"bps": 1, "kbps": 10**3, "Mbps": 10**6, "Gbps": 10**9}[unit]
    assert RATE(f"{Decimal(bps) / factor:f}{unit}") == bps


@settings(deadline=None)
@given(st.text(max_size=30))
def test_a_quantity_is_within_its_limits_or_wrong(text: str) -> None:
    value = Decimal(0)
    with contextlib.suppress(InvalidValue):
        value = SECONDS(text)
    assert 0 <= value <= 3600


SPECS = st.fixed_dictionaries(
    {
        "name": st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True),
        "router": st.fixed_dictionaries(
            {"external_ports": st.integers(8, 4096), "line_rate": st.integers(1, 400).map(lambda n: f"{n}Gbps")},
            optional={"packets": st.integers(64, 1518).map(lambda n: f"{n}B")},
        ),
    },
    optional={
        "batching": st.fixed_dictionaries({"poll": st.integers(1, 4096)}),
        "ports": st.lists(st.integers(0, 7), unique=True).map(
            lambda ids: [
                {"id": i, "address": f"192.0.{i}.1/24", "neighbors": [{"address": f"192.0.{i}.2"}]} for i in ids
            ]
        ),
    },
)


@settings(deadline=None)
@given(SPECS)
def test_round_trip(tree: dict[str, Any]) -> None:
    spec = load_bytes(yaml.safe_dump(tree).encode(), FILE, {})
    router = tree["router"]
    assert spec.name == tree["name"]
    assert spec.router.external_ports == router["external_ports"]
    assert f"{spec.router.line_rate_bps // 10**9}Gbps" == router["line_rate"]
    assert f"{spec.router.packets}B" == router.get("packets", "64B")
    assert spec.batching.rx_burst == tree.get("batching", {"poll": 32})["poll"]
    assert [
        {
            "id": port.id,
            "address": port.address,
            "neighbors": [{"address": hop.address} for hop in port.neighbors or ()],
        }
        for port in spec.ports
    ] == tree.get("ports", [])
    assert load_bytes(yaml.safe_dump(tree).encode(), FILE, {}) == spec


@settings(deadline=None)
@given(st.sampled_from(["10Gbit", "10GbE", "10Gbit/s", "10Gb/s", "10 gbps", "10Gb", "10GBASE-T", "10GBASE-LX4"]))
def test_other_spellings_of_a_rate_are_told_the_unit(text: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        RATE(text)
    assert (caught.value.code, caught.value.hint) == ("spec.unit", "did you mean 10Gbps?")
