"""One lab of two servers, or more, for the whole room, between two configurations; one that grows and shrinks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rbops.planner import load_plan
from tests.faults.arena import Arena
from tests.faults.growing import Growing
from tests.support.lab import MakeLab, make_lab

__all__ = ["make_lab"]

_SERVERS = int(os.environ.get("RBOPS_FAULTS_SERVERS", "2"))
"""Faults that strike one server strike one of so many."""

_OLD = """\
name: rbftest
router: {{external_ports: {servers}, line_rate: 1Gbps}}
servers: {{profile: lab}}
routes:
  - {{prefix: 203.0.113.0/24, via: 198.18.1.2}}
"""
# Files, routes, a sysctl of each server, the data plane's configuration, and ports that are reset.
_NEW = """\
name: rbftest
router: {{external_ports: {servers}, line_rate: 1Gbps, services: [bgp]}}
servers: {{profile: lab}}
nic: {{offloads: {{tx-nocache-copy: true}}}}
punts: {{arp: 500}}
interconnect: {{flowlet_timeout: 50ms}}
kernel: {{sysctl: {{net.ipv4.conf.ext0.log_martians: 1, net.ipv4.conf.ext1.log_martians: 1}}}}
routes:
  - {{prefix: 203.0.113.0/24, via: 198.18.0.2}}
  - {{prefix: 192.0.2.0/24, via: 198.18.1.2}}
"""


# The cable between two servers is the same one in both; every packet takes the next path. Servers of a lab that stand
# still for a moment are not taken for dead.
_SIZE = """\
name: rbfgrow
router: {{external_ports: {servers}, line_rate: 1Gbps}}
servers: {{profile: lab}}
interconnect: {{routing: vlb, flowlet_timeout: 0, probe_interval: 100ms, probe_multiplier: 10}}
"""


@pytest.fixture(scope="package")
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Journals of tests lie in pytest's folder."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="package")
def arena(make_lab: MakeLab, state_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Arena:
    """The lab with nothing of rbops on it, at first."""
    del state_home
    specs = _written(tmp_path_factory.mktemp("specs"), {"old": (_OLD, _SERVERS), "new": (_NEW, _SERVERS)})
    made = Arena(make_lab(load_plan(specs["old"]), _lab_name("rbt-faults")), specs)
    made.known["fresh"] = made.all_shown()
    return made


@pytest.fixture(scope="package")
def growing(make_lab: MakeLab, state_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Growing:
    """A lab of three servers with nothing of rbops on it, at first."""
    del state_home
    specs = _written(tmp_path_factory.mktemp("sizes"), {"old": (_SIZE, 2), "new": (_SIZE, 3)})
    return Growing(make_lab(load_plan(specs["new"]), _lab_name("rbt-sizes")), specs)


def _written(folder: Path, texts: dict[str, tuple[str, int]]) -> dict[str, Path]:
    for name, (text, servers) in texts.items():
        (folder / f"{name}.yml").write_text(text.format(servers=servers), encoding="utf-8")
    return {name: folder / f"{name}.yml" for name in texts}


def _lab_name(name: str) -> str:
    """One for each process that pytest divides the tests among."""
    return "-".join([name, *filter(None, [os.environ.get("PYTEST_XDIST_WORKER")])])
