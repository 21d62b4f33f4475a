"""Running a playbook. The only module that imports ansible-runner.

Corrects the defaults of ansible-runner and Ansible that are not acceptable for a router:
artifacts others may read, extra variables in argv, templates evaluated in inventory values, host key
checking switched off, "no host matched" as a success, children that outlive the run.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rbops.deploy.events import TaskEvent, parse_event
from rbops.deploy.extra_vars import extra_vars_yaml
from rbops.deploy.inventory import Inventory
from rbops.deploy.runs import Run
from rbops.deploy.sealed import Sealing
from rbops.deploy.sockets import SocketsFolder
from rbops.deploy.stop import Stop
from rbops.errors import UsageError
from rbops.node.settings import Note

__all__ = ["PlayOptions", "PlayResult", "run_playbook"]

_TERM_GRACE_S = 5.0
_POLL_S = 0.5

# Of the user's own settings only where vault passwords come from: a run does not depend on a shell's state.
_PASSED_ON = frozenset({"ANSIBLE_VAULT_PASSWORD_FILE", "ANSIBLE_VAULT_IDENTITY_LIST", "ANSIBLE_SSH_AGENT"})

_CONFIG = """\
[defaults]
forks = {forks}
gathering = explicit
host_key_checking = True
retry_files_enabled = False
any_errors_fatal = True
inject_facts_as_vars = False
interpreter_python = /usr/bin/python3
roles_path = {roles}
local_tmp = {tmp}
timeout = 10
nocolor = True

[connection]
pipelining = True

[ssh_connection]
pipelining = True
host_key_checking = True
transfer_method = piped
ssh_args = -o ControlMaster=auto -o ControlPersist=30s -o ServerAliveInterval=5 -o ServerAliveCountMax=3
control_path_dir = {sockets}
"""


@dataclass(frozen=True, slots=True)
class PlayOptions:
    """``ansible-playbook``'s own options, as its users know them."""

    check: bool = False
    diff: bool = False
    tags: str | None = None
    skip_tags: str | None = None
    forks: int | None = None
    extra_vars: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlayResult:
    """How a play ended. ``changed`` counts changed tasks per server; ``output`` is Ansible's own text.

    ``notes``: settings that a server's hardware does not support, by server. ``played``: Ansible ran.
    """

    outcome: Literal["successful", "failed", "canceled", "timeout"]
    changed: Mapping[str, int]
    failures: tuple[TaskEvent, ...]
    output: Path
    seconds: float
    notes: Mapping[str, tuple[Note, ...]]
    played: bool = True

    @property
    def unreachable(self) -> tuple[str, ...]:
        """The servers that did not answer."""
        return tuple(event.host for event in self.failures if event.status == "unreachable")

    @property
    def reason(self) -> str:
        """Which task failed on which server, and why; a line or more each."""
        if self.failures:
            return "\n".join(f"{', '.join(sorted(hosts))}: {why}" for why, hosts in self._grouped().items())
        if self.outcome == "timeout":
            return f"Ansible did not finish in {self.seconds:.0f} s"
        if self.outcome == "canceled":
            return "interrupted"
        tail = self.output.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
        return "\n".join(["Ansible failed before the first task:", *tail])

    def _grouped(self) -> dict[str, list[str]]:
        """Each failure once, with the servers that have it."""
        found: dict[str, list[str]] = {}
        for event in self.failures:
            found.setdefault(f"{event.title}: {event.message}", []).append(event.host)
        return found


def run_playbook(
    run: Run,
    playbook: Path,
    inventory: Inventory,
    options: PlayOptions,
    *,
    on_event: Callable[[TaskEvent], None],
    stop: Stop,
    timeout: float,
    part: str = "play",
) -> PlayResult:
    """Run ``playbook`` on the inventory's servers for at most ``timeout`` seconds.

    Every event goes to the journal and to ``on_event``. ``part``: its name among the plays of a run.
    Raises UsageError when the options leave nothing to do. Ended by ``stop``, by the time, or by this process's death,
    Ansible takes its children with it.
    """
    import ansible_runner

    started = time.monotonic()
    sealing = Sealing(needed=inventory.secret)
    run.write("inventory/hosts.yml", sealing.seal(inventory.for_ansible()))
    run.write("env/extravars", sealing.seal(extra_vars_yaml(options.extra_vars, inventory.means.credentials.vault)))
    # ansible-runner would make it 0755.
    (run.folder / "artifacts").mkdir(mode=0o700, exist_ok=True)
    sockets = SocketsFolder()
    forks = options.forks or max(5, min(50, len(inventory.servers)))
    roles = playbook.parent / "roles"
    config = _CONFIG.format(forks=forks, roles=roles, tmp=run.folder / "tmp", sockets=sockets.path)
    watcher = _Watcher(run, on_event, stop)
    try:
        ended = ansible_runner.run(
            private_data_dir=str(run.folder),
            project_dir=str(playbook.parent),
            ident=part,
            binary=str(_launcher(run)),
            cmdline=_arguments(playbook, options),
            inventory=str(run.folder / "inventory" / "hosts.yml"),
            envvars={
                **_environment(run.write("ansible.cfg", config)),
                **sealing.environment,
                "RBOPS_RUN": run.id,
            },
            settings={"pexpect_timeout": _POLL_S, "suppress_ansible_output": True, "job_timeout": timeout},
            event_handler=watcher.event,
            cancel_callback=watcher.canceled,
            finished_callback=None,
            quiet=True,
            fact_cache_type="memory",
        )
    finally:
        _close_masters(sockets)
        _end_children(run.id)
        sockets.close()
        sealing.close()
    outcome = "canceled" if stop.requested else str(ended.status)
    output = run.folder / "artifacts" / part / "stdout"
    return _result(output, outcome, watcher, time.monotonic() - started)


def _result(output: Path, outcome: str, watcher: _Watcher, seconds: float) -> PlayResult:
    if outcome == "successful" and not watcher.ran:
        raise UsageError(
            "Ansible ran no task on any server",
            code="play.no-task",
            hint="check --tags, --skip-tags and --limit; without them `apply` pushes all",
        )
    if outcome not in {"successful", "canceled", "timeout"}:
        outcome = "failed"
    known: Literal["successful", "failed", "canceled", "timeout"] = outcome  # type: ignore[assignment]
    return PlayResult(known, watcher.changed, tuple(watcher.failures), output, seconds, watcher.notes)


class _Watcher:
    """Turns ansible-runner's callbacks into typed events, a journal and a clean end."""

    def __init__(self, run: Run, on_event: Callable[[TaskEvent], None], stop: Stop) -> None:
        self._run = run
        self._on_event = on_event
        self._stop = stop
        self._asked: float | None = None
        self.failures: list[TaskEvent] = []
        self.changed: dict[str, int] = {}
        self.notes: dict[str, tuple[Note, ...]] = {}
        self.ran = False

    def event(self, raw: Mapping[str, Any]) -> bool:
        """Process one event; False: ansible-runner does not write it to a file."""
        event = parse_event(raw)
        if event is None:
            return False
        self.ran = True
        if event.status in {"failed", "unreachable"} and not event.ignored:
            self.failures.append(event)
        if event.status == "changed":
            self.changed[event.host] = self.changed.get(event.host, 0) + 1
        if event.notes:
            self.notes[event.host] = event.notes
        if event.status != "started":
            self._run.note(
                "task", host=event.host, task=event.title, status=event.status, message=event.message, diff=event.diff
            )
        self._on_event(event)
        return False

    def canceled(self) -> bool:
        """Terminate Ansible when the run is stopped; True (kill it) when it still runs after a grace period."""
        if not self._stop.requested:
            return False
        now = time.monotonic()
        if self._asked is None:
            self._asked = now
            for pid in _marked(self._run.id):
                _signal(pid, signal.SIGTERM)
        return now - self._asked > _TERM_GRACE_S


def _launcher(run: Run) -> Path:
    """A program that becomes ansible-playbook, and that the kernel ends when this process dies."""
    unset = [f"--unset={name}" for name in os.environ if name.startswith("ANSIBLE_") and name not in _PASSED_ON]
    kept = {"ANSIBLE_CONFIG", *_RUNNER_SETS}
    arguments = [argument for argument in unset if argument.removeprefix("--unset=") not in kept]
    command = ["env", *arguments, "setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "ansible.cli.playbook"]
    path = run.write("launch", f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    path.chmod(0o700)
    return path


# What ansible-runner itself puts into the environment.
_RUNNER_SETS = frozenset(
    {
        "ANSIBLE_CALLBACK_PLUGINS",
        "ANSIBLE_STDOUT_CALLBACK",
        "ANSIBLE_RETRY_FILES_ENABLED",
        "ANSIBLE_HOST_KEY_CHECKING",
        "ANSIBLE_LOAD_CALLBACK_PLUGINS",
    }
)


def _environment(config: Path) -> dict[str, str]:
    # ansible-runner switches host key checking off by default.
    return {
        "ANSIBLE_CONFIG": str(config),
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_CALLBACK_PLUGINS": "",
        "LC_ALL": "C.UTF-8",
        "PYTHONWARNINGS": "ignore",
    }


def _arguments(playbook: Path, options: PlayOptions) -> str:
    arguments = [str(playbook)]
    arguments += ["--check"] if options.check else []
    arguments += ["--diff"] if options.diff else []
    for flag, value in (("--tags", options.tags), ("--skip-tags", options.skip_tags)):
        arguments += [flag, value] if value else []
    return shlex.join(arguments)


def _close_masters(sockets: SocketsFolder) -> None:
    """End OpenSSH's shared connections instead of letting them idle."""
    for path in sockets.sockets():
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                ["ssh", "-O", "exit", "-o", f"ControlPath={path}", "rbops"],
                capture_output=True,
                timeout=5,
                check=False,
            )


def _marked(run_id: str) -> list[int]:
    """Processes that carry this run's mark in their environment: Ansible, its workers, their ssh."""
    mark = f"RBOPS_RUN={run_id}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def _signal(pid: int, signum: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signum)


def _end_children(run_id: str) -> None:
    """End the processes of a run that are left, by SIGTERM, then by SIGKILL: none may change a server later."""
    for signum, wait_s in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0)):
        left = _marked(run_id)
        for pid in left:
            _signal(pid, signum)
        deadline = time.monotonic() + wait_s
        while left and time.monotonic() < deadline:
            time.sleep(0.05)
            left = _marked(run_id)
