"""A lab that is up: what its servers, cables and testers are, and what a loss of power does to them."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rbops.lab import layout
from rbops.lab.model import Lab
from rbops.lab.providers import load, provider
from tests.lab.plans import mesh

pytestmark = pytest.mark.lab


def _on(lab: Lab, target: str, command: str) -> str:
    """The stdout of a shell command on a server or tester; CalledProcessError when it fails."""
    args = lab.command(target, ["sh", "-ec", command])
    return subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def _until(condition: Callable[[], bool], what: str, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.05)


def test_status_says_what_the_plan_said(lab: Lab) -> None:
    found = lab.status()
    assert found.state == "up"
    assert [(server.name, server.running, server.ssh) for server in found.servers] == [
        ("n0", True, True),
        ("n1", True, True),
    ]
    assert {(cable.a, cable.b) for cable in found.cables} == {
        ("n0:ext0", "t0:ext0"),
        ("n0:int1", "n1:int0"),
        ("n1:ext1", "t1:ext1"),
    }
    assert [(tester.name, tester.present) for tester in found.testers] == [("t0", True), ("t1", True)]
    assert found.inventory == str(lab.inventory)
    assert lab.inventory.is_file()


def test_a_lab_is_loaded_by_name(lab: Lab) -> None:
    assert load(lab.name) == lab


def test_the_same_again_changes_nothing(lab: Lab) -> None:
    assert provider().up(mesh(2, cores=(0, 1)), lab.name).manifest == lab.manifest
    assert lab.status().state == "up"


def test_servers_have_booted_and_are_different_machines(lab: Lab) -> None:
    assert _on(lab, "n0", "hostname; systemctl is-system-running") == "n0\nrunning"
    assert _on(lab, "n1", "hostname") == "n1"
    assert _on(lab, "n0", "cat /etc/machine-id") != _on(lab, "n1", "cat /etc/machine-id")


def test_ports_have_planned_names_macs_and_queues(lab: Lab) -> None:
    look = "for d in ext* int*; do echo $d $(cat $d/address) $(ls $d/queues | sort); done"
    for server in lab.servers:
        expected = [f"{port.device} {port.mac} rx-0 rx-1 tx-0 tx-1" for port in server.ports]
        assert _on(lab, server.name, f"cd /sys/class/net; {look}").splitlines() == expected
    assert _on(lab, "n0", "ls /sys/class/net | xargs") == "ext0 int1 lo mgmt0"


def test_the_servers_own_kernel_state_can_be_written_and_the_hosts_cannot(lab: Lab) -> None:
    _on(lab, "n0", "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.ext0.rp_filter=2")
    _on(lab, "n0", "echo 3 >/sys/class/net/int1/queues/tx-0/xps_cpus")
    assert _on(lab, "n1", "sysctl -n net.ipv4.ip_forward") == "0"
    for path in ("/proc/sys/kernel/pid_max", "/proc/sys/fs/file-max", "/proc/irq/default_smp_affinity"):
        with pytest.raises(subprocess.CalledProcessError):
            _on(lab, "n0", f"cat {path} >/tmp/value; cat /tmp/value >{path}")


def test_what_rbops_installs_on_servers_is_there_already(lab: Lab) -> None:
    _on(lab, "n0", "python3 -c 'import ethtool, apt'; command -v ethtool bpftool ip ping tcpdump >/dev/null")
    assert "libbpf" in _on(lab, "n0", "ldconfig -p | grep libbpf.so.1")


def test_maps_can_be_made_and_pinned(lab: Lab) -> None:
    _on(lab, "n0", "bpftool map create /sys/fs/bpf/rbl type array key 4 value 4 entries 1 name rbl")
    assert "rbl" in _on(lab, "n0", "ls /sys/fs/bpf")
    assert "rbl" not in _on(lab, "n1", "ls /sys/fs/bpf")


def test_a_tester_is_its_ports_neighbour(lab: Lab) -> None:
    assert _on(lab, "t1", "cat /sys/class/net/ext1/address") == "02:4e:00:01:00:02"
    assert "generic-receive-offload: on" in _on(lab, "t1", "ethtool -k ext1")
    assert "default via 198.18.1.1 dev ext1" in _on(lab, "t1", "ip route")
    _on(lab, "n1", "ip addr replace 198.18.1.1/24 dev ext1; ip link set ext1 up")
    _on(lab, "n1", "ping -c 1 -W 5 198.18.1.2")


def test_a_cable_joins_the_two_planned_ports(lab: Lab) -> None:
    _on(lab, "n0", "ip addr replace 198.19.0.1/30 dev int1; ip link set int1 up")
    _on(lab, "n1", "ip addr replace 198.19.0.2/30 dev int0; ip link set int0 up")
    _on(lab, "n0", "ping -c 1 -W 5 198.19.0.2")
    assert "n0:int1 n1:int0 up" in [f"{cable.a} {cable.b} {cable.state}" for cable in lab.status().cables]


def test_no_frame_is_sent_on_a_cable_unasked(lab: Lab) -> None:
    _on(lab, "n1", "ip link set int0 up")
    _on(lab, "n0", "ip link set int1 down; ip link set int1 up")
    sent = "cat /sys/class/net/int1/statistics/tx_packets"
    before = _on(lab, "n0", sent)
    time.sleep(1.2)  # a router solicitation would come within 1 s
    assert _on(lab, "n0", sent) == before


def test_exit_codes_and_quoting_go_through(lab: Lab) -> None:
    for target in ("n0", "t0"):
        assert subprocess.run(lab.command(target, ["sh", "-c", "exit 37"]), check=False).returncode == 37
        text = "a 'b' \"c\" $HOME; `false` * \\"
        assert _on(lab, target, f"printf %s {shlex.quote(text)}") == text


def _boot_id(lab: Lab, server: str) -> str:
    try:
        return _on(lab, server, "cat /proc/sys/kernel/random/boot_id")
    except subprocess.CalledProcessError:
        return ""


@pytest.fixture
def program(tmp_path: Path) -> bytes:
    """An XDP program that passes everything, compiled."""
    source = tmp_path / "pass.c"
    source.write_text('__attribute__((section("xdp"), used)) int pass(void *ctx) { return 2; }\n', encoding="ascii")
    target = source.with_suffix(".o")
    subprocess.run(["clang", "-O2", "-g", "-target", "bpf", "-c", str(source), "-o", str(target)], check=True)
    return target.read_bytes()


_SETTINGS = """\
cat /sys/class/net/int1/queues/tx-*/xps_cpus /sys/class/net/int1/queues/rx-*/rps_cpus /sys/class/net/int1/threaded
cat /sys/class/net/int1/mtu /sys/class/net/int1/address /sys/class/net/int1/operstate /sys/class/net/int1/tx_queue_len
ethtool -l int1; ethtool -k int1; ip -d link show int1 | grep -c prog/xdp || true
ip -o addr show int1; ip route; ip rule; ip neigh show dev int1; sysctl net.ipv4.ip_forward net.ipv4.conf.int1
"""


def _change_all(lab: Lab, program: bytes) -> None:
    (layout.root_of(lab.name, lab.servers[0]) / "root/pass.o").write_bytes(program)
    _on(
        lab,
        "n0",
        "ethtool -L int1 tx 1; ethtool -K int1 gro on; echo 1 >/sys/class/net/int1/queues/tx-0/xps_cpus;"
        "echo 1 >/sys/class/net/int1/queues/rx-0/rps_cpus; ethtool -K int1 tso off rx off;"
        "ip link set int1 mtu 1400 promisc on txqueuelen 77 up; echo 1 >/sys/class/net/int1/threaded;"
        "ip addr replace 198.19.0.1/30 dev int1;"
        "ip route add 203.0.113.0/24 via 198.19.0.2; ip neigh replace 198.19.0.2 lladdr 02:52:00:01:00:01 dev int1;"
        "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.int1.rp_filter=2;"
        "ip -force link set int1 xdp obj /root/pass.o sec xdp",
    )


def test_a_server_whose_power_fails_comes_back_as_new(lab: Lab, program: bytes) -> None:
    lab.restart("n0")
    fresh = _on(lab, "n0", _SETTINGS)
    _on(lab, "n1", "ip link set int0 mtu 1450 up; ip addr replace 198.19.0.2/30 dev int0")
    boot = _boot_id(lab, "n0")
    _change_all(lab, program)
    changed = _on(lab, "n0", _SETTINGS)
    assert "\n1\n" in changed
    assert "203.0.113.0" in changed
    _on(lab, "n0", "ip -d link show int1 | grep -q prog/xdp; echo kept >/root/kept; sync")

    lab.kill("n0")
    found = lab.status()
    assert found.state == "degraded"
    assert [(server.name, server.running, server.ssh) for server in found.servers] == [
        ("n0", False, False),
        ("n1", True, True),
    ]
    assert {cable.a: cable.state for cable in found.cables}["n0:int1"] == "unplugged"
    assert _on(lab, "n1", "cat /sys/class/net/int0/carrier") == "0"

    lab.restart("n0")
    assert _on(lab, "n0", _SETTINGS) == fresh
    assert _boot_id(lab, "n0") != boot
    assert _on(lab, "n0", "cat /root/kept") == "kept"
    # The neighbour's own end was never touched, and its link comes back with n0's.
    assert _on(lab, "n1", "cat /sys/class/net/int0/mtu; ip -o -4 addr show int0 | grep -o 198.19.0.2/30") == (
        "1450\n198.19.0.2/30"
    )
    _on(lab, "n0", "ip link set int1 up")
    assert _on(lab, "n1", "cat /sys/class/net/int0/carrier") == "1"
    assert lab.status().state == "up"


def test_a_server_reboots_itself(lab: Lab) -> None:
    boot = _boot_id(lab, "n1")
    _on(lab, "n1", "bpftool map create /sys/fs/bpf/gone type array key 4 value 4 entries 1 name gone")
    lab.reboot("n1")
    assert _boot_id(lab, "n1") not in {"", boot}
    assert _on(lab, "n1", "ls /sys/class/net | xargs; systemctl is-system-running") == "ext1 int0 lo mgmt0\nrunning"
    assert "gone" not in _on(lab, "n1", "ls /sys/fs/bpf")


def test_a_server_that_powers_off_stays_off(lab: Lab) -> None:
    _on(lab, "n1", "systemctl poweroff")
    _until(lambda: not lab.status().servers[1].running, "n1 is off")
    time.sleep(0.5)
    assert not lab.status().servers[1].running
    lab.restart("n1")
    assert lab.status().state == "up"


def test_a_killed_nspawn_takes_its_server_down_alone(lab: Lab) -> None:
    _on(lab, "n1", "ip link set ext1 up")
    pid = lab.status().servers[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    _until(lambda: lab.status().servers[0].pid is None, "n0 is off")
    _until(lambda: _on(lab, "n1", "ls /sys/class/net | xargs") == "ext1 int0 lo mgmt0", "n1 keeps its ports")
    assert [(server.running, server.ssh) for server in lab.status().servers] == [(False, False), (True, True)]
    # The kernel takes a dead system's devices apart in its own time.
    states = {"n0:ext0": "unplugged", "n0:int1": "unplugged", "n1:ext1": "up"}
    _until(lambda: {cable.a: cable.state for cable in lab.status().cables} == states, "its cables are unplugged")
    lab.restart("n0")
    assert lab.status().state == "up"
