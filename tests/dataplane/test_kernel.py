"""The kernel as data plane: what is planned, rendered and read of it, without a server."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from rbops.dataplane import registry
from rbops.dataplane.kernel import plane as module
from rbops.dataplane.kernel.config import KernelPlaneConfig
from rbops.dataplane.kernel.plane import KernelPlane
from rbops.errors import Mismatch, SpecError
from rbops.node.fabric import next_hop
from rbops.node.netlink import UNICAST
from rbops.node.rules import settings as rules
from rbops.node.schema import NodeConfig, parse
from rbops.node.table import hops, neighbors, rows
from rbops.plan import ClusterPlan
from rbops.planner import load_plan
from rbops.render import render
from tests.render.rb4 import mesh
from tests.support.errors import raises

ROUTER = "router: {external_ports: 4, line_rate: 10Gbps}\nservers: {profile: lab}\ndataplane: kernel\n"
NET_DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame comp mcast|bytes    packets errs drop fifo colls carrier comp
    lo:     100       1    0    0    0     0     0     0      100       1    0    0    0     0       0    0
  eth7:    6400     100    0    0    0     0     0     0     3200      50    0    0    0     0       0    0
  int1: 1234567      20    0    0    0     0     0     0      640      10    0    0    0     0       0    0
  int2:       0       0    0    0    0     0     0     0        0       0    0    0    0     0       0    0
  int3:       0       0    0    0    0     0     0     0        0       0    0    0    0     0       0    0
"""


def kernel_mesh() -> ClusterPlan:
    plan = mesh(4)
    return dataclasses.replace(plan, forwarding=dataclasses.replace(plan.forwarding, dataplane="kernel"))


def node(plan: ClusterPlan, server: str) -> tuple[NodeConfig, bytes]:
    files = {file.path: file.content for file in render(plan).files_of(server)}
    return parse(files["/etc/rbops/node.json"].decode(), Path("node.json")), files["/etc/rbops/routes.csv"]


def test_internal_ports_are_unnumbered() -> None:
    config, _ = node(kernel_mesh(), "n2")
    ports = {port.name: port for port in config.ports}
    assert ports["ext2"].addresses == ("198.18.2.1/24",)
    assert ports["int0"].addresses == ports["int1"].addresses == ("198.18.2.1/32",)
    assert (ports["int0"].arp, ports["int0"].promiscuous, ports["int0"].closed) == (True, False, False)
    assert isinstance(config.dataplane, KernelPlaneConfig)
    assert config.dataplane.gateways == {0: "198.18.0.1", 1: "198.18.1.1", 3: "198.18.3.1"}
    assert parse(config.to_text(), Path("again")) == config


def test_routes_lead_to_the_next_server_by_its_address() -> None:
    """Nothing but the router's own table: no made-up next hop, no permanent neighbour between servers."""
    config, table = node(kernel_mesh(), "n0")
    devices = {port.name: port.name for port in config.ports}
    found = hops(rows(table), config, devices)
    behind = {hop.device: hop.gateway for hop in found.values() if hop.onlink}
    assert {name: gateway and gateway & 0xFFFF for name, gateway in behind.items()} == {
        "int1": 0x0101,
        "int2": 0x0201,
        "int3": 0x0301,
    }
    networks = [hop.device for hop in found.values() if hop.gateway is None and hop.kind == UNICAST]
    assert networks == ["ext0"], "own network, once"
    assert {device for device, _ in neighbors(rows(table), config, devices)} == {"ext0"}
    wanted = [setting.name for setting in rules(config, devices, ())]
    assert len(set(wanted)) == len(wanted)


def test_a_cluster_with_intermediate_servers(tmp_path: Path) -> None:
    """Servers without external ports have addresses too, and each is one more hop."""
    path = tmp_path / "fly.yml"
    path.write_text(
        "router: {external_ports: 32, line_rate: 10Gbps}\ninterconnect: {topology: fly}\ndataplane: kernel\n"
    )
    plan = load_plan(path)
    inner = next(server for server in plan.servers if server.role == "intermediate")
    config, _ = node(plan, inner.name)
    (own,) = {port.addresses for port in config.ports if port.kind == "internal"}
    assert own[0].startswith("169.254.1.")
    outer = next(server for server in plan.servers if server.role == "port")
    outside, _ = node(plan, outer.name)
    assert isinstance(outside.dataplane, KernelPlaneConfig)
    own = {address for server in plan.servers for port in server.ports for address in port.addresses}
    known = {address.partition("/")[0] for address in own} | {
        f"169.254.{1 + server.index // 256}.{server.index % 256}" for server in plan.servers
    }
    assert set(outside.dataplane.gateways.values()) <= known
    half = registry.controller("kernel")
    far = next(server for server in plan.servers if server.role == "port" and server is not outer)
    assert half.hops(plan, outer.name, outer.name) == 1
    assert half.hops(plan, outer.name, far.name) >= 2


def test_hops_of_the_other_data_planes() -> None:
    plan = mesh(4)
    assert [registry.controller(kind).hops(plan, "n0", "n3") for kind in registry.KINDS] == [1, 1, 2]


def test_counters_are_the_interfaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dev").write_text(NET_DEV)
    monkeypatch.setattr(module, "_DEVICES", tmp_path / "dev")
    config, _ = node(kernel_mesh(), "n0")
    assert isinstance(config.dataplane, KernelPlaneConfig)
    counted = KernelPlane(config.dataplane, {"ext0": "eth7"}).counters()
    assert counted["ports"]["ext0"] == {"rx_packets": 100, "rx_bytes": 6400, "tx_packets": 50, "tx_bytes": 3200}
    assert counted["total"]["received"] == {"external": 100, "internal": 20}
    assert json.loads(json.dumps(counted)) == counted
    with raises(Mismatch, "kernel.no-device"):
        KernelPlane(config.dataplane, {"ext0": "gone"}).counters()


def test_no_rules_by_mac(tmp_path: Path) -> None:
    path = tmp_path / "router.yml"
    path.write_text(f"{ROUTER}nic: {{steering: hardware}}\n")
    with raises(SpecError, "nic.steering-dataplane", field="nic.steering"):
        load_plan(path)


def test_ipsec_and_own_elements_are_clicks(tmp_path: Path) -> None:
    path = tmp_path / "router.yml"
    path.write_text(ROUTER.replace("line_rate: 10Gbps", "line_rate: 10Gbps, application: ipsec"))
    with raises(SpecError, "spec.unsupported", field="router.application"):
        load_plan(path)


def test_it_says_that_nothing_is_balanced(tmp_path: Path) -> None:
    path = tmp_path / "router.yml"
    path.write_text(ROUTER)
    said = " ".join(load_plan(path).warnings)
    assert "`routing: direct-vlb` and the flowlet timeout have no effect" in said
    assert "MAC address in software" not in said


def test_the_slow_path_of_the_others_has_fabric_macs() -> None:
    config, _ = node(mesh(4), "n0")
    assert config.dataplane.next_hop(3, 1) == next_hop(3, 1)
    assert next_hop(3, 1).mac == "02:52:00:03:00:01"
