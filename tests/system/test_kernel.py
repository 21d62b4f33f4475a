"""Three servers with their own kernels as data plane, and the changes from and to it."""

from __future__ import annotations

import pytest

from tests.system.driver import Cluster

pytestmark = [pytest.mark.lab(own=True), pytest.mark.root]

KERNEL = """\
name: kn3
router: {external_ports: 3, line_rate: 10Gbps}
servers: {profile: lab}
dataplane: kernel
routes:
  - {prefix: 203.0.113.0/24, via: 198.18.2.2}
"""
LOOK = """
ip -o link show | sed 's/ mtu/\\n mtu/' | grep -v 'qdisc\\|ether' | cut -d@ -f1 | sort
ip -d -o link show type veth | grep -o '^[0-9]*: [a-z0-9]*\\|promiscuity [0-9]*\\|NOARP\\|prog/xdp'
ip -o -4 address show
ip -4 rule show
ip -4 route show table 82
ip -4 neighbor show nud permanent
sysctl -a --pattern 'net.ipv4.(ip_forward|conf.*rp_filter|conf.*accept_redirects|conf.*send_redirects)'
for device in $(ls /sys/class/net); do ethtool -k $device | grep -e '^generic-receive' -e '^tx-checksumming'; done
"""


def look(cluster: Cluster) -> dict[str, str]:
    """What of rbops is to be seen in the kernels."""
    return {server: cluster.on(server, "sh", "-c", LOOK) for server in ("n0", "n1", "n2")}


def change(cluster: Cluster, dataplane: str) -> None:
    cluster.spec.write_text(KERNEL.replace("dataplane: kernel", f"dataplane: {dataplane}"))
    done = cluster.verb("apply")
    assert done.code == 0, done.out + done.err


@pytest.fixture(scope="module")
def lab(kernel_cluster: Cluster) -> Cluster:
    kernel_cluster.spec.write_text(KERNEL)
    return kernel_cluster


def test_it_says_what_it_cannot(lab: Cluster) -> None:
    done = lab.run("plan", str(lab.spec))
    assert "`routing: direct-vlb` and the flowlet timeout have no effect" in " ".join(done.out.split())


def test_applied_verified_and_tested(lab: Cluster) -> None:
    done = lab.verb("apply")
    assert done.code == 0, done.out + done.err
    verified = lab.verb("verify", "--format", "json")
    assert verified.code == 0, verified.out
    assert {"forwards[n0]", "gateways[n0:n1]"} <= {check["name"] for check in verified.json["checks"]}
    lab.healthy()
    assert "nothing to change" in (again := lab.verb("apply")).out + again.err
    status = lab.verb("status")
    assert status.out.count("forwarding") == 3, status.out


def test_every_server_is_a_router(lab: Cluster) -> None:
    """A packet's TTL is one less for each, and each says so itself."""
    for ttl, router in ((1, "198.18.0.1"), (2, "198.18.2.1")):
        said = lab.on("t0", "ping", "-n", "-c", "1", "-W", "5", "-t", str(ttl), "198.18.2.2", check=False)
        assert f"From {router} icmp_seq=1 Time to live exceeded" in said
    assert "1 received" in lab.on("t0", "ping", "-c", "1", "-W", "5", "198.18.2.2")


def test_from_xdp_and_back(lab: Cluster) -> None:
    """Nothing of the kernel's data plane stays, nor of XDP's where it was replaced or a change to the kernel's failed.

    A port without a carrier: the self-test fails on the new data plane, and XDP forwards as before.
    """
    kernel = look(lab)
    change(lab, "xdp")
    xdp = look(lab)
    assert xdp != kernel
    device = next(tester.device for tester in lab.lab.testers if tester.name == "t2")
    lab.spec.write_text(KERNEL)
    lab.on("t2", "ip", "link", "set", device, "down")
    try:
        failed = lab.verb("apply", "--confirm-if", "selftest")
    finally:
        lab.on("t2", "ip", "link", "set", device, "up")
    assert failed.code == 5, failed.out + failed.err
    assert look(lab) == xdp
    lab.spec.write_text(KERNEL.replace("dataplane: kernel", "dataplane: xdp"))
    lab.healthy()
    change(lab, "kernel")
    assert look(lab) == kernel
