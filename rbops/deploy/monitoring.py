"""Files for those who collect and show the exporters' metrics: Prometheus and Grafana."""

from __future__ import annotations

from pathlib import Path

import yaml

from rbops.deploy.inventory import Inventory
from rbops.errors import Mismatch, UsageError, Where
from rbops.plan import ClusterPlan
from rbops.resources import shared

__all__ = ["JOB", "prometheus_config", "write_files"]

JOB = "rbops"
"""Prometheus' name for the exporters, which the alert rules know."""
_INTERVAL = "15s"
_SHIPPED = ("rules.yml", "dashboard.json")


def prometheus_config(plan: ClusterPlan, inventory: Inventory) -> str:
    """A configuration that scrapes the servers that the inventory's limit leaves, at the addresses it logs in to.

    Mismatch (3) where the plan has no exporter, and where a planned server is not in the inventory.
    """
    if plan.exporter is None:
        raise Mismatch(
            "the servers give no metrics", code="monitoring.off", hint="write `monitoring: {exporter: {}}` in the spec"
        )
    hosts = [target.host for target in inventory.for_plan(plan)]
    targets = [f"[{host}]:{plan.exporter.port}" if ":" in host else f"{host}:{plan.exporter.port}" for host in hosts]
    config = {
        "global": {"scrape_interval": _INTERVAL, "evaluation_interval": _INTERVAL},
        "rule_files": [_SHIPPED[0]],
        "scrape_configs": [{"job_name": JOB, "static_configs": [{"targets": targets}]}],
    }
    return yaml.safe_dump(config, sort_keys=False)


def write_files(plan: ClusterPlan, inventory: Inventory, folder: Path) -> list[Path]:
    """``prometheus.yml``, ``rules.yml`` and ``dashboard.json`` in ``folder``, which is made.

    Raises as :func:`prometheus_config`, and UsageError (2) where they cannot be written.
    """
    texts = {"prometheus.yml": prometheus_config(plan, inventory)}
    texts |= {name: shared("templates", "monitoring", name).read_text(encoding="utf-8") for name in _SHIPPED}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"cannot be written: {error.strerror}", code="monitoring.unwritable", where=Where(file=str(folder))
        ) from error
    return [folder / name for name in texts]
