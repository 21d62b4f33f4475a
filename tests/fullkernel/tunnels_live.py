"""Tunnels between two servers of a router and a Linux gateway: test_dataplane.py runs it in a kernel with IPsec."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rbops.node.system import Kernel
from rbops.node.tunnels import check
from rbops.selftest.result import SelftestResult
from rbops.selftest.run import SelftestOptions, run_selftest
from tests.fullkernel.tunnel_lab import CANARY, FAR, PEER, Lab, plan
from tests.node.conftest import rbops_node_ends
from tests.node.test_guard import watched
from tests.node.test_tunnels import tunnel
from tests.selftest.conftest import FakeTester
from tests.support.esp import CBC, GCM, OTHER, key_file

__all__ = ["rbops_node_ends"]

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def lab(router: Lab) -> Lab:
    """Two servers with a tunnel."""
    router.install(plan(router.keys))
    router.apply()
    router.peer(PEER)
    return router


def until(done: Callable[[], bool]) -> None:
    for _ in range(100):
        if done():
            return
        time.sleep(0.1)
    raise AssertionError("not in time")


def received(link: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := link.recv(65536)):
        data += more
    return data


def encrypted(frame: bytes) -> bool:
    return frame[12:14] == b"\x08\x00" and frame[23] == 50


def test_both_servers_encrypt_and_the_peer_answers(lab: Lab) -> None:
    """From a host at each: what n0 takes in crosses the fabric encrypted; answers are decrypted by n1 alone."""
    with lab.wire() as frames:
        assert "2 received" in lab.ping("h0")
        assert "2 received" in lab.ping("h1")
        assert "2 received" in lab.ping("peer", "198.18.0.2", source=FAR)
    spis = {frame[34:38].hex() for frame in frames if encrypted(frame)}
    assert spis == {"00070000", "00070100"}, "n0's, which the peer uses as well, and n1's"
    # h1 is on the same switch: what is from it and for it passes there in the clear.
    host = bytes((198, 18, 1, 3))
    assert [each for each in frames if CANARY[:16] in each and host not in (each[26:30], each[30:34])] == []
    assert lab.tunnel("n0")["out"]["packets"] >= 4
    assert "in" not in lab.tunnel("n0")
    assert lab.tunnel("n1")["in"]["packets"] >= 6
    counted = lab.servers["n0"].node("counters")
    assert counted["total"]["punted"]["ipsec"] >= 2
    assert counted["tunnels"] == [lab.tunnel("n0")]
    assert lab.servers["n0"].node("sample")["tunnels"] == [lab.tunnel("n0")]


def test_the_second_apply_changes_nothing(lab: Lab) -> None:
    assert lab.servers["n1"].node("apply")["changes"] == []


def test_no_key_is_on_a_server_but_in_its_file(lab: Lab) -> None:
    server = lab.servers["n1"]
    for path in (path for path in server.folder.rglob("*") if path.is_file()):
        found = any(word[:16] in path.read_bytes().decode("latin1") for word in GCM)
        assert found == (path.name == "ipsec.keys"), path
    shown = json.dumps(server.node("show"))
    assert "inbound association 0x70000" in shown
    assert not any(word[:16] in shown for word in GCM)


def test_segments_of_any_size_go_both_ways(lab: Lab) -> None:
    """TCP from both servers: the kernel tells hosts the tunnel's MTU, since their segments may not be cut."""
    data = bytes(range(256)) * 400
    for host in ("h0", "h1"):
        with lab.connected(host) as ends:
            for sender, receiver in (ends, ends[::-1]):
                with ThreadPoolExecutor(1) as pool:
                    sent = pool.submit(sender.sendall, data)
                    assert received(receiver, len(data)) == data
                    sent.result()
    assert "1 received" in lab.run("h0", "ping", "-c", "1", "-W", "5", "-s", "1600", FAR)


def test_replayed_and_tampered_packets_are_dropped_and_counted(lab: Lab) -> None:
    with lab.wire() as frames:
        lab.ping("peer", "198.18.0.2", source=FAR)
    own = [frame for frame in frames if encrypted(frame) and frame[26:30] == bytes((198, 18, 1, 2))]
    before = lab.tunnel("n1")["in"]
    lab.inject(own[0])
    until(lambda: lab.tunnel("n1")["in"]["replayed"] == before["replayed"] + 1)
    # Ahead of all others, so that the window lets it through to the check of its value.
    ahead = (int.from_bytes(own[-1][38:42], "big") + 10).to_bytes(4, "big")
    lab.inject(own[-1][:38] + ahead + own[-1][42:])
    lab.inject(own[-1][:38] + ahead + own[-1][42:60] + bytes((own[-1][60] ^ 1,)) + own[-1][61:])
    until(lambda: lab.tunnel("n1")["in"]["failed"] == before["failed"] + 2)
    assert lab.tunnel("n1")["in"]["packets"] == before["packets"]
    assert "2 received" in lab.ping("h0")


def test_nothing_leaves_in_the_clear_whatever_is_gone(lab: Lab) -> None:
    """Shown by diff, repaired by apply; meanwhile packets are dropped, though a default route would lead on."""
    server = lab.servers["n0"]
    server.run("ip", "route", "add", "default", "via", "169.254.1.1", "dev", "int1", "onlink", "table", "82")
    with lab.wire() as frames:
        for hand in ("ip xfrm state flush", "ip xfrm policy flush", "ip link del rbops-t7"):
            server.run("sh", "-c", hand)
            lab.ping("h0", count=1, wait=1, check=False)
    assert not any(CANARY[:16] in frame for frame in frames)
    found = {(each["subject"], each["setting"]): each["have"] for each in server.node("diff", code=1)}
    assert found["tunnel 7", "interface"] == "absent"
    assert found["tunnel 7", "outbound association 0x70000"] == "absent"
    assert found["kernel routes", "10.9.0.0/16"] == "absent"
    server.run("ip", "route", "del", "default", "table", "82")
    server.node("apply")
    before = lab.tunnel("n0")["out"]["packets"]
    # Its sequence numbers begin anew, and the peer drops them as replays.
    lab.ping("h0", count=1, wait=1, check=False)
    assert (before, lab.tunnel("n0")["out"]["packets"]) == (0, 1)


def test_a_change_is_taken_back_with_its_keys(lab: Lab) -> None:
    """Another cipher, other keys and another network behind the peer."""
    before = {name: lab.kernel(name) for name in lab.servers}
    other = plan(lab.keys, cipher="aes128-sha256", prefixes=("10.8.0.0/16",))
    for server in lab.servers.values():
        server.node("begin", "--run", "r1", "--timeout", "600")
    try:
        lab.install(other, CBC)
        lab.apply()
        assert all(lab.kernel(name)[0] != had[0] for name, had in before.items())
    finally:
        for server in lab.servers.values():
            assert server.node("revert", "--run", "r1")["reverted"]
    for name, server in lab.servers.items():
        after = lab.kernel(name)
        for number, what in enumerate(("associations", "policies", "interfaces", "routes", "addresses")):
            assert after[number] == before[name][number], what
        assert (server.etc / "ipsec.keys").read_text().split() == list(GCM)
        assert server.node("diff") == []
    lab.keys.write_text(key_file(GCM))
    lab.peer(PEER)
    assert "2 received" in lab.ping("h0")
    assert "2 received" in lab.ping("peer", "198.18.0.2", source=FAR)


def outcome(lab: Lab) -> SelftestResult:
    """Testers are h0, and the peer's cable without its switch: they stand in for neighbours."""
    made = plan(lab.keys)
    testers = [FakeTester(0, lab.spaces["h0"], "eth0"), FakeTester(1, lab.spaces["peer"], "p-ext1")]

    def read() -> dict[str, Any]:
        return {name: server.node("counters") for name, server in lab.servers.items()}

    return run_selftest(made, testers, read, SelftestOptions(phases=("tunnels",)))


def test_the_self_test_opens_what_goes_through(lab: Lab) -> None:
    """Twice, as the second one must not be taken for a replay. With other keys than the servers' it fails."""
    lab.run("peer", "ip", "xfrm", "state", "flush")
    lab.run("peer", "ip", "link", "set", "p-ext1", "nomaster")
    try:
        for _ in range(2):
            found = outcome(lab)
            assert [fault.text for fault in found.faults] == []
            rows = [(run.way, run.server, run.port, run.sent, run.received, run.wrong) for run in found.tunnel_runs]
            assert rows == [
                ("out", "n0", 0, 24, 24, 0),
                ("out", "n1", 1, 24, 24, 0),
                ("in", "n0", 0, 24, 24, 0),
                ("in", "n1", 1, 24, 24, 0),
            ]
            assert found.notes == ()
        lab.keys.write_text(key_file(OTHER))
        failed = outcome(lab)
        assert not failed.passed
        assert {fault.kind for fault in failed.faults} == {"loss", "corrupt"}
        assert not any(word[:8] in f"{failed!r}{failed.to_dict()}" for word in (*GCM, *OTHER))
    finally:
        lab.keys.write_text(key_file(GCM))
        lab.run("peer", "ip", "link", "set", "p-ext1", "master", "switch")
        lab.peer(PEER)


def test_esp_in_udp(lab: Lab, tmp_path: Path) -> None:
    """Both ways, with nothing else on the wire; the watch of the server that decrypts holds the socket."""
    lab.install(plan(lab.keys, udp=True))
    changed = {change["setting"] for change in lab.apply()["n1"]}
    assert {"outbound association 0x70100", "inbound association 0x70000"} <= changed
    lab.peer(replace(PEER, udp=True))
    with lab.taking_udp(), watched(lab.servers["n1"], tmp_path / "log"), lab.wire() as frames:
        until(lambda: ":4500" in lab.servers["n1"].run("ss", "-Hlun").stdout)
        before = lab.servers["n1"].node("counters")["total"]["punted"]["ipsec"]
        assert "2 received" in lab.ping("h0")
        assert "2 received" in lab.ping("peer", "198.18.0.2", source=FAR)
        assert lab.servers["n1"].node("counters")["total"]["punted"]["ipsec"] >= before + 4
        assert "1 received" in lab.run("h0", "ping", "-c", "1", "-W", "5", "-s", "1600", FAR)
    in_udp = [frame for frame in frames if frame[23] == 17 and frame[34:38] == (4500).to_bytes(2, "big") * 2]
    assert len(in_udp) >= 8
    assert not any(encrypted(frame) for frame in frames)
    assert not any(CANARY[:16] in frame for frame in frames)
    lab.install(plan(lab.keys))
    lab.apply()
    lab.peer(PEER)


def test_other_keys_another_cipher_and_a_wrong_key(lab: Lab) -> None:
    lab.install(plan(lab.keys, cipher="aes128-sha256"), CBC)
    changed = {change["setting"] for change in lab.apply()["n1"]}
    assert {"outbound association 0x70100", "inbound association 0x70000"} <= changed
    wrong = (*CBC[:2], CBC[2], "11" * 2 + CBC[3][4:])
    lab.peer(replace(PEER, keys=wrong))
    lab.ping("peer", "198.18.0.2", source=FAR, count=1, wait=1, check=False)
    counted = lab.tunnel("n1")["in"]
    assert [counted[name] for name in ("packets", "bytes", "replayed", "failed")] == [0, 0, 0, 1]
    lab.peer(replace(PEER, keys=CBC))
    assert "2 received" in lab.ping("h0")
    assert "2 received" in lab.ping("peer", "198.18.0.2", source=FAR)


def test_nothing_stays_of_a_tunnel_that_is_not_planned(lab: Lab) -> None:
    """Last: what was there is forwarded as without it."""
    without = plan(lab.keys)
    lab.install(replace(without, forwarding=replace(without.forwarding, application="route", tunnels=())))
    lab.apply()
    for server in lab.servers.values():
        assert server.run("ip", "xfrm", "state").stdout + server.run("ip", "xfrm", "policy").stdout == ""
        assert "rbops-t7" not in server.run("ip", "link").stdout
        assert "10.9.0.0/16" not in server.run("ip", "route", "show", "table", "82").stdout
        assert "198.18.1.1/32" not in server.run("ip", "address", "show", "lo").stdout


def test_the_kernel_is_asked_before_any_change() -> None:
    """What a kernel without it says is in test_tunnels.py."""
    config = SimpleNamespace(tunnels=(tunnel(), tunnel(cipher="aes128-sha256")), server="n0")
    check(config, Kernel())  # type: ignore[arg-type]
