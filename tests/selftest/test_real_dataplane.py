"""Four servers in namespaces, cabled and routed by the real data plane; counters read from it directly."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rbops.dataplane.xdp.config import XdpConfig
from rbops.dataplane.xdp.controller.compile import compile_all
from rbops.dataplane.xdp.controller.fib import compile_fib
from rbops.dataplane.xdp.loader import DataPlane
from rbops.errors import Mismatch
from rbops.node.schema.fields import Fields
from rbops.plan import ClusterPlan, Server
from rbops.planner import load_plan
from rbops.render import render
from rbops.selftest.options import SelftestOptions
from rbops.selftest.result import SelftestResult
from rbops.selftest.run import run_selftest

from .conftest import FakeTester, inside, ip

pytestmark = pytest.mark.root

SPEC = """
name: rbs
router: {external_ports: 4, line_rate: 5Gbps}
servers: {profile: lab}
interconnect: {direct_quota: paper}
routes:
  - {prefix: 203.0.113.0/24, via: 198.18.3.2}
  - {prefix: 203.0.112.0/24, via: 198.18.1.2}
"""


@dataclass
class Cluster:
    plan: ClusterPlan
    prefix: str
    planes: dict[str, DataPlane]
    testers: list[FakeTester]
    configs: dict[str, dict[str, Any]]
    pins: Path

    def counters(self) -> Mapping[str, Mapping[str, Any]]:
        out: dict[str, Mapping[str, Any]] = {}
        for name, plane in self.planes.items():
            try:
                with inside(f"{self.prefix}{name}"):
                    out[name] = plane.counters()
            except Mismatch as error:
                out[name] = {"error": str(error).splitlines()[0]}
        return out

    def run(self, options: SelftestOptions) -> SelftestResult:
        return run_selftest(self.plan, self.testers, self.counters, options)

    def change(self, server: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Apply another configuration to one server; ``restore`` undoes it."""
        config = json.loads(json.dumps(self.configs[server]))
        change(config)
        with inside(f"{self.prefix}{server}"):
            DataPlane(typed(config), names(config), self.pins / server).apply()

    def restore(self, server: str) -> None:
        with inside(f"{self.prefix}{server}"):
            self.planes[server].apply()


def typed(config: Mapping[str, Any]) -> XdpConfig:
    return XdpConfig.parse(Fields("dataplane", config["dataplane"]))


def names(config: Mapping[str, Any]) -> dict[str, str]:
    return {port["name"]: port["name"] for port in config["dataplane"]["ports"]}


def cable(near: tuple[str, str], far: tuple[str, str], *, macs: tuple[str, str]) -> None:
    queues = ("numrxqueues", "2", "numtxqueues", "2")
    ip("link", "add", near[1], "netns", near[0], "address", macs[0], *queues, "type", "veth",
       "peer", "name", far[1], "netns", far[0], "address", macs[1], *queues)  # fmt: skip
    for namespace, device in (near, far):
        command = ["ip", "netns", "exec", namespace, "ethtool", "-L", device, "rx", "2", "tx", "2"]
        subprocess.run(command, check=False, capture_output=True)
        ip("-n", namespace, "link", "set", device, "up")


def mac(server: Server, port: str) -> str:
    position = [item.name for item in server.ports].index(port)
    return f"02:4c:00:{server.index:02x}:00:{position:02x}"


def build(plan: ClusterPlan, prefix: str) -> list[FakeTester]:
    testers = []
    for server in plan.servers:
        for port in server.ports:
            if port.kind != "external":
                continue
            tester, neighbour = f"{prefix}t{port.id}", port.adjacencies[0]
            ip("netns", "add", tester)
            macs = (mac(server, port.name), neighbour.mac or "")
            cable((f"{prefix}{server.name}", port.name), (tester, port.name), macs=macs)
            ip("-n", f"{prefix}{server.name}", "addr", "add", port.addresses[0], "dev", port.name)
            ip("-n", tester, "addr", "add", f"{neighbour.address}/24", "dev", port.name)
            testers.append(FakeTester(port.id or 0, tester, port.name))
    for link in plan.links:
        (a, near), (b, far) = link.a.split(":"), link.b.split(":")
        macs = (mac(plan.server(a), near), mac(plan.server(b), far))
        cable((f"{prefix}{a}", near), (f"{prefix}{b}", far), macs=macs)
    return testers


def start(plan: ClusterPlan, prefix: str, folder: Path) -> tuple[dict[str, DataPlane], dict[str, dict[str, Any]]]:
    rendered = render(plan)
    planes, configs = {}, {}
    for server in plan.servers:
        for file in rendered.files_of(server.name):
            path = folder / server.name / Path(file.path).name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(file.content)
        config = json.loads((folder / server.name / "node.json").read_text())
        for key in ("object", "fib"):
            config["dataplane"][key] = str(folder / server.name / Path(config["dataplane"][key]).name)
        configs[server.name] = config
        planes[server.name] = DataPlane(typed(config), names(config), folder / "pins" / server.name)
        with inside(f"{prefix}{server.name}"):
            planes[server.name].apply()
    return planes, configs


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(SPEC, tmp_path_factory.mktemp("cluster")) as found:
        yield found


@contextmanager
def running(spec: str, folder: Path) -> Iterator[Cluster]:
    """The spec's servers and testers; skips the test without root."""
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and BPF")
    compile_all(Path(__file__).parents[2] / "rbops")
    (folder / "spec.yml").write_text(spec)
    plan = load_plan(folder / "spec.yml")
    prefix = f"rbs-{uuid.uuid4().hex[:5]}-"
    pins = folder / "pins"
    pins.mkdir()
    subprocess.run(["mount", "-t", "bpf", "bpf", str(pins)], check=True)
    try:
        for server in plan.servers:
            ip("netns", "add", f"{prefix}{server.name}")
        testers = build(plan, prefix)
        planes, configs = start(plan, prefix, folder)
        yield Cluster(plan, prefix, planes, testers, configs, pins)
        for name, plane in planes.items():
            with inside(f"{prefix}{name}"):
                plane.detach()
    finally:
        for server in plan.servers:
            subprocess.run(["ip", "netns", "del", f"{prefix}{server.name}"], check=False, capture_output=True)
        for number in plan.port_owner:
            subprocess.run(["ip", "netns", "del", f"{prefix}t{number}"], check=False, capture_output=True)
        subprocess.run(["umount", str(pins)], check=False)


def texts(result: SelftestResult) -> str:
    return "\n".join(fault.text for fault in result.faults)


def test_the_whole_router(cluster: Cluster) -> None:
    result = cluster.run(SelftestOptions(duration_s=3))
    assert result.passed, texts(result)
    matrix, pair = result.phases
    assert matrix.received == matrix.sent > 10_000
    assert matrix.reordering.late == 0
    # Below the quota everything goes directly, above it does not; and the servers counted every packet.
    assert {path.via for path in matrix.spread} == {None}
    assert sum(path.packets for path in matrix.spread) == matrix.sent
    assert {path.via for path in pair.spread} == {None, "n1", "n2"}
    assert sum(path.packets for path in pair.spread) == pair.sent == pair.received
    assert result.rate is not None
    assert result.rate.rate_pps > 100_000


def test_packets_sent_one_by_one_over_all_paths_are_seen_to_overtake_each_other(cluster: Cluster) -> None:
    for server in cluster.planes:
        cluster.change(server, lambda config: config["dataplane"].update(routing="vlb", flowlet_timeout_s=0.0))
    try:
        result = cluster.run(SelftestOptions(duration_s=0.5, flows=4, phases=("pair",)))
    finally:
        for server in cluster.planes:
            cluster.restore(server)
    (pair,) = result.phases
    assert pair.received == pair.sent
    assert 0.001 < pair.reordering.fraction < 1
    assert result.passed, "reordering above the quota is reported, not a fault"


def test_a_stopped_data_plane_is_named(cluster: Cluster) -> None:
    with inside(f"{cluster.prefix}n1"):
        cluster.planes["n1"].detach()
    try:
        result = cluster.run(SelftestOptions(duration_s=0.5, packets=2_000, phases=("matrix",)))
    finally:
        cluster.restore("n1")
    assert not result.passed
    assert "nothing arrived from port 0 to port 1 (2,000 sent): is the data plane of n1 up?" in texts(result)
    assert {fault.server for fault in result.faults} == {"n1"}
    healthy = [pair for pair in result.phases[0].pairs if 1 not in (pair.source, pair.destination)]
    assert all(pair.lost == 0 for pair in healthy)
    assert cluster.run(SelftestOptions(duration_s=0.5, packets=2_000, phases=("matrix",))).passed


def test_a_route_to_the_wrong_port_is_named(cluster: Cluster) -> None:
    wrong = compile_fib(
        np.array([0xC6120000, 0xC6120100, 0xC6120200, 0xC6120300, 0xCB007100, 0xCB007000], dtype=np.uint32),
        np.array([24] * 6, dtype=np.uint8),
        # 203.0.113.0/24 leaves at port 1 instead of port 3.
        np.array([1, 1 << 16 | 1, 2 << 16 | 1, 3 << 16 | 1, 1 << 16 | 1, 1 << 16 | 1], dtype=np.uint32),
    )
    path = cluster.pins.parent / "wrong.bin"
    path.write_bytes(wrong)
    digest = hashlib.sha256(wrong).hexdigest()
    cluster.change("n0", lambda config: config["dataplane"].update(fib=str(path), fib_sha256=digest))
    try:
        result = cluster.run(SelftestOptions(duration_s=0.5, packets=2_000, phases=("matrix",)))
    finally:
        cluster.restore("n0")
    (fault,) = result.faults
    assert (fault.kind, fault.source, fault.destination, fault.server) == ("misdelivered", 0, 3, "n0")
    assert "for port 3 came out of port 1; n0 chose the port: check its routes" in fault.text


def test_a_wrong_neighbour_is_named(cluster: Cluster) -> None:
    def change(config: dict[str, Any]) -> None:
        config["dataplane"]["adjacencies"][0]["mac"] = "02:4e:00:63:00:02"

    cluster.change("n2", change)
    try:
        result = cluster.run(SelftestOptions(duration_s=0.5, packets=500, phases=("matrix",)))
    finally:
        cluster.restore("n2")
    assert {(fault.kind, fault.destination, fault.server) for fault in result.faults} == {("next-hop MAC", 2, "n2")}
    assert "02:4e:00:63:00:02 instead of 02:4e:00:02:00:02; n2 writes it" in texts(result)


def test_a_cut_cable_between_servers_is_named(cluster: Cluster) -> None:
    ip("-n", f"{cluster.prefix}n2", "link", "set", "int0", "down")
    try:
        result = cluster.run(SelftestOptions(duration_s=0.5, packets=500, phases=("matrix",)))
    finally:
        ip("-n", f"{cluster.prefix}n2", "link", "set", "int0", "up")
    assert not result.passed
    lost = {(fault.source, fault.destination) for fault in result.faults if fault.kind in ("loss", "nothing arrived")}
    assert (0, 2) in lost
    assert "n0:int2" in texts(result)
