"""``rbops status``: a healthy server reads as healthy, another says what is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rbops.deploy.reboot import Waiting
from rbops.deploy.status import ServerStatus
from rbops.report.status import problems, status_blocks, status_json
from rbops.report.tables import plain

DIGEST = "49f2b13f2ac2" + "0" * 52
HEALTHY = ServerStatus(
    "n0",
    digest=DIGEST,
    dataplane="4 ports native",
    services={
        "rbops.service": "inactive",
        "rbops-watch.service": "active",
        "rbops-click.service": "inactive",
        "irqbalance.service": "unknown",
    },
    uptime_s=3_660.0,
    kernel="6.1.0-28-amd64",
)


def test_a_server_that_did_not_boot_since_is_healthy() -> None:
    assert problems(HEALTHY, DIGEST) == ()
    row = plain(status_blocks([HEALTHY], DIGEST)).splitlines()[3].split()
    assert row[:4] == ["n0", "healthy", "this", "one"]
    assert "inactive" not in plain(status_blocks([HEALTHY], DIGEST))


@pytest.mark.parametrize(
    ("server", "found"),
    [
        (ServerStatus("n0", error="n0: no route to host", error_code="ssh.no-connection"), ("unreachable",)),
        (ServerStatus("n0", error="n0: sudo", error_code="ssh.sudo"), ("sudo refused",)),
        (ServerStatus("n0", error="n0: else", error_code="probe.failed"), ("not readable",)),
        (replace(HEALTHY, digest=None), ("no plan",)),
        (replace(HEALTHY, digest="f" * 64), ("other plan",)),
        (replace(HEALTHY, dataplane="not loaded"), ("data plane not loaded",)),
        (replace(HEALTHY, services={"rbops-watch.service": "inactive"}), ("rbops-watch inactive",)),
        (replace(HEALTHY, services={"rbops.service": "failed"}), ("rbops failed",)),
        (replace(HEALTHY, waiting=(Waiting("boot", "isolcpus", "absent", "1-3"),)), ("reboot required",)),
        (replace(HEALTHY, node={"daemon": {"daemon": "bird", "error": "it does not run"}}), ("bird: it does not run",)),
        (replace(HEALTHY, transaction="run r1 by me, reverts in 9 s"), ("change not confirmed",)),
    ],
)
def test_what_is_wrong(server: ServerStatus, found: tuple[str, ...]) -> None:
    assert problems(server, DIGEST) == found
    assert status_json([server], DIGEST)["servers"]["n0"]["problems"] == found
    assert ", ".join(found) in plain(status_blocks([server], DIGEST))


def test_what_waits_for_a_reboot_is_listed() -> None:
    waiting = replace(HEALTHY, waiting=(Waiting("boot", "isolcpus", "absent", "1-3"),))
    assert plain(status_blocks([waiting], DIGEST)).endswith("n0: reboot required: boot isolcpus: absent -> 1-3\n")


def cable(state: str = "alive", round_trip_us: float | None = 30.0, transitions: int = 0) -> dict[str, object]:
    counts = {"sent": 1000, "answered": 990, "missed": 10, "asked": 1000, "transitions": transitions}
    return {"state": state, "round_trip_us": round_trip_us, **counts}


def test_cables_are_a_row_a_server_and_who_does_not_answer_is_named() -> None:
    cables = {"int1": cable(), "int2": cable(round_trip_us=2500.0, transitions=2)}
    well = replace(HEALTHY, node={"dataplane": {"cables": cables}})
    assert problems(well, DIGEST) == ()
    text = plain(status_blocks([well], DIGEST))
    assert [part.split() for part in text.splitlines()][-1] == (
        ["n0", "2", "of", "2", "2,500", "us", "2,500", "us", "2,000", "20", "2", "-"]
    )
    cables = {"int1": cable(), "int2": cable("dead"), "int3": cable("never answered", None)}
    ill = replace(HEALTHY, node={"dataplane": {"cables": cables}})
    assert problems(ill, DIGEST) == ("no answer on int2, int3",)
    assert "int2 (dead), int3 (never answered)" in plain(status_blocks([ill], DIGEST))


def test_cables_that_nobody_probes_are_not_shown() -> None:
    """As on a server whose watch has just started: it says nothing of them."""
    new = replace(HEALTHY, node={"dataplane": {"cables": {"int1": {**cable("never answered", None), "sent": 0}}}})
    assert problems(new, DIGEST) == ()
    assert "Cables" not in plain(status_blocks([new], DIGEST))


def test_tunnels_are_listed_with_what_was_dropped() -> None:
    """By the server that encrypts; where the peer's packets are decrypted elsewhere, that alone."""
    tunnel = {"tunnel": 7, "peer": "198.18.1.2", "out": {"packets": 1200, "bytes": 90000}}
    inward = {"packets": 5, "bytes": 500, "replayed": 2, "failed": 3}
    nodes = ({"tunnels": [tunnel]}, {"tunnels": [{**tunnel, "in": inward}]}, {"tunnels": [{**tunnel, "out": None}]})
    rows = plain(status_blocks([replace(HEALTHY, node=node) for node in nodes], DIGEST)).splitlines()
    found = [row.split() for row in rows if "198.18.1.2" in row]
    assert [row[1:] for row in found] == [
        ["7", "198.18.1.2", "from", "a", "file", "1,200", "-", "-", "-"],
        ["7", "198.18.1.2", "from", "a", "file", "1,200", "5", "2", "3"],
        ["7", "198.18.1.2", "from", "a", "file", "no", "association", "-", "-", "-"],
    ]


def test_the_state_of_ike_is_listed_and_a_tunnel_that_is_not_up_is_a_problem() -> None:
    tunnel = {"tunnel": 7, "peer": "198.18.1.2", "out": {"packets": 1200, "bytes": 90000}}
    up = replace(HEALTHY, node={"tunnels": [{**tunnel, "ike": {"state": "up", "established_s": 60, "rekey_s": 3000}}]})
    error = {"state": "down", "error": "the peer has another pre-shared key"}
    down = replace(HEALTHY, node={"tunnels": [{**tunnel, "out": None, "ike": error}]})
    rows = plain(status_blocks([up, down], DIGEST))
    assert "IKE, up for" in rows
    assert "IKE down: the peer has another pre-shared key" in rows
    assert problems(up, DIGEST) == problems(HEALTHY, DIGEST)
    assert "tunnel 7 down (the peer has another pre-shared key)" in problems(down, DIGEST)


def test_sessions_are_listed_and_a_neighbour_that_is_away_is_no_fault_of_the_server() -> None:
    one = {"name": "server_1", "protocol": "bgp", "up": True, "since": "20:31:09", "info": "Established"}
    one |= {"description": "server n1", "as": 64512, "imported": 12345, "filtered": 3, "exported": 7}
    other = {**one, "name": "port0_198_18_0_2", "up": False, "info": "Active", "description": "port 0", "as": 65000}
    server = replace(HEALTHY, node={"daemon": {"daemon": "bird", "sessions": [one, other]}})
    assert problems(server, DIGEST) == ()
    lines = plain(status_blocks([server], DIGEST)).splitlines()
    rows = [line.split() for line in lines if "server_1" in line or "port0" in line]
    assert rows[0] == ["n0", "server_1", "server", "n1", "64512", "Established", "20:31:09", "12,345", "3", "7"]
    assert rows[1][4:6] == ["65000", "Active"]
