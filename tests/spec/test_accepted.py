"""What other tools' users found refused or misread, and is right: accepted, and planned as it was meant."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from rbops.plan import ClusterPlan
from rbops.planner import plan_spec
from rbops.selftest.routefile import read_routes
from rbops.spec import load_spec
from rbops.vlb import matrix

HEAD = "router: {external_ports: 4, line_rate: 10Gbps}\nservers: {profile: lab}\n"


def plan(tmp_path: Path, text: str, **files: str | bytes) -> ClusterPlan:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / "router.yml").write_text(HEAD + text)
    return plan_spec(load_spec(tmp_path / "router.yml"))


def addresses(made: ClusterPlan) -> dict[int, str]:
    return {
        port.id: address
        for server in made.servers
        for port in server.ports
        for address in port.addresses
        if port.id is not None
    }


def adjacencies(made: ClusterPlan, wanted: int) -> list[tuple[str, str | None]]:
    ports = [port for server in made.servers for port in server.ports if port.id == wanted]
    return [(near.address, near.mac) for port in ports for near in port.adjacencies]


@pytest.mark.parametrize(
    "ports",
    [
        # One virtual router on two links (VRRP).
        (
            "- {id: 0, neighbors: [{address: 198.18.0.2, mac: '00:00:5e:00:01:01'}]}\n"
            "- {id: 1, neighbors: [{address: 198.18.1.2, mac: '00:00:5e:00:01:01'}]}\n"
        ),
        # Two addresses of one machine on one link.
        (
            "- {id: 0, neighbors: [{address: 198.18.0.2, mac: '3c:fd:fe:00:00:01'},"
            " {address: 198.18.0.3, mac: '3c:fd:fe:00:00:01'}]}\n"
        ),
    ],
)
def test_neighbours_with_one_mac(tmp_path: Path, ports: str) -> None:
    made = plan(tmp_path, f"ports:\n{ports}")
    macs = [mac for port in (0, 1) for _, mac in adjacencies(made, port)]
    assert len(macs) - len(set(macs)) == 1 or macs.count("3c:fd:fe:00:00:01") == 2
    hosts = [route for route in made.routes.connected if route.prefix.endswith("/32") and route.adjacency]
    assert len({(route.port, route.adjacency) for route in hosts}) == len(hosts)


@pytest.mark.parametrize(
    ("given", "moved"),
    [
        ("- {id: 0, address: 198.18.1.1/24}", {1: "198.18.4.1/24", 2: "198.18.2.1/24"}),
        ("- {id: 3, address: 198.18.0.1/23}", {0: "198.18.4.1/24", 1: "198.18.5.1/24", 2: "198.18.2.1/24"}),
        ("- {id: 0, address: 198.18.1.0/31}", {1: "198.18.4.1/24"}),
    ],
)
def test_generated_subnets_move_away(tmp_path: Path, given: str, moved: dict[int, str]) -> None:
    made = plan(tmp_path, f"ports:\n{given}\nroutes:\n- {{prefix: 203.0.113.0/24, via: 198.18.4.2}}\n")
    assert moved.items() <= addresses(made).items()
    assert any(address == "198.18.4.2" for port in (0, 1) for address, _ in adjacencies(made, port))


def test_generated_subnets_take_the_place_of_given_ones_where_the_space_is_full(tmp_path: Path) -> None:
    (tmp_path / "router.yml").write_text(
        "router: {external_ports: 512, line_rate: 1Gbps}\nservers: {profile: current}\n"
        "ports: [{id: 0, address: 198.18.1.1/24}]\n"
    )
    made = addresses(plan_spec(load_spec(tmp_path / "router.yml")))
    assert (made[0], made[1]) == ("198.18.1.1/24", "198.18.0.1/24")


@pytest.mark.parametrize(("own", "other"), [("192.0.2.0", "192.0.2.1"), ("192.0.2.1", "192.0.2.0")])
def test_point_to_point_links(tmp_path: Path, own: str, other: str) -> None:
    ports = f"- {{id: 0, address: {own}/31, neighbors: [{{address: {other}, mac: '3c:fd:fe:00:00:01'}}]}}\n"
    made = plan(tmp_path, f"ports:\n{ports}routes:\n- {{prefix: 203.0.113.0/24, via: {other}}}\n")
    assert addresses(made)[0] == f"{own}/31"
    assert adjacencies(made, 0) == [(other, "3c:fd:fe:00:00:01")]


@pytest.mark.parametrize("prefix", ["198.18.0.0/24", "198.18.0.1/32", "198.18.0.2/32"])
@pytest.mark.parametrize("in_file", [False, True])
def test_a_route_that_equals_a_connected_one_is_told(tmp_path: Path, prefix: str, *, in_file: bool) -> None:
    listed = f"routes:\n- {{prefix: {prefix}, via: 198.18.1.2}}\n- {{prefix: 203.0.113.0/24, via: 198.18.1.2}}\n"
    rows = f"{prefix},198.18.1.2\n203.0.113.0/24,198.18.1.2\n"
    made = plan(tmp_path, "routes: {file: r.csv}\n" if in_file else listed, **{"r.csv": rows})
    assert [text for text in made.warnings if "not used" in text] == [
        f"1 route is not used, since the router is connected to the same prefix: {prefix} (port 0)"
    ]
    assert made.routes.count == 4 * 3 + 1


def test_other_routes_are_not_told(tmp_path: Path) -> None:
    made = plan(tmp_path, "routes:\n- {prefix: 198.18.0.0/25, via: 198.18.1.2}\n")
    assert not [text for text in made.warnings if "not used" in text]


@pytest.mark.parametrize("head", ["", "prefix,via\n", "# a\n\nPrefix, Via\n", '"prefix","via"\r\n'])
def test_headers_and_byte_order_marks_of_route_files(tmp_path: Path, head: str) -> None:
    rows = codecs.BOM_UTF8 + f"{head}203.0.113.0/24,198.18.1.2\n".encode()
    assert plan(tmp_path, "routes: {file: r.csv}\n", **{"r.csv": rows}).routes.count == 13


@pytest.mark.parametrize("tail", ["", ",", ",,,"])
def test_spreadsheets_end_lines_with_empty_cells(tmp_path: Path, tail: str) -> None:
    rows = f"prefix,via{tail}\r\n203.0.113.0/24,198.18.1.2{tail}\r\n203.0.114.0/24,198.18.1.2{tail}\r\n"
    assert plan(tmp_path, "routes: {file: r.csv}\n", **{"r.csv": rows}).routes.count == 14


def test_addresses_that_yaml_takes_for_numbers(tmp_path: Path) -> None:
    """Unquoted MACs of digits alone are base-60 integers in YAML 1.1, and PCI addresses too."""
    made = plan(
        tmp_path,
        "ports: [{id: 0, neighbors: [{address: 198.18.0.2, mac: 52:54:00:12:34:56}]}]\n"
        "hosts: {n0: {ports: {int1: {mac: 52:54:00:44:49:56}, int2: {pci: 0000:03:00.0}}}}\n",
    )
    assert adjacencies(made, 0) == [("198.18.0.2", "52:54:00:12:34:56")]
    picked = {port.name: port.selector for port in made.servers[0].ports}
    assert (picked["int1"].mac, picked["int2"].pci) == ("52:54:00:44:49:56", "0000:03:00.0")


def test_byte_order_mark_of_a_traffic_matrix(tmp_path: Path) -> None:
    path = tmp_path / "matrix.csv"
    path.write_bytes(codecs.BOM_UTF8 + b"0,1\n1,0\n")
    assert matrix.read(path, 2, 10**9).tolist() == [[0, 1], [1, 0]]


def test_the_self_test_reads_what_the_spec_reads(tmp_path: Path) -> None:
    rows = codecs.BOM_UTF8 + "203.0.113.0/24,198.18.1.2\n# Zürich\n# 203.0.114.0/24,198.18.1.2\n".encode()
    made = plan(tmp_path, "routes: {file: r.csv}\n", **{"r.csv": rows})
    assert [route.prefix for route in read_routes(made)] == ["203.0.113.0/24"]
