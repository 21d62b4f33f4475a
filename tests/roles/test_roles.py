"""The roles as Ansible users see them: they parse, are documented, and copy finished bytes only."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from rbops.render import render
from rbops.resources import shared
from tests.lab.plans import mesh

ROLES = sorted(path for path in shared("roles").iterdir() if path.is_dir())
OWN = {"rbops_click", "rbops_keys", "rbops_push"}
KEYWORDS = {
    "name", "register", "changed_when", "check_mode", "failed_when", "when", "vars", "notify", "loop", "loop_control",
    "diff",
}  # fmt: skip


def tasks(role: Path) -> list[dict[str, Any]]:
    found = []
    for path in sorted(role.glob("tasks/*.yml")) + sorted(role.glob("handlers/*.yml")):
        found += yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def module(task: dict[str, Any]) -> str:
    (name,) = set(task) - KEYWORDS
    return name


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_role_is_documented_and_its_defaults_are_its_options(role: Path) -> None:
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]["main"]
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text(encoding="utf-8"))
    assert specs["short_description"]
    assert set(defaults) <= set(specs["options"])
    for name, option in specs["options"].items():
        assert option["description"]
        if "default" in option:
            assert defaults[name] == option["default"], name


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_tasks_are_named_and_modules_fully_qualified(role: Path) -> None:
    for task in tasks(role):
        assert task["name"][0].isupper()
        assert module(task) in OWN or module(task).startswith("ansible.builtin."), task["name"]
        assert module(task) not in {"ansible.builtin.template", "ansible.builtin.shell"}, task["name"]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_copied_file_has_a_mode(role: Path) -> None:
    for task in tasks(role):
        if module(task) == "rbops_push":
            for entry in task["rbops_push"].get("files", ()):
                assert re.fullmatch(r"0[0-7]{3}", entry["mode"]), entry


@pytest.mark.parametrize("playbook", ["site.yml", "revert.yml"])
def test_playbooks_parse(playbook: str, tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all: {children: {rbops_servers: {hosts: {n0: {}}}}}\n")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ansible.cli.playbook",
            "-i",
            str(inventory),
            "--syntax-check",
            shared("playbooks", playbook),
        ],
        env={**os.environ, "ANSIBLE_ROLES_PATH": str(shared("roles")), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


NODE = """\
#!/bin/sh
case "$1" in
  apply) echo '{"changes": [{"subject": "boot", "setting": "next boot", "have": "absent", "want": "1"}],
                "outdated": OUTDATED,
                "unsupported": [{"subject": "CPU 1", "setting": "governor", "reason": "no cpufreq driver"}],
                "reboot": [{"subject": "boot", "setting": "isolcpus", "have": "absent", "want": "1-3"}]}' ;;
  diff) echo '[]' ;;
esac
"""


@pytest.mark.parametrize(("check", "outdated"), [(False, ["rbops-watch.service"]), (False, []), (True, [])])
def test_activation_tells_what_waits_for_a_reboot(tmp_path: Path, check: bool, outdated: list[str]) -> None:  # noqa: FBT001 - a table's column
    """With a node program and a systemctl of the test's own: this machine's units stay as they are."""
    for name, text in (
        ("rbops-node", NODE.replace("OUTDATED", json.dumps(outdated))),
        ("systemctl", '#!/bin/sh\necho "$@" >> "${0}.calls"\n'),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    request = {
        "step": "activate",
        "check": check,
        "diff": False,
        "clean": [],
        "keep": [],
        "sizes": [2] if check else [],
    }
    request["program"] = str(tmp_path / "rbops-node")
    done = subprocess.run(
        [sys.executable, shared("playbooks", "library", "rbops_push.py")],
        input=json.dumps(request) + "\n{}",
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    result = json.loads(done.stdout)
    calls = (tmp_path / "systemctl.calls").read_text()
    if check:
        assert "enable" not in calls
        assert "restart" not in calls
        assert "reload" not in calls
    else:
        assert ("restart rbops-watch.service" in calls) == bool(outdated)
        assert result["reboot_required"] is True
        assert result["unsupported"][0]["reason"] == "no cpufreq driver"
        assert result["warnings"] == ["reboot required: boot isolcpus: absent -> 1-3"]


def test_the_playbook_has_only_the_roles_that_a_plan_needs() -> None:
    """Each task that is skipped costs Ansible a process for every server."""
    text = next(file.content for file in render(mesh(2)).top if file.path == "site.yml").decode()
    roles = [entry["ansible.builtin.import_role"]["name"] for entry in yaml.safe_load(text)[0]["tasks"]]
    assert roles == ["preflight", "packages", "node", "xdp", "activate"]
