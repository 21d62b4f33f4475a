"""Metrics: their text, where they are given, and what a reading becomes."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from rbops.common.openmetrics import Family, merged, text
from rbops.errors import CheckFailed, Mismatch
from rbops.node import exporter
from rbops.node.metrics import families
from rbops.node.schema.exporter import ExporterConfig
from rbops.node.system import Done
from rbops.resources import shared
from tests.support.errors import raises

CORE = {
    "received": {"external": 3, "internal": 2},
    "forwarded": {"local": 0, "direct": 1, "phase1": 2, "phase2": 1, "egress": 1},
    "punted": {"ttl": 1},
    "dropped": {"checksum": 4},
    "bytes": 640,
}
PORT = {"rx_packets": 3, "rx_bytes": 192, "tx_packets": 2, "tx_bytes": 128}
TUNNEL = {
    "tunnel": 7,
    "peer": "198.18.1.2",
    "out": {"packets": 5, "bytes": 640},
    "in": {"packets": 4, "bytes": 512, "replayed": 2, "failed": 1},
}
CABLE = {"state": "alive", "sent": 9, "missed": 1, "transitions": 2, "round_trip_us": 12.5}
READING: dict[str, Any] = {
    "program": "1.0",
    "cluster": "rb4",
    "digest": "0123456789abcdef",
    "server": "n0",
    "index": 0,
    "ports": [
        {"name": "ext0", "kind": "external", "peer": None, "rate_bps": 10_000_000_000, "id": 0},
        {"name": "int1", "kind": "internal", "peer": "n1:int0", "rate_bps": 8_000, "id": None},
    ],
    "servers": {"0": "n0", "1": "n1"},
    "transaction": False,
    "lock": False,
    "restored": 2,
    "dataplane": {"loaded": True, "kind": "xdp", "dead": [1], "drained": [], "cables": {"int1": CABLE}, "sampling": 9},
    "counters": {
        "cores": {"1": CORE},
        "ports": {"ext0": PORT, "int1": PORT},
        "served": {"ext0": {"1": 3}},
        "sampled": {"ext0": {"taken": 2, "lost": 1}},
        "paths": [
            {"to": 1, "via": None, "packets": 5, "bytes": 320},
            {"to": 1, "via": 7, "packets": 2, "bytes": 128},
        ],
    },
    "queues": {
        "ports": {
            "ext0": {
                "packets": {"0": 3},
                "irqs": [{"queue": 0, "way": "rx", "number": 40, "cpus": {"1": 6}}],
            }
        }
    },
    "cpus": {"1": {"busy_s": 1.5, "softirq_s": 1.0}},
    "routes": {
        "protocols": {"82": 4, "99": 1},
        "unresolved": 1,
        "updates": 7,
        "overruns": 0,
        "repaired": 0,
        "memory_bytes": 4096,
    },
    "tunnels": [
        TUNNEL,
        {"tunnel": 8, "peer": "198.18.2.2", "out": {"packets": 0, "bytes": 0}, "ike": {"state": "up"}},
    ],
    "daemon": {
        "sessions": [
            {
                "name": "port0",
                "protocol": "bgp",
                "up": True,
                "info": "Established",
                "since": "12:00:00",
                "neighbor": '198.18.0.2"',
                "as": 65001,
                "imported": 3,
                "filtered": 0,
                "exported": 1,
            }
        ]
    },
}
TEMPORARY = {"local": "2001:db8::6", "temporary": True}
ADDRESSES = [
    {"ifname": "lo", "addr_info": [{"local": "127.0.0.1"}]},
    {"ifname": "ext0", "addr_info": [{"local": "198.18.0.1"}]},
    {"ifname": "eth0", "addr_info": [{"local": "10.20.0.5"}, {"local": "2001:db8::5"}, TEMPORARY]},
    {"ifname": "docker0", "addr_info": [{"local": "172.17.0.1"}]},
]


class Ip:
    """Answers ``ip`` alone."""

    def __init__(self, addresses: list[dict[str, Any]], default: str | None) -> None:
        self.addresses, self.default = addresses, default

    def run(self, argv: tuple[str, ...], stdin: str = "") -> Done:
        del stdin
        if "address" in argv:
            return Done(0, json.dumps(self.addresses), "")
        routes = [{"dst": "default", "dev": self.default}] if self.default and "-4" in argv else []
        return Done(0, json.dumps(routes), "")


def find(config: ExporterConfig, addresses: list[dict[str, Any]], default: str | None) -> tuple[str, ...]:
    return exporter.addresses(config, ["ext0", "int1"], Ip(addresses, default))  # type: ignore[arg-type]


def test_by_default_route() -> None:
    assert find(ExporterConfig(9482), ADDRESSES, "eth0") == ("10.20.0.5", "2001:db8::5")


def test_without_default_route_all_but_data_ports() -> None:
    assert find(ExporterConfig(9482), ADDRESSES, None) == ("10.20.0.5", "172.17.0.1", "2001:db8::5")


def test_by_network() -> None:
    assert find(ExporterConfig(9482, "172.17.0.0/16"), ADDRESSES, "eth0") == ("172.17.0.1",)


@pytest.mark.parametrize("network", ["192.0.2.0/24", "198.18.0.0/24"])
def test_no_address_there(network: str) -> None:
    with raises(Mismatch, "node.exporter-address"):
        find(ExporterConfig(9482, network), ADDRESSES, "eth0")


def test_nothing_but_data_ports() -> None:
    with raises(Mismatch, "node.exporter-address"):
        find(ExporterConfig(9482), ADDRESSES[:2], "ext0")


def test_both_forms() -> None:
    family = Family("rbops_x_bytes", "counter", 'a "b"\n', (({"port": 'e"\\\n'}, 3),), "bytes")
    assert text([family]) == (
        '# HELP rbops_x_bytes a \\"b\\"\\n\n# TYPE rbops_x_bytes counter\n# UNIT rbops_x_bytes bytes\n'
        'rbops_x_bytes_total{port="e\\"\\\\\\n"} 3\n# EOF\n'
    )
    assert text([family], old=True) == (
        '# HELP rbops_x_bytes_total a "b"\\n\n# TYPE rbops_x_bytes_total counter\n'
        'rbops_x_bytes_total{port="e\\"\\\\\\n"} 3\n'
    )


def test_samples_of_a_name_stand_together() -> None:
    one, two = families(READING), families({**READING, "server": "n1"})
    lines = text(merged([one, two])).splitlines()
    names = [line.split("{")[0] for line in lines if not line.startswith("#")]
    changes = [name for name, before in zip(names, [None, *names], strict=False) if name != before]
    assert len(changes) == len(set(names))
    assert len([line for line in lines if line.startswith("rbops_dataplane_loaded{")]) == 2


def test_values() -> None:
    said = text(families(READING))
    dropped = 'rbops_tunnel_dropped_packets_total{cluster="rb4",server="n0"'
    for line in (
        'rbops_server_info{cluster="rb4",server="n0",digest="0123456789ab",dataplane="xdp",version="1.0"} 1',
        'rbops_port_receive_packets_total{cluster="rb4",server="n0",port="ext0",kind="external",peer=""} 3',
        'rbops_port_speed_bytes{cluster="rb4",server="n0",port="int1",kind="internal",peer="n1:int0"} 1000.0',
        'rbops_core_dropped_packets_total{cluster="rb4",server="n0",core="1",reason="checksum"} 4',
        'rbops_path_packets_total{cluster="rb4",server="n0",to="n1",via="direct"} 5',
        'rbops_path_packets_total{cluster="rb4",server="n0",to="n1",via="7"} 2',
        'rbops_peer_dead{cluster="rb4",server="n0",peer="n1"} 1',
        'rbops_cable_answers{cluster="rb4",server="n0",port="int1",peer="n1:int0"} 1',
        'rbops_cable_round_trip_seconds{cluster="rb4",server="n0",port="int1",peer="n1:int0"} 1.25e-05',
        'rbops_routes{cluster="rb4",server="n0",protocol="static"} 4',
        'rbops_session_routes{cluster="rb4",server="n0",session="port0",what="imported"} 3',
        'rbops_tunnel_packets_total{cluster="rb4",server="n0",tunnel="7",peer="198.18.1.2",way="out"} 5',
        'rbops_tunnel_bytes_total{cluster="rb4",server="n0",tunnel="7",peer="198.18.1.2",way="in"} 512',
        'rbops_tunnel_packets_total{cluster="rb4",server="n0",tunnel="8",peer="198.18.2.2",way="out"} 0',
        'rbops_tunnel_up{cluster="rb4",server="n0",tunnel="8",peer="198.18.2.2"} 1',
        f'{dropped},tunnel="7",peer="198.18.1.2",reason="replayed"}} 2',
        f'{dropped},tunnel="7",peer="198.18.1.2",reason="failed"}} 1',
        'rbops_queue_interrupts_total{cluster="rb4",server="n0",port="ext0",queue="0",way="rx",core="1"} 6',
    ):
        assert line in said.splitlines(), line
    assert 'tunnel="8",peer="198.18.2.2",reason' not in said, "what the peer sends is not decrypted here"


def test_a_server_that_does_not_forward_still_answers() -> None:
    reading = {**READING, "counters": None, "dataplane": {"loaded": False, "kind": "xdp"}}
    said = text(families(reading))
    assert 'rbops_dataplane_loaded{cluster="rb4",server="n0"} 0' in said
    assert "rbops_port_receive" not in said


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian's prometheus)")
def test_promtool_accepts_names_and_rules() -> None:
    command = ["promtool", "check", "metrics"]
    done = subprocess.run(command, input=text(families(READING), old=True), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    rules = ["promtool", "check", "rules", str(shared("templates", "monitoring", "rules.yml"))]
    subprocess.run(rules, check=True, capture_output=True)


def queries() -> list[str]:
    """Those of the dashboard and the rules."""
    board = json.loads(shared("templates", "monitoring", "dashboard.json").read_text(encoding="utf-8"))
    found = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    found += [variable["query"] for variable in board["templating"]["list"]]
    return [*found, *re.findall(r"expr: (.*)", shared("templates", "monitoring", "rules.yml").read_text())]


def test_dashboard_and_rules_ask_for_what_there_is() -> None:
    there = {family.sample_name: set(family.samples[0][0]) for family in families(READING)}
    asked = [name for query in queries() for name in re.findall(r"\brbops_[a-z0-9_]+", query)]
    assert len(asked) > 20
    assert set(asked) <= there.keys()
    for query in queries():
        for name, matchers in re.findall(r"(rbops_[a-z0-9_]+)\{([^}]*)\}", query):
            labels = set(re.findall(r"([a-z]+)[=!]~?", matchers))
            assert labels <= there[name], query


def test_over_http() -> None:
    found, said = ("127.0.0.1",), []
    told, end = threading.Event(), threading.Event()

    def say(line: str) -> None:
        said.append(line)
        told.set()

    where = [found, found]
    with pytest.MonkeyPatch.context() as patch:
        servers: list[exporter._Server] = []
        made = exporter._Server.__init__
        patch.setattr(exporter._Server, "__init__", lambda self, *a: (servers.append(self), made(self, *a))[1])
        thread = threading.Thread(
            target=exporter.serve,
            args=(0, lambda: READING, lambda: where.pop() if where else ("192.0.2.1",), say, lambda _: end.wait(30)),
        )
        thread.start()
        assert told.wait(30)
        port = servers[0].server_port
        good, kind, body = get(port, "/metrics", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
        assert (good, kind, body.splitlines()[-1]) == (
            200,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            "# EOF",
        )
        good, kind, body = get(port, "/metrics", "*/*")
        assert (good, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert "# EOF" not in body
        assert get(port, "/", "*/*")[0] == 200
        assert get(port, "/../etc/passwd", "*/*")[0] == 404
        end.set()
        thread.join(30)
    assert not thread.is_alive()
    assert said[-1] == "the management addresses have changed"


def get(port: int, path: str, accept: str) -> tuple[int, str | None, str]:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    link.request("GET", path, headers={"Accept": accept})
    answer = link.getresponse()
    return answer.status, answer.getheader("Content-Type"), answer.read().decode()


def test_a_reading_that_fails_is_a_failed_scrape() -> None:
    def read() -> Any:
        raise CheckFailed("no data plane", code="test.none")

    source = exporter._Source(read)
    server = exporter._Server("127.0.0.1", 0, source)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        assert get(server.server_port, "/metrics", "*/*") == (500, "text/plain; charset=utf-8", "no data plane\n")
    finally:
        server.shutdown()
        server.server_close()


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    del tmp_path
    server = exporter._Server("127.0.0.1", 0, exporter._Source(lambda: READING))
    try:
        with raises(CheckFailed, "node.exporter-listen"):
            exporter.serve(server.server_port, lambda: READING, lambda: ("127.0.0.1",), lambda _: None)
    finally:
        server.server_close()
