"""Formats, limits and versions that several parts share, and the files that must repeat them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rbops.common.cpulist import list_text, online_cpus, parse_list
from rbops.common.fabric import FABRIC_MAC, fabric_mac
from rbops.common.limits import MAX_EXTERNAL_PORTS, MAX_XDP_DEVICES, MAX_XDP_SERVERS
from rbops.common.versions import MIN_DEBIAN, MIN_KERNEL, MIN_PYTHON
from rbops.resources import shared

CHECKOUT = Path(__file__).resolve().parents[2]
DEBIAN_CODENAMES = {"12": "bookworm", "13": "trixie"}


@given(st.frozensets(st.integers(0, 8191)))
def test_cpu_lists_survive_the_kernels_form(cpus: frozenset[int]) -> None:
    assert parse_list(list_text(cpus) + "\n") == cpus


@pytest.mark.parametrize(
    ("text", "cpus"), [("", set()), ("0\n", {0}), ("0-2,8\n", {0, 1, 2, 8}), ("70-71", {70, 71}), ("8191", {8191})]
)
def test_cpu_lists_as_the_kernel_writes_them(text: str, cpus: set[int]) -> None:
    assert parse_list(text) == cpus


@pytest.mark.parametrize("text", ["x", "3-1", "0-", "-1", "0,,2", "0-8192", "1-99999999", "1-10:2/4", "all", "+1"])
def test_other_text_is_not_a_cpu_list(text: str) -> None:
    with pytest.raises(ValueError, match=r"CPU ids|low to high"):
        parse_list(text)


def test_cpu_lists_are_written_in_ranges() -> None:
    assert list_text([5, 0, 2, 1]) == "0-2,5"


def test_this_machine_has_a_cpu_online() -> None:
    assert online_cpus()


@given(st.integers(0, 65535), st.integers(0, 65535))
def test_fabric_macs_are_unique_by_port_and_adjacency(port: int, adjacency: int) -> None:
    parts = [int(part, 16) for part in fabric_mac(port, adjacency).split(":")]
    assert parts[:2] == [0x02, 0x52]
    assert (parts[2] << 8 | parts[3], parts[4] << 8 | parts[5]) == (port, adjacency)


def test_a_fabric_mac_holds_16_bits_of_each() -> None:
    assert fabric_mac(0x0102, 0x0304) == f"{FABRIC_MAC}01:02:03:04"
    with pytest.raises(ValueError, match="16 bits"):
        fabric_mac(65536, 0)


def test_the_xdp_program_has_the_limits_and_the_mac_prefix() -> None:
    plane = CHECKOUT / "rbops" / "dataplane" / "xdp"
    header = (plane / "layout.h").read_text(encoding="utf-8")
    defined = {name: int(number) for name, number in re.findall(r"#define (MAX_\w+) ([0-9]+)\n", header)}
    assert (defined["MAX_SERVERS"], defined["MAX_DEVICES"], defined["MAX_PORTS"]) == (
        MAX_XDP_SERVERS,
        MAX_XDP_DEVICES,
        MAX_EXTERNAL_PORTS,
    )
    prefix = int.from_bytes(bytes.fromhex(FABRIC_MAC.replace(":", "")), "little")
    program = (plane / "check.h").read_text(encoding="utf-8")
    assert f"#define FABRIC_MAC {prefix:#06x} " in program


def test_roles_require_the_minimum_versions() -> None:
    role = shared("roles", "preflight")
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text(encoding="utf-8"))
    options = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    options = options["argument_specs"]["main"]["options"]
    for name, version in (("preflight_min_kernel", MIN_KERNEL), ("preflight_min_python", MIN_PYTHON)):
        assert (defaults[name], options[name]["default"]) == (version, version)


def test_roles_name_the_oldest_debian() -> None:
    for meta in shared("roles").glob("*/meta/main.yml"):
        (platform,) = yaml.safe_load(meta.read_text(encoding="utf-8"))["galaxy_info"]["platforms"]
        assert platform["versions"][0] == DEBIAN_CODENAMES[MIN_DEBIAN], meta


@pytest.mark.parametrize("page", ["README.md", "docs/apply.md", "docs/dataplane.md", "docs/lab.md"])
def test_pages_name_no_other_kernel(page: str) -> None:
    text = (CHECKOUT / page).read_text(encoding="utf-8")
    assert set(re.findall(r"(?:Linux|\(kernel) ([0-9]+\.[0-9]+)\b", text)) <= {MIN_KERNEL}
