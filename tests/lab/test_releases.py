"""Which Debian release a lab's servers run: as asked for on the command line, and as they say themselves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rbops.errors import Mismatch, UsageError
from rbops.lab.releases import Releases
from tests.lab.plans import mesh
from tests.support.errors import raises
from tests.system.driver import Cluster

SPEC = """\
name: rbt-mixed
router: {external_ports: 2, line_rate: 1Gbps}
servers: {profile: lab}
"""


def test_one_release_for_all_and_others_for_some() -> None:
    plan = mesh(3)
    assert Releases().of_plan(plan) == dict.fromkeys(("n0", "n1", "n2"), "bookworm")
    assert Releases.parse(["trixie"]).of_plan(plan) == dict.fromkeys(("n0", "n1", "n2"), "trixie")
    for words in (["trixie", "n1=bookworm"], ["n1=trixie", "n1=bookworm", "bookworm", "trixie"]):
        assert Releases.parse(words).of_plan(plan) == {"n0": "trixie", "n1": "bookworm", "n2": "trixie"}


@pytest.mark.parametrize("word", ["sid", "n1=sid", "=trixie", "n1=", "", "trixie=n1"])
def test_what_is_not_a_release(word: str) -> None:
    with raises(UsageError, "lab.release"):
        Releases.parse([word])


def test_a_server_that_is_not_planned() -> None:
    with raises(Mismatch, "lab.release-server"):
        Releases.parse(["n7=trixie"]).of_plan(mesh(2))


@pytest.fixture
def mixed(tmp_path: Path) -> Iterator[Cluster]:
    """A lab whose server n0 runs Debian 12 and n1 Debian 13."""
    cluster = Cluster(tmp_path, "rbt-mixed", {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")})
    cluster.spec.write_text(SPEC, encoding="utf-8")
    cluster.run("lab", "down", str(cluster.spec))
    try:
        done = cluster.run("lab", "up", str(cluster.spec), "--release", "n1=trixie", seconds=400)
        assert done.code == 0, done.err
        yield cluster
    finally:
        cluster.run("lab", "down", str(cluster.spec))


@pytest.mark.lab
def test_a_lab_of_two_releases_is_one_router(mixed: Cluster) -> None:
    versions = {name: mixed.on(name, "cat", "/etc/debian_version") for name in ("n0", "n1")}
    assert {name: text.partition(".")[0] for name, text in versions.items()} == {"n0": "12", "n1": "13"}
    status = mixed.run("lab", "status", str(mixed.spec), "--format", "json")
    assert [server["release"] for server in status.json["servers"]] == ["bookworm", "trixie"]
    for verb in ("apply", "verify"):
        done = mixed.verb(verb, seconds=200)
        assert done.code == 0, done.out + done.err
    mixed.healthy()
