#!/usr/bin/python
"""Ansible module: finished files put in place, whole or not at all; many in one go."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rbops_copy
short_description: Put rendered files onto a server
description:
  - Copies a folder of finished files to the same paths on the server, and single files to paths of their own.
  - The content is never a template. Files are owned by root and replaced atomically.
  - One module run finds out what differs and a second one writes that, where M(ansible.builtin.copy) takes two
    runs for every file.
options:
  tree:
    description: A folder on the controller that mirrors the server's root; modes are those of its files.
    type: path
  files:
    description: Single files.
    type: list
    elements: dict
    suboptions:
      src: {description: The file on the controller., type: path, required: true}
      dest: {description: Its absolute path on the server., type: path, required: true}
      mode: {description: Permission bits as text., type: str, default: "0644"}
  clean:
    description:
      - Absolute paths on the server where nothing stays but what I(tree) and I(files) put there.
      - Of a folder every other file goes, and the folders that are empty then; of a single path the file.
    type: list
    elements: path
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""

EXAMPLES = r"""
- name: The server's own files, and one that all share
  rbops_copy:
    tree: "{{ rbops_files }}/hosts/{{ inventory_hostname }}"
    files:
      - {src: "{{ rbops_files }}/common/routes.csv", dest: /etc/rbops/routes.csv}

- name: What an earlier version copied as well goes
  rbops_copy:
    files:
      - {src: "{{ rbops_files }}/common/fabric.hh", dest: /etc/rbops/click/elements/fabric.hh}
    clean: [/etc/rbops/click/elements]
"""

RETURN = r"""
stale:
  description: The files that differed, and how.
  returned: success
  type: list
  elements: dict
  sample: [{dest: /etc/rbops/routes.csv, reason: content}]
"""

import base64
import hashlib
import os
import stat
import tempfile

from ansible.module_utils.basic import AnsibleModule

_SHOWN_BYTES = 104448


def _look(wanted, *, show):
    """Why a file is not as wanted, with its text for --diff; None when it is."""
    try:
        info = os.lstat(wanted["dest"])
    except FileNotFoundError:
        return {"dest": wanted["dest"], "reason": "absent", "before": ""}
    if stat.S_ISDIR(info.st_mode):
        raise IsADirectoryError("{} is a folder".format(wanted["dest"]))
    content = b""
    if stat.S_ISREG(info.st_mode):
        with open(wanted["dest"], "rb") as file:
            content = file.read()
    found = {"dest": wanted["dest"], "reason": "", "before": _text(content) if show else None}
    if not stat.S_ISREG(info.st_mode):
        found["reason"] = "no regular file"
    elif hashlib.sha256(content).hexdigest() != wanted["sha256"]:
        found["reason"] = "content"
    elif stat.S_IMODE(info.st_mode) != int(wanted["mode"], 8) or (info.st_uid, info.st_gid) != (0, 0):
        found["reason"] = "mode or owner"
    return found if found["reason"] else None


def _left(places, wanted):
    """The files at the places that are not wanted there."""
    keep = {os.path.normpath(entry["dest"]) for entry in wanted}
    found = []
    for place in places:
        if os.path.isdir(place) and not os.path.islink(place):
            found += [
                os.path.join(folder, name)
                for folder, folders, names in os.walk(place)
                for name in (*names, *(name for name in folders if os.path.islink(os.path.join(folder, name))))
            ]
        elif os.path.lexists(place):
            found.append(place)
    return sorted(path for path in found if os.path.normpath(path) not in keep)


def _remove(places, left):
    """Take it away, and the folders that are empty then."""
    for path in left:
        os.unlink(path)
    for place in places:
        for folder, _folders, _names in os.walk(place, topdown=False):
            if not os.listdir(folder):
                os.rmdir(folder)


def _show_left(path, *, show):
    """One file that goes, with its text for --diff."""
    text = None
    if show and os.path.isfile(path) and not os.path.islink(path) and os.stat(path).st_mode & 0o077:
        with open(path, "rb") as file:
            text = _text(file.read())
    return {"dest": path, "reason": "not planned", "before": text}


def _text(content):
    if len(content) > _SHOWN_BYTES or b"\0" in content:
        return None
    return content.decode("utf-8", "replace")


def _put(wanted):
    """Write beside the file and rename: a full disk or a cut leaves the old one whole."""
    folder, name = os.path.split(wanted["dest"])
    os.makedirs(folder, mode=0o755, exist_ok=True)
    if wanted.get("source"):
        with open(wanted["source"], "rb") as file:
            content = file.read()
    else:
        content = base64.b64decode(wanted["content"])
    if hashlib.sha256(content).hexdigest() != wanted["sha256"]:
        raise OSError("{} arrived damaged".format(wanted["dest"]))
    # mkstemp makes it 0600: never wider than it ends, not for a moment.
    handle, part = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchown(handle, 0, 0)
            os.fchmod(handle, int(wanted["mode"], 8))
            os.fsync(handle)
        os.replace(part, wanted["dest"])
    except OSError:
        os.unlink(part)
        raise


def main():
    """Entry point; the action plugin of the same name calls it with checksums, then with contents."""
    spec = {
        "dest": {"type": "path", "required": True},
        "mode": {"type": "str", "required": True},
        "sha256": {"type": "str", "required": True},
        "content": {"type": "str", "no_log": True},
        "source": {"type": "path"},
    }
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "list", "elements": "dict", "required": True, "options": spec},
            "write": {"type": "bool", "default": False},
            "clean": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    # Keeps folders that makedirs makes readable under any umask of the login.
    os.umask(0o022)
    try:
        found = [_look(wanted, show=module._diff) for wanted in module.params["files"]]
        stale = [entry for entry in found if entry]
        left = _left(module.params["clean"], module.params["files"])
        stale += [_show_left(path, show=module._diff) for path in left]
        if module.params["write"] and not module.check_mode:
            for wanted in module.params["files"]:
                _put(wanted)
        elif not module.check_mode:
            _remove(module.params["clean"], left)
    except OSError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(stale), stale=stale)


if __name__ == "__main__":
    main()
