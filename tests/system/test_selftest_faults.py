"""What the self-test is for: whatever one server does wrong is found and named, and gone when it is put right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rbops.dataplane.xdp.controller.compile import compile_one
from tests.system.driver import Cluster, Done
from tests.system.injection import inject, misroute, root_of

pytestmark = [pytest.mark.lab, pytest.mark.root]

PACKETS = 200_000
ONE_IN = 100_000


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("bpf") / "fault.bpf.o"
    compile_one(Path(__file__).with_name("fault.bpf.c"), target)
    return target


def selftest(cluster: Cluster) -> Done:
    return cluster.verb("selftest", "--quick", "--packets", str(PACKETS), "--format", "json")


def fault(done: Done, kind: str, source: int, destination: int) -> dict[str, Any]:
    """The fault of that kind between these ports in the matrix."""
    assert done.code == 1, done.out + done.err
    assert done.json["passed"] is False
    assert done.json["error"]["code"] == "selftest.failed"
    found = [
        item
        for item in done.json["faults"]
        if (item["kind"], item["source"], item["destination"], item["phase"]) == (kind, source, destination, "matrix")
    ]
    assert len(found) == 1, done.json["faults"]
    return dict(found[0])


def ports(done: Done) -> set[tuple[int, int]]:
    """The pairs of ports that have a fault in the matrix phase."""
    return {(item["source"], item["destination"]) for item in done.json["faults"] if item["phase"] == "matrix"}


@pytest.mark.parametrize(
    ("kind", "named", "text"),
    [
        ("corrupt", "corrupt", "the payload"),
        ("duplicate", "duplicate", "arrived more than once"),
        ("misdeliver", "misdelivered", "for port 1 came out of port 2"),
        ("ttl", "TTL", "was sent"),
        ("checksum", "checksum", "IPv4 header checksum wrong"),
    ],
)
def test_one_packet_in_100_000(cluster: Cluster, compiled: Path, kind: str, named: str, text: str) -> None:
    """Spoiled on its way into n1 on the cable from n0: of the packets from port 0 to port 1, and of no others."""
    with inject(cluster, compiled, "n1", "int0", kind, ONE_IN) as fault_at_work:
        done = selftest(cluster)
        assert fault_at_work.injected >= PACKETS // ONE_IN
    found = fault(done, named, 0, 1)
    assert found["packets"] >= 1
    assert text in found["text"]
    assert ports(done) == {(0, 1)}


def test_a_dropped_packet_is_traced_to_its_cable(cluster: Cluster, compiled: Path) -> None:
    with inject(cluster, compiled, "n2", "int3", "drop", ONE_IN):
        done = selftest(cluster)
    found = fault(done, "loss", 3, 2)
    assert found["server"] == "n2"
    assert "packets sent on n3:int2 did not arrive at n2:int3" in found["text"]
    assert ports(done) == {(3, 2)}


def test_nothing_is_found_when_nothing_is_spoiled(cluster: Cluster, compiled: Path) -> None:
    with inject(cluster, compiled, "n1", "int0", "none", ONE_IN):
        cluster.healthy()


def test_a_route_that_points_at_the_wrong_port(cluster: Cluster) -> None:
    etc = root_of(cluster, "n0") / "etc/rbops"
    files = {name: (etc / name).read_bytes() for name in ("fib.bin", "node.json")}
    try:
        misroute(cluster, "n0", "198.18.3.2/32", 2)
        done = selftest(cluster)
    finally:
        for name, content in files.items():
            (etc / name).write_bytes(content)
        cluster.on("n0", "rbops-node", "apply")
    found = fault(done, "misdelivered", 0, 3)
    assert found["server"] == "n0"
    assert "came out of port 2; n0 chose the port: check its routes" in found["text"]


def test_a_server_whose_data_plane_was_stopped(cluster: Cluster) -> None:
    """Its kernel still answers ARP and forwards what comes in from outside, slowly; nothing gets to its port."""
    for port in ("ext2", "int0", "int1", "int3"):
        cluster.on("n2", "ip", "link", "set", "dev", port, "xdp", "off")
    try:
        done = selftest(cluster)
    finally:
        cluster.on("n2", "rbops-node", "apply")
        cluster.wait_for_cables()
    for source in (0, 1, 3):
        found = fault(done, "nothing arrived", source, 2)
        assert found["server"] == "n2"
        assert "is the data plane of n2 up?" in found["text"]


@pytest.mark.parametrize("limit", [(), ("--limit", "n0,n1")], ids=["all", "two servers"])
def test_an_intermediate_server_that_swallows_is_named_at_the_rate_that_uses_it(
    cluster: Cluster, limit: tuple[str, ...]
) -> None:
    """Slower, all packets would go direct and arrive. Its neighbours' probes, which go round it, are stopped."""
    servers = ("n0", "n1", "n2", "n3")
    for server in servers:
        cluster.on(server, "systemctl", "stop", "rbops-watch.service")
    for port in ("int0", "int1", "int3"):
        cluster.on("n2", "ip", "link", "set", "dev", port, "xdp", "off")
    try:
        done = cluster.verb("selftest", "--quick", "--duration", "3", "--format", "json", *limit)
    finally:
        cluster.on("n2", "rbops-node", "apply")
        for server in servers:
            cluster.on(server, "systemctl", "start", "rbops-watch.service")
        cluster.wait_for_cables()
    assert done.code == 1
    faults = [one for one in done.json["faults"] if one["phase"] == "pair" or not limit]
    assert {one["server"] for one in faults if one["kind"] in {"loss", "nothing arrived"}} == {"n2"}
    assert not any("repeated" in note for note in done.json["notes"] if note.startswith("pair"))


def test_all_is_well_when_all_is_put_right(cluster: Cluster) -> None:
    cluster.healthy()
