"""BIRD's configuration as it is planned and rendered, and as BIRD's own checker takes it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from rbops.deploy import daemon
from rbops.deploy.daemon import check_daemon
from rbops.errors import Mismatch, SpecError
from rbops.plan import ClusterPlan
from rbops.planner import load_plan
from rbops.render import render
from rbops.render.bird import CONFIG
from rbops.render.speaking import node_part
from tests.render.spoken import config, planned
from tests.support.errors import raises

needs_bird = pytest.mark.skipif(shutil.which("bird", path="/usr/sbin:/usr/bin") is None, reason="needs bird2")

SPEC = """\
name: rb{ports}
router: {{external_ports: {ports}, line_rate: 10Mbps}}
servers: {{profile: lab}}
routing:
  daemon: bird
  as: 1.10
  announce: [198.51.100.0/24]
  neighbors:
    - {{address: 198.18.0.9, as: 65001, bfd: true, password: p, import: [10.0.0.0/8+, "192.0.2.0/24"]}}
    - {{address: 198.18.1.2, as: 65003, export: ["0.0.0.0/0{{0,24}}"]}}
  ospf: [{{port: 0, area: 1, cost: 7}}]
  {more}
"""


def plan(folder: Path, *, ports: int = 4, more: str = "") -> ClusterPlan:
    return planned(folder, SPEC.format(ports=ports, more=more))


def test_each_server_speaks_to_its_own_neighbours_and_to_all_servers(tmp_path: Path) -> None:
    made = plan(tmp_path)
    zero, one = config(made, "n0"), config(made, "n1")
    assert re.findall(r"neighbor (\S+) as (\d+)", zero) == [
        ("198.18.1.1", "65546"), ("198.18.2.1", "65546"), ("198.18.3.1", "65546"), ("198.18.0.9", "65001"),
    ]  # fmt: skip
    assert zero.count("netlink rx buffer") == 1
    assert "password key_port0_198_18_0_9;" in zero
    assert "net !~ [ 10.0.0.0/8+, 192.0.2.0/24 ]" in zero
    assert "area 0.0.0.1 {\n    interface 198.18.0.0/24 {\n      cost 7;" in zero
    assert "net !~ [ 0.0.0.0/0{0,24} ]" in one
    assert ("protocol bfd" in zero, "protocol bfd" in one) == (True, False)
    assert ("protocol ospf" in zero, "protocol ospf" in one) == (True, False)
    assert re.findall(r"router id (\S+);", zero + one) == ["198.18.0.1", "198.18.1.1"]


SIX = """\
router: {external_ports: 4, line_rate: 10Mbps}
servers: {profile: lab}
ports:
  - {id: 0, ipv6: {address: "2001:db8:0:a0::1/64"}}
  - {id: 1, ipv6: {address: "2001:db8:0:a1::1/64"}}
routing:
  daemon: bird
  as: 64512
  ospf: [{port: 0, area: 2, cost: 7, routers: ["fe80::7"]}, {port: 2}]
"""


@needs_bird
def test_ospf_of_both_versions(tmp_path: Path) -> None:
    """Version 3 where the port has IPv6; its routers have a next hop that other servers know."""
    made = planned(tmp_path, SIX)
    zero, one, two = (config(made, name) for name in ("n0", "n1", "n2"))
    assert 'area 0.0.0.2 {\n    interface\ninclude "name0.conf";\n    {\n      cost 7;' in zero
    known = 'gw = fe80::7 && ifname =\ninclude "name0.conf";\n      then bgp_next_hop = 100::5252:0:2;'
    assert (known in zero, known in one) == (True, False)
    versions = [re.findall(r"^protocol ospf (v\d)", text, re.MULTILINE) for text in (zero, one, two)]
    assert versions == [["v2", "v3"], [], ["v2"]]
    sources = []
    for name in ("n0", "n1", "n2"):
        part = node_part(made, made.server(name))
        assert part is not None
        sources.append([each.source for each in part.sessions if each.service == "ip/89"])
    assert sources == [["198.18.0.0/24", "fe80::/10"], [], ["198.18.2.0/24"]]
    assert check_daemon(made)


BY_PORT = """\
router: {external_ports: 4, line_rate: 10Mbps}
servers: {profile: lab}
ports:
  - {id: 0, ipv6: {address: "2001:db8:0:a0::1/64"}}
  - {id: 1, ipv6: {address: "2001:db8:0:a1::1/128"}}
routing:
  daemon: bird
  as: 64512
  neighbors:
    - {port: 0, as: 65000, families: [ipv4, ipv6], password: p, bfd: true}
    - {port: 1, as: 65001}
"""


@needs_bird
def test_neighbours_by_their_ports_alone(tmp_path: Path) -> None:
    """BIRD waits for each on its port; what they announce has the next hop that other servers know."""
    made = planned(tmp_path, BY_PORT)
    text = "".join(config(made, server.name) for server in made.servers)
    assert re.findall(r'neighbor range fe80::/10 as (\d+);\n  dynamic name "(\w+)";', text) == [
        ("65000", "port0_link_local_"), ("65001", "port1_link_local_"),
    ]  # fmt: skip
    assert re.findall(r'include "(radv\d.conf)";', text) == ["radv0.conf", "radv1.conf"]
    assert "bgp_next_hop = 100::5252:0:2;" in text
    assert check_daemon(made)


def test_a_neighbour_becomes_a_next_hop_that_all_servers_know(tmp_path: Path) -> None:
    (port,) = (port for port in plan(tmp_path).server("n0").ports if port.id == 0)
    assert [(near.index, near.address, near.mac) for near in port.adjacencies][1:] == [(2, "198.18.0.9", None)]


def test_what_the_server_has_to_know(tmp_path: Path) -> None:
    made = plan(tmp_path)
    part = node_part(made, made.server("n0"))
    assert part is not None
    assert part.keys == (("key_port0_198_18_0_9", str(tmp_path / "p")),)
    assert [(session.service, session.source) for session in part.sessions] == [
        ("tcp/179", "198.18.0.9/32"), ("udp/3784", "198.18.0.9/32"), ("udp/3785", "198.18.0.9/32"),
        ("tcp/179", "198.18.1.1/32"), ("tcp/179", "198.18.2.1/32"), ("tcp/179", "198.18.3.1/32"),
        ("ip/89", "198.18.0.0/24"),
    ]  # fmt: skip


def test_files_and_roles_are_there_where_a_daemon_is_planned(tmp_path: Path) -> None:
    rendered = render(plan(tmp_path))
    site = next(file.content.decode() for file in rendered.top if file.path == "site.yml")
    assert "{name: bird," in site
    assert {"/etc/systemd/system/rbops-bird.service", CONFIG} <= {file.path for file in rendered.files_of("n3")}
    (tmp_path / "router.yml").write_text("router: {external_ports: 4, line_rate: 10Mbps}\nrouting: {daemon: none}\n")
    rendered = render(load_plan(tmp_path / "router.yml"))
    assert "{name: bird," not in next(file.content.decode() for file in rendered.top if file.path == "site.yml")
    assert not any("bird" in file.path for file in rendered.files_of("n0"))


def test_two_servers_reflect_routes_from_a_size_on(tmp_path: Path) -> None:
    made = plan(tmp_path, ports=18)
    reflector, client = config(made, "n0"), config(made, "n17")
    assert (reflector.count("rr client;"), reflector.count("as 65546;\n  rr client")) == (16, 16)
    assert re.findall(r'description "server (n\d+)"', client) == ["n0", "n1"]
    assert "rr client" not in client
    assert config(plan(tmp_path, ports=16), "n0").count("from rbops_server") == 15


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ("router_ids: {n9: 192.0.2.1}", "plan.unknown-speaker"),
        ("router_ids: {n1: 198.18.0.1}", "plan.router-id"),
    ],
)
def test_router_ids(tmp_path: Path, more: str, code: str) -> None:
    with pytest.raises(SpecError) as caught:
        plan(tmp_path, more=more)
    assert [item.code for item in caught.value.diagnostics] == [code]


def test_a_neighbour_is_in_a_ports_subnet(tmp_path: Path) -> None:
    (tmp_path / "router.yml").write_text(
        "router: {external_ports: 2, line_rate: 10Mbps}\n"
        "routing: {daemon: bird, as: 64512, neighbors: [{address: 192.0.2.1, as: 65001}]}\n"
    )
    with pytest.raises(SpecError) as caught:
        load_plan(tmp_path / "router.yml")
    assert [item.code for item in caught.value.diagnostics] == ["plan.next-hop"]


@needs_bird
@pytest.mark.parametrize(
    "more", ["", "graceful_restart: false\n  paths: 1\n  bfd: 50ms", "router_ids: {n0: 192.0.2.1}"]
)
def test_bird_takes_it(tmp_path: Path, more: str) -> None:
    assert check_daemon(plan(tmp_path, more=more))
    assert check_daemon(plan(tmp_path, ports=18, more=more))


PORTS6 = """
ports:
  - {id: 0, ipv6: {address: "2001:db8:0:a0::1/64", neighbors: [{address: "2001:db8:0:a0::2"}]}}
  - {id: 3, ipv6: {address: "2001:db8:0:a3::1/64"}}
routing:
  daemon: bird
  as: 64512
  announce: [198.51.100.0/24, "2001:db8:aa::/48"]
  bfd: 100ms
  neighbors:
    - {address: 198.18.0.2, as: 65000}
    - {address: "2001:db8:0:a0::2", as: 65000, bfd: true, import: ["2001:db8:c000::/36{40,48}", "::/0"]}
    - {address: "2001:db8:0:a3::9", as: 65003}
"""
HEAD = "router: {external_ports: 4, line_rate: 10Mbps}\nservers: {profile: lab}"


def test_neighbours_with_ipv6_addresses(tmp_path: Path) -> None:
    (tmp_path / "router.yml").write_text(HEAD + PORTS6)
    made = load_plan(tmp_path / "router.yml")
    zero, two, three = (config(made, name) for name in ("n0", "n2", "n3"))
    session = zero[zero.index("protocol bgp port0_2001_db8_0_a0__2") :]
    assert "local 2001:db8:0:a0::1 as 64512;\n  neighbor 2001:db8:0:a0::2 as 65000;" in session
    assert "  ipv6 {\n    import filter {\n      if net ~ RBOPS_FOREIGN6 then reject;" in session
    assert "net !~ [ 2001:db8:c000::/36{40,48}, ::/0 ]" in session
    assert "rbops_is_own6()" in session
    assert "ipv6" not in zero[zero.index("protocol bgp port0_198_18_0_2") : zero.index("protocol bgp port0_2001")]
    assert "route 2001:db8:aa::/48 unreachable" in zero
    assert "2001:db8:0:a3::/64+" in zero
    assert "neighbor 2001:db8:0:a3::9 as 65003" in three
    for text in (zero, two, three):
        assert "protocol kernel rbops_kernel6" in text
        assert "next hop keep;" in text[text.index("  ipv6 {\n    gateway recursive;") :]
    part = node_part(made, made.server("n0"))
    assert part is not None
    assert {each.service for each in part.sessions if each.source == "2001:db8:0:a0::2/128"} == {
        "tcp/179", "udp/3784", "udp/3785",
    }  # fmt: skip
    assert made.ipv6 is not None
    assert [(near.address, near.index) for near in made.ipv6.ports[1].adjacencies] == [("2001:db8:0:a3::9", 2)]
    assert "2001:db8:0:a3::9/128" in {route.prefix for route in made.ipv6.connected}


@needs_bird
def test_bird_takes_ipv6(tmp_path: Path) -> None:
    (tmp_path / "router.yml").write_text(HEAD + PORTS6)
    assert check_daemon(load_plan(tmp_path / "router.yml"))


BOTH = ', as: 65003, families: [ipv6, ipv4], import: ["10.0.0.0/8+", "2001:db8:c::/48"]}'


def test_a_session_carries_both_families(tmp_path: Path) -> None:
    """RFC 8950: all servers take IPv4 routes with IPv6 next hops from each other then; others do not."""
    (tmp_path / "router.yml").write_text(HEAD + PORTS6.replace(", as: 65003}", BOTH))
    made = load_plan(tmp_path / "router.yml")
    three = config(made, "n3")
    session = three[three.index("protocol bgp port3_2001") :]
    assert re.findall(r"^  (ipv[46]) \{$", session, re.MULTILINE) == ["ipv4", "ipv6"]
    four, six = session.split("  ipv6 {")
    assert ("extended next hop on;" in four, "extended next hop on;" in six) == (True, False)
    assert ("[ 10.0.0.0/8+ ]" in four, "[ 2001:db8:c::/48 ]" in six) == (True, True)
    assert ("RBOPS_FOREIGN then" in four, "RBOPS_FOREIGN6 then" in six) == (True, True)
    for name in ("n0", "n3"):
        text = config(made, name)
        servers = text[text.index("template bgp rbops_server") : text.index("protocol bgp")]
        assert "gateway recursive;\n    extended next hop on;\n    next hop keep;" in servers
    assert config(made, "n0").count("extended next hop on;") == 1
    (tmp_path / "router.yml").write_text(HEAD + PORTS6)
    assert "extended" not in config(load_plan(tmp_path / "router.yml"), "n3")


@needs_bird
@pytest.mark.parametrize("families", ["[ipv4]", "[ipv4, ipv6]"])
def test_bird_takes_both_families(tmp_path: Path, families: str) -> None:
    both = PORTS6.replace(", as: 65003}", f", as: 65003, families: {families}}}")
    (tmp_path / "router.yml").write_text(HEAD + both)
    assert check_daemon(load_plan(tmp_path / "router.yml"))


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ('"2001:db8:0:a3::9", as', '"2001:db8:9::9", as', "spec.neighbor-address", "in the IPv6 subnet of no port"),
        ('"2001:db8:0:a3::9", as', '"2001:db8:0:a3::1", as', "spec.neighbor-address", "router's own"),
        ('"2001:db8:0:a3::9", as', '"fe80::9", as', "spec.missing", "on every link"),
        ('"::/0"]', "10.0.0.0/8]", "spec.prefix-filter", "carries the other family"),
        ("{40,48}", "{40,129}", "spec.prefix-filter", "lets nothing through"),
        ("2001:db8:aa::/48", "2001:db8:aa::1/48", "spec.address", "beyond its length"),
    ],
)
def test_mistakes_with_ipv6(tmp_path: Path, old: str, new: str, code: str, words: str) -> None:
    assert old in PORTS6
    (tmp_path / "router.yml").write_text(HEAD + PORTS6.replace(old, new))
    with pytest.raises(SpecError) as caught:
        load_plan(tmp_path / "router.yml")
    assert [item.code for item in caught.value.diagnostics] == [code]
    assert words in caught.value.diagnostics[0].message


def test_announcing_ipv6_without_having_it(tmp_path: Path) -> None:
    text = HEAD + '\nrouting: {daemon: bird, as: 1, announce: ["2001:db8:aa::/48"]}\n'
    (tmp_path / "router.yml").write_text(text)
    with pytest.raises(SpecError) as caught:
        load_plan(tmp_path / "router.yml")
    assert [item.code for item in caught.value.diagnostics] == ["spec.unsupported"]


@needs_bird
def test_a_configuration_of_ones_own(tmp_path: Path) -> None:
    spec, own, keys = tmp_path / "router.yml", tmp_path / "my.conf", tmp_path / "my.keys"
    spec.write_text(
        "router: {external_ports: 4, line_rate: 10Mbps}\nservers: {profile: lab}\n"
        "routing: {daemon: bird, config: my.conf, keys: my.keys}\n"
    )
    keys.touch(0o600)
    keys.write_text('define SECRET = "canary";\n')
    own.write_text(
        'router id RBOPS_ROUTER_ID;\ninclude "keys.conf";\nprotocol device { }\nprotocol bgp a {\ninclude "vrf.conf";\n'
        "  local RBOPS_ADDRESS as 1;\n  neighbor 198.18.0.2 as 2;\n  password SECRET;\n"
        "  ipv4 { import all; export none; };\n}\n"
    )
    made = load_plan(spec)
    assert check_daemon(made)
    assert config(made, "n1").endswith(
        "define RBOPS_SERVER = 1;\ndefine RBOPS_ROUTER_ID = 198.18.1.1;\ndefine RBOPS_ADDRESS = 198.18.1.1;\n"
        'include "own.conf";\n'
    )
    own.write_text("router id RBOPS_ROUTER_ID;\nprotocol bgp { neighbour x; }\n")
    with raises(Mismatch, "daemon.refused", server="n0", file=CONFIG) as caught:
        check_daemon(load_plan(spec))
    assert "own.conf:2:16 syntax error" in str(caught.value)


def test_without_bird_nothing_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "_PATH", str(tmp_path))
    assert not check_daemon(plan(tmp_path))


LINK_LOCAL = """\
name: rb
router: {external_ports: 4, line_rate: 10Mbps}
servers: {profile: lab}
ports:
  - {id: 1, address: 198.18.1.1/32, ipv6: {address: "2001:db8:0:a1::1/128"}}
  - {id: 2, ipv6: {address: "2001:db8:0:a2::1/64"}}
routing:
  daemon: bird
  as: 64512
  neighbors:
    - {address: "fe80::7", port: 2, as: 65002}
    - {address: "fe80::7", port: 1, as: 65001, families: [ipv4, ipv6], bfd: true}
"""


def test_link_local_neighbours_of_two_ports(tmp_path: Path) -> None:
    (tmp_path / "router.yml").write_text(LINK_LOCAL)
    made = load_plan(tmp_path / "router.yml")
    one, two = config(made, "n1"), config(made, "n2")
    assert "protocol bgp port1_fe80__7 {" in one
    assert 'include "port1.conf";\n  local as 64512;\n  neighbor fe80::7 as 65001;' in one
    assert one.count("bgp_next_hop = 100::5252:1:1;") == 2, "of both families"
    assert two.count("bgp_next_hop = 100::5252:2:2;") == 1, "behind the port's IPv4 neighbour"
    rows = next(file.content for file in render(made).files_of("n0") if file.path == "/etc/rbops/routes.csv").decode()
    assert "\n100::5252:1:1/128,1,1,\n100::5252:2:2/128,2,2,\n" in rows
    assert "198.18.1.1/32,1,0,\n" in rows
    assert rows.count("198.18.1.1/32") == 1
    if shutil.which("bird", path="/usr/sbin:/usr/bin"):
        assert check_daemon(made)
