"""What another manager of the network takes away comes back, is recorded and is told."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rbops.node import guard, managers
from rbops.node.settings import Put, Run, Setting
from rbops.node.state import State
from rbops.node.system import Done
from tests.node.conftest import DRIVER, ROOT, Server, command
from tests.node.recorded import Recorded
from tests.system.driver import wait_for

TAKEN = (
    "ip rule del pref 85",
    "ip rule del pref 83 iif ext0; ip rule del pref 82 iif ext0",
    "ip rule add pref 0 lookup local",
    "ip route flush table 82",
    "ip address flush dev ext0",
    "ip address del 198.18.0.1/32 dev int2",
    "nft delete table ip rbops; ip rule del pref 85",
    "ip link set int1 down; ip link set int1 up",
)

MOVED = "198.18.1.0/24 via 169.254.1.0 dev int2 onlink src 198.18.0.1 proto 82 table 82"
"""Of port 1, whose planned way is int1."""


@contextmanager
def watched(server: Server, log: Path) -> Iterator[None]:
    words = ("nsenter", f"--target={server.pid}", "--mount", "--net", "env", f"PYTHONPATH={ROOT}", sys.executable)
    with log.open("w", encoding="utf-8") as said:
        process = subprocess.Popen([*words, str(DRIVER), server.state, server.etc / "node.json", "watch"], stderr=said)
        try:
            yield
        finally:
            process.kill()
            process.wait()


@pytest.mark.root
def test_what_was_taken_away_comes_back(server: Server, tmp_path: Path) -> None:
    server.install()
    server.node("apply")
    before, log = server.kernel(), tmp_path / "journal"
    assert server.node("status")["restored"] is None
    with watched(server, log):
        for number, command in enumerate(TAKEN, 1):
            server.run("sh", "-c", command)
            wait_for(f"{command} undone", lambda: server.kernel() == before, 30)
            wait_for("its record", lambda number=number: log.read_text().count("restored") >= number, 30)
    status = server.node("status")
    assert status["missing"] == []
    assert status["restored"]["count"] >= len(TAKEN)
    assert "restored: policy rules: pref 85 iif lo lookup 82 suppress_prefixlength 0 (was absent)" in log.read_text()
    assert server.node("diff") == []


@pytest.mark.root
def test_routes_over_a_cut_cable_stay_where_they_were_moved(server: Server, tmp_path: Path) -> None:
    """As rbops-fib moves them: one is led over another cable, one is missing. A rule shows that the watch looked."""
    server.install()
    server.node("apply")
    before = server.kernel()
    with watched(server, tmp_path / "journal"):
        command("ip", "-n", server.peer, "link", "set", "p-int1", "down")
        wait_for("the loss", lambda: "NO-CARRIER" in server.run("ip", "link", "show", "int1").stdout, 30)
        server.run("sh", "-c", f"ip route replace {MOVED}")
        server.run("ip", "route", "del", "198.18.1.2", "table", "82")
        away = server.kernel()
        server.run("ip", "rule", "del", "pref", "85")
        wait_for("the rule", lambda: server.kernel()["rules"] == before["rules"], 30)
        assert server.kernel()["routes"] == away["routes"]
        assert server.node("status")["missing"] == []
        assert [one["setting"] for one in server.node("diff", code=1)] == ["198.18.1.2/32"], "this one is nowhere"
        command("ip", "-n", server.peer, "link", "set", "p-int1", "up")
        wait_for("all as planned", lambda: server.kernel() == before, 30)
    assert server.node("diff") == []


HEARD = """\
import socket, subprocess
from rbops.node import guard
with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as link:
    guard._listen(link)
    link.bind((0, guard._GROUPS))
    for protocol in ("bird", "82", "bgp"):
        for verb in ("add", "del"):
            route = f"ip route {verb} blackhole 192.0.2.0/24 table 82 proto {protocol}"
            subprocess.run(route.split(), check=True)
    subprocess.run("ip rule add pref 9 lookup 9".split(), check=True)
    subprocess.run("ip rule del pref 9".split(), check=True)
    link.setblocking(False)
    try:
        while data := link.recv(1 << 16):
            print(int.from_bytes(data[4:6], "little"), data[21])
    except BlockingIOError:
        pass
"""
"""What wakes the watch, of routes of three protocols that come and go, and of a rule: kind and byte 21."""


@pytest.mark.root
def test_routes_of_a_daemon_that_go_wake_nobody(server: Server) -> None:
    said = server.run("env", f"PYTHONPATH={ROOT}", sys.executable, "-c", HEARD).stdout.splitlines()
    heard = [line.split() for line in said]
    assert [kind for kind, _ in heard] == ["25", "32", "33"]
    assert heard[0][1] == "82"


@pytest.mark.root
def test_without_the_watch_status_names_what_is_missing(server: Server) -> None:
    server.install()
    server.node("apply")
    server.run("ip", "rule", "del", "pref", "82", "iif", "ext0")
    found = [(one["subject"], one["setting"]) for one in server.node("status")["missing"]]
    assert found == [("policy rules", "pref 82 iif ext0 lookup 82")]


def test_what_somebody_adds_stays(tmp_path: Path) -> None:
    stranger = Setting("port ext0", "address 10.0.0.1/8", "present", "absent")
    assert not guard._lacks(stranger)
    assert guard._lacks(Setting("policy rules", "pref 0 lookup local", "present", "absent"))
    assert guard._lacks(Setting("port ext0", "address 198.18.0.1/24", "absent", "present"))
    state = State(tmp_path)
    assert guard.restored(state) is None
    for at in range(30):
        guard.record(state, [stranger], now=100.0 + at)
    assert guard.restored(state, now=139.0) == {"count": 30, "age_s": 10, "last": "port ext0: address 10.0.0.1/8"}


class OneNamespace(Recorded):
    """As on a server: init is in the same network namespace."""

    def real(self, path: str) -> str:
        return "/proc/9/ns/net:[4026531840]" if path.endswith("/ns/net") else super().real(path)

    def run(self, argv: tuple[str, ...], stdin: str = "") -> Done:
        if argv[:2] == ("systemctl", "is-active"):
            return Done(0, "active\n", "")
        return super().run(argv, stdin)


FILES = {
    "/run/systemd/system/x": "",
    "/lib/systemd/system/systemd-networkd.service": "[Unit]",
    "/etc/NetworkManager/NetworkManager.conf": "",
    "/etc/cloud/cloud.cfg": "",
}


def test_managers_are_told_or_named() -> None:
    system = OneNamespace(files=dict(FILES))
    found = {setting.name: setting for setting in managers.settings(["eth7", "eth8"], system)}
    assert set(found) == {"systemd-networkd", "NetworkManager", "tuned", "cloud-init"}
    assert {name for name, setting in found.items() if setting.differs} == {"systemd-networkd", "NetworkManager"}
    conf, network, restart = found["systemd-networkd"].actions
    assert isinstance(conf, Put)
    assert "ManageForeignRoutingPolicyRules=no\nManageForeignRoutes=no" in str(conf.text)
    assert isinstance(network, Put)
    assert "Name=eth7 eth8\n\n[Link]\nUnmanaged=yes" in str(network.text)
    assert restart == Run(("systemctl", "try-restart", "systemd-networkd.service"))
    keyfile = found["NetworkManager"].actions[0]
    assert isinstance(keyfile, Put)
    assert "unmanaged-devices+=interface-name:eth7;interface-name:eth8" in str(keyfile.text)
    for setting in found.values():
        for action in setting.actions:
            if isinstance(action, Put):
                system.put(action.path, action.text)
    assert not any(setting.differs for setting in managers.settings(["eth7", "eth8"], system))
    system.files["/etc/cloud/cloud.cfg.d/99-off.cfg"] = "network: {config: disabled}"
    assert "cloud-init" not in {setting.name for setting in managers.settings(["eth7"], system)}


def test_files_of_netplan_that_name_a_port_are_named() -> None:
    texts = {
        "/etc/netplan/50-cloud-init.yaml": "network: {version: 2, ethernets: {eth7: {dhcp4: true}, eth8.5: {}}}\n",
        "/etc/netplan/99-bridge.yaml": "network:\n  bridges:\n    br0:\n      interfaces: [eth1, 'eth9']  # eth7\n",
        "/etc/netplan/old.yaml.disabled": "eth7:\n",
        "/run/netplan/x.yaml": "network:\n  ethernets:\n    nic:\n      match: {macaddress: 1}\n      set-name: eth7\n",
    }
    found = managers.settings(["eth7", "eth8", "eth9"], OneNamespace(files=FILES | texts))
    told = {each.name: (each.have, each.unsupported) for each in found if each.name.startswith("netplan")}
    assert {name: have for name, (have, _) in told.items()} == {
        "netplan /etc/netplan/50-cloud-init.yaml": "configures eth7",
        "netplan /etc/netplan/99-bridge.yaml": "configures eth9",
        "netplan /run/netplan/x.yaml": "configures eth7",
    }
    assert all("take it out there" in reason for _, reason in told.values())


def test_ifupdown_is_named_where_it_configures_a_port() -> None:
    texts = {
        "/etc/network/interfaces": "# iface eth9\nauto lo eth1\niface lo inet loopback\nsource interfaces.d/*\n",
        "/etc/network/interfaces.d/data": "allow-hotplug eth7\niface eth7 inet dhcp\n",
    }
    found = managers.settings(["eth7", "eth8", "eth9"], OneNamespace(files=FILES | texts))
    told = {setting.name: setting.unsupported for setting in found}
    assert told["ifupdown"] == "it configures eth7 too: take the stanza out of /etc/network/interfaces"
    assert "ifupdown" not in {
        each.name for each in managers.settings(["eth8", "eth9"], OneNamespace(files=FILES | texts))
    }


class Firewall(OneNamespace):
    """Chains as `nft -j list chains` gives them on a server with Docker."""

    policy = "drop"

    def run(self, argv: tuple[str, ...], stdin: str = "") -> Done:
        if argv[:3] == ("nft", "-j", "list"):
            base = {"family": "ip", "table": "filter", "handle": 1, "type": "filter", "hook": "forward", "prio": 0}
            rows = [
                {"metainfo": {"json_schema_version": 1}},
                {"chain": {**base, "name": "FORWARD", "policy": self.policy}},
                {"chain": {**base, "name": "INPUT", "hook": "input", "policy": "drop"}},
                {"chain": {**base, "family": "ip6", "name": "FORWARD", "policy": "drop"}},
                {"chain": {"family": "ip", "table": "filter", "name": "DOCKER-USER", "handle": 2}},
            ]
            return Done(0, json.dumps({"nftables": rows}), "")
        return super().run(argv, stdin)


def test_a_firewall_that_forwards_nothing_is_named() -> None:
    found = [each for each in managers.settings(["eth7"], Firewall(files=dict(FILES))) if "firewall" in each.name]
    assert [each.name for each in found] == ["firewall ip filter FORWARD"]
    assert "DOCKER-USER" in found[0].unsupported
    system = Firewall(files=dict(FILES))
    system.policy = "accept"
    assert not [each for each in managers.settings(["eth7"], system) if "firewall" in each.name]


@pytest.mark.parametrize("files", [{}, {k: v for k, v in FILES.items() if "/run" not in k}])
def test_no_manager_no_files(files: dict[str, str]) -> None:
    assert managers.settings(["eth7"], OneNamespace(files=files)) == []


def test_another_namespace_is_not_theirs() -> None:
    """A server in a namespace of its own on a machine with systemd: its manager does not see these devices."""
    numbers = {"/proc/self/ns/net": "net:[1]", "/proc/1/ns/net": "net:[2]"}
    assert managers.settings(["eth7"], Recorded(files=dict(FILES), links=numbers)) == []
