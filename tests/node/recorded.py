"""A server that answers from recordings: texts of ethtool and ip, files of /sys and /proc."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from rbops.dataplane.xdp.guard import PUNTED
from rbops.node.schema import NodeConfig, NodePort, parse
from rbops.node.system import Done

FACTS = Path(__file__).parent / "facts"
UNSUPPORTED = Done(75, "", "netlink error: Operation not supported\n")


@dataclass
class Recorded:
    """``answers``: argument list as text -> answer; ``files``: path -> text; writes are kept."""

    answers: dict[str, Done | str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    drivers: dict[str, str] = field(default_factory=dict)
    ran: list[tuple[str, str]] = field(default_factory=list)
    written: list[tuple[str, str]] = field(default_factory=list)

    def run(self, argv: tuple[str, ...], stdin: str = "") -> Done:
        self.ran.append((" ".join(argv), stdin))
        answer = self.answers.get(" ".join(argv), UNSUPPORTED)
        return Done(0, answer, "") if isinstance(answer, str) else answer

    def read(self, path: str) -> str | None:
        text = self.files.get(path)
        return None if text is None else text.strip()

    def write(self, path: str, value: str) -> None:
        self.written.append((path, value))
        self.files[path] = value

    def put(self, path: str, text: str | None) -> None:
        if text is None:
            self.files.pop(path, None)
        else:
            self.files[path] = text

    def move(self, source: str, target: str) -> None:
        self.files[target] = self.files.pop(source)

    def names(self, path: str) -> list[str]:
        start = path + "/"
        return sorted(
            {name[len(start) :].split("/")[0] for name in (*self.files, *self.links) if name.startswith(start)}
        )

    def real(self, path: str) -> str:
        return self.links.get(path, path)

    def driver(self, device: str) -> str | None:
        return self.drivers.get(device)


def recording(name: str) -> tuple[Recorded, NodePort, str]:
    """The recorded machine ``name``, what is planned for its port, and the device's name."""
    folder = FACTS / name
    about = json.loads((folder / "port.json").read_text())
    device = about["device"]
    answers: dict[str, Done | str] = {
        f"ethtool -{path.stem.removeprefix('ethtool-')} {device}": path.read_text()
        for path in folder.glob("ethtool-*.txt")
    }
    system = Recorded(answers, json.loads((folder / "files.json").read_text()))
    return system, config(ports=[about["port"]]).ports[0], device


def config(**changes: object) -> NodeConfig:
    """A node.json with the given parts, parsed."""
    return parse(json.dumps({**BASE, **changes}), Path("/etc/rbops/node.json"))


BASE: dict[str, object] = {
    "schema_version": 1,
    "cluster": "rb4",
    "digest": "d" * 64,
    "server": "n0",
    "index": 0,
    "cores": {"dataplane": [0, 1], "housekeeping": []},
    "ports": [],
    "sysctl": {},
    "routes": {"file": "/etc/rbops/routes.csv", "sha256": "0" * 64, "count": 0},
    "dataplane": {
        "kind": "xdp",
        "object": "/etc/rbops/xdp/router.bpf.o",
        "object_sha256": "1" * 64,
        "fib": "/etc/rbops/fib.bin",
        "fib_sha256": "2" * 64,
        "server": 0,
        "servers": 4,
        "cores": [0, 1],
        "routing": "direct-vlb",
        "flowlet_timeout_s": 0.1,
        "direct_quota_bps": 250_000_000,
        "probe_interval_s": 0.01,
        "probe_multiplier": 3,
        "ports": [],
        "owners": [0, 1, 2, 3],
        "next_hop": {"1": "int1", "2": "int1", "3": "int1"},
        "intermediates": [1],
        "adjacencies": [],
        "punts": dict.fromkeys(PUNTED, 1000),
        "addresses": ["198.18.0.1"],
        "urpf": {},
    },
}


def plane(**changes: object) -> dict[str, object]:
    """The part about the data plane."""
    planned = BASE["dataplane"]
    assert isinstance(planned, dict)
    return {**planned, **changes}


def external(name: str = "ext0", **changes: object) -> dict[str, object]:
    """An external port of node.json."""
    return {
        "name": name,
        "kind": "external",
        "id": 0,
        "select": {"name": name},
        "driver": "veth",
        "mtu": 1500,
        "rate_bps": 10**9,
        "promiscuous": False,
        "arp": True,
        "addresses": ["198.18.0.1/24"],
        "neighbors": [{"index": 1, "address": "198.18.0.2", "mac": "02:4e:00:00:00:02"}],
        "queues": [{"index": 0, "rx_core": 0, "tx_core": 0}, {"index": 1, "rx_core": 1, "tx_core": 1}],
        "nic": {"offloads": {"gro": True, "lro": False}},
        **changes,
    }


def internal(name: str = "int1", **changes: object) -> dict[str, object]:
    """An internal port of node.json."""
    return {
        **external(name),
        "kind": "internal",
        "id": None,
        "peer_server": 1,
        "promiscuous": True,
        "arp": False,
        "addresses": [],
        "neighbors": [],
        **changes,
    }
