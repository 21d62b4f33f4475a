"""IPv6 in the spec and in the plan: what is accepted, what is refused and where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rbops.errors import SpecError
from rbops.planner import load_plan
from rbops.render.routes import table
from rbops.spec import load_spec

HEAD = "name: six\nrouter: {external_ports: 4, line_rate: 10Gbps}\nservers: {profile: lab}\n"
PORTS = """\
ports:
  - {id: 0, ipv6: {address: "2001:DB8:0:a0:0::1/64", neighbors: [{address: "2001:db8:0:a0::2", mac: "02:4e:00:00:00:02"}]}}
  - {id: 3, ipv6: {address: "2001:db8:0:a3::/127", neighbors: [{address: "2001:db8:0:a3::1"}]}}
"""  # noqa: E501 - as the documentation has it
ROUTES = (
    'routes:\n  - {prefix: "2001:db8:f::/48", via: "2001:db8:0:a0::2"}\n  - {prefix: 203.0.113.0/24, via: 198.18.3.2}\n'
)


def spec(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "router.yml"
    path.write_text(text)
    return path


def test_the_plan_has_it_beside_ipv4(tmp_path: Path) -> None:
    plan = load_plan(spec(tmp_path, HEAD + PORTS + ROUTES))
    assert plan.ipv6 is not None
    assert [port.address for port in plan.ipv6.ports] == ["2001:db8:0:a0::1/64", "2001:db8:0:a3::/127"]
    # The port's IPv4 neighbour is its first.
    assert [near.index for port in plan.ipv6.ports for near in port.adjacencies] == [2, 2]
    assert [route.prefix for route in plan.ipv6.static] == ["2001:db8:f::/48"]
    assert json.loads(plan.to_json())["ipv6"]["ports"][0]["port"] == 0
    rendered = table(plan)
    lines = rendered.csv.decode().splitlines()
    assert "2001:db8:f::/48,0,2,2001:db8:0:a0::2" in lines
    # Without a MAC: the owner's kernel.
    assert not any(line.startswith("2001:db8:0:a3::1/128") for line in lines)
    assert len(lines) - 1 == rendered.count


def test_a_plan_without_it_says_nothing_of_it(tmp_path: Path) -> None:
    plan = load_plan(spec(tmp_path, HEAD))
    assert plan.ipv6 is None
    assert "ipv6" not in json.loads(plan.to_json())
    assert table(plan).routes6 == ()


def _route(prefix: str, via: str) -> str:
    return f'{PORTS}{ROUTES}  - {{prefix: "{prefix}", via: "{via}"}}\n'


def _port(address: str, *neighbors: str, number: int = 1) -> str:
    near = ", ".join(f'{{address: "{each}"}}' for each in neighbors)
    return f'  - {{id: {number}, ipv6: {{address: "{address}", neighbors: [{near}]}}}}\n'


@pytest.mark.parametrize(
    ("text", "line", "code", "words"),
    [
        (PORTS + _port("2001:db8:0:a1::1"), 7, "spec.address", "has no prefix length"),
        (PORTS + _port("2001:db8:0:a1::1/15"), 7, "spec.address", "/16 to /128"),
        (PORTS + _port("2001:db8:0:a1::1/640"), 7, "spec.address", "0 to 128"),
        (PORTS + _port("2001:db8:0:a1::/64"), 7, "spec.address", "anycast"),
        (PORTS + _port("fe80::1/64"), 7, "spec.address", "link-local"),
        (PORTS + _port("::ffff:198.18.0.1/96"), 7, "spec.address", "IPv4 in IPv6"),
        (PORTS + _port("198.18.1.1/24"), 7, "spec.address", "not a valid IPv6 address"),
        (PORTS + _port("2001:db8:0:a1::1/64", "fe80::2%eth0"), 7, "spec.address", "not a valid IPv6 address"),
        (PORTS + _port("2001:db8:0:a1::1/64", "2001:db8:0:a2::2"), 7, "spec.neighbor-address", "not in the port's"),
        (PORTS + _port("2001:db8:0:a1::1/64", "2001:db8:0:a1::1"), 7, "spec.neighbor-address", "router's own"),
        (PORTS + _port("2001:db8:0:a1::1/64", "2001:db8:0:a1::"), 7, "spec.neighbor-address", "anycast"),
        (PORTS + _port("2001:db8::1/32"), 7, "spec.overlap", "2001:db8::/32 overlaps 2001:db8:0:a0::/64 of port 0"),
        (PORTS + _port("2001:db8:0:a0::9/64"), 7, "spec.overlap", "is also the subnet of port 0 on line 5"),
        (_route("2001:db8:f::/48", "2001:db8:0:a0::2"), 10, "spec.duplicate", "line 8"),
        (_route("2001:db8:f::/48", "2001:db8:0:a3::1"), 10, "spec.unsupported", "line 8"),
        (_route("2001:db8:e::1/48", "2001:db8:0:a0::2"), 10, "spec.address", "beyond"),
        (_route("2001:db8:e::/48", "2001:db8:0:a0::3"), 10, "spec.next-hop", "neighbour"),
        (_route("2001:db8:e::/48", "198.18.3.2"), 10, "spec.unsupported", "two families"),
        (_route("192.0.2.0/24", "2001:db8:0:a0::2"), 10, "spec.unsupported", "families"),
        (PORTS + "dataplane: click\n", 5, "spec.unsupported", "the click data plane forwards IPv4 alone"),
        (PORTS + "dataplane: kernel\n", 5, "spec.unsupported", "the kernel data plane forwards IPv4 alone"),
        ("ports: [{id: 0, address: '2001:db8::1/64'}]\n", 4, "spec.address", "is IPv6, and this is a place for IPv4"),
    ],
)  # fmt: skip
def test_refused_with_its_place(tmp_path: Path, text: str, line: int, code: str, words: str) -> None:
    with pytest.raises(SpecError) as refused:
        load_spec(spec(tmp_path, HEAD + text))
    first: Any = refused.value.diagnostics[0]
    assert (first.line, first.code) == (line, code)
    assert words in first.message


def test_a_route_file_has_ipv4_alone(tmp_path: Path) -> None:
    (tmp_path / "routes.csv").write_text("203.0.113.0/24,198.18.3.2\n2001:db8:f::/48,2001:db8:0:a0::2\n")
    with pytest.raises(SpecError) as refused:
        load_spec(spec(tmp_path, HEAD + PORTS + "routes: {file: routes.csv}\n"))
    (only,) = refused.value.diagnostics
    assert (only.path.endswith("routes.csv"), only.line, only.code) == (True, 2, "spec.address")
