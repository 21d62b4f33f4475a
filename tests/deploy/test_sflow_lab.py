"""Samples of a lab's servers, read by nfdump's sFlow collector: what it makes of them is what was sent."""

from __future__ import annotations

import csv
import io
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rbops.deploy.inventory import load_inventory
from tests.deploy.conftest import Cluster
from tests.deploy.serverstate import inside

pytestmark = [
    pytest.mark.lab,
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("sfcapd") is None, reason="needs Debian's nfdump-sflow"),
]

UNIT = "/etc/systemd/system/rbops-sflow.service"
SAMPLING = 200
LONGEST_S = 90


@dataclass(frozen=True)
class Collector:
    """sfcapd on this machine's address in the lab's management network; ``spec`` has it."""

    spec: Path
    folder: Path
    address: str
    port: int

    def estimate(self) -> dict[str, int]:
        """Agent -> packets that its samples stand for: sfcapd multiplies each by its sampling rate."""
        command = ["nfdump", "-R", str(self.folder), "-N", "-q", "-o", "fmt:%ra,%pkt"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found: dict[str, int] = {}
        for row in csv.reader(io.StringIO(said)):
            if len(row) == 2:
                found[row[0].strip()] = found.get(row[0].strip(), 0) + int(row[1])
        return found

    def routes(self) -> set[tuple[str, ...]]:
        """(agent, destination, next hop, lengths of source's and destination's prefix) of all samples, by nfdump."""
        command = ["nfdump", "-R", str(self.folder), "-N", "-q", "-o", "fmt:%ra,%da,%nh,%smk,%dmk"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return {tuple(cell.strip() for cell in row) for row in csv.reader(io.StringIO(said)) if len(row) == 5}


@pytest.fixture(scope="module")
def collector(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """The lab with samples sent to it; without them again in the end."""
    folder = tmp_path_factory.mktemp("sflow")
    server = load_inventory(cluster.lab.inventory, None).server("n0").host
    way = subprocess.run(["ip", "-json", "route", "get", server], capture_output=True, text=True, check=True).stdout
    address = json.loads(way)[0]["prefsrc"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((address, 0))
        port = free.getsockname()[1]
    # Files of two seconds: the shortest that it writes.
    command = ["sfcapd", "-l", str(folder), "-b", address, "-p", str(port), "-t", "2"]
    log = (folder.parent / "sfcapd.log").open("wb")
    process = subprocess.Popen(command, stdout=log, stderr=log)
    text = f"monitoring: {{sflow: {{collector: {address}, port: {port}, sampling: {SAMPLING}, polling: 1s}}}}\n"
    spec = cluster.variant("sflow", text)
    try:
        cluster.apply(spec)
        yield Collector(spec, folder, address, port)
        cluster.apply()
        for each in cluster.lab.servers:
            left = inside(cluster.lab, each.name, "sh", "-c", f"ls {UNIT} 2>&1; ss -Hun dport = :{port}")
            assert left.count("\n") == 1, left
            assert sampling(cluster, each.name) == 0
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def node(cluster: Cluster, server: str, *words: str) -> Any:
    return json.loads(inside(cluster.lab, server, "rbops-node", *words, "--json"))


def sampling(cluster: Cluster, server: str) -> int:
    return int(node(cluster, server, "status")["dataplane"]["sampling"])


def received(cluster: Cluster, server: str) -> int:
    counted = node(cluster, server, "counters")
    return sum(int(counted["ports"][name]["rx_packets"]) for name in counted["sampled"])


def run(cluster: Cluster, spec: Path, *words: str) -> str:
    process = cluster.cli(*words, spec=spec)
    out, err = process.communicate(timeout=170)
    assert process.returncode == 0, out + err
    return out


def until(condition: Callable[[], bool], what: Callable[[], str]) -> None:
    end = time.monotonic() + LONGEST_S
    while not condition():
        assert time.monotonic() < end, f"not within {LONGEST_S} s: {what()}"
        time.sleep(0.5)


def test_the_estimate_agrees_with_what_was_sent(cluster: Cluster, collector: Collector) -> None:
    """Skips are even from 1 to 2N - 1: of 3,000 samples the estimate's standard deviation is 1.1 %."""
    agents = {load_inventory(cluster.lab.inventory, None).server(s.name).host: s.name for s in cluster.lab.servers}
    before = {name: received(cluster, name) for name in agents.values()}
    found, lost = collector.estimate(), dict.fromkeys(agents.values(), 0)
    result = json.loads(run(cluster, collector.spec, "selftest", "--quick", "--packets", "300000", "--format", "json"))
    sent = {name: received(cluster, name) - before[name] for name in agents.values()}
    assert sum(phase["sent"] for phase in result["phases"]) <= sum(sent.values())
    assert min(sent.values()) >= 300_000
    for name in agents.values():
        told = node(cluster, name, "status")["sflow"]
        assert told["errors"] == {}
        lost[name] = told["lost"]

    def measured() -> dict[str, float]:
        now = collector.estimate()
        return {
            name: (now.get(agent, 0) - found.get(agent, 0) + lost[name] * SAMPLING) / sent[name]
            for agent, name in agents.items()
        }

    until(lambda: all(0.95 < share < 1.05 for share in measured().values()), lambda: f"{measured()}, lost {lost}")
    assert sum(lost.values()) * SAMPLING < sum(sent.values()) / 10, lost


def test_samples_have_their_route(cluster: Cluster, collector: Collector) -> None:
    """Of what the self-test sent to the other port's neighbour; the fabric's made-up next hop is not shown."""
    for number, server in enumerate(cluster.lab.servers):
        agent, to = load_inventory(cluster.lab.inventory, None).server(server.name).host, f"198.18.{1 - number}.2"
        until(lambda a=agent, t=to: (a, t, t, "24", "32") in collector.routes(), lambda: f"{collector.routes()}")  # type: ignore[misc]


def test_what_servers_say_of_it(cluster: Cluster, collector: Collector) -> None:
    for server in cluster.lab.servers:
        assert sampling(cluster, server.name) == SAMPLING
    told = json.loads(run(cluster, collector.spec, "verify", "-k", "test_sflow", "--format", "json"))
    assert [(check["server"], check["outcome"]) for check in told["checks"]] == [("n0", "passed"), ("n1", "passed")]
    said = run(cluster, collector.spec, "status")
    assert f"{collector.address} port {collector.port}" in said
    metrics = run(cluster, collector.spec, "status", "--format", "openmetrics")
    for server in cluster.lab.servers:
        assert f'rbops_sampling_rate{{cluster="rbdtest",server="{server.name}"}} {SAMPLING}' in metrics
        assert (
            f'rbops_samples_dropped_total{{cluster="rbdtest",server="{server.name}",port="ext{server.name[1:]}"}}'
            in metrics
        )


def test_verify_sees_another_rate(cluster: Cluster, collector: Collector) -> None:
    """A sender that was stopped by hand: nothing is sampled, and verify and status say so."""
    inside(cluster.lab, "n0", "systemctl", "stop", "rbops-sflow.service")
    assert sampling(cluster, "n0") == 0
    process = cluster.cli("verify", "-k", "sflow", spec=collector.spec)
    out, _ = process.communicate(timeout=170)
    assert process.returncode == 1
    assert "rbops-sflow.service does not run" in out
    process = cluster.cli("status", spec=collector.spec)
    out, _ = process.communicate(timeout=170)
    assert "no samples sent" in out
    inside(cluster.lab, "n0", "systemctl", "start", "rbops-sflow.service")
    until(lambda: sampling(cluster, "n0") == SAMPLING, lambda: "it samples again")


@pytest.mark.usefixtures("collector")
def test_it_comes_back(cluster: Cluster) -> None:
    """Killed, it samples nothing until it is started again."""
    inside(cluster.lab, "n1", "systemctl", "kill", "--signal=KILL", "rbops-sflow.service")
    before = node(cluster, "n1", "status")["sflow"]
    until(
        lambda: (node(cluster, "n1", "status")["sflow"] or {}).get("pid") not in (None, (before or {}).get("pid")),
        lambda: "another process",
    )
    until(lambda: sampling(cluster, "n1") == SAMPLING, lambda: "it samples")


def test_another_rate_starts_the_sender_again(cluster: Cluster, collector: Collector) -> None:
    """And forwards on: the data plane's configuration is the same, so that no generation is written."""
    generations = {s.name: node(cluster, s.name, "status")["dataplane"]["generation"] for s in cluster.lab.servers}
    text = collector.spec.read_text().replace(f"sampling: {SAMPLING}", "sampling: 2000")
    spec = cluster.variant("sflow-2000", text.partition("profile: lab}\n")[2])
    cluster.apply(spec)
    for name, generation in generations.items():
        until(lambda name=name: sampling(cluster, name) == 2000, lambda: "the new rate")  # type: ignore[misc]
        assert node(cluster, name, "status")["dataplane"]["generation"] == generation
    cluster.apply(collector.spec)
