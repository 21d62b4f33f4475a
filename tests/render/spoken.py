"""A plan with a routing daemon, and the configuration that a server gets for it."""

from __future__ import annotations

from pathlib import Path

from rbops.common.daemons import DAEMONS
from rbops.plan import ClusterPlan
from rbops.planner import load_plan
from rbops.render.daemons import daemon_files

__all__ = ["config", "planned"]


def planned(folder: Path, spec: str) -> ClusterPlan:
    """The plan of a spec's text, whose password file is ``p``."""
    (folder / "p").touch(0o600)
    (folder / "p").write_text("canary\n")
    (folder / "router.yml").write_text(spec)
    return load_plan(folder / "router.yml")


def config(made: ClusterPlan, name: str) -> str:
    """The planned daemon's; the password is in no file."""
    files = {file.path: file for file in daemon_files(made, made.server(name), "0" * 64)}
    assert "canary" not in "".join(file.content.decode() for file in files.values())
    assert made.routing is not None
    return files[DAEMONS[made.routing.daemon].config].content.decode()
