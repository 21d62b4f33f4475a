"""Tunnels of the kernel in a spec: what is refused and where, what is planned, and what servers are told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rbops.dataplane.xdp.controller.fib import lookup
from rbops.errors import SpecError
from rbops.node.schema import NodeConfig
from rbops.node.schema.config import parse
from rbops.plan import ClusterPlan
from rbops.planner import load_plan
from rbops.render import render
from tests.support.esp import GCM, OTHER, key_file

HEAD = """\
name: rb4
router: {external_ports: 4, line_rate: 10Gbps, application: ipsec}
servers: {profile: lab}
"""
ONE = "{peer: 198.18.3.2, prefixes: [10.9.0.0/16], spi: 7, keys: peer.keys}"
TWO = "{peer: 198.18.2.2, prefixes: [10.8.0.0/16], spi: 8, keys: other.keys}"


def written(folder: Path, tunnels: str, more: str = "") -> Path:
    for name, keys in (("peer.keys", GCM), ("other.keys", OTHER)):
        (folder / name).touch(0o600)
        (folder / name).write_text(key_file(keys))
    path = folder / "router.yml"
    path.write_text(f"{HEAD}{more}ipsec: [{tunnels}]\n")
    return path


def nodes(plan: ClusterPlan) -> dict[str, NodeConfig]:
    rendered = render(plan)
    files = {s.name: {f.path: f.content for f in rendered.files_of(s.name)} for s in plan.servers}
    path = "/etc/rbops/node.json"
    return {name: parse(own[path].decode(), Path(path)) for name, own in files.items()}


def codes(path: Path) -> list[tuple[str, int]]:
    with pytest.raises(SpecError) as caught:
        load_plan(path)
    return [(one.code, one.line) for one in caught.value.diagnostics]


def test_each_server_sends_with_its_own_association_and_one_decrypts(tmp_path: Path) -> None:
    found = nodes(load_plan(written(tmp_path, ONE)))
    tunnels = {name: config.tunnels[0] for name, config in found.items()}
    assert {name: tunnel.spi_out for name, tunnel in tunnels.items()} == {
        f"n{index}": 0x70000 | index << 8 for index in range(4)
    }
    assert {tunnel.spi_in for tunnel in tunnels.values()} == {0x70000}
    assert [name for name, tunnel in tunnels.items() if tunnel.own] == ["n3"], "whose port the peer is behind"
    assert {tunnel.local for tunnel in tunnels.values()} == {"198.18.3.1"}
    assert len({tunnel.salt for tunnel in tunnels.values()}) == 4
    for config in found.values():
        assert config.services is not None
        assert "ip/50" in config.services
        assert config.sysctl["net.ipv4.conf.rbops-t7.rp_filter"] == "0"
        assert parse(config.to_text(), Path("node.json")) == config


def test_esp_in_udp_is_told_to_servers_and_may_come_in(tmp_path: Path) -> None:
    plan = load_plan(written(tmp_path, f"{ONE}, {TWO.replace('spi: 8', 'spi: 8, udp: true')}"))
    for config in nodes(plan).values():
        assert [tunnel.udp for tunnel in config.tunnels] == [False, True]
        assert config.services is not None
        assert {"ip/50", "udp/4500"} <= set(config.services)
    only = load_plan(written(tmp_path, ONE.replace("spi: 7", "spi: 7, udp: true")))
    assert all("ip/50" not in (config.services or ()) for config in nodes(only).values())


def test_packets_for_a_tunnel_are_the_kernels_and_longer_routes_count(tmp_path: Path) -> None:
    more = "routes: [{prefix: 10.9.5.0/24, via: 198.18.1.2}]\n"
    plan = load_plan(written(tmp_path, ONE, more))
    assert any("10.9.5.0/24" in warning and "in the clear" in warning for warning in plan.warnings)
    (fib,) = (file.content for file in render(plan).files_of("n0") if file.path == "/etc/rbops/fib.bin")
    addresses = np.array([0x0A090001, 0x0A090501, 0xC6120102], np.uint32)
    assert lookup(fib, addresses).tolist() == [0xFFFFFFFE, 0x10001, 0x10001]


def test_no_key_is_in_a_plan_or_a_file(tmp_path: Path) -> None:
    plan = load_plan(written(tmp_path, ONE))
    assert not any(word[:8] in plan.to_json() for word in GCM)
    for server in plan.servers:
        files = render(plan).files_of(server.name)
        assert not any(word[:8].encode() in file.content for word in GCM for file in files)


@pytest.mark.parametrize(
    ("tunnels", "code"),
    [
        ("", "spec.no-tunnel"),
        (ONE.replace("198.18.3.2", "198.18.3.1"), "plan.tunnel-own"),
        (ONE.replace("198.18.3.2", "192.0.2.1"), "plan.tunnel-route"),
        (ONE.replace("spi: 7", "spi: 7, local: 198.18.3.9"), "plan.tunnel-local"),
        (ONE.replace("10.9.0.0/16", "198.18.2.0/24"), "plan.tunnel-prefix"),
        (ONE.replace("10.9.0.0/16", "198.18.3.2/32"), "plan.tunnel-prefix"),
        (ONE.replace("10.9.0.0/16", "198.18.3.2/31"), "plan.tunnel-prefix"),
        (f"{ONE}, {ONE}", "spec.duplicate"),
        (ONE.replace("spi: 7", "spi: 7, replay_window: 0"), "spec.conflict"),
        (ONE.replace("spi: 7", "spi: 7, cipher: aes256gcm16"), "spec.key-file"),
        (ONE.replace("peer.keys", "none.keys"), "spec.key-file"),
        (ONE.replace("198.18.3.2", "198.18.3.0"), "plan.tunnel-peer"),
        (ONE.replace("198.18.3.2", "198.18.3.255"), "plan.tunnel-peer"),
        (ONE.replace("spi: 7", "spi: 7, sources: [198.18.0.0/16, 198.18.0.0/16]"), "spec.tunnel-sources"),
        (ONE.replace("spi: 7", "spi: 7, sources: [198.18.0.0/16, 198.18.1.0/24]"), "spec.tunnel-sources"),
        (ONE.replace("spi: 7", "spi: 7, sources: [172.16.0.0/12]"), "plan.tunnel-sources"),
        (ONE.replace("spi: 7", "spi: 7, sources: [10.9.1.0/24]"), "plan.tunnel-sources"),
        (ONE.replace("spi: 7", "spi: 7, cipher: des"), "spec.choice"),
        (f"{ONE}, {TWO.replace('other.keys', 'peer.keys')}", "spec.weak-key"),
    ],
)
def test_what_cannot_be_is_refused_at_its_place(tmp_path: Path, tunnels: str, code: str) -> None:
    found = codes(written(tmp_path, tunnels))
    assert (code, 2 if code == "spec.no-tunnel" else 4) in found


def refused(path: Path) -> dict[str, str]:
    """The mistakes' places, file:line:column, by code."""
    with pytest.raises(SpecError) as caught:
        load_plan(path)
    return {one.code: f"{one.path}:{one.line}:{one.column}" for one in caught.value.diagnostics}


def test_a_mistake_in_a_list_is_shown_at_its_item(tmp_path: Path) -> None:
    path = written(tmp_path, f"{ONE}, {TWO.replace('10.8.0.0/16', '10.7.0.0/16, 10.9.0.0/16')}")
    column = path.read_text().splitlines()[3].rindex("10.9.0.0/16") + 1
    assert refused(path) == {"spec.tunnel-prefix": f"{path}:4:{column}"}
    path = written(tmp_path, ONE.replace("spi: 7", "spi: 7, sources: [198.18.0.0/16, 172.16.0.0/12]"))
    column = path.read_text().splitlines()[3].index("172.16") + 1
    assert refused(path) == {"plan.tunnel-sources": f"{path}:4:{column}"}


@pytest.mark.parametrize(
    "first",
    [
        "0123456789abcdef0123456789abcdef" + GCM[0][32:],
        bytes(range(16)).hex() + GCM[0][32:],
        bytes(range(255, 239, -1)).hex() + GCM[0][32:],
        "00" * 16 + GCM[0][32:],
        GCM[0][:16] + "0" * 16 + GCM[0][32:],
        GCM[1][:32] + GCM[0][32:],
    ],
)
def test_a_key_that_nobody_drew_or_of_the_other_direction_is_weak(tmp_path: Path, first: str) -> None:
    """Another salt does not make another key."""
    path = written(tmp_path, ONE)
    (tmp_path / "peer.keys").write_text(key_file((first, GCM[1])))
    assert refused(path) == {"spec.weak-key": f"{path}:4:{path.read_text().splitlines()[3].index('peer.keys') + 1}"}


def test_a_key_of_another_tunnel_is_refused_whatever_its_direction_and_salt(tmp_path: Path) -> None:
    path = written(tmp_path, f"{ONE}, {TWO}")
    assert len(load_plan(path).forwarding.tunnels) == 2
    (tmp_path / "other.keys").write_text(key_file((OTHER[0], GCM[0][:32] + OTHER[1][32:])))
    assert list(refused(path)) == ["spec.weak-key"]


def test_a_hub_may_name_what_is_behind_another_tunnel_as_its_source(tmp_path: Path) -> None:
    one = ONE.replace("spi: 7", "spi: 7, sources: [10.8.0.0/16, 198.18.0.0/16]")
    assert load_plan(written(tmp_path, f"{one}, {TWO}")).forwarding.tunnels[0].sources[0] == "10.8.0.0/16"


def test_a_prefix_within_another_of_the_same_tunnel_is_a_warning_unless_it_is_an_exception(tmp_path: Path) -> None:
    one = ONE.replace("10.9.0.0/16", "10.0.0.0/8, 10.8.5.0/24")
    said = "10.8.5.0/24 of the tunnel to 198.18.3.2 is within 10.0.0.0/8 of the same tunnel"
    assert any(said in warning for warning in load_plan(written(tmp_path, one)).warnings)
    assert not any(said in warning for warning in load_plan(written(tmp_path, f"{one}, {TWO}")).warnings)


def test_a_data_plane_without_tunnels_says_which_have_them(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        load_plan(written(tmp_path, ONE, "dataplane: kernel\n"))
    (one,) = caught.value.diagnostics
    assert one.hint == "write `dataplane: xdp` or `dataplane: click`"


@pytest.mark.parametrize(
    "wrong",
    ["spi: 0", "spi: 65536", "spi: 7, spi_in: 255", "spi: 7, spi_in: 4294967296", "spi: 7, replay_window: 4097"],
)
def test_numbers_have_bounds(tmp_path: Path, wrong: str) -> None:
    assert [line for _, line in codes(written(tmp_path, ONE.replace("spi: 7", wrong)))] == [4]


def test_a_peer_behind_a_tunnel_is_refused(tmp_path: Path) -> None:
    """What is encrypted for it would be encrypted again, and again."""
    more = "routes: [{prefix: 192.0.2.0/24, via: 198.18.1.2}]\n"
    path = written(tmp_path, "{peer: 192.0.2.1, prefixes: [192.0.2.0/28], spi: 1, keys: peer.keys}", more)
    assert [code for code, _ in codes(path)] == ["plan.tunnel-loop"]
    path = written(tmp_path, "{peer: 192.0.2.1, prefixes: [192.0.0.0/16], spi: 1, keys: peer.keys}", more)
    assert load_plan(path).forwarding.tunnels[0].local == "198.18.1.1"


def test_two_tunnels_with_one_inward_spi_are_refused(tmp_path: Path) -> None:
    other = TWO.replace("spi: 8", "spi: 8, spi_in: 458752")
    assert [code for code, _ in codes(written(tmp_path, f"{ONE}, {other}"))] == ["spec.duplicate"]


def test_a_routing_daemon_is_refused_beside_tunnels(tmp_path: Path) -> None:
    more = "routing: {daemon: none}\n"
    assert "spec.unsupported" in [code for code, _ in codes(written(tmp_path, ONE, more))]


def test_keys_of_the_kernels_tunnels_are_refused_with_click(tmp_path: Path) -> None:
    path = written(tmp_path, ONE.replace("spi: 7", "spi: 7, cipher: aes128-sha256"), "dataplane: click\n")
    found = codes(path)
    assert "spec.unsupported" in [code for code, _ in found]


def test_the_plan_says_which_address_the_peer_knows(tmp_path: Path) -> None:
    plan = json.loads(load_plan(written(tmp_path, ONE)).to_json())
    assert plan["forwarding"]["tunnels"][0]["local"] == "198.18.3.1"
