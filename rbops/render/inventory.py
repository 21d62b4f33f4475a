"""The inventory to start from on real servers."""

from __future__ import annotations

import json

from rbops.plan import ClusterPlan

__all__ = ["inventory"]

_HEAD = """\
# Fill in how each server is reached, then: rbops apply SPEC -i THIS_FILE
# Host keys are checked: collect them into ~/.ssh/known_hosts first.
all:
  children:
    rbops_servers:
      hosts:
"""


def inventory(plan: ClusterPlan) -> bytes:
    """One host per planned server, reached by its name until an address is written."""
    lines = [
        f"        {name}:\n          ansible_host: {name}\n" for name in (json.dumps(s.name) for s in plan.servers)
    ]
    return (_HEAD + "".join(lines) + "      vars:\n        ansible_user: root\n").encode()
