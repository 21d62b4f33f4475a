"""rbops-node against a real kernel: what it says is compared with what ip, ethtool and sysfs say."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rbops.verify.rows import parse, with_every_port
from tests.node.conftest import PORTS, ROOT, Server, command

pytestmark = pytest.mark.root


def test_apply_makes_it_so(server: Server) -> None:
    server.install()
    assert server.node("diff", code=1)
    applied = server.node("apply")
    assert {"subject": "port ext0", "setting": "channels", "have": "rx 1 tx 1", "want": "rx 2 tx 2"} in applied[
        "changes"
    ]
    assert applied["unsupported"] == []
    kernel = server.kernel()
    for port in PORTS:
        link = kernel["links"][port]
        assert link["xdp"] == 1, "native"
        assert {"UP", "LOWER_UP"} <= set(link["flags"])
        assert ("PROMISC" in link["flags"], "NOARP" in link["flags"]) == ((port != "ext0"),) * 2
        assert f"{port}/queues/tx-1/xps_cpus:2" in kernel["queues"]
        assert f"ipv6/conf/{port}/disable_ipv6:1" in kernel["sysctl"]
    assert "ext0    inet 198.18.0.1/24" in kernel["addresses"]
    assert kernel["addresses"].count("inet 198.18.0.1/32") == 3, "the internal ports"
    assert kernel["addresses"].count(" inet ") == 4
    assert "ipv4/ip_forward:1" in kernel["sysctl"]
    assert kernel["neighbors"] == [
        "ext0 198.18.0.2 02:4e:00:00:00:02",
        *(f"int{n} 169.254.{n}.{a} 02:52:00:0{n}:00:0{a}" for n in (1, 2, 3) for a in (0, 1)),
    ]
    routes = kernel["routes"].splitlines()
    assert len(routes) == 14
    assert any(
        r.startswith("203.0.113.0/24 via 169.254.3.1 dev int3") and "onlink" in r and "src 198.18.0.1" in r
        for r in routes
    )
    assert any(r.startswith("203.0.113.128/25 via 198.18.0.2 dev ext0") for r in routes)


def test_second_apply_changes_nothing(server: Server) -> None:
    server.install()
    server.node("apply")
    before = server.kernel()
    programs = server.node("status")["dataplane"]["devices"]
    assert server.node("diff") == []
    assert server.node("apply")["changes"] == []
    assert server.kernel() == before
    assert server.node("status")["dataplane"]["devices"] == programs


def test_show_has_a_row_for_everything_as_verify_reads_it(server: Server) -> None:
    server.install()
    server.node("apply")
    rows = parse(json.dumps(server.node("show")))
    assert [row for row in rows if row.have != row.want and not row.reason] == []
    assert with_every_port(rows, PORTS) == rows
    found = {(row.subject, row.setting): row.have for row in rows}
    assert found["port ext0", "channels"] == "rx 2 tx 2"
    assert found["port int1", "offload gro"] == "on"
    assert found["port int2", "xps tx-1"] == "1"
    assert found["sysctl", "net.ipv4.ip_forward"] == "1"
    assert {"policy rules", "kernel routes", f"file {server.etc}/routes.csv"} <= {row.subject for row in rows}
    server.run("ethtool", "-K", "int1", "gro", "off")
    (changed,) = (row for row in parse(json.dumps(server.node("show"))) if row.have != row.want)
    assert str(changed) == "offload gro is off, planned on"


def test_diff_touches_nothing(server: Server) -> None:
    server.install()
    before = server.kernel()
    assert server.node("diff", code=1)
    assert server.kernel() == before
    assert list(server.state.iterdir()) == []


def test_diff_before_the_files_are_there(server: Server, tmp_path: Path) -> None:
    """Check mode of a push: node.json is new, the table and the program are not there yet."""
    server.install()
    for name in ("routes.csv", "fib.bin"):
        (server.etc / name).rename(tmp_path / name)
    found = server.node("diff", code=1)
    assert {"file", "port", "data"} <= {difference["subject"].split()[0] for difference in found}
    assert server.node("apply", code=3)["code"] == "node.file"


def test_diff_before_new_routes_are_there(server: Server) -> None:
    server.install()
    server.node("apply")
    routes = json.loads((server.etc / "node.json").read_text())["routes"]
    server.install(routes={**routes, "sha256": "0" * 64})
    found = server.node("diff", code=1)
    assert [entry["subject"] for entry in found] == [f"file {server.etc}/routes.csv"]


def test_cut_file_is_refused_before_any_change(server: Server) -> None:
    server.install()
    before = server.kernel()
    path = server.etc / "routes.csv"
    path.write_bytes(path.read_bytes()[:-10])
    assert server.node("apply", code=3)["code"] == "node.file"
    assert server.kernel() == before


BY_HAND = [
    ("ip link set int1 promisc off", "port int1"),
    ("ip address del 198.18.0.1/24 dev ext0", "port ext0"),
    ("ip address add 10.9.9.9/32 dev int2", "port int2"),
    ("ip neigh replace 169.254.3.1 lladdr 02:00:00:00:00:01 dev int3 nud permanent", "port int3"),
    (
        "ip route replace 203.0.113.0/24 via 169.254.2.1 dev int2 onlink src 198.18.0.1 proto 82 table 82",
        "kernel routes",
    ),
    ("ip route del 203.0.113.0/24 table 82", "kernel routes"),
    ("ip route add 9.9.9.0/24 dev int2 proto 82 table 82", "kernel routes"),
    ("sh -c 'echo 0 > /proc/sys/net/ipv4/ip_forward'", "sysctl"),
    ("sh -c 'echo 3 > /sys/class/net/int3/queues/tx-0/xps_cpus'", "port int3"),
    ("ethtool -K ext0 gro off", "port ext0"),
    ("ip link set dev int2 xdp off", "port int2"),
    ("ip rule del pref 85", "policy rules"),
    ("ip rule del pref 83 iif int2", "policy rules"),
    ("ip rule add pref 82 from 10.1.1.1 lookup main", "policy rules"),
    ("ip rule add pref 0 lookup local protocol kernel", "policy rules"),
    ("ip route del 198.18.0.1 table 82", "kernel routes"),
    ("ip link set dev ext0 mtu 1400", "port ext0"),
    ("ip link set dev int1 down", "port int1"),
]


def test_changed_by_hand(server: Server) -> None:
    """Shown by diff, repaired by apply."""
    server.install()
    server.node("apply")
    before = server.kernel()
    for hand, subject in BY_HAND:
        server.run("sh", "-c", hand)
        assert subject in {difference["subject"] for difference in server.node("diff", code=1)}, hand
        assert server.node("apply")["changes"]
        assert server.kernel() == before, hand
    assert server.node("diff") == []


def napi_threads(server: Server, port: str) -> dict[int, str]:
    """NAPI id -> the CPUs that the port's polling threads may run on."""
    script = f"grep -lE '^napi/{port}-[0-9]+$' /proc/[0-9]*/comm 2>/dev/null"
    found = {}
    for path in server.run("sh", "-c", f"{script}; true").stdout.split():
        pid = path.split("/")[2]
        name = server.run("cat", path).stdout.strip()
        allowed = server.run("taskset", "-pc", pid).stdout.rpartition(": ")[2].strip()
        found[int(name.rpartition("-")[2])] = allowed
    return dict(sorted(found.items()))


def test_threaded_napi(server: Server) -> None:
    """Each queue's thread is on its core, though veth makes the threads when the program is attached."""
    server.install()
    before = server.kernel()
    text = json.loads((server.etc / "node.json").read_text())
    napi = {"threaded_napi": True, "defer_hard_irqs": 2, "flush_timeout_ns": 200000}
    server.install(ports=[{**port, "nic": {**port["nic"], **napi}} for port in text["ports"]])
    server.node("apply")
    for port in PORTS:
        assert list(napi_threads(server, port).values()) == ["0", "1"]
        for name, value in (("threaded", "1"), ("napi_defer_hard_irqs", "2"), ("gro_flush_timeout", "200000")):
            assert server.run("cat", f"/sys/class/net/{port}/{name}").stdout.strip() == value
    assert server.node("apply")["changes"] == []
    assert server.node("diff") == []
    server.run(
        "sh",
        "-c",
        "for t in $(grep -lE '^napi/int1-' /proc/[0-9]*/comm); do taskset -pc 0-1 $(echo $t | cut -d/ -f3); done",
    )
    assert {found["setting"] for found in server.node("diff", code=1)} == {"napi thread 0", "napi thread 1"}
    server.node("apply")
    assert list(napi_threads(server, "int1").values()) == ["0", "1"]
    server.install()
    names = {change["setting"] for change in server.node("apply")["changes"]}
    assert {"threaded", "napi_defer_hard_irqs", "gro_flush_timeout"} <= names
    assert napi_threads(server, "ext0") == {}
    assert server.kernel() != before
    assert server.node("diff") == []


def test_what_is_no_longer_planned_goes(server: Server) -> None:
    server.install()
    server.node("apply")
    text = json.loads((server.etc / "node.json").read_text())
    sysctl: dict[str, str] = {**text["sysctl"]}
    del sysctl["net.ipv4.icmp_errors_use_inbound_ifaddr"]
    ports: list[dict[str, Any]] = [{**port, "nic": {}} if port["name"] == "int2" else port for port in text["ports"]]
    ports[0] = {**ports[0], "addresses": ["198.18.0.9/24"]}
    server.install(sysctl=sysctl, ports=ports)
    names = {(change["subject"], change["setting"]) for change in server.node("apply")["changes"]}
    assert ("sysctl", "net.ipv4.icmp_errors_use_inbound_ifaddr") in names
    assert ("port ext0", "address 198.18.0.1/24") in names
    kernel = server.kernel()
    assert "ipv4/icmp_errors_use_inbound_ifaddr:0" in kernel["sysctl"]
    assert "198.18.0.9/24" in kernel["addresses"]
    assert "198.18.0.1/24" not in kernel["addresses"]
    assert server.node("diff") == []


PING = """
import socket, struct, sys
target, hops = sys.argv[1], int(sys.argv[2])
with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as link:
    link.settimeout(3)
    link.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)
    echo = struct.pack("!BBHHH", 8, 0, 0xF7FD, 1, 1)
    link.sendto(echo, (target, 0))
    while True:
        data, (source, _) = link.recvfrom(2048)
        if data[20] != 8:
            print(source, data[20], data[21])
            break
"""


@pytest.mark.parametrize(
    ("target", "hops", "answer"),
    [("198.18.0.1", 64, "198.18.0.1 0 0"), ("8.8.8.8", 64, "198.18.0.1 3 0"), ("203.0.113.9", 1, "198.18.0.1 11 0")],
    ids=["echo", "net unreachable", "time exceeded"],
)
def test_icmp(server: Server, target: str, hops: int, answer: str) -> None:
    """The kernel answers for the router: from the port's address, to where the packet came from."""
    server.install()
    server.node("apply")
    for words in (
        "link set p-ext0 address 02:4e:00:00:00:02",
        "address add 198.18.0.2/24 dev p-ext0",
        "route add default via 198.18.0.1",
    ):
        command("ip", "-n", server.peer, *words.split())
    done = command("ip", "netns", "exec", server.peer, sys.executable, "-c", PING, target, str(hops))
    assert done.stdout.strip() == answer


def test_missing_device(server: Server) -> None:
    server.install()
    server.run("ip", "link", "del", "int3")
    error = server.node("apply", code=3)
    assert (error["code"], error["where"]) == ("node.no-device", {"server": "n0", "device": "int3"})


OVS = f"cd {ROOT} && {sys.executable} -m tests.node.ovs"


@pytest.mark.parametrize(
    ("upper", "make"),
    [
        ("br0", "ip link add br0 type bridge && ip link set int3 master br0"),
        ("bond9", "ip link add bond9 type bond && ip link set int3 down && ip link set int3 master bond9"),
        ("int3.7", "ip link add link int3 name int3.7 type vlan id 7"),
        ("mv0", "ip link add link int3 name mv0 type macvlan"),
        # The datapath's own device, ovs-system where Open vSwitch's daemon makes it.
        ("dp0", f"modprobe -q openvswitch || echo Unknown device type >&2; {OVS} int3"),
    ],
)
def test_a_port_in_use_is_refused(server: Server, upper: str, make: str) -> None:
    done = server.run("sh", "-c", make, check=False)
    if "Unknown device type" in done.stderr:
        pytest.skip("this kernel lacks bonds, VLANs, macvlans or Open vSwitch: tests/fullkernel has them")
    server.install()
    before = server.kernel()
    error = server.node("apply", code=3)
    assert (error["code"], error["where"]) == ("node.port-in-use", {"server": "n0", "device": "int3"})
    assert f"{upper} is on top of it" in error["message"]
    assert server.kernel() == before


def test_a_vrf_is_refused_where_the_kernel_has_none(server: Server) -> None:
    """Made where it has; a revert takes it away, and the rules that the kernel made for it."""
    if "Unknown device type" in server.run("ip", "link", "add", "v", "type", "vrf", "table", "9", check=False).stderr:
        server.install(separation="vrf")
        before = server.kernel()
        error = server.node("apply", code=3)
        assert (error["code"], error["where"]) == ("node.no-vrf", {"server": "n0"})
        assert server.kernel() == before
        return
    for line in ("link del v", "rule del pref 1000", "-6 rule del pref 1000"):
        server.run("ip", *line.split())
    before = server.kernel()
    server.node("begin", "--run", "r1", "--timeout", "600")
    server.install(separation="vrf")
    server.node("apply")
    assert "vrf table 82" in server.run("ip", "-d", "link", "show", "rbops").stdout
    assert server.kernel() != before
    assert server.node("revert", "--run", "r1")["reverted"]
    assert server.kernel() == before


def test_management_nic_is_refused(server: Server) -> None:
    server.install()
    server.run("ip", "link", "set", "int3", "up")
    server.run("ip", "route", "add", "default", "dev", "int3")
    assert server.node("apply", code=3)["code"] == "node.management"


def test_revert_to_nothing(server: Server) -> None:
    """The first change of a server is undone without a trace."""
    before = server.kernel()
    server.node("begin", "--run", "r1", "--timeout", "600")
    server.install()
    server.node("apply")
    assert server.kernel() != before
    assert server.node("status")["timer_armed"]
    assert server.node("revert", "--run", "r1")["reverted"]
    assert server.kernel() == before
    assert not server.etc.exists() or list(server.etc.iterdir()) == []
    assert sorted(path.name for path in server.state.iterdir() if path.name != "timer.log") == [".busy"]
    assert "rbops" not in server.run("ls", "/sys/fs/bpf").stdout
    assert server.node("revert")["reverted"] is False


def test_revert_to_the_configuration_before(server: Server) -> None:
    server.install()
    server.node("apply")
    before, digest = server.kernel(), server.node("status")["digest"]
    server.node("begin", "--run", "r2", "--timeout", "600")
    text = json.loads((server.etc / "node.json").read_text())
    server.install(
        digest="e" * 64,
        sysctl={**text["sysctl"], "net.ipv4.conf.ext0.log_martians": "1"},
        ports=[{**port, "mtu": 1400, "queues": port["queues"][:1]} for port in text["ports"]],
        dataplane={**text["dataplane"], "cores": [0]},
    )
    server.node("apply")
    assert "ipv4/conf/ext0/log_martians:1" in server.kernel()["sysctl"]
    assert server.node("revert", "--run", "r2")["reverted"]
    assert server.kernel() == before
    assert server.node("status")["digest"] == digest
    assert server.node("diff") == []


def test_timer_reverts(server: Server) -> None:
    """Without a confirmation the server reverts by itself."""
    before = server.kernel()
    server.node("begin", "--run", "r3", "--timeout", "2")
    server.install()
    server.node("apply")
    deadline = time.monotonic() + 15
    while (server.state / "snapshot").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not (server.state / "snapshot").exists(), (server.state / "timer.log").read_text()
    assert server.kernel() == before
    assert server.node("confirm", "--run", "r3", code=1)["code"] == "node.no-change"


def test_confirm(server: Server) -> None:
    server.node("begin", "--run", "r4", "--timeout", "600")
    server.install()
    server.node("apply")
    after = server.kernel()
    server.node("confirm", "--run", "r4")
    status = server.node("status")
    assert (status["timer_armed"], status["transaction"]) == (False, None)
    assert server.kernel() == after
    assert not (server.state / "snapshot").exists()


def test_boot_before_confirmation(server: Server) -> None:
    """The old configuration comes up."""
    server.install()
    server.node("apply")
    server.node("begin", "--run", "r5", "--timeout", "600")
    text = json.loads((server.etc / "node.json").read_text())
    server.install(digest="e" * 64, ports=[{**port, "mtu": 1400} for port in text["ports"]])
    server.node("apply")
    assert not server.node("boot")["restored"], "no reboot yet"
    manifest = server.state / "snapshot/manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "boot": "an earlier one"}))
    assert server.node("boot")["restored"]
    assert server.node("status")["digest"] == text["digest"]
    assert {link["mtu"] for link in server.kernel()["links"].values()} == {1500}
    assert server.node("status")["transaction"] is None


def test_counters(server: Server) -> None:
    server.install()
    server.node("apply")
    found = server.node("counters")
    assert found["server"] == "n0"
    assert {"0", "1"} <= set(found["cores"])


def test_dead_link_is_left_out(server: Server) -> None:
    """The watch reports a dead cable to the data plane, and when it is back."""
    import subprocess

    from tests.node.conftest import DRIVER, ROOT

    server.install()
    server.node("apply")
    argv = ["nsenter", f"--target={server.pid}", "--mount", "--net", "env", f"PYTHONPATH={ROOT}", sys.executable]
    watcher = subprocess.Popen([*argv, str(DRIVER), str(server.state), str(server.etc / "node.json"), "watch"])
    try:
        for state, dead in (("down", [2]), ("up", [])):
            command("ip", "-n", server.peer, "link", "set", "p-int2", state)
            deadline = time.monotonic() + 10
            while server.node("status")["dataplane"]["dead"] != dead and time.monotonic() < deadline:
                time.sleep(0.1)
            assert server.node("status")["dataplane"]["dead"] == dead
    finally:
        watcher.terminate()
        watcher.wait()


def test_256k_routes(server: Server) -> None:
    """Set, read back and compared; a changed one is found again."""
    import hashlib

    server.install()
    lines = ["prefix,port,adjacency,via"]
    lines += [f"{20 + (i >> 16)}.{i >> 8 & 255}.{i & 255}.0/24,{i % 4},1,198.18.{i % 4}.2" for i in range(1 << 18)]
    data = ("\n".join(lines) + "\n").encode()
    routes = {"file": str(server.etc / "routes.csv"), "sha256": hashlib.sha256(data).hexdigest(), "count": 1 << 18}
    server.install(routes=routes)
    (server.etc / "routes.csv").write_bytes(data)
    server.node("apply")
    assert len(server.run("ip", "route", "show", "table", "82").stdout.splitlines()) == (1 << 18) + 3
    assert server.node("diff") == []
    foreign = ("20.0.0.0/24", "via", "169.254.2.1", "dev", "int2", "onlink", "proto", "82", "table", "82")
    server.run("ip", "route", "replace", *foreign)
    found = server.node("diff", code=1)
    assert [(d["subject"], d["setting"]) for d in found] == [("kernel routes", "20.0.0.0/24")]
