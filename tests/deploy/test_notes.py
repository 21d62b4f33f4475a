"""What the servers' devices cannot have: from Ansible's events to the end of ``apply``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from rbops.deploy.apply import Applied, ApplyOptions, Push, _applied
from rbops.deploy.inventory import Inventory
from rbops.deploy.reboot import Waiting
from rbops.deploy.runner import PlayResult, _Watcher
from rbops.deploy.runs import new_run
from rbops.deploy.stop import Stop
from rbops.node.settings import Note
from rbops.render import Rendered
from rbops.report.apply import applied_json, applied_lines
from rbops.report.notes import note_lines
from tests.deploy.test_events import raw
from tests.support.plans import Mesh, connected_routes

NO_CPUFREQ = "nothing scales this CPU's frequency: no cpufreq driver"


def said(host: str, *notes: tuple[str, str, str]) -> dict[str, Any]:
    """The event of the role ``activate`` on a server."""
    entries = [dict(zip(("subject", "setting", "reason"), note, strict=True)) for note in notes]
    result = {"changed": True, "changes": [], "unsupported": entries, "reboot_required": False, "reboot": []}
    return raw("runner_on_ok", host=host, task="The configuration takes effect", role="activate", res=result)


@pytest.fixture
def done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Applied:
    """A push to three servers; n1 has nothing to say, and n0 and n2 wait for a reboot as well."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    run = new_run("apply")
    watcher = _Watcher(run, lambda _: None, Stop())
    for host, port in (("n0", "ext0"), ("n2", "ext2")):
        watcher.event(raw("runner_on_start", host=host))
        watcher.event(
            said(
                host,
                ("CPU 1", "governor", NO_CPUFREQ),
                ("CPU 2", "governor", NO_CPUFREQ),
                (f"port {port}", "rx ring", "veth has none"),
                ("boot", "nohz_full", "takes effect with the next reboot"),
            )
        )
        # Later tasks say nothing of it.
        watcher.event(raw("runner_on_ok", host=host, res={"changed": False}))
    watcher.event(said("n1"))
    waiting = {name: (Waiting("boot", "nohz_full", "absent", "1-2"),) for name in ("n0", "n2")}
    result = PlayResult("successful", watcher.changed, (), tmp_path / "stdout", 1.0, watcher.notes)
    push = Push(
        run, Mesh("rb3", 3, 10**9).plan(connected_routes(3)), Rendered("0" * 64, (), (), {}), Inventory("", (), (), ())
    )
    return _applied(push, ApplyOptions(), result, waiting)


def test_apply_ends_with_what_is_not_supported(done: Applied) -> None:
    lines = list(applied_lines(done, {}))
    assert lines[-3:] == [
        "planned, but not so on the servers:",
        f"  governor: {NO_CPUFREQ} (n0, n2: CPU 1-2)",
        "  rx ring: veth has none (n0: port ext0; n2: port ext2)",
    ]
    assert [line for line in lines if "nohz_full" in line] == [
        f"{name}: reboot required: boot nohz_full: absent -> 1-2" for name in ("n0", "n2")
    ]


def test_what_was_not_pushed_is_said(done: Applied) -> None:
    assert json.loads(json.dumps(applied_json(done, {})))["pushed"] is True
    same = dataclasses.replace(done, changed={"n0": 0, "n1": 0}, played=False)
    assert (
        next(applied_lines(same, {}))
        == "nothing to change: 2 servers already had this plan, 000000000000: compared, not pushed"
    )
    assert applied_json(same, {})["pushed"] is False
    mended = dataclasses.replace(same, changed={"n0": 1, "n1": 0})
    assert next(applied_lines(mended, {})).startswith("all files were there; settings of 1 server of 2 were restored")


def test_json_has_every_note(done: Applied) -> None:
    told = json.loads(json.dumps(applied_json(done, {})))
    assert told["unsupported"].keys() == {"n0", "n2"}
    assert told["unsupported"]["n2"] == [
        {"subject": "CPU 1", "setting": "governor", "reason": NO_CPUFREQ},
        {"subject": "CPU 2", "setting": "governor", "reason": NO_CPUFREQ},
        {"subject": "port ext2", "setting": "rx ring", "reason": "veth has none"},
    ]


def test_nothing_to_say_is_nothing() -> None:
    assert list(note_lines({})) == []
    assert list(note_lines({"n0": ()})) == []


def test_settings_of_one_kind_are_one_line() -> None:
    notes = [Note("port ext0", f"xps {queue}", "no queues") for queue in (0, 1, 2, 5)]
    assert list(note_lines({"n0": notes}))[1:] == ["  xps 0-2,5: no queues (n0: port ext0)"]
    assert list(note_lines({"n0": [Note("memory", "1GB pages", "none left")]}))[1:] == [
        "  1GB pages: none left (n0: memory)"
    ]


def test_it_never_fills_more_than_a_screen() -> None:
    ports = [Note(f"port int{other}", "rx ring", "veth has none") for other in range(31)]
    cluster = {f"n{index}": [*ports, Note(f"port ext{index}", "rx ring", "veth has none")] for index in range(32)}
    _, line = note_lines(cluster)
    assert line.endswith("24 more; and 28 more servers)")
    assert len(line) < 500
    many = {"n0": [Note("port ext0", "irq", f"reason {number}") for number in range(100)]}
    lines = list(note_lines(many))
    assert len(lines) == 22
    assert lines[-1] == "  and 80 more: --format json has all"
