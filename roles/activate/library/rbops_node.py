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


def _parse(module, stdout, stderr):
    try:
        changes = json.loads(stdout or "[]")
    except ValueError:
        module.fail_json(msg="rbops-node printed no JSON", stdout=stdout, stderr=stderr)
    if isinstance(changes, dict):
        changes = changes.get("changes", changes.get("differences", []))
    return [
        change if isinstance(change, dict) else {"subject": "rbops", "setting": str(change), "have": "", "want": "done"}
        for change in changes
    ]


def _fail(module, command, code, stdout, stderr):
    text = [line.strip() for line in (stderr or stdout).splitlines() if line.strip()]
    reason = "; ".join(text[-5:]) or "it gave no reason"
    said = f"{' '.join(command[:2])} failed with {code}: {reason}"
    module.fail_json(msg=said, rc=code, stdout=stdout, stderr=stderr)


def _diff(module, program):
    """What apply would do, with the configuration in a temporary file of this task."""
    handle, path = tempfile.mkstemp(dir=module.tmpdir, suffix=".json")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(module.params["config"])
    command = [program, "diff", "--json", "--config", path]
    code, stdout, stderr = module.run_command(command)
    if code not in (0, 1):
        _fail(module, command, code, stdout, stderr)
    return _parse(module, stdout, stderr)


def _apply(module, program):
    command = [program, "apply", "--json"]
    code, stdout, stderr = module.run_command(command)
    if code != 0:
        _fail(module, command, code, stdout, stderr)
    return _parse(module, stdout, stderr)


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
    if not module.check_mode:
        changes = _apply(module, program)
    elif os.path.exists(program):
        changes = _diff(module, program)
    else:
        # A fresh server: what its kernel lacks can only be told by the program that is not there yet.
        changes = [{"subject": "server", "setting": "rbops-node", "have": "not installed", "want": "all as planned"}]
    module.exit_json(
        changed=bool(changes),
        changes=changes,
        installed=os.path.exists(program),
        diff={"before": _lines(changes, "have"), "after": _lines(changes, "want")},
    )


if __name__ == "__main__":
    main()
