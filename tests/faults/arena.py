"""A lab between two configurations: one change with one fault, and the verdict over every server."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rbops.lab.model import Lab
from tests.deploy.serverstate import change_open, inside, state
from tests.faults.damage import Damage, Ground
from tests.faults.verb import Verb

__all__ = ["Arena", "Outcome", "States", "differences"]

States = Mapping[str, Mapping[str, Any]]

_FIRST_S = 2.0
# What is left of a timer that has elapsed is forgotten by systemd; of one whose work was done by hand it is not.
_ELAPSE = """
systemctl start --wait rbops-revert.service
[ -e /var/lib/rbops/snapshot ] || systemctl stop rbops-revert.timer
[ -e /var/lib/rbops/snapshot ] || systemctl reset-failed rbops-revert.timer rbops-revert.service
true
"""
# A revert does not wait for the units that it starts again.
_NO_JOBS = "timeout 120 sh -c 'while systemctl list-jobs --no-legend | grep -q rbops; do sleep 0.1; done'"
_UNKNOWN, _BUG = 6, 70
_BACK = frozenset({1, 2, 3, 4, 5, 7})
"""Exit codes that say that nothing is changed."""
_RECOVERY = "rbops-recovery.service"
_FAR_END = frozenset({"tcp-segmentation-offload", "tx-sctp-segmentation", "tx-udp-segmentation", "tx-gso-list"})
"""NETIF_F_GSO_SOFTWARE: a veth has them by whether its other end has an XDP program (drivers/net/veth.c)."""
_LEFT = frozenset({"run"})
"""What a killed rbops, or a revert that failed, leaves until the next run: its folder in the servers' memory."""
_LOCKED = frozenset({"lock", "drained"})
"""What no timer gives back: servers that a run locked before their own change began, and what it had drained."""
_LOCKS = frozenset({"--reboot", "--serial"})
_DIFF = "[ ! -e /etc/rbops/node.json ] || rbops-node diff --json || true"
_DRAINED = """
[ ! -e /etc/rbops/node.json ] || rbops-node status --json |
python3 -c 'import json, sys; print((json.load(sys.stdin)["dataplane"] or {}).get("drained"))' || true
"""


@dataclass(frozen=True)
class Outcome:
    """How one change with a fault ended. ``code`` is negative where a signal ended rbops; ``hit``: it struck."""

    code: int
    hit: bool
    output: str
    verdicts: Mapping[str, str]
    """``old``, ``new``, or ``other:`` with what differs from the nearer one, by server."""

    def wrong(self) -> str | None:
        """The promise that was broken; None when all were kept."""
        kinds = {verdict.partition(":")[0] for verdict in self.verdicts.values()}
        named = all(name in self.output for name in self.verdicts if len(kinds) > 1)
        checks = {
            "a server is neither as before nor as planned": "other" in kinds,
            "a traceback": "Traceback" in self.output,
            "a bug of rbops": self.code == _BUG,
            "success was reported, and not every server is as planned": self.code == 0 and kinds != {"new"},
            # Where all are alike in the end the timers, or a person, have done what was said to be left.
            "servers differ, and exit 6 does not name them": self.code == _UNKNOWN and not named,
            f"exit {self.code} was reported, and not every server is as before": self.code in _BACK
            and kinds != {"old"},
        }
        return next((text for text, broken in checks.items() if broken), None)

    def __str__(self) -> str:
        ends = ", ".join(f"{name} {verdict}" for name, verdict in self.verdicts.items())
        return f"exit {self.code}, {'struck' if self.hit else 'never struck'}; {ends}\n{self.output[-4000:]}"


@dataclass
class Arena:
    """``specs``: the configurations by name; ``known``: the servers' states with each, as a clean change made them."""

    lab: Lab
    specs: Mapping[str, Path]
    known: dict[str, States] = field(default_factory=dict)
    present: str | None = None
    """The state that the last verdict found all servers in."""
    _abandoned: set[str] = field(default_factory=set)
    """Folders in the servers' memory of runs that were killed: the next that begins a change removes them."""

    def arguments(self, verb: str, *arguments: str, spec: str | None = None) -> list[str]:
        """A verb on this lab."""
        return [verb, *([str(self.specs[spec])] if spec else []), "-i", str(self.lab.inventory), *arguments]

    def run(self, verb: str, *arguments: str, spec: str | None = None) -> Verb:
        """A verb without any fault."""
        return self.undisturbed(self.arguments(verb, *arguments, spec=spec))

    def undisturbed(self, arguments: Sequence[str]) -> Verb:
        """The same by its arguments."""
        done = Verb(arguments)
        done.run(lambda: None, lambda _: None)
        return done

    @property
    def names(self) -> list[str]:
        """The servers."""
        return [server.name for server in self.lab.servers]

    def shown(self, server: str) -> dict[str, Any]:
        """A server's state; where it is configured, with whether its kernel, programs and maps are equal to that."""
        inside(self.lab, server, "sh", "-c", _NO_JOBS)
        found = state(self.lab, server)
        for name, link in found["links"].items():
            if name.startswith("int"):
                link["offloads"] = [entry for entry in link["offloads"] if entry[0] not in _FAR_END]
        differs, drained = (inside(self.lab, server, "sh", "-c", script).strip() for script in (_DIFF, _DRAINED))
        return {**found, "differs": differs or "[]", "drained": drained}

    def all_shown(self) -> dict[str, dict[str, Any]]:
        """:meth:`shown` of every server, at once."""
        with ThreadPoolExecutor(len(self.names)) as pool:
            return dict(zip(self.names, pool.map(self.shown, self.names), strict=True))

    def which(self) -> str | None:
        """The known state that all servers are in; None for any other."""
        now = self.all_shown()
        return next((name for name, found in self.known.items() if found == now), None)

    def settle(self, *names: str) -> str:
        """One of the states ``names``: the present one where it is among them, else the first, made cleanly."""
        self.present = self.present or self.which()
        if self.present in names:
            return str(self.present)
        self.make(names[0])
        found = self.all_shown()
        if names[0] not in self.known:
            self.known[names[0]] = found
        odd = {name: differences(self.known[names[0]][name], state) for name, state in found.items()}
        assert not any(odd.values()), f"a clean {names[0]} is not what it was: {odd}"
        self.present = names[0]
        return names[0]

    def make(self, name: str, *options: str) -> None:
        """Bring the servers to a configuration, or to ``fresh``: nothing of rbops."""
        self.cleanly(*(["remove"] if name == "fresh" else ["apply", *options]), spec=None if name == "fresh" else name)

    def cleanly(self, verb: str, *arguments: str, spec: str | None = None) -> None:
        """A verb that has to succeed."""
        made = self.run(verb, *arguments, spec=spec)
        assert made.code == 0, f"the next run is not clean: {made.output}"

    def strike(
        self, arguments: Sequence[str], point: str, damage: Damage, servers: Sequence[str], ends: tuple[str, str]
    ) -> Outcome:
        """Run a verb with the damage at the point. ``ends``: what the servers were, and are to be."""
        verb = self.damaged(arguments, point, damage, servers)
        self.fire_timers(strict=not damage.cripples)
        left = _LEFT if verb.code == _UNKNOWN or (verb.code or 0) < 0 else frozenset[str]()
        if left and _LOCKS & set(arguments):
            left |= _LOCKED
        if verb.code == 0:
            self._abandoned.clear()
        shown = self.all_shown()
        # What could not be removed and was said is no broken promise.
        named = [name for name in shown if f"{name}: confirmed, but these files could not be removed" in verb.output]
        for name in named:
            shown[name]["files"] = {p: info for p, info in shown[name]["files"].items() if _RECOVERY not in p}
        verdicts = {name: self.verdict(name, found, ends, left) for name, found in shown.items()}
        alike = {name for name in verdicts if self.known[ends[0]][name] == self.known[ends[1]][name]}
        decided = {found for name, found in verdicts.items() if name not in alike}
        if decided == {"new"} or (not decided and verb.code == 0):
            # A server that is in both ends as it was is as planned where the others are.
            verdicts |= {name: "new" for name in alike if verdicts[name] == "old"}
        ended = set(verdicts.values())
        if len(ended) == 1 and ended <= {"old", "new"} and not named:
            self.present = ends["new" in ended]
        return Outcome(int(verb.code or 0), verb.hit, verb.output, verdicts)

    def damaged(self, arguments: Sequence[str], point: str, damage: Damage, servers: Sequence[str]) -> Verb:
        """A verb to its end, with the damage at the point; mended afterwards, or when a lasting one has to be."""
        verb, self.present = Verb(arguments, point), None
        ground = Ground(self.lab, verb, servers, lambda: int(self.run("apply", spec="old").code or 0))
        mended = False

        def meanwhile(seconds: float) -> None:
            # What the server does alone comes by hand and at once: no test waits for a timer.
            nonlocal mended
            if damage.lasts and not mended and seconds > _FIRST_S:
                mended = True
                if damage.fires:
                    self.fire_timers()
                damage.mend(ground)

        try:
            verb.run(lambda: damage.strike(ground), meanwhile)
        finally:
            if verb.hit and not mended:
                damage.mend(ground)
        for name in servers:
            self.lab.wait(name)
        return verb

    def digest(self, server: str) -> str:
        """The plan that a server has; empty for none."""
        script = "[ ! -e /etc/rbops/node.json ] || cat /etc/rbops/node.json"
        found = inside(self.lab, server, "sh", "-c", script)
        return str(json.loads(found)["digest"]) if found else ""

    def fire_timers(self, *, strict: bool = True) -> None:
        """Where a change is open its timer is armed: what it would run, now. A timer without a change does nothing.

        Without ``strict`` the timer may have fired in vain before: what an operator is told to do then, is done.
        """
        for name in self.names:
            armed = inside(self.lab, name, "sh", "-c", "systemctl is-active rbops-revert.timer || true").strip()
            orphaned = armed != "active" and change_open(self.lab, name)
            assert not (orphaned and strict), f"{name}: a change is open and its timer is {armed}"
            if armed == "active":
                inside(self.lab, name, "sh", "-c", _ELAPSE)
            if change_open(self.lab, name):
                inside(self.lab, name, "sh", "-c", "systemctl reset-failed 'rbops-revert*' || true")
                inside(self.lab, name, "python3", "/var/lib/rbops/snapshot/rbops-node", "revert")

    def rescue(self) -> None:
        """After a promise that was broken: the servers are fit for the next case, whatever it takes."""
        self.present = None
        for name in self.names:
            self.lab.wait(name)
        self.fire_timers(strict=False)
        for name in self.names:
            inside(self.lab, name, "sh", "-c", "rm -f /var/lib/rbops/lock.json")
        self.make("old", "--break-lock")

    def verdict(self, server: str, found: dict[str, Any], ends: tuple[str, str], left: frozenset[str]) -> str:
        """``old``, ``new`` or ``other:`` with what differs; ``found``: what is shown; ``left``: what does not count."""
        if "run" in left:
            usual = {path for name in ends for path in self.known[name][server]["run"]}
            self._abandoned |= set(found["run"]) - usual
        found["run"] = [path for path in found["run"] if path not in self._abandoned]
        now = {key: value for key, value in found.items() if key not in left}
        for word, name in zip(("old", "new"), ends, strict=True):
            if now == {key: value for key, value in self.known[name][server].items() if key not in left}:
                return word
        both = (differences(self.known[name][server], now) for name in ends)
        return f"other: {min((json.dumps(found) for found in both), key=len)[:3000]}"


def differences(known: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """What is not as known, one level down where that is a mapping: what it was, and is."""
    found: dict[str, Any] = {}
    for key, value in now.items():
        was = known.get(key)
        if isinstance(value, dict) and isinstance(was, dict):
            found |= {
                f"{key} {name}": [was.get(name), value.get(name)]
                for name in {*was, *value}
                if was.get(name) != value.get(name)
            }
        elif was != value:
            found[key] = [was, value]
    return found
