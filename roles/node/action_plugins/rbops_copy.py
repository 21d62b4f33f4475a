"""The controller's half of rbops_copy: reads the files, sends checksums, then the contents that differ."""

from __future__ import annotations

import base64
import hashlib
import os

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

_SHOWN_BYTES = 104448
# Larger files go over as files: a module's arguments pass through several encodings in memory.
_INLINE_BYTES = 4 << 20


class ActionModule(ActionBase):
    """Two module runs at most, whatever the number of files; the first one also cleans."""

    TRANSFERS_FILES = True
    _VALID_ARGS = frozenset({"tree", "files", "clean"})

    def run(self, tmp=None, task_vars=None):
        """Compare, then write what differs."""
        result = super().run(tmp, task_vars)
        contents = self._contents(self._wanted())
        asked = [self._entry(dest, mode, content) for dest, (mode, content) in contents.items()]
        found = self._execute_module(
            module_name="rbops_copy",
            module_args={"files": asked, "write": False, "clean": self._task.args.get("clean") or []},
            task_vars=task_vars,
        )
        found.pop("invocation", None)
        if found.get("failed") or not found.get("stale"):
            return {**result, **found}
        diff = [self._difference(entry, contents.get(entry["dest"])) for entry in found["stale"]]
        copied = [entry["dest"] for entry in found["stale"] if entry["dest"] in contents]
        if copied and not self._task.check_mode:
            written = self._write(copied, contents, task_vars)
            if written.get("failed"):
                return {**result, **written}
        stale = [{"dest": entry["dest"], "reason": entry["reason"]} for entry in found["stale"]]
        result.update(changed=True, stale=stale)
        if self._task.diff:
            result["diff"] = diff
        return result

    def _wanted(self):
        """(source, destination, mode) of every file."""
        tree = self._task.args.get("tree")
        wanted = []
        for folder, _folders, names in os.walk(tree) if tree else ():
            for name in sorted(names):
                path = os.path.join(folder, name)
                mode = f"0{os.stat(path).st_mode & 0o777:o}"
                wanted.append((path, "/" + os.path.relpath(path, tree), mode))
        single = self._task.args.get("files") or ()
        wanted += [(entry["src"], entry["dest"], str(entry.get("mode", "0644"))) for entry in single]
        if not wanted:
            raise AnsibleActionFail("no file to copy, expected a folder written by `rbops render`")
        return wanted

    def _contents(self, wanted):
        """Destination -> (mode, content)."""
        contents = {}
        for source, dest, mode in wanted:
            try:
                with open(source, "rb") as file:
                    contents[dest] = (mode, file.read())
            except OSError as error:
                raise AnsibleActionFail(str(error)) from error
        return contents

    def _entry(self, dest, mode, content):
        return {"dest": dest, "mode": mode, "sha256": hashlib.sha256(content).hexdigest()}

    def _write(self, stale, contents, task_vars):
        files = []
        for dest in stale:
            mode, content = contents[dest]
            entry = self._entry(dest, mode, content)
            if len(content) > _INLINE_BYTES:
                entry["source"] = self._send(content)
            else:
                entry["content"] = base64.b64encode(content).decode()
            files.append(entry)
        written = self._execute_module(
            module_name="rbops_copy", module_args={"files": files, "write": True}, task_vars=task_vars
        )
        self._remove_tmp_path(self._connection._shell.tmpdir)
        written.pop("invocation", None)
        return written

    def _send(self, content):
        if not self._connection._shell.tmpdir:
            self._make_tmp_path()
        remote = self._connection._shell.join_path(self._connection._shell.tmpdir, hashlib.sha256(content).hexdigest())
        return self._transfer_data(remote, content)

    def _difference(self, entry, wanted):
        if wanted is None:
            header = {"before_header": entry["dest"], "after_header": f"{entry['dest']} (removed)"}
            return {**header, "before": entry["before"] or f"{entry['dest']}\n", "after": ""}
        mode, content = wanted
        after = None
        if len(content) <= _SHOWN_BYTES and b"\0" not in content:
            after = content.decode("utf-8", "replace")
        if entry["before"] is None or after is None or entry["before"] == after:
            said = f"{entry['dest']}: {entry['reason']} differs, {len(content)} bytes, mode {mode}\n"
            return {"prepared": said}
        header = {"before_header": entry["dest"], "after_header": entry["dest"]}
        return {**header, "before": entry["before"], "after": after}
