"""IKE on a server: what strongSwan is asked and told, over a socket that answers as it does."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rbops.errors import CheckFailed, Mismatch
from rbops.node import ike as subject
from rbops.node import tunnelcounts, tunnels, xfrm
from rbops.node.ike import Ike, parse_connections, reasons
from rbops.node.schema.fields import Fields
from rbops.node.schema.ipsec import NodeIke, NodeTunnel, TunnelConfig
from rbops.node.vici import Vici, decoded, encoded
from tests.node.test_tunnels import state, tunnel
from tests.support.errors import raises

CONFIG = """\
# rb4
connections {
    t7 {
        local_addrs = 198.18.1.1
        local {
            id = 198.18.1.1
        }
        children {
            t7 {
                remote_ts = 10.9.0.0/16,10.8.0.0/16
            }
        }
    }
}
"""
SECRET = "not seen anywhere"  # noqa: S105 - no secret of anybody's


def negotiated(**changes: Any) -> NodeTunnel:
    return tunnel(ike=NodeIke("peer.psk", "198.18.1.1", "198.18.1.2", 3), keys="", **changes)


class Daemon:
    """Answers one connection after the other; ``asked`` is what it was asked, ``refuses`` the command it refuses."""

    def __init__(self, path: Path) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.conns: list[str] = []
        self.keys: list[str] = []
        self.listed: list[dict[str, Any]] = []
        self.refuses = ""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                link, _ = self._socket.accept()
            except OSError:
                return
            with link:
                self._talk(link)

    def _talk(self, link: socket.socket) -> None:
        while head := link.recv(4, socket.MSG_WAITALL):
            packet = link.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
            size = packet[1]
            name, message = packet[2 : 2 + size].decode(), decoded(packet[2 + size :])
            if packet[0] == 3:
                self._send(link, bytes((5,)))
                continue
            self.asked.append((name, message))
            for event in self.listed if name == "list-sas" else ():
                self._send(link, bytes((7, 7)) + b"list-sa" + encoded(event))
            self._send(link, bytes((1,)) + encoded(self._answer(name)))

    def _answer(self, name: str) -> dict[str, Any]:
        if name == self.refuses:
            return {"success": "no", "errmsg": "invalid value for: proposals"}
        return {"get-conns": {"conns": self.conns}, "get-shared": {"keys": self.keys}}.get(name, {"success": "yes"})

    @staticmethod
    def _send(link: socket.socket, packet: bytes) -> None:
        link.sendall(len(packet).to_bytes(4, "big") + packet)

    def names(self) -> list[str]:
        return [name for name, _ in self.asked]


@pytest.fixture
def ike(tmp_path: Path) -> Ike:
    etc, run = tmp_path / "etc", tmp_path / "run"
    etc.mkdir()
    run.mkdir()
    (etc / "ike.conf").write_text(CONFIG)
    (etc / "keys.conf").write_text(f"7 psk {SECRET.encode().hex()}\n")
    return Ike(etc=etc, run=run, socket=tmp_path / "vici", program=tmp_path / "charon", devices=tmp_path / "devices")


@contextmanager
def running(ike: Ike) -> Iterator[Daemon]:
    daemon = Daemon(ike.socket)
    try:
        yield daemon
    finally:
        daemon.close()


def test_messages_are_read_as_they_are_written() -> None:
    message = {"a": "1", "list": ["x", "y"], "empty": [], "section": {"b": "2", "inner": {"c": "3"}}}
    assert decoded(encoded(message)) == message
    assert decoded(encoded({"data": b"\xff\0"})) == {"data": "\ufffd\0"}


@pytest.mark.parametrize("data", [b"\1", b"\3\1a", b"\2\2", b"\5\0\1x", b"\4\1a\3\1b\0\1c"])
def test_an_answer_that_is_no_message_is_said(data: bytes) -> None:
    with raises(CheckFailed, "node.daemon-silent"):
        decoded(data)


def test_a_daemon_that_is_not_there_or_falls_silent_is_said(tmp_path: Path) -> None:
    with raises(CheckFailed, "node.daemon-silent"):
        Vici(tmp_path / "nothing")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "vici"))
        server.listen()
        with Vici(tmp_path / "vici", 0.2) as daemon, raises(CheckFailed, "node.daemon-silent"):
            daemon.ask("version")


def test_it_runs_in_the_ports_vrf_where_there_is_one(ike: Ike) -> None:
    with raises(Mismatch, "node.not-installed"):
        ike.command()
    ike.program.touch()
    assert ike.command() == (str(ike.program),)
    (ike.devices / "rbops").mkdir(parents=True)
    assert ike.command() == ("ip", "vrf", "exec", "rbops", str(ike.program))


def test_connections_are_read_as_swanctl_reads_them() -> None:
    (connection,) = parse_connections(CONFIG)["connections"].values()
    assert connection["local_addrs"] == ["198.18.1.1"]
    assert connection["local"] == {"id": "198.18.1.1"}
    assert connection["children"]["t7"]["remote_ts"] == ["10.9.0.0/16", "10.8.0.0/16"]
    assert parse_connections("}\na = 1\n") == {}


def test_what_is_new_is_loaded_and_what_is_equal_lives_on(ike: Ike) -> None:
    config = TunnelConfig("keys", (negotiated(),))
    with running(ike) as daemon:
        assert ike.load(config) == {"loaded": ["t7"], "ended": [], "kept": []}
        shared = dict(daemon.asked)["load-shared"]
        assert shared == {"id": "rbops-t7", "type": "IKE", "data": SECRET, "owners": ["198.18.1.1", "198.18.1.2"]}
        assert "terminate" not in daemon.names()
        daemon.conns, daemon.keys, daemon.asked = ["t7"], ["rbops-t7"], []
        assert ike.load(config) == {"loaded": [], "ended": [], "kept": ["t7"]}
        assert daemon.names() == ["load-shared", "get-shared", "get-conns"]
    assert SECRET not in (ike.run / "loaded.json").read_text()


def test_what_changed_or_is_not_planned_is_ended_first(ike: Ike) -> None:
    config = TunnelConfig("keys", (negotiated(),))
    with running(ike) as daemon:
        ike.load(config)
        daemon.conns, daemon.keys, daemon.asked = ["t7", "t9"], ["rbops-t7", "rbops-t9"], []
        (ike.etc / "ike.conf").write_text(CONFIG.replace(",10.8.0.0/16", ""))
        assert ike.load(config) == {"loaded": ["t7"], "ended": ["t9", "t7"], "kept": []}
        assert daemon.names() == [
            "load-shared", "get-shared", "unload-shared", "get-conns",
            "unload-conn", "terminate", "unload-conn", "terminate", "load-conn",
        ]  # fmt: skip


def test_what_it_refuses_and_files_that_are_wrong_are_said(ike: Ike, monkeypatch: pytest.MonkeyPatch) -> None:
    config = TunnelConfig("keys", (negotiated(),))
    monkeypatch.setattr(subject, "_WAIT_S", 0.0)
    with raises(CheckFailed, "node.daemon-silent"):
        ike.load(config)
    with running(ike) as daemon:
        daemon.refuses = "load-conn"
        with raises(CheckFailed, "node.daemon-refused"):
            ike.load(config)
        with raises(Mismatch, "node.daemon-files"):
            ike.load(TunnelConfig("keys", (negotiated(number=8),)))
        (ike.etc / "keys.conf").write_text("7 psk secret\n")
        with raises(Mismatch, "node.daemon-files"):
            ike.load(config)
        (ike.etc / "keys.conf").unlink()
        with raises(Mismatch, "node.daemon-files"):
            ike.load(config)


CHILD = {"state": "INSTALLED", "install-time": "5", "rekey-time": "3200"}
LOG = """\
06[IKE] <t7|1> received AUTHENTICATION_FAILED notify error
07[IKE] <t8|2> received AUTHENTICATION_FAILED notify error
08[IKE] <t8|3> CHILD_SA t8{3} established with SPIs c1_i c2_o and TS 10.0.0.0/8 === 10.9.0.0/16
"""


def test_the_state_of_each_tunnel(ike: Ike) -> None:
    config = TunnelConfig("keys", (negotiated(), tunnel(number=8)))
    assert ike.status(config)[7]["state"] == "no daemon"
    assert ike.status(None) == ike.status(TunnelConfig("keys", (tunnel(), negotiated(number=9, own=False)))) == {}
    (ike.run / "charon.log").write_text(LOG)
    with running(ike) as daemon:
        said = {"error": "the peer refuses the pre-shared key, or the identity local_id"}
        assert ike.status(config) == {7: {"state": "down", **said}}
        daemon.listed = [{"t7": {"state": "CONNECTING", "child-sas": {}}}]
        assert ike.status(config) == {7: {"state": "connecting", **said}}
        old = {**CHILD, "state": "REKEYED", "install-time": "600", "rekey-time": "1"}
        up = {"state": "ESTABLISHED", "established": "600", "child-sas": {"t7-1": old, "t7-2": CHILD}}
        daemon.listed = [{"t7": {"state": "CONNECTING"}}, {"t7": up}]
        assert ike.status(config) == {7: {"state": "up", "established_s": 600, "rekey_s": 3200}}
        daemon.listed = [{"t7": {**up, "child-sas": {}}}]
        assert ike.status(config)[7]["state"] == "connecting"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("tried 1 shared key for 'a' - 'b', but MAC mismatched", "the peer has another pre-shared key"),
        ("received NO_PROPOSAL_CHOSEN notify error", "no cipher that both ends have"),
        ("received TS_UNACCEPTABLE notify, no CHILD_SA built", "the peer has other networks than sources and prefixes"),
        ("giving up after 5 retransmits", "the peer does not answer"),
        ("initiating IKE_SA t7[1] to 198.18.1.2", None),
    ],
)
def test_why_a_tunnel_is_not_up(line: str, reason: str | None) -> None:
    assert reasons(f"05[IKE] <t7|1> {line}\n05[IKE] <1> {line}\n").get("t7") == reason


def test_it_becomes_the_daemon_and_a_child_keeps_the_log_short(ike: Ike) -> None:
    """The child ends with it."""
    ike.program.write_text('#!/bin/sh\necho started\nuntil [ -e "$0.enough" ]; do sleep 0.1; done\n')
    ike.program.chmod(0o755)
    path = ike.run / "charon.log"
    with path.open("wb") as file:
        file.truncate(subject._LOG_BYTES + 1)
    words = f"etc=Path({str(ike.etc)!r}), run=Path({str(ike.run)!r}), program=Path({str(ike.program)!r})"
    script = (
        f"from pathlib import Path; from rbops.node.ike import Ike; Ike({words}, devices=Path('/nowhere')).become()"
    )
    with subprocess.Popen((sys.executable, "-c", script), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        for _ in range(100):
            if path.stat().st_size == 0:
                break
            time.sleep(0.1)
        ike.program.with_name("charon.enough").touch()
        assert process.wait(20) == 0
    assert path.stat().st_size == 0


def test_the_log_does_not_grow_for_ever(ike: Ike) -> None:
    ike.shorten_log()
    path = ike.run / "charon.log"
    path.write_text("a line\n")
    ike.shorten_log()
    assert path.read_text() == "a line\n"
    with path.open("r+b") as file:
        file.truncate(subject._LOG_BYTES + 1)
    ike.shorten_log()
    assert path.stat().st_size == 0


def test_the_server_that_encrypts_has_an_interface_and_leaves_the_rest_to_the_daemon() -> None:
    config = TunnelConfig("keys", (negotiated(),))
    found = tunnels.protection(config, tunnels.Facts((), (), frozenset()))
    assert [setting.name for setting in found] == ["10.9.0.0/16 without its interface"]
    assert [setting.name for setting in tunnels.links(_node(config), {}, {})] == ["interface", "mtu", "state"]
    other = TunnelConfig("keys", (negotiated(own=False),))
    assert tunnels.links(_node(other), {}, {}) == []
    assert tunnels.devices(_node(other)) == []


def _node(config: TunnelConfig) -> Any:
    class Node:
        tunnels = config.tunnels
        kernel_ports = ()

    return Node()


def test_what_static_keys_left_goes_and_what_the_daemon_made_stays() -> None:
    config = TunnelConfig("keys", (negotiated(),))
    policy = xfrm.Policy("out", "198.18.0.0/16", "10.9.0.0/16", 7, "198.18.1.1", "198.18.1.2")
    facts = tunnels.Facts((state(),), (policy,), frozenset({"10.9.0.0/16"}))
    gone = {setting.name: setting.want for setting in tunnels.protection(config, facts) if setting.differs}
    assert gone == {"association 0x70000": "absent", "policy out 198.18.0.0/16 to 10.9.0.0/16": "absent"}


def test_associations_of_the_daemon_are_told_by_their_request_id() -> None:
    body, rest = xfrm._state_message(state())[: xfrm._STATE.size], {31: (7).to_bytes(4, "little")}
    at = 56 + 24 + 16 + 64 + 32 + 3 * 4 + 4
    for request, theirs in ((7, False), (0x10007, True)):
        found = xfrm._state(body[:at] + request.to_bytes(4, "little") + body[at + 4 :], rest)
        assert found is not None
        assert found.negotiated == theirs


def test_counters_are_of_all_associations_that_are_there(ike: Ike, monkeypatch: pytest.MonkeyPatch) -> None:
    config = TunnelConfig("keys", (negotiated(), negotiated(number=9, own=False)))
    own = [
        state(negotiated=True, spi=1, packets=3, octets=30, replayed=1, sequence=9),
        state(negotiated=True, spi=2, packets=4, octets=40, failed=2, sequence=2),
        state(negotiated=True, spi=3, source="198.18.1.1", destination="198.18.1.2", packets=5, octets=50, sequence=5),
        state(packets=1000),
    ]
    monkeypatch.setattr(xfrm, "states", lambda: own)
    (found,) = tunnelcounts.look(config, ike)
    assert found["in"] == {"packets": 7, "bytes": 70, "replayed": 1, "failed": 2, "sequence": 9}
    assert found["out"] == {"packets": 5, "bytes": 50, "sequence": 5}
    assert found["ike"]["state"] == "no daemon"
    json.dumps(found)


def test_what_node_json_says_is_read_back() -> None:
    for each in (negotiated(), negotiated(own=False), tunnel()):
        assert NodeTunnel.parse(Fields("", json.loads(json.dumps(each.to_json())))) == each
    assert (negotiated().encrypts, negotiated(own=False).encrypts, tunnel(own=False).encrypts) == (True, False, True)
