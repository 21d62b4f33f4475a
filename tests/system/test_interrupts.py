"""Interrupted commands, servers that die, a management network that goes away, users who are not root.

Always: one clear line, the documented exit code, no traceback, nothing left at work.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.lab.traces import subnet_of
from tests.system.driver import RBOPS, Cluster, Done, Running, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.root]

NOBODY = 65534
SIGNALS = [signal.SIGINT, signal.SIGTERM]


def interrupt(running: Running, signum: signal.Signals) -> Done:
    """Ctrl-C as a terminal does it, or a signal to the command alone; returns when the command has ended."""
    if signum == signal.SIGINT:
        running.press_ctrl_c()
    else:
        running.process.send_signal(signum)
    return running.end()


@contextmanager
def each_verb(cluster: Cluster, *verbs: str) -> Iterator[list[Running]]:
    """The verbs at work at the same time."""
    with ExitStack() as stack:
        commands = [(verb, str(cluster.spec), "-i", str(cluster.inventory)) for verb in verbs]
        yield [stack.enter_context(cluster.start(*command)) for command in commands]


def says(done: Done, code: int, text: str) -> None:
    assert done.code == code, done.err
    assert text in done.err
    assert "Traceback" not in done.err
    assert "a bug in rbops" not in done.err


@pytest.mark.parametrize("signum", SIGNALS)
def test_lab_up(cluster: Cluster, other: Cluster, signum: signal.Signals) -> None:
    with other.start("lab", "up", str(cluster.spec), "--name", other.name) as up:
        up.wait_for("boot 4 servers ...")
        subnet = subnet_of(other.name)
        done = interrupt(up, signum)
    says(done, 1, "rbops: interrupted\n")
    assert other.left_behind(subnet) == []


def test_lab_up_killed_outright_is_removed_by_down(cluster: Cluster, other: Cluster) -> None:
    with other.start("lab", "up", str(cluster.spec), "--name", other.name) as up:
        up.wait_for("boot 4 servers ...")
        subnet = subnet_of(other.name)
        up.process.kill()
        up.end()
    assert other.left_behind(subnet) != []
    down = other.run("lab", "down", str(cluster.spec), "--name", other.name)
    says(down, 0, f"lab {other.name} removed")
    assert other.left_behind(subnet) == []


def test_demo(other: Cluster) -> None:
    """In the middle of the push: the servers go back, then the lab is removed."""
    with other.start("demo", "--name", other.name) as demo:
        demo.wait_for("The node program, its configuration, routes and units")
        subnet = subnet_of(other.name)
        done = interrupt(demo, signal.SIGINT)
    says(done, 5, "interrupted by")
    assert f"lab {other.name} removed" in done.err
    assert other.left_behind(subnet) == []


@pytest.fixture
def verify(cluster: Cluster) -> Iterator[Running]:
    """Verify, in the middle of its checks."""
    with cluster.start("verify", str(cluster.spec), "-i", str(cluster.inventory)) as running:
        running.wait_for(" checks: n0 ")
        yield running


@pytest.fixture
def selftest(cluster: Cluster) -> Iterator[Running]:
    """A self-test that is sending, and goes on for longer than what starts beside it takes."""
    with cluster.start("selftest", str(cluster.spec), "-i", str(cluster.inventory), "--duration", "40") as running:
        running.wait_for("matrix:")
        yield running


@pytest.mark.parametrize("signum", SIGNALS)
def test_verify(verify: Running, signum: signal.Signals) -> None:
    says(interrupt(verify, signum), 1, "rbops: interrupted\n")


@pytest.mark.parametrize("signum", SIGNALS)
def test_selftest(cluster: Cluster, selftest: Running, signum: signal.Signals) -> None:
    assert len(cluster.agents()) == 4
    says(interrupt(selftest, signum), 1, "rbops: interrupted\n")
    wait_for("the agents' end", lambda: not cluster.agents())
    for tester in range(4):
        (link,) = json.loads(cluster.on(f"t{tester}", "ip", "-j", "link", "show", f"ext{tester}"))
        assert "xdp" not in link


def test_selftest_killed_outright_takes_its_agents_with_it(cluster: Cluster, selftest: Running) -> None:
    selftest.process.kill()
    selftest.end()
    wait_for("the agents' end", lambda: not cluster.agents())
    cluster.healthy()


def test_without_the_management_network(cluster: Cluster, selftest: Running, verify: Running) -> None:
    """What runs ends soon and says what it missed; what begins does not begin; afterwards all is as it was."""
    bridge = f"rbops-br{subnet_of(cluster.name)}"
    subprocess.run(["ip", "link", "set", bridge, "down"], check=True)
    try:
        with each_verb(cluster, "status", "diff", "apply") as started:
            for running in (verify, selftest):
                done = running.end(90)
                says(done, 4, "rbops: n")
            for running in started:
                done = running.end(90)
                says(done, 4, "rbops: n0")
                assert all(f"n{number}: " in done.err for number in range(4))
    finally:
        subprocess.run(["ip", "link", "set", bridge, "up"], check=True)
    for server in cluster.lab.servers:
        cluster.lab.wait(server.name)
    done = cluster.verb("status")
    assert done.code == 0, done.out + done.err
    cluster.healthy()


def test_a_server_that_dies(cluster: Cluster, selftest: Running, verify: Running) -> None:
    """It is named by whatever was at work and by whatever comes after; booted again it has its configuration."""
    cluster.lab.kill("n2")
    try:
        says(verify.end(90), 4, "rbops: n2")
        says(selftest.end(90), 4, "rbops: n2")
        with each_verb(cluster, "verify", "selftest", "apply", "status") as started:
            for running in started:
                says(running.end(90), 4, "rbops: n2: ")
        status = cluster.run("lab", "status", str(cluster.spec), "--name", cluster.name)
        says(status, 1, "is degraded: no answer from n2")
    finally:
        cluster.lab.restart("n2")
    done = cluster.verb("verify", "--limit", "n2,n0")
    assert done.code == 0, done.out + done.err
    cluster.healthy()


@pytest.fixture
def public(cluster: Cluster) -> Iterator[Path]:
    """A folder that everybody may read, with the spec and the inventory."""
    with tempfile.TemporaryDirectory(prefix="rbt-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for path in (cluster.spec, cluster.inventory):
            shutil.copyfile(path, folder / path.name)
            (folder / path.name).chmod(0o644)
        (folder / "home").mkdir()
        os.chown(folder / "home", NOBODY, NOBODY)
        yield folder


@pytest.mark.parametrize("verb", ["lab up", "demo", "selftest"])
def test_not_root(cluster: Cluster, public: Path, verb: str) -> None:
    """As an ordinary user; that user may read this checkout wherever it lies, so that only root is missing."""
    spec = str(public / cluster.spec.name)
    rest = {
        "lab up": (spec, "--name", "rbt-nobody"),
        "demo": ("--name", "rbt-nobody"),
        "selftest": (spec, "-i", str(public / cluster.inventory.name)),
    }
    user = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs")
    may_read = ("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search")
    done = subprocess.run(
        [*user, *may_read, RBOPS, *verb.split(), *rest[verb]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd="/",
        env={**os.environ, "TMPDIR": "/tmp", "HOME": str(public / "home")},
    )
    says(Done(done.returncode, done.stdout, done.stderr), 2, "needs root")
    assert "with sudo" in done.stderr
