"""What a right spec becomes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from rbops.errors import SpecError
from rbops.spec import Spec, load_spec
from rbops.spec.addressing import generated_mac, generated_network
from rbops.spec.batching import Batching
from rbops.spec.click import Click
from rbops.spec.hardware import Bound, Slot
from rbops.spec.hosts import Host, Selector, Servers
from rbops.spec.interconnect import Interconnect
from rbops.spec.ports import Neighbor, PortSpec
from rbops.spec.router import Router
from rbops.spec.routes import StaticRoute

EXAMPLES = Path(__file__).parents[2] / "inventory"

WHOLE = """
name: rb4
router:
  external_ports: 4
  line_rate: 10Gbps
  application: route
  traffic: uniform
  packets: 128B
  guarantee: line-rate
  allow: [cross-core, shared-queues, cross-core]
servers: {profile: nehalem, numa: ignore}
interconnect: {topology: mesh, routing: vlb, flowlet_timeout: 0}
batching: {rx_burst: 64, tx_burst: 8, timeout: 1.5ms}
dataplane: click
click: {dialect: dpdk, prefix: /usr/local}
ports:
  - {id: 3, server: n0, address: 192.0.2.1/24, neighbors: [{address: 192.0.2.2, mac: 52-54-00-AB-CD-EF}]}
  - {id: 0, address: 198.51.100.1/24}
  - {id: 1, neighbors: []}
hosts:
  n0: {profile: lab, ports: {ext3: {pci: 03:00.1}, int1: {mac: 3C:FD:FE:00:00:01}, int2p0: {name: enp4s0}}}
  off:
routes:
  - {prefix: 0.0.0.0/0, via: 192.0.2.2}
"""


def read(tmp_path: Path, text: str, **overrides: str) -> Spec:
    path = tmp_path / "my router.yml"
    path.write_text(text)
    return load_spec(path, overrides)


def test_a_whole_spec(tmp_path: Path) -> None:
    assert read(tmp_path, WHOLE) == Spec(
        name="rb4",
        router=Router(
            external_ports=4,
            line_rate_bps=10**10,
            application="route",
            traffic="uniform",
            packets=128,
            guarantee="line-rate",
            allow=("cross-core", "shared-queues"),
        ),
        servers=Servers(profile="nehalem", numa="ignore"),
        interconnect=Interconnect("mesh", "vlb", 0.0),
        batching=Batching(64, 8, 0.0015),
        dataplane="click",
        click=Click("dpdk", None, "/usr/local"),
        ports=(
            PortSpec(3, "n0", "192.0.2.1/24", (Neighbor("192.0.2.2", "52:54:00:ab:cd:ef"),)),
            PortSpec(0, None, "198.51.100.1/24", None),
            PortSpec(1, None, None, ()),
        ),
        hosts={
            "n0": Host(
                profile="lab",
                ports={
                    "ext3": Selector(pci="0000:03:00.1"),
                    "int1": Selector(mac="3c:fd:fe:00:00:01"),
                    "int2p0": Selector(name="enp4s0"),
                },
            ),
            "off": Host(),
        },
        routes=(StaticRoute("0.0.0.0/0", "192.0.2.2"),),
    )


def test_the_least_spec_has_the_defaults(tmp_path: Path) -> None:
    spec = read(tmp_path, "router: {external_ports: 4, line_rate: 2.5Gbps}\nports:\nhosts:\nservers:\n")
    assert spec == Spec("my-router", Router(4, 2_500_000_000))


def test_overrides_are_written_over_the_file(tmp_path: Path) -> None:
    values = {
        "router.line_rate": "40Gbps",
        "router.allow": "[shared-queues]",
        "batching.rx_burst": "8",
        "ports[0].id": "2",
    }
    spec = read(tmp_path, WHOLE.replace("batching: {rx_burst: 64, tx_burst: 8, timeout: 1.5ms}", ""), **values)
    assert (spec.router.line_rate_bps, spec.router.allow) == (40 * 10**9, ("shared-queues",))
    assert (spec.batching.rx_burst, spec.ports[0].id) == (8, 2)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("router.line_rate", "40", "spec.unit"),
        ("router.spped", "1", "spec.unknown-key"),
        ("ports[7].id", "1", "spec.override"),
        ("router.line_rate.x", "1", "spec.override"),
        ("..", "1", "spec.override"),
        ("router.allow", "[", "spec.yaml"),
    ],
)
def test_wrong_overrides_name_themselves(tmp_path: Path, name: str, value: str, code: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(tmp_path, WHOLE, **{name: value})
    assert [(one.code, one.path) for one in caught.value.diagnostics] == [(code, f"--set {name}")]


def test_hardware_from_a_file() -> None:
    spec = load_spec(EXAMPLES / "rack/router.yml")
    hardware = spec.servers.hardware
    assert hardware is not None
    assert (hardware.sockets, hardware.clock_hz, hardware.housekeeping) == (2, 2_800_000_000, (0, 32))
    assert hardware.l3_bytes_per_socket == 256 * 2**20
    assert hardware.bounds.memory == Bound(nominal_bps=3_276_000_000_000)
    assert (hardware.power_w, hardware.price_usd) == (550.0, 14000.0)
    assert hardware.nics[0].devices[3].mac == "b4:96:91:a0:00:03"
    assert hardware.slots[3] == Slot("ocp", 4, 8, 1)


def test_an_unknown_numa_node_is_not_node_0(tmp_path: Path) -> None:
    text = """
router: {external_ports: 4, line_rate: 10Gbps}
servers:
  hardware:
    sockets: 1
    cores_per_socket: 8
    clock: 2.8GHz
    bounds: {memory: 262Gbps}
    offline: [6, 7]
    nics: [{driver: ixgbe, ports: 2, port_rate: 10Gbps, queues: 8, numa_node: -1}]
"""
    hardware = read(tmp_path, text).servers.hardware
    assert hardware is not None
    assert hardware.nics[0].numa_node is None
    assert hardware.offline == (6, 7)
    assert hardware.bounds.memory == Bound(empirical_bps=262 * 10**9)


def test_errors_of_the_planner_point_into_the_file(tmp_path: Path) -> None:
    source = read(tmp_path, WHOLE).source
    error = source.diagnostic("ports[0].address", "taken", code="test.taken")
    assert (error.line, error.column, error.length) == (17, 34, 12)
    assert source.diagnostic("ports[0].mtu.x", "no such value", code="test.value").line == 17
    assert source.line("nowhere") == 2


def test_generated_subnets_never_overlap() -> None:
    for ports in (1, 4, 512, 513, 1024, 4096):
        networks = [generated_network(port, ports) for port in range(ports)]
        assert len({network.network_address for network in networks}) == ports
        assert all(a.broadcast_address < b.network_address for a, b in pairwise(networks))
        assert str(networks[-1].broadcast_address) <= "198.19.255.255"
    assert generated_mac(258) == "02:4e:01:02:00:02"
