"""``--format json``: stdout is one JSON document, whatever happens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from rbops.cli.app import build
from rbops.cli.options import Output
from rbops.cli.output import Format, conclude_json
from rbops.errors import CheckFailed, Mismatch, Where

SPEC = "router: {external_ports: 4, line_rate: 10Gbps}\nservers: {profile: lab}\n"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(build(), [*arguments, "--format", "json"])


def error_of(done: Result) -> dict[str, Any]:
    """The error, after comparing it with the exit code and what stderr says."""
    body = json.loads(done.stdout)
    error: dict[str, Any] = body["error"]
    assert body["schema_version"] == 1
    assert set(error) >= {"code", "exit_code", "hint", "message", "where"}
    assert error["exit_code"] == done.exit_code
    assert error["message"] in done.stderr
    return error


@pytest.mark.parametrize(
    "verb", ["check", "plan", "explain", "predict", "scale", "simulate", "diff", "apply", "status"]
)
def test_a_missing_spec(verb: str, tmp_path: Path) -> None:
    inventory = ["-i", "hosts.yml"] if verb in {"diff", "apply", "status"} else []
    error = error_of(run(verb, str(tmp_path / "none.yml"), *inventory))
    assert (error["exit_code"], len(error["errors"]), error["errors"][0]["line"]) == (2, 1, 1)


@pytest.mark.parametrize("verb", ["diff", "apply", "status", "verify", "selftest", "discover"])
def test_a_missing_inventory(verb: str, tmp_path: Path) -> None:
    (tmp_path / "router.yml").write_text(SPEC, encoding="utf-8")
    assert error_of(run(verb, str(tmp_path / "router.yml"), "-i", str(tmp_path / "none.yml")))["exit_code"] == 2


@pytest.mark.parametrize("verb", ["history", "rollback", "remove"])
def test_a_missing_inventory_of_verbs_without_a_spec(verb: str, tmp_path: Path) -> None:
    assert error_of(run(verb, "-i", str(tmp_path / "none.yml")))["exit_code"] == 2


@pytest.mark.parametrize("back", ["router.yml", "0", "10", "1.5"])
def test_how_far_back(back: str) -> None:
    error = error_of(run("rollback", back, "-i", "hosts.yml"))
    assert (error["code"], error["exit_code"]) == ("rollback.number", 2)


@pytest.mark.parametrize("arguments", [["diff", "x.yml"], ["plan"], ["simulate", "x.yml", "--packets", "many"]])
def test_a_wrong_command_line(arguments: list[str]) -> None:
    assert error_of(run(*arguments))["code"] == "usage.invalid"


def test_a_click_configuration_that_cannot_be_read(tmp_path: Path) -> None:
    error = error_of(run("click-check", str(tmp_path / "none.click")))
    assert (error["code"], error["where"]) == ("click-check.unreadable", {"file": str(tmp_path / "none.click")})


def test_a_spec_with_errors_lists_them(tmp_path: Path) -> None:
    (tmp_path / "router.yml").write_text(SPEC.replace("10Gbps", "fast"), encoding="utf-8")
    done = run("check", str(tmp_path / "router.yml"))
    assert error_of(done)["errors"] == json.loads(done.stdout)["errors"]


def test_a_lab_that_is_not_there() -> None:
    assert error_of(run("lab", "status", "no-such-lab"))["exit_code"] == 3


def with_verb(body: Any) -> Result:
    app = build()
    app.command("verb")(body)
    return CliRunner().invoke(app, ["verb", "--format", "json"])


def test_a_bug() -> None:
    def verb(output: Output = Format.TEXT) -> None:
        del output
        raise ZeroDivisionError("by nought")

    done = with_verb(verb)
    error = error_of(done)
    assert (error["code"], error["exit_code"]) == ("rbops.bug", 70)
    Path(error["hint"].split()[-1]).unlink()


def test_an_interrupt() -> None:
    def verb(output: Output = Format.TEXT) -> None:
        del output
        raise KeyboardInterrupt

    assert error_of(with_verb(verb))["code"] == "rbops.interrupted"


def test_a_place_and_a_hint() -> None:
    def verb(output: Output = Format.TEXT) -> None:
        del output
        raise Mismatch("MTU 1500", code="nic.mtu", where=Where(server="n0", device="eth1"), hint="set it")

    error = error_of(with_verb(verb))
    assert (error["where"], error["hint"]) == ({"server": "n0", "device": "eth1"}, "set it")


def test_a_result_and_the_error_that_it_ends_with_are_one_document() -> None:
    def verb(output: Output = Format.TEXT) -> None:
        del output
        conclude_json({"schema_version": 1, "checks": 3}, CheckFailed("1 check failed", code="verify.failed"))

    done = with_verb(verb)
    assert error_of(done)["code"] == "verify.failed"
    assert json.loads(done.stdout)["checks"] == 3


def test_text_has_no_json(tmp_path: Path) -> None:
    done = CliRunner().invoke(build(), ["check", str(tmp_path / "none.yml")])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.endswith("1 error\n")
