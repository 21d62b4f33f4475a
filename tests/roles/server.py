"""A server that the role click is played on, and what its tasks said."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["CALLBACK", "PLAYBOOK", "Server"]

PLAYBOOK = """\
- hosts: n0
  gather_facts: false
  vars: {rbops_files: "{{ playbook_dir }}"}
  # rbops_push and rbops_keys come with the playbook.
  roles: [{role: node, when: false}, click]
"""
# ansible-core prints results for people only.
CALLBACK = """\
import json, os
from ansible.plugins.callback import CallbackBase

class CallbackModule(CallbackBase):
    CALLBACK_VERSION, CALLBACK_TYPE, CALLBACK_NAME = 2.0, "aggregate", "results"

    def _keep(self, result, failed=False):
        with open(os.environ["RESULTS"], "a", encoding="utf-8") as file:
            json.dump({**result.result, "task": result.task_name, "failed": failed}, file, default=str)
            file.write("\\n")

    v2_runner_on_ok = _keep

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._keep(result, failed=True)
"""


@dataclasses.dataclass(frozen=True)
class Server:
    """A server, and a folder with rendered files for it; ``before`` stands before the command that plays them."""

    folder: Path
    inventory: Path
    enter: Callable[[list[str]], list[str]]
    before: tuple[str, ...]

    def play(self, *, check: bool = False, **plane: Any) -> dict[str, Any]:
        """Run the role for a data plane: ``failed`` with its message, or ``changed`` with the tasks that changed."""
        values = {"kind": "click", "dialect": "socket", "prefix": "", "package": "", "elements": ["Idle"], **plane}
        node = self.folder / "hosts/n0/etc/rbops/node.json"
        node.parent.mkdir(parents=True, exist_ok=True)
        node.write_text(json.dumps({"dataplane": values}))
        command = [sys.executable, "-m", "ansible.cli.playbook", "-i", str(self.inventory), "--diff"]
        command += [*(["--check"] if check else []), str(self.folder / "click.yml")]
        results = self.folder / "results"
        results.unlink(missing_ok=True)
        environment = {**os.environ, "RESULTS": str(results), "LC_ALL": "C.UTF-8"}
        environment |= {"ANSIBLE_CALLBACK_PLUGINS": str(self.folder), "ANSIBLE_CALLBACKS_ENABLED": "results"}
        done = subprocess.run(
            [*self.before, *command],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert results.exists(), done.stdout + done.stderr
        tasks = [json.loads(line) for line in results.read_text().splitlines()]
        failed = [task["msg"] for task in tasks if task.get("failed")]
        assert (done.returncode != 0) == bool(failed), done.stdout + done.stderr
        changed = {task["task"].removeprefix("click : "): task for task in tasks if task.get("changed")}
        return {"failed": failed[0] if failed else None, "changed": changed}

    def run(self, *argv: str, check: bool = True) -> str:
        done = subprocess.run(self.enter(list(argv)), capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def put(self, path: str, text: str) -> None:
        script = f"mkdir -p $(dirname {path}) && cat > {path} && chmod 755 {path}"
        subprocess.run(self.enter(["sh", "-c", script]), input=text, text=True, check=True)

    def click_that_says(self, version: str, elements: str = "Idle") -> str:
        """A program in the place of Click, for refusals."""
        script = f'#!/bin/sh\n[ "$1" = -q ] && echo "{elements}" || echo "click (Click) {version}"\n'
        self.put(f"/opt/click-{version}/bin/click", script)
        return f"/opt/click-{version}"
