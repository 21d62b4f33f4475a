"""The controller's half of rbops_keys: reads the key files and sends their content past every log."""

from __future__ import annotations

import os
import re
import stat
from contextlib import contextmanager

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

_WORDS = re.compile(rb"\s*([0-9a-fA-F]{32})\s+([0-9a-fA-F]{32})\s*")
_PASSWORD = re.compile(rb"([!#-\[\]-~]{1,80})\r?\n?")
_PSK = re.compile(rb"([ -~]{20,200})\r?\n?")
_HEX = re.compile(rb"[0-9a-f]+")
_ESP = {"aes128gcm16": [40, 40], "aes256gcm16": [72, 72], "aes128-sha256": [32, 64, 32, 64]}
_LONGEST = 200
_MOST_BYTES = 65536


class ActionModule(ActionBase):
    """The module compares and writes; nothing of what it was given is in the result.

    The task's own ``no_log`` would hide from reports, too, whether anything changed and what went wrong.
    """

    _VALID_ARGS = frozenset({"dest", "keys", "tunnels", "ike", "passwords"})

    def run(self, tmp=None, task_vars=None):
        """Read the files, and have the server's one made equal to them."""
        result = super().run(tmp, task_vars)
        dest, names = str(self._task.args["dest"]), self._task.args.get("keys") or []
        passwords = self._task.args.get("passwords") or []
        content = "".join(_definitions(number, name) for number, name in enumerate(names))
        content += "".join(_password(name, path) for name, path in passwords)
        tunnels = [each for each in self._task.args.get("tunnels") or [] if "ike" not in each]
        content += "".join(_esp_line(each["cipher"], each["keys"]) for each in tunnels)
        own = [each for each in self._task.args.get("ike") or [] if "ike" in each and each["own"]]
        content += "".join(_ike_line(each["number"], each["ike"]["secret"]) for each in own)
        names = [*names, *(each["keys"] for each in tunnels), *(each["ike"]["secret"] for each in own)]
        names += [path for _, path in passwords]
        with self._unlogged():
            found = self._execute_module(
                module_name="rbops_keys",
                module_args={"dest": dest, "content": content, "run": str((task_vars or {}).get("rbops_run") or "")},
                task_vars=task_vars,
            )
        if found.get("failed"):
            said = str(found.get("msg") or "the module gave no reason")
            return {**result, "failed": True, "msg": f"{dest}: {said}"}
        result["changed"] = bool(found["reason"])
        if self._task.diff and found["reason"]:
            result["diff"] = {"prepared": _said(dest, names, found["reason"])}
        return result

    @contextmanager
    def _unlogged(self):
        """Neither the server's syslog nor the connection's output at -vvv has what is sent and answered."""
        before = self._task.no_log, self._play_context.no_log
        self._task.no_log = self._play_context.no_log = True
        try:
            yield
        finally:
            self._task.no_log, self._play_context.no_log = before


def _definitions(number, name):
    """What Click reads of a key file. AnsibleActionFail for one that is wrong, or that others may use."""
    words = _WORDS.fullmatch(_read(name, _LONGEST))
    if not words:
        raise AnsibleActionFail(f"{name} does not hold two words of 32 hex digits")
    key, authentication = (word.decode() for word in words.groups())
    return f"define($ESP_KEY{number} \\<{key}>);\ndefine($ESP_AUTH{number} \\<{authentication}>);\n"


def _esp_line(cipher, name):
    """What rbops-node reads of a key file of the kernel's: its words in one line."""
    words = _read(name, 2 * _LONGEST).lower().split()
    if [len(word) for word in words] != _ESP.get(cipher) or not all(_HEX.fullmatch(word) for word in words):
        raise AnsibleActionFail(f"{name} does not hold the keys that {cipher} asks for")
    return b" ".join(words).decode() + "\n"


def _ike_line(number, path):
    """What rbops-node reads of a tunnel's pre-shared key."""
    word = _PSK.fullmatch(_read(path, _LONGEST + 3))
    if not word:
        raise AnsibleActionFail(f"{path} does not hold one pre-shared key of 20 to 200 printable characters")
    return f"{number} psk {word[1].hex()}\n"


def _password(name, path):
    """What BIRD reads of a password's file: a definition, or without a name the file as it is."""
    if not name:
        return _read(path, _MOST_BYTES).decode("utf-8", "strict")
    word = _PASSWORD.fullmatch(_read(path, _LONGEST))
    if not word:
        raise AnsibleActionFail(f"{path} does not hold one password of 1 to 80 printable characters")
    return f'define {name} = "{word[1].decode()}";\n'


def _read(name, most):
    """A file's first bytes. AnsibleActionFail for one that others may use."""
    try:
        with open(name, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(most)
    except OSError as error:
        raise AnsibleActionFail(f"{name}: {error.strerror}") from error
    if mode & 0o077:
        raise AnsibleActionFail(f"others than its owner may use {name} (mode {mode:04o}): chmod 600 it")
    return content


def _said(dest, names, reason):
    """For --diff."""
    if not names:
        return f"{dest}: removed: none is planned\n"
    word = {"absent": "keys", "content": "other keys"}.get(reason, f"{reason} differs: keys")
    return f"{dest}: {word} (not shown), of {', '.join(names)}\n"
