"""``rbops-node``: the command line. The only place that prints or exits."""

from __future__ import annotations

import argparse
import errno
import json
import os
import sys
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any

from rbops import __version__
from rbops.errors import CheckFailed, RbopsError, UsageError, Where
from rbops.node import session
from rbops.node.arguments import parser
from rbops.node.commands import Node
from rbops.node.dataplane import open_plane
from rbops.node.installed import Installed
from rbops.node.lock import check as check_lock
from rbops.node.settings import Setting
from rbops.node.state import State
from rbops.node.system import Kernel
from rbops.node.timer import SystemdTimer

__all__ = ["main", "run"]

_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
"""What a disk says that is full, over quota, mounted read-only or broken."""


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the zip archive."""
    sys.exit(run(sys.argv[1:] if argv is None else argv))


def run(argv: Sequence[str], node: Node | None = None) -> int:
    """Carry out a command line; returns the exit code. ``node`` replaces the live server in tests."""
    options = parser(argv[0] if argv else "").parse_args(argv)
    try:
        # FRR's programs run as its user.
        if os.geteuid() != 0 and node is None and (options.verb, getattr(options, "step", "")) != ("daemon", "run"):
            raise UsageError("rbops-node needs root", code="node.needs-root")
        return _verb(options.verb)(node or _live(options), options)
    except RbopsError as error:
        _print_error(error, options)
        return error.exit_code
    except KeyboardInterrupt:
        _print_error(CheckFailed("interrupted", code="node.interrupted"), options)
        return CheckFailed.exit_code
    except OSError as error:
        if error.errno not in _DISK:
            raise
        place = Where(file=str(error.filename)) if error.filename else None
        told = CheckFailed(f"cannot write: {error.strerror}", code="node.disk", where=place)
        _print_error(told, options)
        return told.exit_code
    except Exception as error:  # noqa: BLE001 - the outermost frame: whatever is left is a bug of ours
        _print_error(RbopsError(f"a bug in rbops: {error!r}, see {_traceback()}", code="node.bug"), options)
        return RbopsError.exit_code


def _verb(name: str) -> Callable[[Node, argparse.Namespace], int]:
    return {
        "show": _show,
        "diff": _diff,
        "validate": _validate,
        "apply": _apply,
        "open": _open,
        "begin": _begin,
        "rearm": _rearm,
        "confirm": _confirm,
        "revert": _revert,
        "history": _history,
        "restore": _restore,
        "remove": _remove,
        "boot": _boot,
        "lock": _lock,
        "unlock": _unlock,
        "drain": _drain,
        "undrain": _drain,
        "hold": _hold,
        "counters": _counters,
        "status": _status,
        "watch": _watch,
        "fib": _fib,
        "daemon": _daemon,
        "ike": _ike,
        "sample": _sample,
        "export": _export,
        "sflow": _sflow,
        "facts": _facts,
        "serve": _serve,
        "cabling": _cabling,
    }[name]


def _live(options: argparse.Namespace) -> Node:
    kernel = Kernel()
    own = ("--state", str(options.state), "--config", str(options.config))
    return Node(kernel, State(options.state), options.config, SystemdTimer(kernel), open_plane, own, Installed(kernel))


def _show(node: Node, options: argparse.Namespace) -> int:
    return _print_settings(node.settings(), options)


def _diff(node: Node, options: argparse.Namespace) -> int:
    found = node.diff()
    _print_settings(found, options)
    return 1 if found else 0


def _validate(node: Node, options: argparse.Namespace) -> int:
    return _print({"valid": node.validate()}, options)


def _apply(node: Node, options: argparse.Namespace) -> int:
    applied = node.apply()
    for note in applied.notes:
        print(f"rbops-node: {note.subject}: {note.setting}: {note.reason}", file=sys.stderr)
    if options.json:
        more = {"reboot": node.waiting(), "outdated": node.outdated()}
        return _print({**applied.to_json(), **more}, options)
    for change in applied.changes:
        print("{subject}: {setting}: {have} -> {want}".format(**change))
    return 0


def _open(node: Node, options: argparse.Namespace) -> int:
    node.open(options.holder, options.run, options.timeout, takeover=options.takeover, config=options.planned)
    return _print({"run": options.run, "timeout_s": options.timeout}, options)


def _rearm(node: Node, options: argparse.Namespace) -> int:
    node.rearm(options.run, options.timeout)
    return _print({"run": options.run, "timeout_s": options.timeout}, options)


def _begin(node: Node, options: argparse.Namespace) -> int:
    node.begin(options.holder, options.run, options.timeout)
    return _print({"run": options.run, "timeout_s": options.timeout}, options)


def _confirm(node: Node, options: argparse.Namespace) -> int:
    kept = node.confirm(options.run, options.reason)
    return _print({"confirmed": options.run, **kept, **node.after_confirm(options.run, unlock=options.unlock)}, options)


def _revert(node: Node, options: argparse.Namespace) -> int:
    return _print({"reverted": node.revert(options.run, unlock=options.unlock, drained=options.keep_drained)}, options)


def _history(node: Node, options: argparse.Namespace) -> int:
    return _print({"generations": node.history()}, options)


def _restore(node: Node, options: argparse.Namespace) -> int:
    return _print(node.restore(options.run, options.generation).to_json(), options)


def _remove(node: Node, options: argparse.Namespace) -> int:
    node.remove(options.run)
    return _print({"removed": options.run}, options)


def _boot(node: Node, options: argparse.Namespace) -> int:
    return _print(node.boot(), options)


def _lock(node: Node, options: argparse.Namespace) -> int:
    node.lock(options.holder, options.run, takeover=options.takeover)
    return _print({"locked": options.run}, options)


def _unlock(node: Node, options: argparse.Namespace) -> int:
    return _print({"unlocked": node.unlock(options.run, undrain=options.undrain)}, options)


def _drain(node: Node, options: argparse.Namespace) -> int:
    drained = options.verb == "drain"
    return _print(node.drain(options.server, drained=drained, run=options.run if drained else None), options)


def _hold(node: Node, options: argparse.Namespace) -> int:
    return _print(node.hold(options.run, options.servers, options.newcomers), options)


def _counters(node: Node, options: argparse.Namespace) -> int:
    return _print(node.counters(by_queue=options.queues), options)


def _status(node: Node, options: argparse.Namespace) -> int:
    return _print(node.status(), options)


def _watch(node: Node, options: argparse.Namespace) -> int:
    del options
    node.watch()
    return 0


def _fib(node: Node, options: argparse.Namespace) -> int:
    if options.what:
        if len(options.what) != 2 or options.what[0] != "get" or options.audit or options.watch:  # noqa: PLR2004
            raise UsageError("not understood", code="node.fib-usage", hint="rbops-node fib get ADDRESS")
        try:
            address = ip_address(options.what[1])
        except ValueError as error:
            raise UsageError(
                str(error), code="node.fib-address", hint="for example 203.0.113.9 or 2001:db8::1"
            ) from error
        return _print(node.fib_get(address), options)
    if options.audit:
        found = node.fib_audit()
        _print(found, options)
        return 1 if found["differences"] else 0
    if options.watch:
        for line in node.fib_changes():
            print(line, flush=True)
        return 0
    node.fib_follow(lambda line: print(f"rbops-node: {line}", file=sys.stderr, flush=True))
    return 0


def _daemon(node: Node, options: argparse.Namespace) -> int:
    if options.step == "prepare":
        node.prepare_daemon()
        return 0
    if options.step == "run":
        from rbops.node.frrun import run as run_frr

        return run_frr(node.frr.run, node.frr.programs)
    if options.step == "frr":
        print("\n".join(node.frr_lines()))
        return 0
    if options.step == "reload":
        return _print({"said": node.reload_daemon()}, options)
    return _print(node.daemon_status() or {"daemon": None, "sessions": []}, options)


def _ike(node: Node, options: argparse.Namespace) -> int:
    if options.step == "run":
        node.ike.become()
    if options.step == "load":
        return _print(dict(node.load_ike()), options)
    return _print({"tunnels": {str(number): state for number, state in node.ike_status().items()}}, options)


def _sample(node: Node, options: argparse.Namespace) -> int:
    if options.openmetrics:
        from rbops.common.openmetrics import text
        from rbops.node.metrics import families

        print(text(families(node.sample())), end="")
        return 0
    return _print(node.sample(), options)


def _export(node: Node, options: argparse.Namespace) -> int:
    if options.addresses:
        return _print(node.metrics_addresses(), options)
    node.export(lambda line: print(f"rbops-node: {line}", file=sys.stderr, flush=True))
    return 0


def _sflow(node: Node, options: argparse.Namespace) -> int:
    if options.agent:
        return _print(node.sflow_agent(), options)
    if options.off:
        node.sflow_off()
        return 0
    node.sflow(lambda line: print(f"rbops-node: {line}", file=sys.stderr, flush=True))
    return 0


def _facts(node: Node, options: argparse.Namespace) -> int:
    from rbops.node.facts import to_json
    from rbops.node.gather import gather

    return _print(to_json(gather(node.system, session.environment(node.system, os.environ))), options)


def _cabling(node: Node, options: argparse.Namespace) -> int:
    from rbops.node import cabling

    del options
    check_lock(node.state, None)
    return cabling.converse(node.system, session.environment(node.system, os.environ))


def _serve(node: Node, options: argparse.Namespace) -> int:
    from rbops.node.serve import serve

    del node, options
    serve(run, sys.stdin, sys.stdout.buffer)
    return 0


def _print(value: dict[str, Any], options: argparse.Namespace) -> int:
    print(json.dumps({"schema_version": 1, **value}, sort_keys=True, indent=None if options.json else 2))
    return 0


def _print_error(error: RbopsError, options: argparse.Namespace) -> None:
    """With ``--json`` as the last line of stderr, which the controller reads; notes may be above it."""
    hint = f"\nhint: {error.hint}" if error.hint else ""
    text = json.dumps({"error": error.to_json()}) if options.json else f"rbops-node: {error}{hint}"
    print(text, file=sys.stderr)


def _print_settings(settings: list[Setting], options: argparse.Namespace) -> int:
    if options.json:
        print(json.dumps([_setting(setting) for setting in settings]))
        return 0
    for setting in settings:
        arrow = f"{setting.have} -> {setting.want}" if setting.differs else setting.have
        reason = f" (planned {setting.want}; {setting.unsupported})" if setting.unsupported else ""
        print(f"{setting.subject}: {setting.name}: {arrow}{reason}")
    return 0


def _setting(setting: Setting) -> dict[str, str]:
    """Its JSON, with the reason where the device cannot have it."""
    reason = {"reason": setting.unsupported} if setting.unsupported and setting.have != setting.want else {}
    return {**setting.to_json(), **reason}


def _traceback() -> str:
    import tempfile
    import traceback

    handle, name = tempfile.mkstemp(prefix="rbops-node-traceback-", suffix=".txt")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(f"rbops-node {__version__}, Python {sys.version}\n\n{traceback.format_exc()}")
    return name


if __name__ == "__main__":
    main()
