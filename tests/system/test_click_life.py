"""The life of the Click data plane in a running cluster: changed for xdp and back, swapped, restarted, killed.

The tests share the lab of ``test_click``; each leaves it with the Click spec applied. What is compared was read from
the servers. Where one server tells all, the others are left alone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import rbops
from rbops.dataplane.click.controller import rendering
from rbops.dataplane.click.controller.build import build, find
from rbops.deploy.apply import ApplyOptions, apply
from rbops.deploy.inventory import load_inventory
from rbops.deploy.report import Silent
from rbops.deploy.stop import Stop
from rbops.errors import ApplyFailed, CheckFailed
from rbops.planner import load_plan
from rbops.render import File
from tests.deploy.serverstate import change_open, state, states
from tests.support.errors import raises
from tests.system.driver import Cluster, Done, wait_for
from tests.system.test_click import dead, kill, process

pytestmark = [pytest.mark.lab, pytest.mark.root, pytest.mark.click]

UNCONFIRMED = """\
import sys, time
from rbops.deploy.apply import ApplyOptions, apply
from rbops.deploy.inventory import load_inventory
from rbops.deploy.report import Silent
from rbops.deploy.stop import Stop
from rbops.planner import load_plan

def hang():
    print("pushed", flush=True)
    time.sleep(600)

spec, inventory = sys.argv[1:]
apply(load_plan(spec), load_inventory(inventory, "n0"), ApplyOptions(revert_timeout_s=10), Silent(), Stop(), hang)
"""
COUNTING = "input -> c :: IPClassifier(udp, -);\nc[0] -> seen :: Counter -> output;\nc[1] -> output;\n"
REFUSED = "input -> f :: IPFilter(allow dst nonsense) -> output;\n"


def variant(cluster: Cluster, name: str, *changes: tuple[str, str], more: str = "") -> Path:
    """The spec with other text, as a file beside it."""
    text = cluster.spec.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = cluster.folder / f"{name}.yml"
    path.write_text(text + more)
    return path


def xdp(cluster: Cluster) -> Path:
    lines = [line for line in cluster.spec.read_text().splitlines(keepends=True) if "click" not in line]
    path = cluster.folder / "xdp.yml"
    path.write_text("".join(lines))
    return path


def verb(cluster: Cluster, name: str, spec: Path, *arguments: str) -> Done:
    return cluster.run(name, str(spec), "-i", str(cluster.inventory), *arguments)


def done(cluster: Cluster, name: str, spec: Path, *arguments: str) -> Done:
    result = verb(cluster, name, spec, *arguments)
    assert result.code == 0, result.out + result.err
    return result


def would(cluster: Cluster, spec: Path) -> dict[str, str]:
    """What diff says of n0's data plane: setting -> what it shall be."""
    changes = verb(cluster, "diff", spec, "--limit", "n0", "--format", "json").json["servers"]["n0"]
    return {change["setting"]: change["want"] for change in changes if change["subject"] == "data plane"}


def status(cluster: Cluster, server: str = "n0") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.on(server, "rbops-node", "status", "--json"))["dataplane"]
    return found


def traffic_passes(cluster: Cluster) -> None:
    for port in (1, 3):
        said = cluster.on("t0", "ping", "-c", "3", "-i", "0.1", "-W", "5", f"198.18.{port}.2", check=False)
        assert "3 received" in said


def back(cluster: Cluster, servers: str = "n0") -> None:
    """As the Click spec says again; the lock of a run that was killed is taken over."""
    done(cluster, "apply", cluster.spec, "--break-lock", "--limit", servers)


def not_confirmed(cluster: Cluster, spec: Path) -> dict[str, Any]:
    """Push to n0 and kill the controller before it confirms. n0's state then; returns when its timer has fired."""
    command = [sys.executable, "-c", UNCONFIRMED, str(spec), str(cluster.inventory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=cluster.environment) as controller:
        try:
            assert controller.stdout is not None
            assert controller.stdout.readline() == "pushed\n"
            pushed = state(cluster.lab, "n0")
        finally:
            controller.kill()
    wait_for("the timer to fire", lambda: not change_open(cluster.lab, "n0"), 60)
    unit = "rbops-revert.service"
    wait_for("its end", lambda: state(cluster.lab, "n0")["units"][unit].startswith("inactive"), 30)
    return pushed


def without_run(found: dict[str, Any]) -> dict[str, Any]:
    """A state without what a killed run leaves until the next one takes its lock over."""
    return {key: value for key, value in found.items() if key not in ("lock", "run")}


def is_xdp(found: dict[str, Any]) -> bool:
    """xdp alone: True; Click alone: False."""
    attached = {link["xdp"] for name, link in found["links"].items() if name != "rbops0"}
    files = {path for path in found["files"] if "click" in path}
    if found["click"]:
        assert (attached, found["pins"], len(found["hooks"])) == ({False}, False, 4)
        assert not {"/etc/rbops/fib.bin", "/etc/rbops/xdp/router.bpf.o"} & found["files"].keys()
        return False
    assert (attached, found["pins"], files) == ({True}, True, set())
    assert "rbops0" not in found["links"]
    assert found["hooks"] == []
    assert "/run/rbops-click" not in found["run"]
    return True


def test_from_click_to_xdp_and_back(click_cluster: Cluster) -> None:
    before, spec = states(click_cluster.lab), xdp(click_cluster)
    assert would(click_cluster, spec)["kind"].startswith("xdp")
    pushed = done(click_cluster, "apply", spec, "--diff")
    assert "-data plane: kind: click\n" in pushed.err
    assert "+data plane: kind: xdp" in pushed.err
    between = states(click_cluster.lab)
    assert all(is_xdp(found) for found in between.values())
    done(click_cluster, "verify", spec)
    assert "nothing to change" in done(click_cluster, "apply", spec).out
    assert states(click_cluster.lab) == between
    traffic_passes(click_cluster)

    pushed_click = not_confirmed(click_cluster, click_cluster.spec)
    assert not is_xdp(pushed_click)
    assert without_run(state(click_cluster.lab, "n0")) == without_run(between["n0"])
    traffic_passes(click_cluster)

    back(click_cluster, "all")
    after = states(click_cluster.lab)
    assert not any(is_xdp(found) for found in after.values())
    assert after == before
    done(click_cluster, "verify", click_cluster.spec)
    done(click_cluster, "diff", click_cluster.spec)
    traffic_passes(click_cluster)


def test_an_unconfirmed_change_to_xdp_goes_back_to_click(click_cluster: Cluster) -> None:
    before = state(click_cluster.lab, "n0")
    assert is_xdp(not_confirmed(click_cluster, xdp(click_cluster)))
    after = state(click_cluster.lab, "n0")
    assert not is_xdp(after)
    assert without_run(after) == without_run(before)
    traffic_passes(click_cluster)
    back(click_cluster)


def test_what_handlers_cannot_change_is_swapped_while_it_runs(click_cluster: Cluster) -> None:
    pid, marker = process(click_cluster, "n0"), status(click_cluster)["marker"]
    (click_cluster.folder / "own.click").write_text(COUNTING)
    fragment = ("line_rate: 10Mbps", "line_rate: 10Mbps, click_element: own.click")
    spec = variant(
        click_cluster, "own", fragment, ("direct_quota: paper", "direct_quota: paper, flowlet_timeout: 50ms")
    )
    assert would(click_cluster, spec)["configuration"].endswith("(hot swap)")
    done(click_cluster, "apply", spec, "--limit", "n0")
    assert process(click_cluster, "n0") == pid
    assert status(click_cluster)["marker"] != marker
    traffic_passes(click_cluster)
    assert "1 received" in click_cluster.on("t0", "ping", "-c", "1", "-W", "5", "198.18.0.1")  # by the tap device

    before = state(click_cluster.lab, "n0")
    (click_cluster.folder / "bad.click").write_text(REFUSED)
    bad = variant(click_cluster, "bad", (fragment[0], fragment[1].replace("own", "bad")))
    failed = verb(click_cluster, "apply", bad, "--limit", "n0")
    assert failed.code == ApplyFailed.exit_code
    assert "n0: activate: The configuration takes effect" in failed.err
    assert "Click refused the new configuration and still runs the old one" in failed.err
    assert "own_ext0_c0/f :: IPFilter" in failed.err
    assert "nonsense" in failed.err
    assert process(click_cluster, "n0") == pid
    assert state(click_cluster.lab, "n0") == before
    back(click_cluster)
    assert process(click_cluster, "n0") == pid
    assert status(click_cluster)["marker"] == marker


def test_several_cores_take_a_restart(click_cluster: Cluster) -> None:
    """By the spec's leave each core has some of the ports; threads are on their CPUs. A source not planned goes."""
    before, pid = state(click_cluster.lab, "n0"), process(click_cluster, "n0")
    spec = variant(click_cluster, "cores", ("line_rate: 10Mbps", "line_rate: 10Mbps, allow: [cross-core]"))
    plan = load_plan(spec)
    assert {violation.rule for violation in plan.violations} == {"rule2"}
    found = would(click_cluster, spec)
    assert found["command line"].endswith("(restart: command line changed)")
    assert found["configuration"].endswith("(restart)")
    done(click_cluster, "apply", spec, "--limit", "n0")
    restarted = process(click_cluster, "n0")
    assert restarted != pid
    threads = click_cluster.on("n0", "sh", "-c", f"grep -h Cpus_allowed_list: /proc/{restarted}/task/*/status")
    assert sorted(threads.split()[1::2]) == ["0", "1"]
    done(click_cluster, "verify", spec, "--limit", "n0", "-k", "click or setting")
    traffic_passes(click_cluster)

    # As if the package had had one more element: all that lies there is compiled.
    click_cluster.on("n0", "sh", "-c", "echo nonsense >/etc/rbops/click/elements/older.cc")
    found = verb(click_cluster, "diff", click_cluster.spec, "--limit", "n0", "--format", "json").json["servers"]["n0"]
    assert ("/etc/rbops/click/elements/older.cc", "absent") in [(c["setting"], c["want"]) for c in found]
    back(click_cluster)
    assert process(click_cluster, "n0") != restarted
    assert state(click_cluster.lab, "n0") == before


@contextmanager
def other_elements(cluster: Cluster, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Another version of the element package, compiled for n0 here, since lab servers have no compiler; its digest."""
    sources = folder / "elements"
    shutil.copytree(Path(rbops.__file__).parent / "dataplane" / "click", sources)
    for name in ("fabric.hh", "hosttap.hh"):
        (sources / name).write_text(f"// Another version.\n{(sources / name).read_text()}")
    package = build(find(os.environ.get("CLICK_PREFIX")), sources, folder / "base").path.parent
    script = "import sys, tarfile; tarfile.open(fileobj=sys.stdin.buffer, mode='r|').extractall('/var/lib/rbops/click')"
    packed = subprocess.run(
        ["tar", "-C", package.parent.parent, "-c", f"packages/{package.name}"], capture_output=True, check=True
    )
    subprocess.run(cluster.lab.command("n0", ["python3", "-c", script]), input=packed.stdout, check=True)
    before = rendering.element_files()
    files = tuple(File(file.path, (sources / Path(file.path).name).read_bytes(), file.mode) for file in before)
    with monkeypatch.context() as patch:
        patch.setattr(rendering, "element_files", lambda: files)
        patch.setenv("XDG_STATE_HOME", cluster.environment["XDG_STATE_HOME"])
        yield package.name


def loaded(cluster: Cluster) -> str:
    """The folder of the element package in the memory of n0's Click."""
    maps = cluster.on("n0", "cat", f"/proc/{process(cluster, 'n0')}/maps")
    return next(line for line in maps.splitlines() if line.endswith("rbops.uo")).split("/")[-2]


def test_other_elements_take_a_restart_and_so_does_the_rollback(
    click_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, package, pid = state(click_cluster.lab, "n0"), loaded(click_cluster), process(click_cluster, "n0")
    seen: list[str] = []

    def refuse() -> None:
        seen.extend((loaded(click_cluster), process(click_cluster, "n0")))
        traffic_passes(click_cluster)
        raise CheckFailed("not these elements", code="test.acceptance")

    with other_elements(click_cluster, tmp_path, monkeypatch) as wanted:
        plan, inventory = load_plan(click_cluster.spec), load_inventory(click_cluster.inventory, "n0")
        with raises(ApplyFailed, "apply.rolled-back"):
            apply(plan, inventory, ApplyOptions(), Silent(), Stop(), refuse)
    assert seen[0] == wanted
    assert seen[1] != pid
    assert (loaded(click_cluster), state(click_cluster.lab, "n0")) == (package, before)
    traffic_passes(click_cluster)


def test_a_click_that_is_stopped_is_named_and_started(click_cluster: Cluster) -> None:
    click_cluster.on("n0", "systemctl", "stop", "rbops-click.service")
    checked = click_cluster.verb("verify", "--limit", "n0", "--format", "json", "-k", "click or setting")
    failed = {check["name"]: check["detail"] for check in checked.json["checks"] if check["outcome"] == "failed"}
    assert checked.code == 1
    assert failed["unit[n0]"] == "rbops-click.service does not run"
    assert "no Click runs" in failed["configuration[n0]"]
    assert would(click_cluster, click_cluster.spec)["configuration"].endswith("(start)")
    click_cluster.on("n0", "rbops-node", "apply")
    traffic_passes(click_cluster)


def test_a_click_that_is_killed_comes_back_and_knows_the_dead_link(click_cluster: Cluster) -> None:
    click_cluster.on("n0", "ip", "link", "set", "int2", "down")
    try:
        wait_for("the link to be left out", lambda: dead(click_cluster, "n0") == [2], 30)
        # More often than systemd's usual limit of starts would let it come back.
        for _ in range(6):
            kill(click_cluster, "n0")
        wait_for("the link to be left out again", lambda: status(click_cluster).get("dead") == [2], 30)
    finally:
        click_cluster.on("n0", "ip", "link", "set", "int2", "up")
    wait_for("the link to be used again", lambda: status(click_cluster).get("dead") == [], 30)
    done(click_cluster, "verify", click_cluster.spec, "--limit", "n0", "-k", "click or setting")
    traffic_passes(click_cluster)


def test_a_reboot_puts_click_back(click_cluster: Cluster) -> None:
    before = state(click_cluster.lab, "n0")
    click_cluster.lab.restart("n0")
    wait_for("rbops.service has run", lambda: state(click_cluster.lab, "n0") == before, 30)
    done(click_cluster, "verify", click_cluster.spec)
    traffic_passes(click_cluster)
