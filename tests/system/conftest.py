"""One RB4 on this machine for the whole room: made by the commands a user types, used by every test, removed.

The tests run in the order of ``_ORDER``: those that break something come after those that look, and each
puts back what it broke.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rbops.dataplane.click.controller.build import find
from tests.system.driver import LONGEST_S, Cluster, Done

_ORDER = (
    "test_main_job",
    "test_host_traffic",
    "test_strangers",
    "test_management",
    "test_liveness",
    "test_bundles",
    "test_fly",
    "test_verify_faults",
    "test_selftest_faults",
    "test_interrupts",
    "test_routing",
    "test_bgp",
    "test_frr",
    "test_ipv6",
    "test_kernel",
    "test_managers",
    "test_tester_systems",
    "test_sflow_life",
    "test_click",
    "test_click_life",
    "test_click_fly",
    "test_ipsec",
)

CLICK_SPEC = """\
name: ck4
router: {{external_ports: 4, line_rate: 10Mbps}}
servers: {{profile: lab}}
interconnect: {{direct_quota: paper}}
dataplane: click
click: {{dialect: socket, prefix: "{prefix}"}}
routes:
  - {{prefix: 203.0.113.0/24, via: 198.18.3.2}}
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put this room's tests in order, in the places they have among all tests."""
    here = [number for number, item in enumerate(items) if item.path.parent == Path(__file__).parent]
    own = sorted((items[number] for number in here), key=lambda item: _ORDER.index(item.path.stem))
    for number, item in zip(here, own, strict=True):
        items[number] = item


@pytest.fixture(scope="package")
def steps() -> dict[str, Done]:
    """How each command went that made the cluster, by its verb."""
    return {}


@pytest.fixture(scope="package")
def cluster(steps: dict[str, Done], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The paper's RB4, booted and applied."""
    made = make_cluster(tmp_path_factory.mktemp("rb4"), "rbt-rb4")
    made.run("lab", "down", "none", "--name", made.name)
    try:
        steps["init"] = made.run("init", str(made.folder))
        # The pair phase must pass the direct quota, a quarter of this, on a busy machine too.
        made.spec.write_text(made.spec.read_text().replace("line_rate: 10Gbps ", "line_rate: 5Gbps "))
        steps["check"] = made.run("check", str(made.spec))
        steps["plan"] = made.run("plan", str(made.spec), "--format", "json")
        steps["lab up"] = made.run("lab", "up", str(made.spec), "--name", made.name)
        steps["apply"] = made.verb("apply")
        assert {name: done.code for name, done in steps.items() if done.code} == {}, steps
        yield made
    finally:
        steps["lab down"] = made.run("lab", "down", str(made.spec), "--name", made.name)
    assert steps["lab down"].code == 0, steps["lab down"].err


@pytest.fixture(scope="package")
def click_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The same RB4 with Click's socket dialect, booted and applied."""
    spec = CLICK_SPEC.format(prefix=find(os.environ.get("CLICK_PREFIX")).prefix)
    with applied(make_cluster(tmp_path_factory.mktemp("ck4"), "rbt-ck4"), spec) as made:
        yield made


@pytest.fixture(scope="module")
def kernel_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three servers, booted; a test's spec is applied by the test."""
    spec = "name: kn3\nrouter: {external_ports: 3, line_rate: 10Gbps}\nservers: {profile: lab}\n"
    with booted(make_cluster(tmp_path_factory.mktemp("kn3"), "rbt-kn3"), spec) as made:
        yield made


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Cluster]:
    """A second lab beside the cluster, for commands that make and remove one; there is none at the end."""
    found = make_cluster(tmp_path, "rbt-other")
    try:
        yield found
    finally:
        found.run("lab", "down", "none", "--name", found.name)


@contextmanager
def booted(made: Cluster, spec: str, *arguments: str, seconds: float = LONGEST_S) -> Iterator[Cluster]:
    """The lab of a spec, up; there is none before and after. ``arguments``: of ``lab up``."""
    made.run("lab", "down", "none", "--name", made.name)
    made.spec.write_text(spec)
    try:
        done = made.run("lab", "up", str(made.spec), "--name", made.name, *arguments, seconds=seconds)
        assert done.code == 0, done.err
        yield made
    finally:
        down = made.run("lab", "down", "none", "--name", made.name)
    assert down.code == 0, down.err


@contextmanager
def applied(made: Cluster, spec: str, *, seconds: float = LONGEST_S) -> Iterator[Cluster]:
    """The same, and the spec applied."""
    with booted(made, spec, seconds=seconds):
        done = made.verb("apply", seconds=seconds)
        assert done.code == 0, done.err
        yield made


def make_cluster(folder: Path, name: str) -> Cluster:
    temporary = folder / "tmp"
    temporary.mkdir()
    return Cluster(folder, name, {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "TMPDIR": str(temporary)})
