"""The controller's half of rbops_push: makes the request, sends it with the server's half, words the answer."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

_SHOWN_BYTES = 104448
_PYTHON = "/usr/bin/python3"
_NOT_FOUND = 127
_DAEMONS = ("bird", "frr", "ike")
# Reads the server's half and runs it; what follows on standard input is for that.
_START = "import sys; exec(compile(sys.stdin.buffer.read({}), 'rbops_push', 'exec'))"
_PROGRAM = os.path.join(os.path.dirname(os.path.dirname(__file__)), "library", "rbops_push.py")


class ActionModule(ActionBase):
    """One command a task; a second one for the contents of files where some differ."""

    _VALID_ARGS = frozenset({"look", "packages", "tree", "files", "clean", "activate"})

    def run(self, tmp=None, task_vars=None):
        """Do the one thing that is asked for."""
        result = super().run(tmp, task_vars)
        self._vars = task_vars or {}
        arguments = self._task.args
        if "look" in arguments:
            found = self._look(arguments["look"])
        elif "packages" in arguments:
            found = self._packages(arguments["packages"])
        elif "activate" in arguments:
            found = self._activate(arguments["activate"])
        else:
            found = self._copy()
        return {**result, **found}

    def _look(self, wanted):
        try:
            found = self._send("look")
        except _NoPythonError:
            found = {"uid": "?", "kernel": "?", "python": "none", "systemd": "?"}
        good = (
            found["uid"] == 0
            and found["systemd"] is True
            and _version(found["kernel"]) >= _version(wanted["kernel"])
            and _version(found["python"]) >= _version(wanted["python"])
            and (not wanted.get("planned") or os.path.isfile(wanted["planned"]))
        )
        if good:
            return {"changed": False, **found}
        raise AnsibleActionFail(
            f"needs root (--become unless you log in as root), Linux {wanted['kernel']}, Python {wanted['python']}, "
            f"systemd, and the files beside {wanted.get('planned')}; user id, kernel, Python, systemd there: "
            f"{found['uid']}, {found['kernel']}, {found['python']}, {found['systemd']}"
        )

    def _packages(self, names):
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise AnsibleActionFail(f"packages are a list of names, not {names!r}")
        found = self._send("packages", names=list(names))
        if found.get("failed") or not found["missing"]:
            return {"changed": False, **found}
        options = {"state": "present", "install_recommends": False, "update_cache": True, "cache_valid_time": 3600}
        done = self._execute_module(
            module_name="ansible.builtin.apt",
            module_args={"name": found["missing"], "lock_timeout": 60, **options},
            task_vars=self._vars,
        )
        self._remove_tmp_path(self._connection._shell.tmpdir)
        return {**done, **found}

    def _copy(self):
        contents = self._contents(self._wanted())
        asked = [_entry(dest, mode, content) for dest, (mode, content) in contents.items()]
        clean = self._task.args.get("clean") or []
        found = self._send("files", files=asked, clean=clean, write=False)
        if found.get("failed") or not found["stale"]:
            return {"changed": False, **found}
        stale = [entry["dest"] for entry in found["stale"] if entry["dest"] in contents]
        if stale and not self._task.check_mode:
            files = [_entry(dest, *contents[dest]) for dest in stale]
            written = self._send("files", [contents[dest][1] for dest in stale], files=files, clean=[], write=True)
            if written.get("failed"):
                return written
        return self._changed(found["stale"], contents)

    def _changed(self, stale, contents):
        found = {"changed": True, "stale": [{"dest": entry["dest"], "reason": entry["reason"]} for entry in stale]}
        if self._task.diff:
            found["diff"] = [_difference(entry, contents.get(entry["dest"])) for entry in stale]
        return found

    def _activate(self, wanted):
        planned = _tree(wanted["tree"])
        config = next(source for source, dest, _ in planned if dest == "/etc/rbops/node.json")
        with open(config, "rb") as file:
            text = file.read()
        kind = json.loads(text)["dataplane"]["kind"]
        clean = [place for plane, places in wanted["places"].items() if plane != kind for place in places]
        done = self._send(
            "activate",
            [text] if self._task.check_mode else [],
            clean=clean,
            keep=_kept(planned),
        )
        if done.get("failed"):
            return done
        left = done.pop("stale")
        found = {**done, "changed": bool(done["changes"] or left)}
        if left:
            found["stale"] = [{"dest": entry["dest"], "reason": entry["reason"]} for entry in left]
        if self._task.diff:
            effect = {side: _lines(done["changes"], side) for side in ("have", "want")}
            found["diff"] = [{"before": effect["have"], "after": effect["want"]}, *(_difference(e, None) for e in left)]
        return found

    def _send(self, step, contents=(), **request):
        """The answer of the server's half to one request."""
        with open(_PROGRAM, "rb") as file:
            program = file.read()
        request.update(step=step, check=self._task.check_mode, diff=self._task.diff, sizes=[len(c) for c in contents])
        # `rbops apply` sets it: what its transaction has reverted on a server is not written to that any more.
        request.update(run=str(self._vars.get("rbops_run") or ""))
        data = b"".join([program, json.dumps(request).encode(), b"\n", *contents])
        python = str(self._vars.get("ansible_python_interpreter") or _PYTHON)
        if python.startswith("auto"):
            python = _PYTHON
        command = f"{shlex.quote(python)} -I -c {shlex.quote(_START.format(len(program)))}"
        if self._connection.has_pipelining:
            done = self._low_level_execute_command(command, in_data=data)
        else:
            done = self._through_a_file(command, data)
        lines = [line for line in done["stdout"].splitlines() if line.startswith("{")]
        if done["rc"] == 0 and lines:
            return json.loads(lines[-1])
        if done["rc"] == _NOT_FOUND:
            raise _NoPythonError(f"{python} is not installed on the server")
        said = (done["stderr"] or done["stdout"]).strip().splitlines()[-1:] or ["it gave no reason"]
        raise AnsibleActionFail(f"the server's part of the task ended with {done['rc']}: {said[0]}")

    def _through_a_file(self, command, data):
        """For connections that do not pass standard input on: the file is of the login's user alone."""
        self._make_tmp_path()
        try:
            remote = self._transfer_data(
                self._connection._shell.join_path(self._connection._shell.tmpdir, "push"), data
            )
            return self._low_level_execute_command(f"{command} < {shlex.quote(remote)}")
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)

    def _wanted(self):
        """(source, destination, mode) of every file."""
        tree = self._task.args.get("tree")
        wanted = _tree(tree) if tree else []
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


class _NoPythonError(AnsibleConnectionFailure):
    """The server has no Python."""


def _tree(tree):
    """(source, destination, mode) of every file in a folder that mirrors a server's root."""
    found = []
    for folder, _folders, names in os.walk(tree):
        for name in sorted(names):
            path = os.path.join(folder, name)
            found.append((path, "/" + os.path.relpath(path, tree), f"0{os.stat(path).st_mode & 0o777:o}"))
    return found


def _kept(planned):
    """What stays on the server: what is planned, and the secrets of a planned daemon, which are in no folder here."""
    found = [dest for _, dest, _ in planned]
    return [*found, *(f"/etc/rbops/{name}/keys.conf" for name in _DAEMONS if f"/etc/rbops/{name}/{name}.conf" in found)]


def _entry(dest, mode, content):
    return {"dest": dest, "mode": mode, "sha256": hashlib.sha256(content).hexdigest()}


def _version(text):
    """The numbers at its beginning: 6.1.0-56-amd64 is (6, 1, 0)."""
    return [int(word) for word in re.match(r"(?:\d+(?:\.\d+)*)?", str(text))[0].split(".") if word]


def _lines(changes, side):
    """One side of the differences as text, for --diff."""
    return "".join("{subject}: {setting}: {0}\n".format(change.get(side), **change) for change in changes)


def _difference(entry, wanted):
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
