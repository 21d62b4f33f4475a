"""The command line of rbops-node."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from rbops import __version__

__all__ = ["parser"]

_VERBS = {
    "show": "every setting as it is and as planned",
    "diff": "what differs; exit 1 when something does",
    "validate": "check that this server can carry out node.json; exit 3 with the reason if not",
    "apply": "make the server what node.json says, and read it back",
    "open": "lock, validate and begin in one step",
    "begin": "snapshot the configuration and arm the revert timer",
    "rearm": "start the revert timer of the open change anew",
    "confirm": "keep the change: delete the snapshot, stop the timer",
    "revert": "roll back to the state at begin",
    "history": "the configurations that were confirmed last, oldest first",
    "restore": "within a change: the configuration of an earlier generation",
    "remove": "within a change: take everything of rbops off this server",
    "boot": "for rbops.service: the last confirmed configuration",
    "lock": "take this server for a run",
    "unlock": "give it back",
    "drain": "send nothing through the server with index SERVER that is not for its own ports",
    "undrain": "use that server as an intermediate again",
    "hold": "within a change: leave servers out as soon as the cluster has --servers servers",
    "counters": "the data plane's counters",
    "status": "digest, data plane, open change, lock, services",
    "watch": "for rbops-watch.service: report dead links to the data plane",
    "fib": "for rbops-fib.service: let the data plane's table follow the kernel's; or compare, watch, get ADDRESS",
    "daemon": "for rbops-bird.service and rbops-frr.service: prepare the routing daemon's files, reload them, run "
    "FRR's programs, or say what the sessions are; frr: lines for an FRR of your own",
    "ike": "for rbops-ike.service: be strongSwan, give it connections and secrets, or say what its tunnels are",
    "sample": "all that is measured now, for `rbops status`: counters, queues, cores, cables, routes, sessions",
    "export": "for rbops-exporter.service: metrics for Prometheus on the management addresses",
    "sflow": "for rbops-sflow.service: samples of frames and ports' counters to an sFlow collector",
    "facts": "what this server is: processors, NICs, kernel; changes nothing",
    "serve": "for a controller that asks often: verbs as lines of JSON, answers as lines of JSON",
    "cabling": "for `rbops discover`: send frames out of ports and report what they receive",
}
_NEED_RUN = ("open", "begin", "rearm", "confirm", "restore", "remove", "lock", "unlock", "hold")


def parser(only: str = "") -> argparse.ArgumentParser:
    """The command line, also for the man page. ``only``: where it is a verb, the others are left out."""
    root = argparse.ArgumentParser(prog="rbops-node", description="One server of an rbops router.")
    root.add_argument("--version", action="version", version=f"rbops-node {__version__}")
    verbs = root.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, text in _VERBS.items():
        if only in _VERBS and only != verb:
            continue
        sub = verbs.add_parser(verb, help=text, description=text)
        sub.add_argument("--config", type=Path, default=Path("/etc/rbops/node.json"), help="its configuration")
        sub.add_argument("--state", type=Path, default=Path("/var/lib/rbops"), help="folder for its own state")
        sub.add_argument("--json", action="store_true", help="one line of JSON")
        for names, option, about in _options():
            if verb in names:
                sub.add_argument(option, **about)
    return root


def _options() -> tuple[tuple[tuple[str, ...], str, dict[str, Any]], ...]:
    """Options that not every verb takes: (verbs, option, keyword arguments of ``add_argument``)."""
    flag = {"action": "store_true"}
    return (
        (_NEED_RUN, "--run", {"required": True, "help": "the run's id"}),
        (("revert",), "--run", {"help": "only if this run's change is the open one"}),
        (("drain",), "--run", {"help": "until this run ends, or its lock is taken over"}),
        (("open", "begin", "lock"), "--holder", {"default": _holder(), "help": "who, for the message to others"}),
        (
            ("open", "begin", "rearm"),
            "--timeout",
            {"type": _seconds, "required": True, "metavar": "S", "help": "seconds until the revert"},
        ),
        (("open",), "--planned", {"type": Path, "metavar": "FILE", "help": "the node.json to validate"}),
        (("open", "lock"), "--takeover", {**flag, "help": "take a stale lock from another run"}),
        (("confirm",), "--reason", {"default": "", "help": "kept with the generation"}),
        (("revert", "confirm"), "--unlock", {**flag, "help": "also give the server back, as the timer does"}),
        (("revert",), "--keep-drained", {**flag, "help": "until `unlock --undrain`, what the run drained stays so"}),
        (("unlock",), "--undrain", {**flag, "help": "and use again what the run drained"}),
        (("restore",), "--generation", {"type": int, "required": True, "metavar": "N", "help": "as `history` has it"}),
        (("drain", "undrain"), "server", {"type": int, "metavar": "SERVER", "help": "its index in the cluster"}),
        (("hold",), "--servers", {"type": int, "required": True, "metavar": "N", "help": "how many there will be"}),
        (("hold",), "newcomers", {"type": int, "nargs": "*", "metavar": "SERVER", "help": "their indexes in it"}),
        (
            ("counters",),
            "--queues",
            {**flag, "help": "also queues' packets and interrupts by CPU, cores' time"},
        ),
        (
            ("fib",),
            "what",
            {"nargs": "*", "metavar": "get ADDRESS", "help": "where packets for an address go, and why"},
        ),
        (("daemon",), "step", {"choices": ("prepare", "reload", "run", "status", "frr"), "help": "what to do"}),
        (("ike",), "step", {"choices": ("run", "load", "status"), "help": "what to do"}),
        (("sample",), "--openmetrics", {**flag, "help": "as OpenMetrics text"}),
        (("export",), "--addresses", {**flag, "help": "say where it would listen, and end"}),
        (("sflow",), "--agent", {**flag, "help": "say where it would send, and from where, and end"}),
        (("sflow",), "--off", {**flag, "help": "sample nothing any more, and end"}),
        (("fib",), "--audit", {**flag, "help": "compare kernel and data plane; exit 1 if they differ"}),
        (("fib",), "--watch", {**flag, "help": "a line for every change, until killed"}),
    )


def _seconds(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 86400:  # noqa: PLR2004 - a day
        raise argparse.ArgumentTypeError("1 to 86400 seconds")
    return value


def _holder() -> str:
    return f"{os.environ.get('SUDO_USER') or os.environ.get('USER') or 'root'}@{os.uname().nodename}"
