"""Samples through a router's life: rolled back and forth, a server that was without power, a server more."""

from __future__ import annotations

import ipaddress
import json
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from rbops.deploy.inventory import load_inventory
from tests.system.conftest import booted, make_cluster
from tests.system.driver import Cluster, wait_for

pytestmark = pytest.mark.lab(own=True)

PLAIN = "name: samples\nrouter: {{external_ports: {ports}, line_rate: 1Gbps}}\nservers: {{profile: lab}}\n"
SAMPLING = 50
UNIT = "rbops-sflow.service"
FLOW_SAMPLE = 1


@dataclass
class Collector:
    """Takes datagrams: agent -> those that came, each (when, uptime in ms, its flow samples)."""

    port: socket.socket
    came: dict[str, list[tuple[float, int, int]]] = field(default_factory=dict)

    def listen(self, ended: threading.Event) -> None:
        self.port.settimeout(0.5)
        while not ended.is_set():
            try:
                data = self.port.recv(2000)
            except TimeoutError:
                continue
            agent = str(ipaddress.ip_address(data[8:12]))
            _, _, uptime, count = struct.unpack_from(">4I", data, 12)
            at, flows = 28, 0
            for _ in range(count):
                form, size = struct.unpack_from(">II", data, at)
                flows, at = flows + (form == FLOW_SAMPLE), at + 8 + size
            self.came.setdefault(agent, []).append((time.monotonic(), uptime, flows))

    def flows(self, agent: str, since: float) -> int:
        return sum(flows for when, _, flows in self.came.get(agent, []) if when > since)


@dataclass
class Lab:
    """The lab, its collector, and the specs without and with samples."""

    cluster: Cluster
    collector: Collector
    wish: str

    def agents(self) -> dict[str, str]:
        """Server -> its management address."""
        found = load_inventory(self.cluster.inventory, None)
        return {server.name: server.host for server in found.servers}

    def sampling(self, server: str) -> int:
        return int(json.loads(self.cluster.on(server, "rbops-node", "status", "--json"))["dataplane"]["sampling"])

    def samples_come(self) -> None:
        """Of all servers, of packets that are sent now."""
        names = self.agents()
        wait_for("the sampling rate", lambda: all(self.sampling(name) == SAMPLING for name in names))
        since = time.monotonic()
        self.cluster.healthy()
        wait_for("samples", lambda: all(self.collector.flows(agent, since) > 100 for agent in names.values()))

    def apply(self, ports: int, wish: str) -> None:
        self.cluster.spec.write_text(PLAIN.format(ports=ports) + wish)
        done = self.cluster.verb("apply")
        assert done.code == 0, done.err


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    cluster = make_cluster(tmp_path_factory.mktemp("samples"), "rbt-samples")
    with booted(cluster, PLAIN.format(ports=2)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
        server = load_inventory(cluster.inventory, None).server("n0").host
        way = subprocess.run(["ip", "-json", "route", "get", server], capture_output=True, text=True, check=True).stdout
        address = json.loads(way)[0]["prefsrc"]
        port.bind((address, 0))
        collector = Collector(port)
        ended = threading.Event()
        listener = threading.Thread(target=collector.listen, args=(ended,), daemon=True)
        listener.start()
        to = f"collector: {address}, port: {port.getsockname()[1]}"
        yield Lab(cluster, collector, f"monitoring: {{sflow: {{{to}, sampling: {SAMPLING}, polling: 1s}}}}\n")
        ended.set()
        listener.join(10)


def test_rolled_back_there_are_none(lab: Lab) -> None:
    lab.apply(2, "")
    lab.apply(2, lab.wish)
    lab.samples_come()
    inventory = str(lab.cluster.inventory)
    done = lab.cluster.run("rollback", "-i", inventory)
    assert done.code == 0, done.err
    for server in lab.agents():
        assert lab.sampling(server) == 0
        assert lab.cluster.on(server, "systemctl", "is-active", UNIT, check=False).strip() == "inactive"
    since = time.monotonic()
    lab.cluster.spec.write_text(PLAIN.format(ports=2))
    lab.cluster.healthy()
    assert not any(when > since for came in lab.collector.came.values() for when, _, _ in came)
    # A rollback is a configuration of its own: the one before it has samples.
    done = lab.cluster.run("rollback", "-i", inventory)
    assert done.code == 0, done.err
    lab.cluster.spec.write_text(PLAIN.format(ports=2) + lab.wish)
    lab.samples_come()


def test_a_server_that_was_without_power_samples_again(lab: Lab) -> None:
    agent, since = lab.agents()["n1"], time.monotonic()
    before = max(uptime for _, uptime, _ in lab.collector.came[agent])
    assert lab.cluster.run("lab", "kill", lab.cluster.name, "n1").code == 0
    assert lab.cluster.run("lab", "restart", lab.cluster.name, "n1").code == 0
    wait_for("its cables", lambda: lab.sampling("n1") == SAMPLING, 120)
    lab.cluster.wait_for_cables()
    lab.samples_come()
    uptimes = [uptime for when, uptime, _ in lab.collector.came[agent] if when > since]
    assert min(uptimes) < before, "another sender, and it says so"


def test_a_server_more_samples_too(lab: Lab) -> None:
    lab.cluster.spec.write_text(PLAIN.format(ports=3) + lab.wish)
    done = lab.cluster.run("lab", "up", str(lab.cluster.spec), "--name", lab.cluster.name)
    assert done.code == 0, done.err
    done = lab.cluster.verb("apply")
    assert done.code == 0, done.err
    assert sorted(lab.agents()) == ["n0", "n1", "n2"]
    lab.samples_come()
    told = lab.cluster.verb("verify", "-k", "test_sflow", "--format", "json")
    assert told.code == 0, told.out
    assert [(check["server"], check["outcome"]) for check in told.json["checks"]] == [
        (name, "passed") for name in lab.agents()
    ]
