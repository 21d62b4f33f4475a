"""Tunnels by IKE, two servers of a router and a strongSwan peer: test_dataplane.py runs it in a kernel with IPsec."""

from __future__ import annotations

import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Self

import pytest

from rbops.node.schema import load
from rbops.node.schema.ipsec import TunnelConfig
from rbops.selftest.wire import internet_checksum
from tests.fullkernel.ike_lab import PSK, Daemon, Peer, daemons, install, plan, until
from tests.fullkernel.tunnel_lab import CANARY, FAR, Lab
from tests.node.conftest import rbops_node_ends
from tests.support.netns import inside

__all__ = ["rbops_node_ends"]

pytestmark = pytest.mark.root


class Tunnel:
    """A lab whose n1 and peer run strongSwan."""

    def __init__(self, lab: Lab, mine: Daemon, peer: Peer) -> None:
        self.lab, self.mine, self.peer = lab, mine, peer

    @property
    def config(self) -> TunnelConfig:
        found = load(self.lab.servers["n1"].etc / "node.json").ipsec
        assert found is not None
        return found

    def start(self) -> None:
        self.mine.start((self.lab.servers["n1"].etc / "ike/strongswan.conf").read_text())
        self.mine.ike.load(self.config)

    def start_peer(self, **changes: str) -> None:
        self.peer.start((self.lab.servers["n1"].etc / "ike/strongswan.conf").read_text())
        self.peer.configure(self.lab.servers["n1"].etc / "ike/ike.conf", **changes)

    def state(self) -> dict[str, Any]:
        return self.mine.ike.status(self.config)[7]

    def up(self) -> None:
        until(lambda: self.state()["state"] == "up")

    def seen(self, frames: list[bytes]) -> list[bytes]:
        """What passed in the clear of what tunnels are for."""
        # h1 is on the same switch: what is from it and for it passes there in the clear.
        host = bytes((198, 18, 1, 3))
        return [each for each in frames if CANARY[:16] in each and host not in (each[26:30], each[30:34])]


@pytest.fixture(scope="module")
def tunnel(tmp_path_factory: pytest.TempPathFactory, router: Lab) -> Iterator[Tunnel]:
    """The router that was there before, with another plan."""
    router.run("peer", "sh", "-c", "ip xfrm state flush; ip xfrm policy flush")
    install(router, plan(router.keys))
    router.apply()
    with daemons(router, tmp_path_factory.mktemp("ike")) as (mine, peer):
        found = Tunnel(router, mine, peer)
        found.start_peer()
        found.start()
        yield found


class Traffic:
    """Echo requests from the host at the server that does not encrypt, fifty a second, and which were answered.

    ping(8) ends at twice the longest time so far after its last request, however long the emulated machine takes then.
    """

    _PAUSE_S, _PATIENCE_S = 0.02, 20.0

    def __init__(self, tunnel: Tunnel) -> None:
        with inside(tunnel.lab.spaces["h0"]):
            self._link = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self._link.connect((FAR, 0))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0
        self.answered: set[int] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._link.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            head = struct.pack(">BBHHH", 8, 0, 0, 7, self.sent)
            self._link.send(head[:2] + struct.pack(">H", internet_checksum(head + CANARY)) + head[4:] + CANARY)
            self.sent += 1
            self._take(time.monotonic() + self._PAUSE_S)
        limit = time.monotonic() + self._PATIENCE_S
        while len(self.answered) < self.sent and time.monotonic() < limit:
            self._take(time.monotonic() + self._PAUSE_S)

    def _take(self, until: float) -> None:
        """Read answers until then."""
        while (left := until - time.monotonic()) > 0:
            self._link.settimeout(left)
            try:
                kind, _, _, own, number = struct.unpack_from(">BBHHH", self._link.recv(2048), 20)
            except TimeoutError:
                return
            if (kind, own) == (0, 7):
                self.answered.add(number)


def test_one_server_encrypts_for_both_and_the_peer_answers(tunnel: Tunnel) -> None:
    tunnel.up()
    lab = tunnel.lab
    with lab.wire() as frames:
        assert "2 received" in lab.ping("h0")
        assert "2 received" in lab.ping("h1")
        assert "2 received" in lab.ping("peer", "198.18.0.2", source=FAR)
    assert tunnel.seen(frames) == []
    assert sum(frame[12:14] == b"\x08\x00" and frame[23] == 50 for frame in frames) >= 12
    counted = lab.tunnel("n1")
    assert counted["out"]["packets"] >= 6
    assert counted["in"]["packets"] >= 6
    assert lab.servers["n1"].node("counters")["total"]["punted"]["ipsec"] >= 8
    assert lab.servers["n0"].run("ip", "xfrm", "state").stdout == ""
    shown = lab.servers["n1"].run("ip", "xfrm", "state").stdout
    assert "replay_window 1024" in shown
    assert "esn" in shown


def test_the_second_apply_and_load_change_nothing(tunnel: Tunnel) -> None:
    before = tunnel.mine.children()
    assert {name: server.node("apply")["changes"] for name, server in tunnel.lab.servers.items()} == {
        "n0": [],
        "n1": [],
    }
    assert tunnel.mine.ike.load(tunnel.config) == {"loaded": [], "ended": [], "kept": ["t7"]}
    assert [each["uniqueid"] for each in tunnel.mine.children()] == [each["uniqueid"] for each in before]
    secret = PSK.encode().hex()
    for path in (path for path in tunnel.lab.servers["n1"].folder.rglob("*") if path.is_file()):
        text = path.read_bytes().decode("latin1")
        assert (PSK in text or secret in text) == (path.name == "keys.conf"), path


def test_keys_are_replaced_under_traffic_and_nothing_is_lost(tunnel: Tunnel) -> None:
    """In both roles in turn: each end begins half of the exchanges."""
    rekey(tunnel, 100)


def rekey(tunnel: Tunnel, times: int) -> None:
    known = installed(tunnel)
    with Traffic(tunnel) as traffic:
        for number in range(times):
            until((tunnel.mine, tunnel.peer)[number % 2].rekey)
            until(lambda: len(installed(tunnel) - known) > 0)  # noqa: B023 - it has ended when that changes
            known |= installed(tunnel)
    assert traffic.sent > 50
    assert set(range(traffic.sent)) - traffic.answered == set()


def installed(tunnel: Tunnel) -> set[str]:
    return {child["uniqueid"] for child in tunnel.mine.children() if child["state"] == "INSTALLED"}


def test_nothing_leaves_in_the_clear_without_the_daemon(tunnel: Tunnel) -> None:
    """Killed, with what it left in the kernel and without; ended; and while it starts again."""
    lab, server = tunnel.lab, tunnel.lab.servers["n1"]
    server.run("ip", "route", "add", "default", "via", "198.18.1.2", "table", "82")
    try:
        with lab.wire() as frames:
            tunnel.mine.stop(signal.SIGKILL)
            assert "2 received" in lab.ping("h0")
            for what in ("state", "policy"):
                server.run("ip", "xfrm", what, "flush")
                assert "0 received" in lab.ping("h0", wait=1, check=False)
            tunnel.start()
            tunnel.up()
            assert "2 received" in lab.ping("h0")
            tunnel.mine.stop()
            assert server.run("ip", "xfrm", "state").stdout == ""
            assert "0 received" in lab.ping("h0", wait=1, check=False)
            server.run("ip", "link", "del", "rbops-t7")
            assert "0 received" in lab.ping("h0", wait=1, check=False)
    finally:
        server.run("ip", "route", "del", "default", "table", "82")
    assert tunnel.seen(frames) == []
    server.node("apply")
    tunnel.start()
    tunnel.up()
    assert "2 received" in lab.ping("h0")


def test_a_peer_that_starts_again_has_its_tunnel_back(tunnel: Tunnel) -> None:
    tunnel.peer.stop(signal.SIGKILL)
    tunnel.lab.run("peer", "sh", "-c", "ip xfrm state flush; ip xfrm policy flush")
    tunnel.start_peer(start_action="start")
    until(lambda: "1 received" in tunnel.lab.ping("h0", count=1, wait=1, check=False))
    assert "2 received" in tunnel.lab.ping("peer", "198.18.0.2", source=FAR)


def test_another_secret_and_other_networks_are_said(tunnel: Tunnel) -> None:
    """Of the router's side, as `status` and `verify` have it."""
    lab = tunnel.lab
    install(lab, plan(lab.keys), psk=PSK[::-1])
    tunnel.mine.ike.load(tunnel.config)
    tunnel.mine.ask("terminate", {"ike": "t7", "force": "yes"})
    lab.ping("h0", count=1, wait=1, check=False)
    until(lambda: "pre-shared key" in tunnel.state().get("error", ""))
    assert tunnel.state()["state"] != "up"
    install(lab, plan(lab.keys, sources=("198.18.0.0/24",), prefixes=("10.9.0.0/16", "10.7.0.0/16")))
    lab.apply()
    assert tunnel.mine.ike.load(tunnel.config) == {"loaded": ["t7"], "ended": ["t7"], "kept": []}
    tunnel.up()
    assert "error" not in tunnel.state()
    assert "2 received" in lab.ping("h0")


def test_nothing_stays_of_a_tunnel_that_is_not_planned(tunnel: Tunnel) -> None:
    """Last: its service is stopped, as the push does."""
    lab = tunnel.lab
    without = plan(lab.keys)
    lab.install(replace(without, forwarding=replace(without.forwarding, application="route", tunnels=())))
    tunnel.mine.stop()
    lab.apply()
    for server in lab.servers.values():
        assert server.run("ip", "xfrm", "state").stdout + server.run("ip", "xfrm", "policy").stdout == ""
        assert "rbops-t7" not in server.run("ip", "link").stdout
        assert "10.9.0.0/16" not in server.run("ip", "route", "show", "table", "82").stdout
