from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rbops.deploy.apply import Acceptance, Applied, ApplyOptions, apply
from rbops.deploy.inventory import load_inventory
from rbops.deploy.report import Silent
from rbops.deploy.runner import PlayOptions
from rbops.deploy.stop import Stop
from rbops.lab.model import Lab
from rbops.plan import ClusterPlan
from rbops.planner import load_plan
from tests.deploy.serverstate import states
from tests.support.lab import MakeLab, make_lab

__all__ = ["make_lab"]

SPEC = """\
name: rbdtest
router: {external_ports: 2, line_rate: 1Gbps}
servers: {profile: lab}
"""


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A lab of two servers, its spec, and what tests do with both."""

    lab: Lab
    spec: Path
    folder: Path

    @property
    def plan(self) -> ClusterPlan:
        return load_plan(self.spec)

    def variant(self, name: str, text: str) -> Path:
        """A spec of the same lab with something else in it."""
        path = self.folder / f"{name}.yml"
        path.write_text(SPEC + text, encoding="utf-8")
        return path

    def apply(
        self,
        spec: Path | None = None,
        limit: str | None = None,
        acceptance: Acceptance | None = None,
        **options: object,
    ) -> Applied:
        play = PlayOptions(**{key: options.pop(key) for key in list(options) if key in PlayOptions.__slots__})  # type: ignore[arg-type]
        return apply(
            load_plan(spec or self.spec),
            load_inventory(self.lab.inventory, limit),
            ApplyOptions(play, **options),  # type: ignore[arg-type]
            Silent(),
            Stop(),
            acceptance,
        )

    def cli(self, *arguments: str, spec: Path | None = None, with_spec: bool = True) -> subprocess.Popen[str]:
        """``rbops VERB [SPEC] -i INVENTORY ...`` as a process of its own."""
        verb, *rest = arguments
        return subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from rbops.cli import main; main()",
                verb,
                *([str(spec or self.spec)] if with_spec else []),
                "-i",
                str(self.lab.inventory),
                *rest,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(scope="session", autouse=True)
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Journals of tests lie in pytest's folder, one for the whole session: rollback reads earlier ones."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        yield folder / "rbops" / "runs"


@pytest.fixture(scope="package")
def raw_cluster(make_lab: MakeLab, runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The lab before anything was applied."""
    del runs
    folder = tmp_path_factory.mktemp("specs")
    spec = folder / "router.yml"
    spec.write_text(SPEC, encoding="utf-8")
    return Cluster(make_lab(load_plan(spec), "rbt-apply"), spec, folder)


@pytest.fixture(scope="package")
def fresh(raw_cluster: Cluster) -> dict[str, dict[str, Any]]:
    """The state of servers that rbops never touched."""
    return states(raw_cluster.lab)


@pytest.fixture(scope="package")
def cluster(raw_cluster: Cluster, fresh: dict[str, dict[str, Any]]) -> Cluster:
    """The lab with the spec applied; every test leaves it so."""
    del fresh
    raw_cluster.apply()
    return raw_cluster
