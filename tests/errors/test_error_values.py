from __future__ import annotations

import json

import pytest

from rbops import errors
from rbops.errors import Diagnostic, Mismatch, RbopsError, SpecError, StateUnknown, Where, error_from_json


def kinds() -> list[type[RbopsError]]:
    found = [getattr(errors, name) for name in errors.__all__]
    return [kind for kind in found if isinstance(kind, type) and issubclass(kind, RbopsError)]


def test_place_comes_before_the_message() -> None:
    error = Mismatch(
        "the MTU is 1500, expected 9000", code="nic.mtu", where=Where(server="n0", device="eth1"), hint="x"
    )
    assert str(error) == "n0: eth1: the MTU is 1500, expected 9000"
    assert (error.code, error.hint, error.exit_code) == ("nic.mtu", "x", 3)


def test_a_place_in_a_file_reads_as_compilers_write_it() -> None:
    assert str(Where(file="router.yml", line=3, column=5, field="ports[0]")) == "router.yml:3:5: ports[0]"
    assert str(Where(server="n0", file="/etc/rbops/node.json")) == "n0: /etc/rbops/node.json"


@pytest.mark.parametrize("kind", [kind for kind in kinds() if kind not in (RbopsError, SpecError)])
def test_json_carries_an_error_to_another_program(kind: type[RbopsError]) -> None:
    sent = kind("message", code="area.reason", where=Where(device="eth1"), hint="hint")
    got = error_from_json(json.loads(json.dumps(sent.to_json())), "n0")
    assert type(got) is kind
    assert got.where == Where(server="n0", device="eth1")
    assert {**got.to_json(), "where": None} == {**sent.to_json(), "where": None}


def test_a_bug_of_another_program_leaves_its_state_unknown() -> None:
    got = error_from_json(RbopsError("KeyError", code="node.bug").to_json(), "n0")
    assert (type(got), got.code, str(got)) == (StateUnknown, "node.bug", "n0: KeyError")


def test_other_json_is_not_taken_for_an_error() -> None:
    with pytest.raises((KeyError, TypeError)):
        error_from_json({"error": "text"})


def test_spec_error_lists_its_diagnostics() -> None:
    second = Diagnostic("router.yml", 7, 3, "a", code="spec.duplicate", field="ports[1].id")
    first = Diagnostic("router.yml", 2, 3, "b", "c", code="spec.unknown-key", field="router.x")
    found = SpecError([second, first]).to_json()
    assert (found["code"], found["exit_code"], found["message"]) == ("spec.invalid", 2, "2 errors")
    assert found["errors"] == [first.to_json(), second.to_json()]
    assert first.to_json() == {
        "code": "spec.unknown-key",
        "path": "router.yml",
        "line": 2,
        "column": 3,
        "field": "router.x",
        "message": "b",
        "hint": "c",
    }
