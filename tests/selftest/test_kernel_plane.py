"""Four servers in namespaces whose own kernels route, as rbops-node sets them: the self-test knows what they do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rbops.plan import ClusterPlan
from rbops.planner import load_plan
from rbops.render import render
from rbops.selftest.options import SelftestOptions
from rbops.selftest.run import run_selftest

from .conftest import FakeTester, ip
from .test_real_dataplane import SPEC, build, texts

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[2]


@dataclass
class Cluster:
    plan: ClusterPlan
    prefix: str
    folder: Path
    testers: list[FakeTester]

    def node(self, server: str, *verb: str) -> Any:
        """A verb of rbops-node on a server; its JSON."""
        place = self.folder / server
        driver = [
            sys.executable,
            str(ROOT / "tests/node/driver.py"),
            str(place / "state"),
            str(place / "etc/node.json"),
        ]
        command = ["ip", "netns", "exec", f"{self.prefix}{server}", "env", f"PYTHONPATH={ROOT}", *driver, *verb]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout or "{}")

    def counters(self) -> Mapping[str, Mapping[str, Any]]:
        return {server.name: self.node(server.name, "counters") for server in self.plan.servers}

    def apply(self) -> None:
        rendered = render(self.plan)
        for server in self.plan.servers:
            etc = self.folder / server.name / "etc"
            etc.mkdir(parents=True)
            (self.folder / server.name / "state").mkdir()
            for file in rendered.files_of(server.name):
                if file.path.startswith("/etc/rbops/"):
                    text = file.content.replace(b"/etc/rbops/", f"{etc}/".encode())
                    (etc / Path(file.path).name).write_bytes(text)
            self.node(server.name, "apply")

    def ping(self, port: int, *words: str) -> str:
        command = ["ip", "netns", "exec", f"{self.prefix}t{port}", "ping", "-n", "-c", "1", "-W", "5", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("kernels")
    (folder / "spec.yml").write_text(f"{SPEC}dataplane: kernel\n")
    plan = load_plan(folder / "spec.yml")
    prefix = f"rbk-{uuid.uuid4().hex[:5]}-"
    try:
        for server in plan.servers:
            ip("netns", "add", f"{prefix}{server.name}")
        found = Cluster(plan, prefix, folder, build(plan, prefix))
        found.apply()
        yield found
    finally:
        names = [server.name for server in plan.servers] + [f"t{number}" for number in plan.port_owner]
        for name in names:
            subprocess.run(["ip", "netns", "del", f"{prefix}{name}"], check=False, capture_output=True)


def test_the_whole_router(cluster: Cluster) -> None:
    assert os.geteuid() == 0
    result = run_selftest(cluster.plan, cluster.testers, cluster.counters, SelftestOptions(duration_s=3))
    assert result.passed, texts(result)
    assert all(phase.received and not phase.lost for phase in result.phases)
    assert result.rate


def test_every_server_is_a_router(cluster: Cluster) -> None:
    """A packet's TTL is one less for each, and each says so by its own address."""
    for port in range(len(cluster.testers)):
        ip("-n", f"{cluster.prefix}t{port}", "route", "replace", "default", "via", f"198.18.{port}.1")
    for ttl, router in ((1, "198.18.0.1"), (2, "198.18.3.1")):
        assert f"From {router} icmp_seq=1 Time to live exceeded" in cluster.ping(0, "-t", str(ttl), "198.18.3.2")
    assert "ttl=62" in cluster.ping(0, "198.18.3.2")
    assert "Destination Net Unreachable" in cluster.ping(0, "192.88.99.1")


def test_a_second_apply_changes_nothing(cluster: Cluster) -> None:
    assert cluster.node("n1", "apply")["changes"] == []
