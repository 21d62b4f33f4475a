"""Servers that others manage too: NetworkManager, netplan, networkd, cloud-init, Open vSwitch, tuned, ifupdown."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rbops.lab.base import recipe_digest
from rbops.lab.bootstrap import CACHE, built
from rbops.lab.layout import root_of
from tests.system.conftest import booted, make_cluster
from tests.system.driver import Cluster, wait_for

pytestmark = [pytest.mark.lab(own=True), pytest.mark.root]

NAMES = ("cloud-init", "ifupdown", "netplan.io", "network-manager", "openvswitch-switch", "tuned", "udev")
SPEC = "name: mg2\nrouter: {external_ports: 2, line_rate: 10Gbps}\nservers: {profile: lab}\n"

# Twice: dpkg knows no order among what it is given. Nothing is compiled ahead, and no service starts by itself.
INSTALL = """
set -e
cd /root/packages
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
ln -sf /bin/true /usr/bin/py3compile
export DEBIAN_FRONTEND=noninteractive
dpkg --force-unsafe-io -i *.deb || dpkg --force-unsafe-io --skip-same-version -i *.deb || true
dpkg --force-unsafe-io --configure -a
rm -r /root/packages /usr/sbin/policy-rc.d
"""
# In a container udev does not run and veths are not NetworkManager's: here they are as a server's NICs.
AS_ON_A_SERVER = """
set -e
systemctl unmask systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket
mkdir -p /etc/udev/rules.d
: > /etc/udev/rules.d/85-nm-unmanaged.rules
systemctl start systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-udevd.service
udevadm trigger --subsystem-match=net --action=add
udevadm settle
printf '[main]\\nno-auto-default=*\\n' > /etc/NetworkManager/conf.d/none.conf
systemctl restart NetworkManager
for _ in $(seq 50); do nmcli --get-values GENERAL.STATE device show ext0 | grep -qv '^10 ' && break; sleep 0.2; done
nmcli connection add type ethernet ifname ext0 con-name uplink ipv4.method manual ipv4.addresses 203.0.113.9/24 \\
    ipv4.routing-rules "priority 90 from all table 99" ipv6.method disabled
nmcli connection up uplink
"""

# A bridge in userspace, as it is with DPDK: the kernel's module is not here.
OPEN_VSWITCH = """
set -e
/usr/share/openvswitch/scripts/ovs-ctl --system-id=random start
ovs-vsctl --timeout=20 add-br br0 -- set bridge br0 datapath_type=netdev -- add-port br0 int1
"""
NETPLAN = """
cat > /etc/netplan/50-data.yaml << E
network:
  version: 2
  renderer: networkd
  ethernets:
    ext0: {addresses: [203.0.113.9/24], routing-policy: [{from: 203.0.113.0/24, table: 99}]}
E
chmod 600 /etc/netplan/50-data.yaml
systemctl start systemd-networkd.service
netplan apply
"""
# Keys and root's login stay, so that the lab can be reached.
CLOUD_INIT = """
mkdir -p /var/lib/cloud/seed/nocloud
cd /var/lib/cloud/seed/nocloud
printf 'instance-id: i1\\nlocal-hostname: n0\\n' > meta-data
printf '#cloud-config\\ndisable_root: false\\nssh_deletekeys: false\\nusers: []\\n' > user-data
printf 'version: 2\\nethernets: {ext0: {addresses: [203.0.113.9/24]}}\\n' > network-config
cloud-init init --local
"""


@pytest.fixture(scope="module")
def packages() -> Path:
    """The files of the packages and of what they need beside a lab's base system; kept from run to run."""
    release = "bookworm"
    digest = hashlib.sha256(f"{recipe_digest(release)} {NAMES}".encode()).hexdigest()[:12]
    target = CACHE / f"packages-{release}-{digest}"
    status = CACHE / f"base-{release}-{recipe_digest(release)}" / "var/lib/dpkg/status"
    with built(target) as partial:
        if partial is not None:
            (partial / "partial").mkdir(parents=True)
            get = ["apt-get", "-qq", "-y", "--no-install-recommends", "--download-only", "install"]
            places = [f"Dir::State::status={status}", f"Dir::Cache::archives={partial}"]
            options = [word for place in places for word in ("-o", place)]
            subprocess.run([*get, *options, *NAMES], check=True, stdin=subprocess.DEVNULL)
    return target


@pytest.fixture(scope="module")
def managed(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two servers before their first apply; on n0 NetworkManager has ext0."""
    with booted(make_cluster(tmp_path_factory.mktemp("mg2"), "rbt-mg2"), SPEC) as made:
        shutil.copytree(packages, root_of(made.name, made.lab.manifest.server("n0")) / "root/packages")
        made.on("n0", "sh", "-c", INSTALL, seconds=150)
        made.on("n0", "sh", "-c", AS_ON_A_SERVER)
        yield made


def addresses(cluster: Cluster, device: str) -> list[str]:
    return cluster.on("n0", "ip", "-br", "-4", "address", "show", device).split()[2:]


def rules(cluster: Cluster) -> list[str]:
    return cluster.on("n0", "ip", "rule").splitlines()


def notes(cluster: Cluster) -> list[dict[str, str]]:
    """What an apply says that it leaves as it is on n0."""
    done = cluster.verb("apply", "--format", "json")
    assert done.code == 0, done.err
    found: list[dict[str, str]] = done.json["unsupported"]["n0"]
    return found


def state_of(cluster: Cluster, device: str) -> str:
    """As NetworkManager says: 100 (connected), 10 (unmanaged)."""
    words = ("nmcli", "--terse", "--fields", "GENERAL.STATE", "device", "show", device)
    return cluster.on("n0", *words).strip().partition(":")[2]


def test_a_port_of_open_vswitch_is_refused_before_any_change(managed: Cluster) -> None:
    managed.on("n0", "sh", "-c", OPEN_VSWITCH)
    try:
        assert not managed.on("n0", "sh", "-c", "ls /sys/class/net/int1 | grep upper_ || true")
        done = managed.verb("apply")
        assert done.code == 3, done.out + done.err
        assert "port int1 is in use: Open vSwitch has it in its bridge br0" in done.err
        assert "82" not in managed.on("n0", "ip", "rule")
    finally:
        managed.on("n0", "ovs-vsctl", "--timeout=20", "del-br", "br0")
        managed.on("n0", "/usr/share/openvswitch/scripts/ovs-ctl", "stop")


def test_network_manager_gives_the_ports_up_and_stays_off_them(managed: Cluster) -> None:
    assert state_of(managed, "ext0").startswith("100")
    assert "203.0.113.9" in managed.on("n0", "ip", "address", "show", "ext0")
    done = managed.verb("apply")
    assert done.code == 0, done.err
    wait_for("unmanaged", lambda: state_of(managed, "ext0").startswith("10 "), 10)
    before = rules(managed)
    assert [line for line in before if "lookup 82" in line]
    assert not [line for line in before if "table 99" in line or "lookup 99" in line], "the connection's own rule"
    managed.on("n0", "systemctl", "restart", "NetworkManager")
    wait_for("its start", lambda: state_of(managed, "ext0").startswith("10 "), 10)
    assert rules(managed) == before
    addresses = managed.on("n0", "ip", "-br", "address", "show", "ext0")
    assert "198.18.0.1/24" in addresses
    assert "203.0.113.9" not in addresses
    done = managed.verb("verify")
    assert done.code == 0, done.out + done.err


def test_netplan_changes_nothing_of_the_ports(managed: Cluster) -> None:
    before = rules(managed), addresses(managed, "ext0")
    managed.on("n0", "sh", "-c", NETPLAN)
    try:
        show = ("networkctl", "--no-legend", "list", "ext0")
        wait_for("networkd", lambda: managed.on("n0", *show).split()[-1] == "unmanaged")
        assert (rules(managed), addresses(managed, "ext0")) == before
        assert managed.on("n0", "ls", "/run/systemd/network").split() == ["10-netplan-ext0.network"]
        told = {note["setting"]: note["reason"] for note in notes(managed)}
        assert "no effect" in told["netplan /etc/netplan/50-data.yaml"]
        done = managed.verb("diff")
        assert done.code == 0, done.out + done.err
    finally:
        managed.on("n0", "rm", "/etc/netplan/50-data.yaml")
        managed.on("n0", "netplan", "apply")
        managed.on("n0", "systemctl", "stop", "systemd-networkd.service", "systemd-networkd.socket")


def test_the_others_are_named(managed: Cluster) -> None:
    firewall = "table ip filter {\nchain FORWARD {\ntype filter hook forward priority 0; policy drop;\n}\n}\n"
    managed.on("n0", "sh", "-c", "printf 'auto ext0\\niface ext0 inet dhcp\\n' > /etc/network/interfaces.d/data")
    managed.on("n0", "nft", "-f", "-", stdin=firewall)
    managed.on("n0", "systemctl", "start", "tuned")
    try:
        done = managed.verb("apply", "--format", "json")
        assert done.code == 0, done.err
        told = {note["setting"]: note["reason"] for note in done.json["unsupported"]["n0"]}
        assert "configures ext0" in told["ifupdown"]
        assert "governor" in told["tuned"]
        assert "DOCKER-USER" in told["firewall ip filter FORWARD"]
        assert "n1" not in done.json["unsupported"] or "tuned" not in json.dumps(done.json["unsupported"]["n1"])
    finally:
        managed.on("n0", "rm", "/etc/network/interfaces.d/data")
        managed.on("n0", "nft", "delete table ip filter")
        managed.on("n0", "systemctl", "stop", "tuned")


def test_network_manager_has_the_ports_again_after_a_removal(managed: Cluster) -> None:
    done = managed.run("remove", "-i", str(managed.inventory))
    assert done.code == 0, done.err
    assert managed.on("n0", "ls", "/etc/NetworkManager/conf.d").split() == ["none.conf"]
    managed.on("n0", "nmcli", "connection", "up", "uplink")
    assert "203.0.113.9" in managed.on("n0", "ip", "address", "show", "ext0")


def test_what_cloud_init_wrote_is_taken_back(managed: Cluster) -> None:
    done = managed.verb("apply")
    assert done.code == 0, done.out + done.err
    wanted = addresses(managed, "ext0")
    managed.on("n0", "sh", "-c", CLOUD_INIT)
    assert "ext0" in managed.on("n0", "cat", "/etc/network/interfaces.d/50-cloud-init")
    told = {note["setting"]: note["reason"] for note in notes(managed)}
    assert "at boot" in told["cloud-init"]
    assert "configures ext0" in told["ifupdown"]
    managed.on("n0", "systemctl", "restart", "networking.service")
    assert "203.0.113.9/24" in addresses(managed, "ext0")
    shown = managed.verb("diff")
    assert (shown.code, "address 203.0.113.9/24" in shown.out) == (1, True), shown.out
    # As at boot, where it comes after them.
    managed.on("n0", "systemctl", "restart", "rbops.service")
    assert addresses(managed, "ext0") == wanted
    done = managed.verb("diff")
    assert done.code == 0, done.out + done.err
