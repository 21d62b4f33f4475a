"""Whatever somebody changed on a server by hand is named by verify, and mended by apply.

Everything is broken at once, so that one verification must tell it all apart.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from rbops.node.devices import TABLE
from tests.system.driver import Cluster, Done
from tests.system.injection import misroute

pytestmark = [pytest.mark.lab, pytest.mark.root]

# The watch would restore what is missing of the network.
BREAK = (
    *((server, "systemctl stop rbops-watch.service") for server in ("n0", "n2", "n3")),
    ("n0", "sed -i 's/^203.0.113.0/203.0.112.0/' /etc/rbops/routes.csv"),
    ("n1", "systemctl disable rbops.service"),
    ("n1", "ip link set dev int0 xdp off"),
    ("n2", "echo 3 >/sys/class/net/int0/queues/tx-0/xps_cpus"),
    ("n2", "echo 1 >/sys/class/net/ext2/queues/rx-1/rps_cpus"),
    ("n2", "ip address del 198.18.2.1/24 dev ext2"),
    ("n2", "ip link set dev int1 mtu 1400"),
    ("n3", "ip neighbour del 198.18.3.2 dev ext3"),
    ("n3", "sysctl -w net.ipv4.conf.all.rp_filter=2"),
    ("n3", "ip link set dev int2 promisc off"),
    ("n3", f"ip route del 198.18.0.1/32 table {TABLE}; ip route del 198.18.0.0/24 table {TABLE}"),
)

NAMED = (
    ("files", "digest[n0:/etc/rbops/routes.csv]", "/etc/rbops/routes.csv was changed since it was rendered"),
    ("services", "watch_unit[n0]", "rbops-watch.service does not run"),
    ("services", "boot_unit[n1]", "rbops.service is not enabled"),
    ("dataplane", "native[n1:int0]", "no XDP program is attached"),
    ("counters", "counters_move[n0:n1]", "no answer from n1 (198.18.1.1) over the fabric"),
    ("settings", "setting[n2:port int0:xps tx-0]", "xps tx-0 is 0-1, planned 0"),
    ("settings", "setting[n2:port ext2:rps rx-1]", "rps rx-1 is 0, planned off"),
    ("settings", "setting[n2:port ext2:address 198.18.2.1/24]", "address 198.18.2.1/24 is absent, planned present"),
    ("settings", "setting[n2:port int1:mtu]", "mtu is 1400, planned 1500"),
    ("settings", "setting[n3:port ext3:neighbor 198.18.3.2]", "is absent, planned 02:4e:00:03:00:02"),
    ("settings", "setting[n3:sysctl:net.ipv4.conf.all.rp_filter]", "net.ipv4.conf.all.rp_filter is 2, planned 0"),
    ("network", "slow_path[n3:n0]", "planned int0"),
    ("settings", "setting[n3:port int2:promisc]", "promisc is off, planned on"),
    ("files", "digest[n3:/etc/rbops/fib.bin]", "/etc/rbops/fib.bin was changed since it was rendered"),
    ("files", "digest[n3:/etc/rbops/node.json]", "/etc/rbops/node.json was changed since it was rendered"),
    ("dataplane", "routes[n3]", "the data plane forwards by table"),
)


@pytest.fixture(scope="module")
def broken(cluster: Cluster) -> Done:
    """What verify says of servers that were changed by hand in all these ways."""
    misroute(cluster, "n3", "198.18.1.2/32", 2)
    for server, command in BREAK:
        cluster.on(server, "sh", "-c", command)
    return cluster.verb("verify", "--format", "json")


@pytest.mark.parametrize(("subject", "name", "detail"), NAMED)
def test_each_change_is_named(broken: Done, subject: str, name: str, detail: str) -> None:
    assert broken.code == 1
    checks: list[dict[str, Any]] = broken.json["checks"]
    (check,) = (check for check in checks if (check["subject"], check["name"]) == (subject, name))
    assert check["outcome"] == "failed"
    assert detail in check["detail"]
    assert name.startswith(f"{check['name'].split('[')[0]}[{check['server']}")


def test_what_was_left_alone_passes(broken: Done) -> None:
    failed = [check for check in broken.json["checks"] if check["outcome"] == "failed"]
    assert ("n2", "files") not in {(check["server"], check["subject"]) for check in failed}
    assert {check["server"] for check in failed if ":xps " in check["name"] or ":rps " in check["name"]} == {"n2"}
    count = sum(check["outcome"] == "failed" for check in broken.json["checks"])
    assert broken.err.strip().endswith(f"{count} checks failed")


@pytest.mark.usefixtures("broken")
def test_the_report_names_server_and_thing(cluster: Cluster) -> None:
    done = cluster.verb("verify", "-k", "xps or address")
    assert done.code == 1
    assert "n2" in done.out
    assert "xps tx-0 is 0-1, planned 0" in done.out
    assert "address 198.18.2.1/24 is absent, planned present" in done.out


@pytest.mark.usefixtures("broken")
def test_diff_shows_what_apply_mends(cluster: Cluster) -> None:
    done = cluster.verb("diff", "--format", "json")
    assert done.code == 1
    assert all(done.json["servers"][name] for name in ("n0", "n1", "n2", "n3"))
    subjects = {change["subject"] for change in done.json["servers"]["n2"]}
    assert {"port int0", "port ext2", "port int1"} <= subjects


@pytest.mark.usefixtures("broken")
def test_apply_mends_it_all(cluster: Cluster) -> None:
    done = cluster.verb("apply")
    assert done.code == 0, done.out + done.err
    cluster.wait_for_cables()
    again = cluster.verb("verify", "--format", "json")
    failed = [check for check in again.json["checks"] if check["outcome"] == "failed"]
    assert failed == []
    assert again.code == 0
    done = cluster.verb("diff")
    assert done.code == 0, done.out + done.err


def test_xdp_in_generic_mode_is_named_and_not_thrown_out(cluster: Cluster) -> None:
    """Somebody else's program stays until a person takes it away: it may be what keeps the server reachable."""
    program = json.loads(cluster.on("n1", "rbops-node", "status", "--json"))["dataplane"]["devices"]["int3"]
    cluster.on("n1", "ip", "link", "set", "dev", "int3", "xdp", "off")
    cluster.on("n1", "bpftool", "net", "attach", "xdpgeneric", "id", str(program["program_id"]), "dev", "int3")
    try:
        done = cluster.verb("verify", "--limit", "n1", "-k", "native", "--format", "json")
        failed = {check["name"]: check["detail"] for check in done.json["checks"] if check["outcome"] == "failed"}
        assert done.code == 1
        assert failed == {"native[n1:int3]": "XDP is attached in mode 2 (2 is generic), not native (1)"}
    finally:
        cluster.on("n1", "ip", "link", "set", "dev", "int3", "xdpgeneric", "off")
        cluster.on("n1", "rbops-node", "apply")
        cluster.wait_for_cables()
    assert cluster.verb("verify", "--limit", "n1", "-k", "native").code == 0
