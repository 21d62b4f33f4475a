"""strongSwan in network namespaces: on the servers of a tunnel's lab, and as its peer, each with files of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rbops.node.ike import Ike, parse_connections
from rbops.node.schema import load
from rbops.node.vici import Vici
from rbops.plan import ClusterPlan
from rbops.render import render
from rbops.spec.ipsec import Ike as Wanted
from rbops.spec.keyfile import ike_keys
from tests.fullkernel.tunnel_lab import Lab
from tests.fullkernel.tunnel_lab import plan as static_plan
from tests.node.conftest import Server

__all__ = ["PSK", "Daemon", "Peer", "daemons", "install", "plan", "until"]

PSK = "k7RMrHwV5c2zpQ9wXbUu3kM1TnJd0aLf"
_DAEMON = "/usr/sbin/charon-systemd"


def plan(psk: Path, **changes: Any) -> ClusterPlan:
    """Two servers and one tunnel by IKE; ``changes`` are the tunnel's, as ``ike`` those of IKE."""
    wanted = Wanted(psk=str(psk), **changes.pop("ike", {}))
    return static_plan(psk, keys=None, ike=wanted, **changes)


def install(lab: Lab, made: ClusterPlan, psk: str = PSK) -> None:
    """Files and secrets on every server, as apply puts them there."""
    rendered = render(made)
    for name, server in lab.servers.items():
        server.put(rendered.files_of(name))
    config = load(lab.servers["n1"].etc / "node.json").ipsec
    assert config is not None
    lab.keys.write_text(psk + "\n")
    lab.keys.chmod(0o600)
    secrets = lab.servers["n1"].etc / "ike/keys.conf"
    secrets.write_bytes(ike_keys([(tunnel.number, str(lab.keys)) for tunnel in config.negotiated]))
    secrets.chmod(0o600)


def until(done: Callable[[], bool], seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if done():
            return
        time.sleep(0.2)
    raise AssertionError("not in time")


@dataclass
class Daemon:
    """charon in a network namespace, started as the unit does: by ``prefix``, with a folder of its own."""

    prefix: tuple[str, ...]
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def ike(self) -> Ike:
        return Ike(etc=self.folder / "etc", run=self.folder, socket=self.folder / "vici")

    def start(self, settings: str) -> None:
        """``settings``: the text of strongswan.conf."""
        text = settings.replace("/run/charon.vici", str(self.folder / "vici"))
        (self.folder / "strongswan.conf").write_text(text.replace("/run/rbops-ike/", f"{self.folder}/"))
        environment = os.environ | {"STRONGSWAN_CONF": str(self.folder / "strongswan.conf")}
        with (self.folder / "output").open("ab") as output:
            self.process = subprocess.Popen((*self.prefix, _DAEMON), env=environment, stdout=output, stderr=output)
        until(self._answers)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "output").read_text()
        try:
            with Vici(self.folder / "vici", 5):
                return True
        except Exception:  # noqa: BLE001 - not yet
            return False

    def stop(self, how: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(20)
            self.process = None
            (self.folder / "vici").unlink(missing_ok=True)

    def ask(self, command: str, message: Mapping[str, Any] | None = None) -> dict[str, Any]:
        with Vici(self.folder / "vici", 60) as daemon:
            return daemon.ask(command, message)

    def children(self) -> list[dict[str, Any]]:
        """All associations' pairs that are installed."""
        with Vici(self.folder / "vici", 60) as daemon:
            listed = daemon.stream("list-sas", "list-sa")
        return [child for each in listed for ike in each.values() for child in ike["child-sas"].values()]

    def rekey(self) -> bool:
        """Replace the keys of the tunnel; whether this end could begin it."""
        return self.ask("rekey", {"child": "t7"}).get("success") == "yes"


@dataclass
class Peer(Daemon):
    """The other gateway: the mirror of what the router is given."""

    secrets: dict[str, str] = field(default_factory=dict)

    def configure(self, router: Path, psk: str = PSK, **changes: str) -> None:
        """``router``: its ike.conf, turned round; ``changes`` of the child's words."""
        (connection,) = parse_connections(router.read_text())["connections"].values()
        (child,) = connection["children"].values()
        child = {name: value for name, value in child.items() if not name.startswith("if_id")}
        child |= {"local_ts": child["remote_ts"], "remote_ts": child["local_ts"], "start_action": "trap", **changes}
        turned = connection | {
            "local_addrs": connection["remote_addrs"],
            "remote_addrs": connection["local_addrs"],
            "local": connection["remote"],
            "remote": connection["local"],
            "children": {"t7": child},
        }
        owners = [connection["local"]["id"], connection["remote"]["id"]]
        answers = [
            self.ask("load-shared", {"id": "psk", "type": "IKE", "data": psk, "owners": owners}),
            self.ask("load-conn", {"t7": turned}),
        ]
        assert all(answer["success"] == "yes" for answer in answers), answers


@contextmanager
def daemons(lab: Lab, folder: Path) -> Iterator[tuple[Daemon, Peer]]:
    """Of n1 and of the peer, neither started."""
    server: Server = lab.servers["n1"]
    # Not in the server's mount namespace, which has no control groups.
    inside = ("nsenter", f"--net=/proc/{server.pid}/ns/net", "--")
    devices = folder / "devices"
    for name in server.run("ls", "/sys/class/net").stdout.split():
        (devices / name).mkdir(parents=True)
    mine = Daemon((*inside, *Ike(devices=devices).command()[:-1]), folder / "n1-ike")
    other = Peer(("ip", "netns", "exec", lab.spaces["peer"]), folder / "peer-ike")
    for each in (mine, other):
        each.folder.mkdir()
    (mine.folder / "etc").symlink_to(server.etc / "ike")
    try:
        yield mine, other
    finally:
        for each in (mine, other):
            each.stop(signal.SIGKILL)
