"""Apply against booted servers: what it changes, and that whatever fails leaves them as they were.

Every comparison is of state read from the servers, never of messages. The tests share one lab, in the order
of the file; each leaves it with the base spec confirmed.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rbops.deploy.apply import ApplyOptions
from rbops.deploy.history import history
from rbops.deploy.inventory import load_inventory
from rbops.deploy.report import Silent
from rbops.deploy.rollback import rollback
from rbops.deploy.status import diff_servers, status_servers
from rbops.deploy.stop import Stop
from rbops.errors import ApplyFailed, CheckFailed, Locked, Mismatch, StateUnknown, Unreachable
from rbops.planner import load_plan
from tests.deploy.conftest import Cluster
from tests.deploy.serverstate import change_open, inside, programs, state, states
from tests.support.errors import raises
from tests.support.lab import give_back

pytestmark = [pytest.mark.lab, pytest.mark.root]

FASTER_FLOWLETS = "interconnect: {flowlet_timeout: 50ms}\n"
ABSENT_DEVICE = 'hosts: {n1: {ports: {ext1: {mac: "02:ff:00:00:00:01"}}}}\n'
# Only n1 has the port, and its kernel takes no such value.
REFUSED = "kernel: {sysctl: {net.ipv4.conf.ext1.log_martians: x}}\n"


def wait_for(what: str, condition: Callable[[], bool], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.2)


def marked(run: str) -> list[str]:
    """Processes of a run, by the mark in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"RBOPS_RUN={run}".encode() in entry.read_bytes():
                found.append((entry.parent / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def newest(runs: Path) -> Path:
    return max(runs.iterdir())


def journal(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]


def pushing(runs: Path, before: set[Path]) -> bool:
    """Whether a run newer than ``before`` has changed something on a server."""
    new = [path for path in runs.iterdir() if path not in before]
    events = new[0] / "events.jsonl" if new else None
    return bool(events and events.exists() and '"status": "changed"' in events.read_text())


def test_check_of_fresh_servers_leaves_them_fresh(raw_cluster: Cluster, fresh: dict[str, dict[str, Any]]) -> None:
    assert raw_cluster.apply(check=True).changed.keys() == {"n0", "n1"}
    with raises(Mismatch, "rollback.nothing"):
        rollback(load_inventory(raw_cluster.lab.inventory), 1, ApplyOptions(), Silent(), Stop())
    assert states(raw_cluster.lab) == fresh


def test_a_server_that_cannot_be_as_planned_is_found_before_any_change(
    raw_cluster: Cluster, fresh: dict[str, dict[str, Any]], runs: Path
) -> None:
    with raises(Mismatch, "node.no-device", server="n1"):
        raw_cluster.apply(raw_cluster.variant("absent", ABSENT_DEVICE))
    assert states(raw_cluster.lab) == fresh
    assert '"status": "changed"' not in (newest(runs) / "events.jsonl").read_text()


def test_apply_makes_servers_what_the_plan_says(cluster: Cluster) -> None:
    for server in ("n0", "n1"):
        found = state(cluster.lab, server)
        assert found["links"][f"ext{server[1]}"]["xdp"]
        assert found["sysctl"]["/proc/sys/net/ipv4/ip_forward"] == "1"
        assert found["units"]["rbops-watch.service"] == "active enabled"
        assert found["lock"] is None
        assert not found["snapshot"]
        assert found["run"] == []
    assert {s.digest for s in status_servers(cluster.plan, load_inventory(cluster.lab.inventory))} == {
        cluster.plan.digest
    }


def test_second_apply_changes_nothing(cluster: Cluster, runs: Path) -> None:
    inventory = load_inventory(cluster.lab.inventory)
    before = states(cluster.lab), programs(cluster.lab, "n0"), programs(cluster.lab, "n1")
    kept = [server.generations for server in history(inventory)]
    process = cluster.cli("apply", "-m", "why not", "--format", "json")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    found = json.loads(out)
    assert (found["changed"], found["pushed"]) == ({"n0": 0, "n1": 0}, False)
    assert "the history has no entry" in err
    assert "pushing" not in {event.get("step") for event in journal(newest(runs))}
    assert (states(cluster.lab), programs(cluster.lab, "n0"), programs(cluster.lab, "n1")) == before
    assert [server.generations for server in history(inventory)] == kept
    assert all(server.equal for server in diff_servers(cluster.plan, inventory))


def test_settings_alone_are_restored_without_a_push_and_files_with_one(cluster: Cluster) -> None:
    before = states(cluster.lab)
    # One that the first apply changed: of others a remove restores what was found here.
    inside(cluster.lab, "n0", "sysctl", "-qw", "net.ipv4.conf.ext0.accept_redirects=1")
    inside(cluster.lab, "n1", "systemctl", "stop", "rbops-watch")
    done = cluster.apply()
    assert (done.changed, done.played) == ({"n0": 1, "n1": 1}, False)
    assert states(cluster.lab) == before
    inside(cluster.lab, "n1", "chmod", "600", "/etc/rbops/routes.csv")
    done = cluster.apply()
    assert (done.changed["n0"], done.played) == (0, True)
    assert states(cluster.lab) == before


def test_check_and_diff_change_nothing_and_say_what_would(cluster: Cluster) -> None:
    other = cluster.variant("flowlets", FASTER_FLOWLETS)
    before = states(cluster.lab), programs(cluster.lab, "n0")
    process = cluster.cli("apply", "--check", "--diff", spec=other)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "would change" in out
    assert '"flowlet_timeout_s":0.05' in err.replace(" ", "")
    found = diff_servers(load_plan(other), load_inventory(cluster.lab.inventory))
    assert all(not server.equal for server in found)
    assert {change.subject for server in found for change in server.changes} > {"file"}
    assert (states(cluster.lab), programs(cluster.lab, "n0")) == before


def started(cluster: Cluster, server: str) -> str:
    """Which start of the watch runs."""
    return inside(
        cluster.lab, server, "systemctl", "show", "--property=InvocationID,ActiveState", "rbops-watch"
    ).strip()


def test_a_service_goes_on_where_nothing_changes_that_it_reads(cluster: Cluster) -> None:
    before = {server: started(cluster, server) for server in ("n0", "n1")}
    routes = "routes: [{prefix: 203.0.113.0/24, via: 198.18.1.2}]\n"
    done = cluster.apply(cluster.variant("more", routes + FASTER_FLOWLETS))
    assert min(done.changed.values()) > 0
    assert {server: started(cluster, server) for server in before} == before
    assert all("ActiveState=active" in found for found in before.values())
    cluster.apply()


def test_limit_changes_only_that_server_and_rollback_goes_back(cluster: Cluster, runs: Path) -> None:
    other = cluster.variant("flowlets", FASTER_FLOWLETS)
    before = states(cluster.lab)
    done = cluster.apply(other, limit="n1")
    assert set(done.changed) == {"n1"}
    after = states(cluster.lab)
    assert after["n0"] == before["n0"]
    assert after["n1"]["files"]["/etc/rbops/node.json"] != before["n1"]["files"]["/etc/rbops/node.json"]
    result = json.loads((newest(runs) / "result.json").read_text())
    assert result["outcome"] == "confirmed"
    with raises(Mismatch, "rollback.different-plans"):
        rollback(load_inventory(cluster.lab.inventory), 1, ApplyOptions(), Silent(), Stop())
    rollback(load_inventory(cluster.lab.inventory, "n1"), 1, ApplyOptions(), Silent(), Stop())
    assert states(cluster.lab) == before


def test_history_and_rollback_from_another_controller(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a rollback needs is on the servers: the plan of the spec, its files, who confirmed it and why."""
    before = states(cluster.lab)
    inventory = load_inventory(cluster.lab.inventory)
    cluster.apply(cluster.variant("flowlets", FASTER_FLOWLETS), reason="shorter flowlets")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for server in history(inventory):
        assert server.generations[0].reason == "shorter flowlets"
        assert "@" in server.generations[0].holder
        assert server.generations[0].digest == server.digest
        assert server.earlier[0].digest == cluster.plan.digest
    with raises(Mismatch, "rollback.not-kept"):
        rollback(inventory, 9, ApplyOptions(), Silent(), Stop())
    process = cluster.cli("rollback", "-m", "back again", with_spec=False)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert cluster.plan.digest[:12] in out
    assert states(cluster.lab) == before
    assert {server.generations[0].reason for server in history(inventory)} == {"back again"}


def test_a_rollback_that_fails_on_one_server_changes_none(cluster: Cluster) -> None:
    cluster.apply(cluster.variant("flowlets", FASTER_FLOWLETS))
    before = states(cluster.lab)
    broken = "f=$(ls -d /var/lib/rbops/generations/* | tail -n 2 | head -n 1)/etc/routes.csv; printf x >> $f"
    inside(cluster.lab, "n1", "sh", "-c", broken)
    with raises(ApplyFailed, "apply.rolled-back"):
        rollback(load_inventory(cluster.lab.inventory), 1, ApplyOptions(), Silent(), Stop())
    assert states(cluster.lab) == before
    cluster.apply()


def test_remove_leaves_nothing(cluster: Cluster, fresh: dict[str, dict[str, Any]]) -> None:
    """As servers that rbops never touched, its own state included."""
    process = cluster.cli("remove", "--format", "json", with_spec=False)
    out, err = process.communicate(timeout=120)
    try:
        assert process.returncode == 0, err
        assert json.loads(out)["digest"] is None
        assert states(cluster.lab) == fresh
        for server in cluster.lab.servers:
            assert inside(cluster.lab, server.name, "sh", "-c", "ls -d /var/lib/rbops /run/rbops* 2>&1 || true").count(
                "No such"
            )
    finally:
        cluster.apply()


def test_rolling_drains_one_server_after_the_other(cluster: Cluster) -> None:
    seen: list[list[list[int]]] = []

    def look() -> None:
        seen.append([drained(cluster, name) for name in ("n0", "n1")])

    done = cluster.apply(cluster.variant("flowlets", FASTER_FLOWLETS), acceptance=look, serial=1)
    assert seen == [[[], [0]], [[1], []]]
    assert [drained(cluster, name) for name in ("n0", "n1")] == [[], []]
    assert min(done.changed.values()) > 0
    assert all(found["lock"] is None for found in states(cluster.lab).values())
    cluster.apply()


def drained(cluster: Cluster, server: str) -> list[int]:
    return list(json.loads(inside(cluster.lab, server, "rbops-node", "status", "--json"))["dataplane"]["drained"])


def test_rolling_ends_at_the_first_failure_and_says_who_has_what(cluster: Cluster) -> None:
    before = states(cluster.lab)
    with raises(StateUnknown, "apply.mixed") as caught:
        cluster.apply(cluster.variant("wrong", REFUSED), serial=1)
    assert "with the new plan: n0\nwith what they had before, unless said otherwise: n1" in str(caught.value)
    after = states(cluster.lab)
    assert after["n0"]["files"]["/etc/rbops/node.json"] != before["n0"]["files"]["/etc/rbops/node.json"]
    assert after["n0"]["lock"] is None
    assert after["n1"] == before["n1"]
    process = cluster.cli("history", with_spec=False)
    assert "the servers have different plans" in process.communicate(timeout=60)[0]
    cluster.apply()
    assert states(cluster.lab) == before


def test_one_failing_server_rolls_all_back(cluster: Cluster, runs: Path) -> None:
    before = states(cluster.lab)
    process = cluster.cli("apply", spec=cluster.variant("wrong", REFUSED))
    process.communicate(timeout=120)
    assert process.returncode == ApplyFailed.exit_code
    assert states(cluster.lab) == before
    assert json.loads((newest(runs) / "result.json").read_text())["code"] == "apply.rolled-back"
    failed = [task for task in journal(newest(runs)) if task["event"] == "task" and task["status"] == "failed"]
    assert {task["host"] for task in failed} == {"n1"}


def test_failed_acceptance_rolls_all_back(cluster: Cluster) -> None:
    before = states(cluster.lab)

    def refuse() -> None:
        raise CheckFailed("one packet in a million left at the wrong port", code="test.acceptance")

    with raises(ApplyFailed, "apply.rolled-back") as caught:
        cluster.apply(cluster.variant("flowlets", FASTER_FLOWLETS), acceptance=refuse)
    assert [cause.code for cause in caught.value.causes] == ["test.acceptance"]
    assert states(cluster.lab) == before


def test_killed_controller_servers_revert_alone_and_are_free_again(
    cluster: Cluster, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[str] = []
    monkeypatch.setattr(Silent, "warn", lambda _, text: warned.append(text))
    before = states(cluster.lab)
    known = set(runs.iterdir())
    process = cluster.cli("apply", "--revert-timeout", "15", spec=cluster.variant("flowlets", FASTER_FLOWLETS))
    wait_for("something is pushed", lambda: pushing(runs, known))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    run = newest(runs).name
    wait_for("Ansible ends with its parent", lambda: not marked(run), 10)
    assert change_open(cluster.lab, "n0")
    for options in ({}, {"break_lock": True}):
        with pytest.raises(Locked) as caught:
            cluster.apply(**options)
        assert run in str(caught.value)
    assert warned == [], "there is nothing to clean up on a server that another run has"
    wait_for("the timers fire", lambda: not any(change_open(cluster.lab, name) for name in ("n0", "n1")))
    wait_for("they give the servers back", lambda: not any(state(cluster.lab, name)["lock"] for name in ("n0", "n1")))
    after = states(cluster.lab)
    for name in after:
        # What the killed run had in memory goes with a reboot, or the next run.
        assert after[name].pop("run") == [f"/run/rbops-{run}"]
        before[name].pop("run")
    assert after == before
    assert cluster.apply().total_changed == 0
    assert [found["run"] for found in states(cluster.lab).values()] == [[], []]


@pytest.mark.parametrize("signum", [signal.SIGINT])
def test_interrupted_apply_rolls_back(cluster: Cluster, runs: Path, signum: signal.Signals) -> None:
    before = states(cluster.lab)
    known = set(runs.iterdir())
    process = cluster.cli("apply", spec=cluster.variant("flowlets", FASTER_FLOWLETS))
    wait_for("something is pushed", lambda: pushing(runs, known))
    process.send_signal(signum)
    _, err = process.communicate(timeout=60)
    assert process.returncode == ApplyFailed.exit_code, err
    assert states(cluster.lab) == before
    assert marked(newest(runs).name) == []


def test_management_lost_after_the_push(cluster: Cluster) -> None:
    """Connections that are open go on working: only a new one tells."""
    before = states(cluster.lab)
    threads: list[threading.Thread] = []

    def mend_when_reverted() -> None:
        wait_for("n1 reverts", lambda: not change_open(cluster.lab, "n1"), 60)
        inside(cluster.lab, "n1", "systemctl", "start", "ssh")

    def cut() -> None:
        inside(cluster.lab, "n1", "systemctl", "stop", "ssh")
        threads.append(threading.Thread(target=mend_when_reverted))
        threads[0].start()

    with raises(ApplyFailed, "apply.rolled-back"):
        cluster.apply(cluster.variant("flowlets", FASTER_FLOWLETS), acceptance=cut, revert_timeout_s=12)
    threads[0].join()
    assert states(cluster.lab) == before


def test_a_test_that_fails_in_the_middle_of_a_run_leaves_the_lab_free(cluster: Cluster) -> None:
    before = state(cluster.lab, "n0")
    inside(cluster.lab, "n0", "rbops-node", "open", "--run", "r", "--timeout", "600")
    assert change_open(cluster.lab, "n0")
    give_back()
    assert state(cluster.lab, "n0") == before


def test_a_revert_that_fails_is_named(cluster: Cluster) -> None:
    """n1 loses a device during the change: its old configuration cannot come back either."""

    def pull_out() -> None:
        inside(cluster.lab, "n1", "ip", "link", "set", "ext1", "down")
        inside(cluster.lab, "n1", "ip", "link", "set", "ext1", "name", "gone1")
        raise CheckFailed("the port is gone", code="test.acceptance")

    with raises(StateUnknown, "apply.rollback-failed") as caught:
        cluster.apply(cluster.variant("flowlets", FASTER_FLOWLETS), acceptance=pull_out, revert_timeout_s=60)
    assert "/var/lib/rbops/snapshot" in str(caught.value)
    assert "rolled back and checked: n0" in str(caught.value)
    inside(cluster.lab, "n1", "ip", "link", "set", "gone1", "down")
    inside(cluster.lab, "n1", "ip", "link", "set", "gone1", "name", "ext1")
    inside(cluster.lab, "n1", "rbops-node", "revert")
    for name in ("n0", "n1"):
        inside(cluster.lab, name, "rm", "-f", "/var/lib/rbops/lock.json")
    cluster.apply()
    assert [found["run"] for found in states(cluster.lab).values()] == [[], []]


def test_a_reboot_puts_everything_back(cluster: Cluster) -> None:
    before = state(cluster.lab, "n1")
    cluster.lab.restart("n1")
    wait_for("rbops.service has run", lambda: state(cluster.lab, "n1")["units"] == before["units"], 20)
    assert state(cluster.lab, "n1") == before


def test_commands_reach_the_server_as_they_are(cluster: Cluster) -> None:
    from rbops.deploy.ssh import run

    target = load_inventory(cluster.lab.inventory).server("n0")
    odd = ["$(reboot)", "a b", "'", '"', "`id`", ";", "\\", "*", "ä\n"]
    done = run(target, ["python3", "-c", "import json, sys; print(json.dumps(sys.argv[1:]))", *odd], 20)
    assert json.loads(done.stdout) == odd
    assert run(target, ["cat"], 20, input=b"x" * 300_000).stdout == "x" * 300_000
    with raises(Unreachable, "ssh.timeout", server="n0"):
        run(target, ["sleep", "30"], 1)


def test_unreachable_server_nothing_changed(cluster: Cluster) -> None:
    before = state(cluster.lab, "n0")
    # A veth has TSO again when the XDP program at its far end goes with the server.
    before.pop("links")
    cluster.lab.kill("n1")
    try:
        process = cluster.cli("apply", spec=cluster.variant("flowlets", FASTER_FLOWLETS))
        _, err = process.communicate(timeout=60)
        assert process.returncode == Unreachable.exit_code
        assert "n1" in err
        after = state(cluster.lab, "n0")
        after.pop("links")
        assert after == before
        found = {server.name: server for server in status_servers(cluster.plan, load_inventory(cluster.lab.inventory))}
        assert found["n1"].error
        assert found["n0"].digest == cluster.plan.digest
    finally:
        cluster.lab.restart("n1")
