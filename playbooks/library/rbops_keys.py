#!/usr/bin/python
"""Ansible module: keys and passwords, from files on the controller to where root alone reads them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rbops_keys
short_description: Put the keys of ESP tunnels, or the passwords of routing sessions, onto a server
description:
  - Reads key files on the controller and writes what Click reads to one file of root's, mode 0600.
  - Keys are in no result, not with C(--diff) or C(-vvv), in no log, and in no temporary file with pipelining.
options:
  dest:
    description: The file on the server.
    type: path
    required: true
  keys:
    description: The key files, in the order of the tunnels; without any, the file on the server is removed.
    type: list
    elements: path
  tunnels:
    description: Tunnels of the kernel, each with C(cipher) and C(keys), its key file; a line each, but those of IKE.
    type: list
    elements: dict
  ike:
    description:
      - Tunnels of the kernel; of those that this server negotiates keys for, the pre-shared key in C(ike.secret).
    type: list
    elements: dict
  passwords:
    description:
      - Pairs of a name and a file with one password, which BIRD reads as C(define NAME = "PASSWORD";).
      - A file without a name is copied as it is.
    type: list
    elements: list
attributes:
  check_mode: {support: full}
  diff_mode: {support: full, details: Shows that keys differ, not the keys.}
"""

EXAMPLES = r"""
- name: The keys of the tunnels
  rbops_keys:
    dest: /etc/rbops/click/ipsec.click
    keys: [/srv/router/peer.keys]
"""

import fcntl
import json
import os
import stat
import tempfile
from contextlib import contextmanager

from ansible.module_utils.basic import AnsibleModule

MODE = 0o600
STATE = "/var/lib/rbops"


def look(dest, content):
    """Why the file is not as wanted; empty when it is."""
    try:
        info = os.lstat(dest)
    except FileNotFoundError:
        return "absent" if content else ""
    if not content:
        return "not planned"
    if not stat.S_ISREG(info.st_mode):
        return "kind"
    with open(dest, "rb") as file:
        if file.read() != content:
            return "content"
    as_planned = stat.S_IMODE(info.st_mode) == MODE and (info.st_uid, info.st_gid) == (0, 0)
    return "" if as_planned else "mode or owner"


def put(dest, content):
    """Write beside the file and rename: never readable by others, not for a moment, and whole or not at all."""
    if not content:
        os.unlink(dest)
        return
    folder, name = os.path.split(dest)
    os.makedirs(folder, mode=0o755, exist_ok=True)
    # mkstemp makes it 0600.
    handle, part = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchown(handle, 0, 0)
            file.write(content)
            file.flush()
            os.fsync(handle)
        os.replace(part, dest)
    except OSError:
        os.unlink(part)
        raise


def run_of_change():
    """The run whose change is open here; None without one."""
    try:
        with open(f"{STATE}/snapshot/manifest.json", encoding="utf-8") as file:
            return json.load(file)["run"]
    except FileNotFoundError:
        return None


@contextmanager
def change_open(run):
    """As in rbops_push: no key comes to a server that has rolled the change of this run back."""
    if not run:
        yield True
        return
    try:
        handle = os.open(f"{STATE}/.busy", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:  # after the first push of all nothing stays of rbops
        yield False
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield run_of_change() == run
    finally:
        os.close(handle)


def main():
    """Entry point; the action plugin of the same name makes ``content`` of the key files, empty for none."""
    module = AnsibleModule(
        argument_spec={
            "dest": {"type": "path", "required": True},
            "content": {"type": "str", "required": True, "no_log": True},
            "run": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    dest, content, run = module.params["dest"], module.params["content"].encode(), module.params["run"]
    # Keeps folders that makedirs makes readable under any umask of the login.
    os.umask(0o022)
    try:
        reason = look(dest, content)
        if reason and not module.check_mode:
            with change_open(run) as still:
                if not still:
                    module.fail_json(
                        msg=f"the change of run {run} is not open any more: this server has rolled it back"
                    )
                put(dest, content)
    except OSError as error:
        module.fail_json(msg=error.strerror)
    module.exit_json(changed=bool(reason), reason=reason)


if __name__ == "__main__":
    main()
