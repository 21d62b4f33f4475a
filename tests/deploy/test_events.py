from __future__ import annotations

from typing import Any

import pytest

from rbops.deploy.events import parse_event
from rbops.node.settings import Note


def raw(event: str, **data: Any) -> dict[str, Any]:
    return {"event": event, "event_data": {"host": "n2", "task": "The routes", "role": "node", **data}}


@pytest.mark.parametrize(
    ("event", "result", "status"),
    [
        ("runner_on_start", {}, "started"),
        ("runner_on_ok", {"changed": False}, "ok"),
        ("runner_on_ok", {"changed": True}, "changed"),
        ("runner_on_skipped", {}, "skipped"),
        ("runner_on_failed", {"msg": "no"}, "failed"),
        ("runner_on_unreachable", {"msg": "gone"}, "unreachable"),
    ],
)
def test_statuses(event: str, result: dict[str, Any], status: str) -> None:
    found = parse_event(raw(event, res=result))
    assert found is not None
    assert (found.host, found.title, found.status) == ("n2", "node: The routes", status)


def test_a_failure_carries_message_and_tail_of_stderr() -> None:
    stderr = "".join(f"line {number}\n" for number in range(20))
    found = parse_event(raw("runner_on_failed", res={"msg": "non-zero return code", "stderr": stderr}))
    assert found is not None
    assert found.message.splitlines() == ["non-zero return code", *(f"line {number}" for number in range(15, 20))]


def test_failed_items_of_a_loop_are_named() -> None:
    items = [{"item": "a", "failed": False}, {"item": "b", "failed": True, "msg": "disk full"}]
    found = parse_event(raw("runner_on_failed", res={"msg": "One or more items failed", "results": items}))
    assert found is not None
    assert found.message == "One or more items failed\nb: disk full"


def test_censored_results_stay_censored() -> None:
    found = parse_event(raw("runner_on_failed", res={"censored": "hidden by no_log", "msg": "the key is hunter2"}))
    assert found is not None
    assert found.message == "hidden by no_log"


def test_diffs_are_text() -> None:
    result = {"changed": True, "diff": [{"before": "a\nb\n", "after": "a\nc\n", "after_header": "/etc/x"}]}
    found = parse_event(raw("runner_on_ok", res=result))
    assert found is not None
    assert found.diff == "--- before\n+++ /etc/x\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"
    equal = parse_event(raw("runner_on_ok", res={"diff": {"before": "a", "after": "a"}}))
    assert equal is not None
    assert equal.diff == ""


@pytest.mark.parametrize("event", ["playbook_on_start", "verbose", "playbook_on_stats", "runner_item_on_ok"])
def test_other_events_are_no_tasks(event: str) -> None:
    assert parse_event(raw(event)) is None
    assert parse_event({"event": event}) is None


def test_what_devices_cannot_have_is_noted() -> None:
    entry = {"subject": "port ext0", "setting": "rx ring", "reason": "veth has none"}
    found = parse_event(raw("runner_on_ok", res={"changed": False, "unsupported": [entry, {"subject": "x"}, 1]}))
    assert found is not None
    assert found.notes == (Note("port ext0", "rx ring", "veth has none"),)
    for other in ("all", {"subject": "x"}, None):
        found = parse_event(raw("runner_on_ok", res={"unsupported": other}))
        assert found is not None
        assert not found.notes
