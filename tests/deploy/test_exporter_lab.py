"""Metrics of a lab's servers, read by a real Prometheus with the files that rbops writes for it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rbops.deploy.inventory import load_inventory
from rbops.deploy.monitoring import write_files
from rbops.planner import load_plan
from rbops.resources import shared
from tests.deploy.conftest import Cluster
from tests.deploy.serverstate import inside

pytestmark = [
    pytest.mark.lab,
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs Debian's prometheus"),
]

UNIT = "/etc/systemd/system/rbops-exporter.service"
LONGEST_S = 90
_NOT_READY = 503


@pytest.fixture(scope="module")
def exporting(cluster: Cluster) -> Iterator[Path]:
    """The lab with exporters; without them again in the end."""
    spec = cluster.variant("exporter", "monitoring: {exporter: {}}\n")
    cluster.apply(spec)
    yield spec
    cluster.apply()
    for server in cluster.lab.servers:
        assert inside(cluster.lab, server.name, "sh", "-c", f"ls {UNIT} 2>&1; ss -Hltn sport = :9482").count("\n") == 1
        said = inside(cluster.lab, server.name, "sh", "-c", "systemctl is-active rbops-exporter.service || true")
        assert said.strip() == "inactive"


@pytest.fixture(scope="module")
def prometheus(cluster: Cluster, exporting: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus of its own, that asks every second; its address."""
    folder = tmp_path_factory.mktemp("prometheus")
    write_files(load_plan(exporting), load_inventory(cluster.lab.inventory, None), folder)
    config = folder / "prometheus.yml"
    subprocess.run(["promtool", "check", "config", str(config)], check=True, capture_output=True)
    found = yaml.safe_load(config.read_text())
    found["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config.write_text(yaml.safe_dump(found))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    log = (folder / "log").open("wb")
    process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def ask(prometheus: str, query: str) -> list[dict[str, Any]]:
    """What it answers; nothing while it starts."""
    url = f"{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - our own
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return found
    except urllib.error.HTTPError as error:
        if error.code == _NOT_READY:
            return []
        raise AssertionError(f"{query}: {error.read().decode()}") from error
    except OSError:
        return []


def until(condition: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + LONGEST_S
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {LONGEST_S} s: {what}"
        time.sleep(0.2)
    return found


def test_prometheus_scrapes_every_server(cluster: Cluster, prometheus: str) -> None:
    names = {server.name for server in cluster.lab.servers}
    until(lambda: len(ask(prometheus, 'up{job="rbops"} == 1')) == len(names), "all are up")
    for query in (
        "rbops_dataplane_loaded == 1",
        "rbops_server_info",
        "rbops_port_receive_packets_total",
        "rbops_core_busy_seconds_total > 0",
        "rbops_peer_dead == 0",
        "rbops_cable_answers == 1",
    ):
        found = until(lambda query=query: ask(prometheus, query), query)
        assert {one["metric"]["server"] for one in found} == names, query
        assert {one["metric"]["cluster"] for one in found} == {"rbdtest"}


def test_a_packet_is_counted(cluster: Cluster, prometheus: str) -> None:
    one, other = (server.name for server in cluster.lab.servers)
    query = f'sum(rbops_port_receive_packets_total{{server="{other}",kind="internal"}})'
    before = float(until(lambda: ask(prometheus, query), query)[0]["value"][1])
    target = cluster.plan.server(other).ports[0].addresses[0].partition("/")[0]
    inside(cluster.lab, one, "ping", "-c", "3", "-i", "0.1", "-W", "5", target)
    until(lambda: float(ask(prometheus, query)[0]["value"][1]) >= before + 3, "three packets more")


def test_every_query_of_the_dashboard_and_the_rules(prometheus: str) -> None:
    """None is refused; all those without a condition that a healthy router does not meet have an answer."""
    until(lambda: ask(prometheus, 'rate(rbops_port_receive_bytes_total{kind="external"}[1m])'), "two scrapes")
    board = json.loads(shared("templates", "monitoring", "dashboard.json").read_text(encoding="utf-8"))
    exprs = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    silent = []
    for expr in exprs:
        query = expr.replace("$cluster", "rbdtest").replace("$server", ".*")
        if not ask(prometheus, query):
            silent.append(expr)
    absent = ("rbops_session_up", "rbops_routes", "rbops_path_packets", "> 0")
    assert [expr for expr in silent if not any(word in expr for word in absent)] == []
    with urllib.request.urlopen(f"{prometheus}/api/v1/rules", timeout=30) as answer:  # noqa: S310 - our own
        groups = json.load(answer)["data"]["groups"]
    rules = until(lambda: [rule for group in groups for rule in group["rules"]], "the rules are loaded")
    assert [rule["name"] for rule in rules if rule.get("lastError")] == []
    assert len(rules) == len(re.findall(r"expr:", shared("templates", "monitoring", "rules.yml").read_text()))


def test_it_listens_for_the_management_alone(cluster: Cluster, exporting: Path) -> None:
    inventory = load_inventory(cluster.lab.inventory, None)
    for server in cluster.lab.servers:
        listed = inside(cluster.lab, server.name, "ss", "-Hltn", "sport = :9482").split()
        assert f"{inventory.server(server.name).host}:9482" in listed
        assert listed.count("LISTEN") == 1
    process = cluster.cli("verify", "--format", "json", spec=exporting)
    out, err = process.communicate(timeout=170)
    assert process.returncode == 0, out + err
    checks = [check for check in json.loads(out)["checks"] if check["name"].startswith("exporter")]
    assert [(check["server"], check["outcome"]) for check in checks] == [("n0", "passed"), ("n1", "passed")]


def status(cluster: Cluster, *options: str) -> str:
    process = cluster.cli("status", *options)
    out, err = process.communicate(timeout=170)
    assert process.returncode == 0, out + err
    return out


def test_live_view(cluster: Cluster) -> None:
    """Needs no exporter: a line of JSON each time, tables otherwise; ended by Ctrl-C it ends well."""
    lines = status(cluster, "--watch", "--count", "2", "--every", "0.5", "--format", "json").splitlines()
    assert len(lines) == 2
    last = json.loads(lines[-1])
    assert [(row["server"], row["state"]) for row in last["servers"]] == [("n0", "forwards"), ("n1", "forwards")]
    assert {row["server"] for row in last["cores"]} == {row["server"] for row in last["ports"]} == {"n0", "n1"}
    process = cluster.cli("status", "--watch", "--every", "0.5", "--show", "cables")
    assert process.stdout is not None
    seen = ""
    while "Cables" not in seen:
        line = process.stdout.readline()
        assert line, seen
        seen += line
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, ""), out
    assert "Cores" not in seen + out


def test_metrics_without_an_exporter(cluster: Cluster) -> None:
    said = status(cluster, "--format", "openmetrics")
    for server in ("n0", "n1"):
        assert f'rbops_server_up{{cluster="rbdtest",server="{server}"}} 1' in said
        assert f'rbops_dataplane_loaded{{cluster="rbdtest",server="{server}"}} 1' in said
    assert said.endswith("# EOF\n")


def test_it_comes_back(cluster: Cluster, prometheus: str) -> None:
    """Killed, it is started again."""
    inside(cluster.lab, "n0", "systemctl", "kill", "--signal=KILL", "rbops-exporter.service")
    until(lambda: len(ask(prometheus, 'up{job="rbops"} == 1')) == len(cluster.lab.servers), "all are up again")
