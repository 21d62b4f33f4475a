"""FRR's configuration as it is planned and rendered, and as FRR's own checker takes it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbops.deploy import daemon
from rbops.deploy.daemon import check_daemon
from rbops.errors import Mismatch, SpecError
from rbops.plan import ClusterPlan
from rbops.planner import load_plan
from rbops.render import render
from rbops.render.frr import CONFIG, _permitted
from rbops.render.speaking import node_part
from tests.render.spoken import config, planned
from tests.support.errors import raises

needs_frr = pytest.mark.skipif(shutil.which("vtysh", path="/usr/sbin:/usr/bin") is None, reason="needs frr")

SPEC = """\
name: rb{ports}
router: {{external_ports: {ports}, line_rate: 10Mbps}}
servers: {{profile: lab}}
ports:
  - {{id: 1, ipv6: {{address: "2001:db8:0:a1::1/64"}}}}
routing:
  daemon: frr
  as: 1.10
  bfd: 50ms
  announce: [198.51.100.0/24, "2001:db8:aa::/48"]
  neighbors:
    - {{address: 198.18.0.9, as: 65001, bfd: true, password: p, import: [10.0.0.0/8+, "192.0.2.0/24"]}}
    - {{address: 198.18.1.2, as: 65003, export: ["0.0.0.0/0{{0,24}}"]}}
    - {{address: "2001:db8:0:a1::2", as: 65003, import: ["2001:db8:c0::/48{{48,64}}"]}}
  {more}
"""


def plan(folder: Path, *, ports: int = 4, more: str = "") -> ClusterPlan:
    return planned(folder, SPEC.format(ports=ports, more=more))


def test_each_server_speaks_to_its_own_neighbours_and_to_all_servers(tmp_path: Path) -> None:
    made = plan(tmp_path)
    zero, one = config(made, "n0"), config(made, "n1")
    assert re.findall(r" neighbor (\S+) remote-as (\d+)", zero) == [
        ("198.18.1.1", "65546"), ("198.18.2.1", "65546"), ("198.18.3.1", "65546"), ("198.18.0.9", "65001"),
    ]  # fmt: skip
    assert " neighbor 198.18.0.9 password @key_port0_198_18_0_9@\n" in zero
    assert " neighbor 198.18.0.9 bfd profile rbops\n" in zero
    assert "receive-interval 50\n" in zero
    assert "ip prefix-list port0_198_18_0_9-ipv4-in permit 10.0.0.0/8 le 32\n" in zero
    assert "ip prefix-list port1_198_18_1_2-ipv4-out permit 0.0.0.0/0 le 24\n" in one
    assert "ipv6 prefix-list port1_2001_db8_0_a1__2-ipv6-in permit 2001:db8:c0::/48 le 64\n" in one
    assert re.findall(r"bgp router-id (\S+)", zero + one) == ["198.18.0.1", "198.18.1.1"]
    assert zero.count("  network ") == 2, "of each family"


def test_every_name_that_is_used_is_defined(tmp_path: Path) -> None:
    made = plan(tmp_path)
    for server in made.servers:
        text = config(made, server.name)
        for kind, use, name in (
            ("prefix-list", r"address prefix-list (\S+)", r"^(?:ip|ipv6) prefix-list (\S+)"),
            ("route-map", r"neighbor \S+ route-map (\S+)", r"^route-map (\S+)"),
        ):
            used, given_ = (set(re.findall(each, text, re.MULTILINE)) for each in (use, name))
            assert used <= given_, (server.name, kind)


MIXED = """\
name: mixed
router: {{external_ports: 4, line_rate: 10Mbps}}
servers: {{profile: lab}}
ports:
  - {{id: 0, ipv6: {{address: "2001:db8:0:a0::1/64"}}}}
  - {{id: 1, ipv6: {{address: "2001:db8:0:a1::1/64"}}}}
  - {{id: 2, address: 198.18.2.1/32, ipv6: {{address: "2001:db8:0:a2::1/128"}}}}
  {last}
routing:
  daemon: {daemon}
  as: 64512
  neighbors:
    - {{port: 2, as: 65002, families: [ipv4, ipv6], password: p, bfd: true}}
    - {{address: "fe80::7", port: 2, as: 65007, families: [ipv6]}}
    - {{address: "2001:db8:0:a0::2", as: 65000, families: [ipv4]}}
"""
LAST = '- {id: 3, ipv6: {address: "2001:db8:0:a3::1/64"}}'


def test_ipv4_with_ipv6_next_hops(tmp_path: Path) -> None:
    """By sessions of their own between servers; each link-local neighbour has the next hop that others know."""
    made = planned(tmp_path, MIXED.format(daemon="frr", last=LAST))
    zero, two = config(made, "n0"), config(made, "n2")
    for text, number in ((zero, 3), (two, 3)):
        assert len(re.findall(r"neighbor 2001:db8:0:a\d::1 remote-as 64512", text)) == number
        assert text.count("neighbor 2001:db8:0:a3::1 route-map rbops-mixed-out out") == 1
    assert " neighbor @port2@ interface remote-as 65002\n" in two
    assert " neighbor @port2@ password @key_port2_link_local@\n" in two
    assert " neighbor fe80::7 interface @port2@\n" in two
    assert "@port2@ capability" not in two, "FRR has it for these by itself"
    assert " neighbor 2001:db8:0:a0::2 capability extended-nexthop\n" in zero
    maps = re.findall(
        r"^route-map (rbops-\S+-out permit \d+)\n match tag (\d+)\n set ipv6 next-hop global (\S+)", two, re.M
    )
    assert sorted(maps) == [
        ("rbops-ipv6-out permit 101", "1", "100::5252:2:1"),
        ("rbops-ipv6-out permit 102", "2", "100::5252:2:2"),
        ("rbops-mixed-out permit 101", "1", "100::5252:2:1"),
    ]
    part = node_part(made, made.server("n2"))
    assert part is not None
    assert [(each.service, each.source) for each in part.sessions if ":" in each.source] == [
        ("tcp/179", "fe80::/10"), ("tcp/179", "fe80::7/128"), ("udp/3784", "fe80::/10"), ("udp/3785", "fe80::/10"),
        ("tcp/179", "2001:db8:0:a0::1/128"), ("tcp/179", "2001:db8:0:a1::1/128"), ("tcp/179", "2001:db8:0:a3::1/128"),
    ]  # fmt: skip


def test_every_server_needs_ipv6_for_these(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        planned(tmp_path, MIXED.format(daemon="frr", last=""))
    (wrong,) = caught.value.diagnostics
    assert wrong.code == "plan.no-ipv6"
    assert "server n3 has no IPv6" in str(caught.value)
    assert planned(tmp_path, MIXED.format(daemon="bird", last=""))


@needs_frr
def test_frr_takes_these(tmp_path: Path) -> None:
    assert check_daemon(planned(tmp_path, MIXED.format(daemon="frr", last=LAST)))


def test_what_servers_must_know_is_as_with_bird(tmp_path: Path) -> None:
    made = plan(tmp_path)
    frr = node_part(made, made.server("n0"))
    (tmp_path / "router.yml").write_text(SPEC.format(ports=4, more="").replace("daemon: frr", "daemon: bird"))
    made = load_plan(tmp_path / "router.yml")
    bird = node_part(made, made.server("n0"))
    assert frr is not None
    assert bird is not None
    assert (frr.kind, bird.kind) == ("frr", "bird")
    assert (frr.keys, frr.sessions) == (bird.keys, bird.sessions)


OSPF = "ospf: [{port: 0, area: 1, cost: 7}, {port: 3}]"


def test_ospf_on_the_ports_that_speak_it(tmp_path: Path) -> None:
    made = plan(tmp_path, more=OSPF)
    zero, one, three = (config(made, name) for name in ("n0", "n1", "n3"))
    assert "interface @port0@\n ip ospf area 0.0.0.1\n ip ospf cost 7\nexit\n" in zero
    assert "interface @port3@\n ip ospf area 0.0.0.0\n ip ospf cost 10\nexit\n" in three
    assert "router ospf@vrf@\n ospf router-id 198.18.0.1\n" in zero
    assert "vrf rbops\n ip protocol ospf route-map rbops-ospf-in\n" in zero
    assert " ip route 198.51.100.0/24 reject 250\nexit-vrf\n" in zero
    assert (zero.count("redistribute ospf"), zero.count("redistribute bgp")) == (1, 1)
    assert "ospf" not in one
    part = node_part(made, made.server("n0"))
    assert part is not None
    assert ("ip/89", "198.18.0.0/24") in {(each.service, each.source) for each in part.sessions}


def test_a_default_route_is_learnt_by_ospf_or_announced_by_it(tmp_path: Path) -> None:
    """Never both: FRR 8.4 announces it without the tag by which the router knows its own."""
    text = SPEC.format(ports=4, more=OSPF)
    alone = text[: text.index("  neighbors:")] + f"  {OSPF}\n"
    own = alone.replace("announce: [", "announce: [0.0.0.0/0, ")
    refused, announced = "match ip address prefix-list rbops-default", "default-information originate"
    for spec, announces in ((text, True), (alone, False), (own, True)):
        found = config(planned(tmp_path, spec), "n0")
        assert (refused in found, announced in found) == (announces, announces)


def test_ospf_needs_a_vrf(tmp_path: Path) -> None:
    def separation(made: ClusterPlan) -> set[str]:
        files = (next(f for f in render(made).files_of(name) if f.path.endswith("node.json")) for name in ("n0", "n1"))
        return {json.loads(file.content)["separation"] for file in files}

    assert separation(plan(tmp_path, more=OSPF)) == {"vrf"}
    assert separation(plan(tmp_path)) == {"auto"}
    bird = SPEC.format(ports=4, more=OSPF).replace("daemon: frr", "daemon: bird")
    assert separation(planned(tmp_path, bird)) == {"auto"}


def test_files_and_roles_are_there_where_it_is_planned(tmp_path: Path) -> None:
    rendered = render(plan(tmp_path))
    site = next(file.content.decode() for file in rendered.top if file.path == "site.yml")
    assert ("{name: frr," in site, "{name: bird," in site) == (True, False)
    paths = {file.path for file in rendered.files_of("n3")}
    assert {"/etc/systemd/system/rbops-frr.service", CONFIG} <= paths
    assert not any("bird" in path for path in paths)


def test_two_servers_reflect_routes_from_a_size_on(tmp_path: Path) -> None:
    made = plan(tmp_path, ports=18)
    reflector, client = config(made, "n0"), config(made, "n17")
    assert reflector.count("route-reflector-client") == 2 * 16, "of both families"
    assert re.findall(r"\(server (n\d+)\)", client) == ["n0", "n1"]
    assert "reflector" not in client


@needs_frr
@pytest.mark.parametrize("more", ["", "graceful_restart: false\n  paths: 1", "router_ids: {n0: 192.0.2.1}", OSPF])
def test_frr_takes_it(tmp_path: Path, more: str) -> None:
    assert check_daemon(plan(tmp_path, more=more))


@needs_frr
def test_a_configuration_of_ones_own(tmp_path: Path) -> None:
    spec, own, keys = tmp_path / "router.yml", tmp_path / "my.conf", tmp_path / "my.keys"
    spec.write_text(
        "router: {external_ports: 4, line_rate: 10Mbps}\nservers: {profile: lab}\n"
        "routing: {daemon: frr, config: my.conf, keys: my.keys}\n"
    )
    keys.touch(0o600)
    keys.write_text('define SECRET = "canary";\n')
    own.write_text(
        "@routes@\nroute-map all permit 10\n@table@\nexit\nrouter bgp 1@vrf@\n bgp router-id @router_id@\n"
        " neighbor 198.18.@server@.2 remote-as 2\n neighbor 198.18.@server@.2 password @SECRET@\n"
        " neighbor fe80::7 interface @port1@\n"
    )
    made = load_plan(spec)
    assert " bgp router-id 198.18.1.1\n neighbor 198.18.1.2 remote-as 2\n" in config(made, "n1")
    assert config(made, "n1").startswith("@routes@\n"), "the server knows"
    assert not spec.with_name("frr.conf").exists()
    own.write_text(own.read_text().replace("interface @port1@", "interfaces @port1@"))
    with raises(Mismatch, "daemon.refused", server="n0", file=CONFIG) as caught:
        check_daemon(load_plan(spec))
    assert "line 9: % Unknown command" in str(caught.value)
    own.write_text(own.read_text().replace(" password", " passwords"))
    with raises(Mismatch, "daemon.refused", server="n0") as caught:
        check_daemon(load_plan(spec))
    assert "canary" not in str(caught.value)


def test_without_frr_nothing_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "_PATH", str(tmp_path))
    assert not check_daemon(plan(tmp_path))


@settings(deadline=None)
@given(st.integers(0, 32), st.data())
def test_filters_let_through_the_same_lengths(length: int, data: st.DataObject) -> None:
    """Of ``PREFIX``, ``PREFIX+`` and ``PREFIX{LOW,HIGH}``, as FRR reads ``ge`` and ``le``."""
    low = data.draw(st.integers(length, 32))
    high = data.draw(st.integers(low, 32))
    for wanted, lengths in (
        ("", {length}),
        ("+", set(range(length, 33))),
        (f"{{{low},{high}}}", {*range(low, high + 1)}),
    ):
        prefix, *words = _permitted(f"10.0.0.0/{length}{wanted}", "ip").split()
        options = dict(zip(words[::2], map(int, words[1::2]), strict=True))
        assert all(value > length for value in options.values()), "FRR refuses others"
        longest = options.get("le", 32 if "ge" in options else length)
        assert prefix == f"10.0.0.0/{length}"
        assert set(range(options.get("ge", length), longest + 1)) == lengths
