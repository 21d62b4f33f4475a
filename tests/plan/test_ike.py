"""Tunnels with keys by IKE in a spec: what is refused and where, what is rendered, and where packets go."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rbops.dataplane.xdp.controller.fib import lookup
from rbops.deploy.keys import keys_of_plan, keys_of_project
from rbops.node.ike import parse_connections
from rbops.planner import load_plan
from rbops.render import render
from rbops.render.write import write
from tests.plan.test_tunnels import ONE, codes, nodes, refused, written

SECRET = "Ez8AaaDkHtq1lZQ3vWlZ0hq0m1b8n6Jx"  # noqa: S105 - no secret of anybody's
IKE = ONE.replace("keys: peer.keys", "ike: {psk: peer.psk}")


def with_psk(folder: Path, tunnels: str, more: str = "", psk: str = SECRET) -> Path:
    path = written(folder, tunnels, more)
    secret = folder / "peer.psk"
    secret.touch(0o600)
    secret.write_text(psk + "\n")
    return path


def test_one_server_negotiates_and_encrypts_for_all(tmp_path: Path) -> None:
    plan = load_plan(with_psk(tmp_path, IKE))
    found = nodes(plan)
    tunnels = {name: config.tunnels[0] for name, config in found.items()}
    assert [name for name, tunnel in tunnels.items() if tunnel.encrypts] == ["n3"]
    assert {tunnel.ike.port for tunnel in tunnels.values() if tunnel.ike} == {3}
    for name, config in found.items():
        assert config.services is not None
        listens = {"ip/50", "udp/4500", "udp/500"} & set(config.services)
        assert len(listens) == (3 if name == "n3" else 0)
    rendered = render(plan)
    paths = {name: {file.path for file in rendered.files_of(name)} for name in found}
    own = {"/etc/rbops/ike/ike.conf", "/etc/rbops/ike/strongswan.conf", "/etc/systemd/system/rbops-ike.service"}
    assert own <= paths["n3"]
    assert not own & paths["n0"]


def test_packets_for_the_tunnel_go_to_the_kernel_behind_its_port(tmp_path: Path) -> None:
    plan = load_plan(with_psk(tmp_path, IKE))
    (fib,) = (file.content for file in render(plan).files_of("n0") if file.path == "/etc/rbops/fib.bin")
    assert lookup(fib, np.array([0x0A090001, 0xC6120302], np.uint32)).tolist() == [0x3FFFF, 0x30001]


def test_the_configuration_is_as_strongswan_reads_it(tmp_path: Path) -> None:
    changed = IKE.replace("spi: 7", "spi: 7, udp: true, esn: false, cipher: aes128-sha256, sources: [198.18.0.0/16]")
    changed = changed.replace(
        "psk: peer.psk", "psk: peer.psk, rekey: 600s, dpd: 0, start: traffic, peer_id: gw.example.net"
    )
    for number, tunnel in enumerate((IKE, changed)):
        rendered = render(load_plan(with_psk(tmp_path, tunnel)))
        (text,) = (file.content for file in rendered.files_of("n3") if file.path.endswith("ike.conf"))
        (connection,) = parse_connections(text.decode())["connections"].values()
        child = connection["children"]["t7"]
        assert (connection["local_addrs"], connection["remote_addrs"]) == (["198.18.3.1"], ["198.18.3.2"])
        assert (child["if_id_in"], child["if_id_out"], child["reqid"]) == ("7", "7", str(0x10007))
        expected = [
            ("no", "198.18.3.2", "14400s", "30s", "3600s", "trap|start", "start", "1024"),
            ("yes", "gw.example.net", "2400s", "0s", "600s", "trap", "trap", "1024"),
        ][number]
        assert expected == (
            connection["encap"], connection["remote"]["id"], connection["rekey_time"], connection["dpd_delay"],
            child["rekey_time"], child["start_action"], child["close_action"], child["replay_window"],
        )  # fmt: skip
        assert child["esp_proposals"] == [
            ("aes128gcm16-x25519-ecp256-modp2048-esn"), ("aes128-sha256-x25519-ecp256-modp2048-noesn")
        ][number : number + 1]  # fmt: skip


def test_the_secret_is_in_no_file_and_only_one_server_gets_it(tmp_path: Path) -> None:
    plan = load_plan(with_psk(tmp_path, IKE))
    words = (SECRET.encode(), SECRET.encode().hex().encode())
    rendered = render(plan)
    for server in plan.servers:
        assert not any(word in file.content for word in words for file in rendered.files_of(server.name))
    given = {name: [key for key in keys if key.files] for name, keys in keys_of_plan(plan).items()}
    assert {name: len(keys) for name, keys in given.items()} == {"n0": 0, "n1": 0, "n2": 0, "n3": 1}
    assert given["n3"][0].path == "/etc/rbops/ike/keys.conf"
    assert SECRET not in repr(given)
    write(rendered, tmp_path / "out")
    read = {name: [key for key in keys if key.files] for name, keys in keys_of_project(tmp_path / "out").items()}
    assert read == given


def test_static_keys_and_ike_stand_side_by_side(tmp_path: Path) -> None:
    other = "{peer: 198.18.2.2, prefixes: [10.8.0.0/16], spi: 8, keys: other.keys}"
    plan = load_plan(with_psk(tmp_path, f"{IKE}, {other}"))
    kernels = {name: keys[1].files for name, keys in keys_of_plan(plan).items()}
    assert set(kernels.values()) == {(str(tmp_path / "other.keys"),)}
    assert [tunnel.number for tunnel in nodes(plan)["n0"].tunnels if tunnel.encrypts] == [8]


@pytest.mark.parametrize(
    ("tunnels", "code"),
    [
        (ONE.replace("spi: 7", "spi: 7, ike: {psk: peer.psk}"), "spec.conflict"),
        (ONE.replace(", keys: peer.keys", ""), "spec.conflict"),
        (IKE.replace("peer.psk", "none.psk"), "spec.key-file"),
        (IKE.replace("spi: 7", "spi: 7, spi_in: 300"), "spec.conflict"),
        (IKE.replace("psk: peer.psk", "psk: peer.psk, rekey: 5s"), "spec.number"),
        (IKE.replace("psk: peer.psk", "psk: peer.psk, rekey: 0"), "spec.number"),
        (IKE.replace("psk: peer.psk", "psk: peer.psk, dpd: 100ms"), "spec.number"),
        (IKE.replace("psk: peer.psk", "psk: peer.psk, start: later"), "spec.choice"),
        (IKE.replace("psk: peer.psk", 'psk: peer.psk, peer_id: "a, b"'), "spec.name"),
        (f"{IKE}, {IKE.replace('spi: 7', 'spi: 8').replace('10.9', '10.7')}", "spec.duplicate"),
        (
            f"{IKE}, {ONE.replace('spi: 7', 'spi: 8, udp: true').replace('10.9', '10.7').replace('3.2', '2.2')}",
            "spec.conflict",
        ),
    ],
)
def test_what_cannot_be_is_refused_at_its_place(tmp_path: Path, tunnels: str, code: str) -> None:
    assert (code, 4) in codes(with_psk(tmp_path, tunnels))


def test_click_has_no_ike(tmp_path: Path) -> None:
    assert "spec.unsupported" in [code for code, _ in codes(with_psk(tmp_path, IKE, "dataplane: click\n"))]


@pytest.mark.parametrize(
    ("psk", "mode", "code"),
    [
        ("too short", 0o600, "spec.key-file"),
        ("two lines of\nsome secret or other", 0o600, "spec.key-file"),
        ("abababababababababababab", 0o600, "spec.weak-key"),
        (SECRET, 0o640, "spec.key-file"),
    ],
)
def test_a_secret_that_is_none_is_refused_where_it_is_named(tmp_path: Path, psk: str, mode: int, code: str) -> None:
    path = with_psk(tmp_path, IKE, psk=psk)
    (tmp_path / "peer.psk").chmod(mode)
    column = path.read_text().splitlines()[3].index("peer.psk") + 1
    assert refused(path) == {code: f"{path}:4:{column}"}


def test_the_plan_names_the_file_alone(tmp_path: Path) -> None:
    plan = json.loads(load_plan(with_psk(tmp_path, IKE)).to_json())
    assert plan["forwarding"]["tunnels"][0]["ike"]["psk"] == str(tmp_path / "peer.psk")
