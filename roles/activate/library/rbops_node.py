#!/usr/bin/python
"""Ansible module: the kernel's state made equal to /etc/rbops/node.json by rbops-node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rbops_node
short_description: Make a server's kernel state what its rbops configuration says
description:
  - Runs C(rbops-node apply), which changes what differs, reads it back and fails when a setting had no effect.
  - In check mode runs C(rbops-node diff) against I(config) and changes nothing.
options:
  program:
    description: The node program on the server.
    type: path
    default: /usr/sbin/rbops-node
  config:
    description:
      - The text of the node.json to compare with in check mode, where it was not copied to the server.
    type: str
    required: true
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""

EXAMPLES = r"""
- name: The configuration takes effect
  rbops_node:
    config: "{{ lookup('ansible.builtin.file', 'hosts/n0/etc/rbops/node.json') }}"
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: dict
  sample: [{subject: port ext0, setting: mtu, have: "1500", want: "9000"}]
unsupported:
  description: The planned settings that this server's hardware does not support, and why.
  returned: when applied
  type: list
  elements: dict
  sample: [{subject: CPU 1, setting: governor, reason: "nothing scales this CPU's frequency: no cpufreq driver"}]
reboot_required:
  description: Whether something planned takes effect with the next reboot only.
  returned: when applied
  type: bool
reboot:
  description: What that is.
  returned: when applied
  type: list
  elements: dict
  sample: [{subject: boot, setting: nohz_full, have: absent, want: 1-3}]
follows:
  description: Whether the service runs by which the data plane follows the kernel's routes.
  returned: when applied
  type: bool
installed:
  description: Whether the node program is on the server, which a check of a fresh one finds it is not.
  returned: success
  type: bool
"""

import json
import os
import tempfile

from ansible.module_utils.basic import AnsibleModule


def _lines(changes, side):
    """One side of the differences as text, for --diff."""
    return "".join("{subject}: {setting}: {0}\n".format(change.get(side), **change) for change in changes)


def _json(module, stdout, stderr):
    try:
        return json.loads(stdout or "[]")
    except ValueError:
        module.fail_json(msg="rbops-node printed no JSON", stdout=stdout, stderr=stderr)


def _parse(changes):
    if isinstance(changes, dict):
        changes = changes.get("changes", changes.get("differences", []))
    return [
        change if isinstance(change, dict) else {"subject": "rbops", "setting": str(change), "have": "", "want": "done"}
        for change in changes
    ]


def _fail(module, command, code, stdout, stderr):
    lines = [line.strip() for line in (stderr or stdout).splitlines() if line.strip()]
    try:
        error = json.loads(lines[-1])["error"]
        stderr = "\n".join(lines[:-1])
        reason = "; hint: ".join(part for part in (error["message"], error["hint"]) if part)
    except (LookupError, TypeError, ValueError):
        error, reason = None, "; ".join(lines[-5:]) or "it gave no reason"
    said = f"{' '.join(command[:2])} failed with {code}: {reason}"
    module.fail_json(msg=said, rc=code, error=error, stdout=stdout, stderr=stderr)


def _diff(module, program):
    """What apply would do, with the configuration in a temporary file of this task."""
    handle, path = tempfile.mkstemp(dir=module.tmpdir, suffix=".json")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(module.params["config"])
    command = [program, "diff", "--json", "--config", path]
    code, stdout, stderr = module.run_command(command)
    if code not in (0, 1):
        _fail(module, command, code, stdout, stderr)
    return _parse(_json(module, stdout, stderr)), {}


def _apply(module, program):
    answers = []
    for verb in ("apply", "status"):
        command = [program, verb, "--json"]
        code, stdout, stderr = module.run_command(command)
        if code != 0:
            _fail(module, command, code, stdout, stderr)
        answers.append(_json(module, stdout, stderr))
    done, status = answers
    waiting = status.get("reboot", [])
    if waiting:
        said = "; ".join("{subject} {setting}: {have} -> {want}".format(**entry) for entry in waiting)
        module.warn(f"reboot required: {said}")
    follows = status.get("services", {}).get("rbops-fib.service") == "active"
    more = {
        "follows": follows,
        "unsupported": done.get("unsupported", []),
        "reboot_required": bool(waiting),
        "reboot": waiting,
    }
    return _parse(done), more


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "program": {"type": "path", "default": "/usr/sbin/rbops-node"},
            "config": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    program = module.params["program"]
    more = {}
    if not module.check_mode:
        changes, more = _apply(module, program)
    elif os.path.exists(program):
        changes, more = _diff(module, program)
    else:
        # A fresh server: what its kernel lacks can only be found by the program that is not installed yet.
        changes = [{"subject": "server", "setting": "rbops-node", "have": "not installed", "want": "all as planned"}]
    module.exit_json(
        changed=bool(changes),
        changes=changes,
        installed=os.path.exists(program),
        **more,
        diff={"before": _lines(changes, "have"), "after": _lines(changes, "want")},
    )


if __name__ == "__main__":
    main()
