#!/usr/bin/python
"""Ansible action: all that a role does on a server, in one command over the connection. This is the server's half."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rbops_push
short_description: Look at a server, copy finished files to it, or make its configuration take effect
description:
  - Each task runs one Python process on the server, which is sent this file, a request and the contents of files on
    its standard input. Ansible's modules take several connections and a process each, most of it start-up.
  - One of I(look), I(packages), I(tree) or I(files), and I(activate).
  - The content of files is never a template. Files are owned by root and replaced atomically.
options:
  look:
    description: Fail unless the server can be part of the router; changes nothing.
    type: dict
    suboptions:
      kernel: {description: The oldest kernel., type: str, required: true}
      python: {description: The oldest Python., type: str, required: true}
      planned: {description: A file on the controller that is there if the server is planned., type: path}
  packages:
    description: Debian packages to install where they are missing.
    type: list
    elements: str
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
  activate:
    description:
      - Runs C(rbops-node apply), which changes what differs, reads it back and fails when a setting had no effect.
      - Then nothing stays at the I(places) of other data planes, and the services are enabled and run.
      - In check mode runs C(rbops-node diff) against I(tree)'s node.json and changes nothing.
    type: dict
    suboptions:
      tree: {description: The server's rendered files., type: path, required: true}
      places: {description: Places of files by data plane., type: dict, required: true}
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""

EXAMPLES = r"""
- name: The server's own files, and one that all share
  rbops_push:
    tree: "{{ rbops_files }}/hosts/{{ inventory_hostname }}"
    files:
      - {src: "{{ rbops_files }}/common/routes.csv", dest: /etc/rbops/routes.csv, mode: "0644"}

- name: What an earlier version copied as well goes
  rbops_push:
    files:
      - {src: "{{ rbops_files }}/common/fabric.hh", dest: /etc/rbops/click/elements/fabric.hh, mode: "0644"}
    clean: [/etc/rbops/click/elements]
"""

RETURN = r"""
stale:
  description: The files that differed, and how.
  returned: with tree or files
  type: list
  elements: dict
  sample: [{dest: /etc/rbops/routes.csv, reason: content}]
changes:
  description: What was changed in the kernel and among the services, or would be in check mode.
  returned: with activate
  type: list
  elements: dict
  sample: [{subject: port ext0, setting: mtu, have: "1500", want: "9000"}]
unsupported:
  description: The planned settings that this server's hardware does not support, and why.
  returned: when activated
  type: list
  elements: dict
  sample: [{subject: CPU 1, setting: governor, reason: "nothing scales this CPU's frequency: no cpufreq driver"}]
reboot_required:
  description: Whether something planned takes effect with the next reboot only.
  returned: when activated
  type: bool
reboot:
  description: What that is.
  returned: when activated
  type: list
  elements: dict
  sample: [{subject: boot, setting: nohz_full, have: absent, want: 1-3}]
"""

import fcntl
import hashlib
import json
import os
import stat
import sys
from contextlib import contextmanager

SHOWN_BYTES = 104448
PROGRAM = "/usr/sbin/rbops-node"
UNITS = "/etc/systemd/system/"
BOOT, WATCH, FIB = "rbops.service", "rbops-watch.service", "rbops-fib.service"
# Daemons: of the package, the unit that it brings, and rbops's own.
DAEMONS = {
    "bird2": ("bird.service", "rbops-bird.service"),
    "frr": ("frr.service", "rbops-frr.service"),
    "charon-systemd": ("strongswan.service", "rbops-ike.service"),
}
EXPORTER = "rbops-exporter.service"
SFLOW = "rbops-sflow.service"
STATE = "/var/lib/rbops"


class Failed(Exception):
    """The task fails with this message, and with what is beside it in the result."""

    def __init__(self, message, **more):
        super().__init__(message)
        self.more = more


def look(_request, _contents):
    """What decides whether the server can be part of the router."""
    python, kernel = "{}.{}.{}".format(*sys.version_info), os.uname().release
    return {"uid": os.getuid(), "kernel": kernel, "python": python, "systemd": os.path.isdir("/run/systemd/system")}


def packages(request, _contents):
    """Those that are missing."""
    show = ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *request["names"]]
    done = _run(show)
    # 1: dpkg does not know one of them.
    if done.returncode not in (0, 1):
        raise Failed(f"dpkg-query: {done.stderr.strip() or done.returncode}")
    installed = {line.split(" ")[0] for line in done.stdout.splitlines() if line.endswith(" installed")}
    missing = [name for name in request["names"] if name not in installed]
    for package, (debians, _own) in DAEMONS.items():
        if package in missing and not request["check"]:
            # The package starts its own unit, with a configuration of its own, beside the router's.
            _systemctl("mask", debians)
    return {"missing": missing}


@contextmanager
def _change_open(request):
    """Nothing reverts the server meanwhile, and nothing of a change is written that it has reverted already.

    ``run`` is that of ``rbops apply``; a play without a transaction has none.
    """
    run = request.get("run")
    if not run:
        yield
        return
    state = request.get("state", STATE)
    gone = f"the change of run {run} is not open any more: this server has rolled it back"
    try:
        # As rbops-node does: one that acts on this server at a time.
        handle = os.open(f"{state}/.busy", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:  # after the first push of all nothing stays of rbops
        raise Failed(gone) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            with open(f"{state}/snapshot/manifest.json", encoding="utf-8") as file:
                there = json.load(file)["run"]
        except FileNotFoundError:
            there = None
        if there != run:
            raise Failed(gone)
        yield
    finally:
        os.close(handle)


def files(request, contents):
    """What differs; with ``write`` the files are put in place, otherwise what is not wanted at ``clean`` goes."""
    with _change_open(request):
        return _files(request, contents)


def _files(request, contents):
    wanted = request["files"]
    if request["write"]:
        for entry, content in zip(wanted, contents, strict=True):
            _put(entry, content)
        return {"stale": []}
    stale = [entry for entry in (_differs(entry, show=request["diff"]) for entry in wanted) if entry]
    left = _left(request["clean"], {entry["dest"] for entry in wanted})
    stale += [_show_left(path, show=request["diff"]) for path in left]
    if not request["check"]:
        _remove(request["clean"], left)
    return {"stale": stale}


def again(request, contents):
    """The step `activate` where all files and packages are there already; otherwise what is not, and nothing is done.

    `rbops apply` sends it over a connection of its own, in place of a play that would find that.
    """
    stale = [entry["dest"] for entry in request["files"] if _differs(entry, show=False)]
    stale += _left(request["clean"], set(request["keep"]))
    missing = packages({**request, "check": True}, contents)["missing"]
    if stale or missing:
        return {"absent": [*stale, *missing]}
    return {**activate({**request, "check": False, "diff": False}, contents), "absent": []}


def _differs(wanted, *, show):
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
    keep = {os.path.normpath(path) for path in wanted}
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
    if len(content) > SHOWN_BYTES or b"\0" in content:
        return None
    return content.decode("utf-8", "replace")


def _put(wanted, content):
    """Write beside the file and rename: a full disk or a cut leaves the old one whole."""
    import tempfile  # here and below: an import takes as long as the rest of a step

    folder, name = os.path.split(wanted["dest"])
    os.makedirs(folder, mode=0o755, exist_ok=True)
    if hashlib.sha256(content).hexdigest() != wanted["sha256"]:
        raise Failed("{} arrived damaged".format(wanted["dest"]))
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


def activate(request, contents):
    """The configuration takes effect, files of other data planes go, services are enabled and run."""
    check = request["check"]
    program = request.get("program", PROGRAM)
    left = _left(request["clean"], set(request["keep"]))
    stale = [_show_left(path, show=request["diff"]) for path in left]
    answer = {"installed": os.path.exists(program), "stale": stale}
    if check and not answer["installed"]:
        # A fresh server: what its kernel lacks can only be found by the program that is not installed yet.
        fresh = {"subject": "server", "setting": "rbops-node", "have": "not installed", "want": "all as planned"}
        return {**answer, "changes": [fresh]}
    # Where the data plane's table follows the kernel's, a service does that.
    optional = {unit: UNITS + unit in request["keep"] for unit in (FIB, EXPORTER, SFLOW)}
    running = (WATCH, *(unit for unit, planned in optional.items() if planned))
    speaks = {unit: UNITS + unit in request["keep"] for _debians, unit in DAEMONS.values()}
    speaking = [unit for unit, planned in speaks.items() if planned]
    units = _units((*running, *speaking))
    if check:
        return {**answer, "changes": _diff(program, contents[0]) + units}
    with _change_open(request):
        # Known before they are used: a data plane's unit is started by what follows.
        _known(units)
    # It takes the server for itself.
    done = _apply(program)
    with _change_open(request):
        _end(request["clean"], left, {**optional, **speaks})
    # What reads the same as before runs on.
    outdated = {*done.pop("outdated"), *(change["subject"] for change in units if change["setting"] == "state")}
    again = [unit for unit in running if unit in outdated]
    if again:
        _systemctl("restart", *again)
    for unit in speaking:
        # Its sessions live on where it runs: it reads its files again. It refuses what it cannot use.
        _systemctl("reload-or-restart", unit)
    return {**answer, **done, "changes": done["changes"] + units}


def _known(units):
    """Enabled, and read by systemd as they are now."""
    enable = [change["subject"] for change in units if change["setting"] == "at boot"]
    if enable:
        _systemctl("--no-reload", "enable", *enable)
    if enable or _stale_units():
        _systemctl("daemon-reload")


def _end(places, left, optional):
    """Services and files that are not planned go."""
    for unit, planned in optional.items():
        if not planned and os.path.lexists(f"{UNITS}multi-user.target.wants/{unit}"):
            # Before its unit goes with the files that are not planned.
            _systemctl("disable", "--now", unit)
    _remove(places, left)
    if any(path.startswith(UNITS) for path in left):
        _systemctl("daemon-reload")


def _units(running):
    """How the services differ: all start at boot. rbops.service is not started now, it is for boot."""
    changes = [
        {"subject": unit, "setting": "at boot", "have": "disabled", "want": "enabled"}
        for unit in (BOOT, *running)
        if not os.path.lexists(f"{UNITS}multi-user.target.wants/{unit}")
    ]
    states = _run(["systemctl", "is-active", *running]).stdout.split()
    for unit, have in zip(running, states, strict=False):
        if have not in ("active", "activating", "reloading"):
            changes.append({"subject": unit, "setting": "state", "have": have, "want": "active"})
    return changes


def _stale_units():
    """Whether systemd has read other files than there are; the pattern is for a data plane's unit."""
    shown = _run(["systemctl", "show", "--property=NeedDaemonReload", BOOT, WATCH, "rbops-*.service"]).stdout
    return "NeedDaemonReload=yes" in shown


def _systemctl(*words):
    done = _run(["systemctl", *words])
    if done.returncode:
        raise Failed("systemctl {}: {}".format(" ".join(words), done.stderr.strip() or done.returncode))


def _apply(program):
    done = _node([program, "apply", "--json"], (0,))
    waiting = done.get("reboot", [])
    found = {key: done.get(key, []) for key in ("changes", "unsupported", "outdated")}
    found.update(reboot_required=bool(waiting), reboot=waiting)
    if waiting:
        said = "; ".join("{subject} {setting}: {have} -> {want}".format(**entry) for entry in waiting)
        found["warnings"] = [f"reboot required: {said}"]
    return found


def _diff(program, config):
    """What apply would do, with the configuration in a temporary file."""
    import tempfile

    handle, path = tempfile.mkstemp(suffix=".json")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(config)
        return _node([program, "diff", "--json", "--config", path], (0, 1))
    finally:
        os.unlink(path)


def _node(command, good):
    done = _run(command)
    if done.returncode in good:
        try:
            return json.loads(done.stdout or "[]")
        except ValueError:
            raise Failed("rbops-node printed no JSON", stdout=done.stdout, stderr=done.stderr) from None
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    try:
        error = json.loads(lines[-1])["error"]
        notes = "\n".join(lines[:-1])
        reason = "; hint: ".join(part for part in (error["message"], error["hint"]) if part)
    except (LookupError, TypeError, ValueError):
        error, notes, reason = None, "", "; ".join(lines[-5:]) or "it gave no reason"
    said = f"{' '.join(command[:2])} failed with {done.returncode}: {reason}"
    raise Failed(said, rc=done.returncode, error=error, stderr=notes)


def _run(command):
    """Its result; what it prints in its own language would not be what is looked for."""
    import subprocess

    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, errors="replace")


def main():
    """Read a request and the contents behind it, print the answer as one line of JSON."""
    # Keeps folders that makedirs makes readable under any umask of the login.
    os.umask(0o022)
    request = json.loads(sys.stdin.buffer.readline())
    contents = [sys.stdin.buffer.read(size) for size in request["sizes"]]
    steps = {"look": look, "packages": packages, "files": files, "activate": activate, "again": again}
    try:
        answer = steps[request["step"]](request, contents)
    except Failed as error:
        answer = {"failed": True, "msg": str(error), **error.more}
    except OSError as error:
        answer = {"failed": True, "msg": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
