"""The agent that travels: what is sent suffices, and ends with its connection."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Iterator

import pytest

from rbops.selftest.travel import _PYTHON, _START, agent_program

_COMMAND = [_PYTHON, "-I", "-c", _START, "--device", "lo", "--lifetime", "60"]


@pytest.fixture
def agent() -> Iterator[subprocess.Popen[str]]:
    """As SSH starts it, with nothing of this checkout in reach."""
    with subprocess.Popen(
        _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/", env={}
    ) as process:
        assert process.stdin is not None
        process.stdin.write(base64.b64encode(agent_program()).decode() + "\n")
        process.stdin.flush()
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"ok": {}}
        yield process
        process.kill()


def ask(process: subprocess.Popen[str], **request: object) -> dict[str, object]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    found: dict[str, object] = json.loads(process.stdout.readline())
    return found


def test_one_archive_is_all_that_it_needs(agent: subprocess.Popen[str]) -> None:
    hello = ask(agent, op="hello")["ok"]
    assert isinstance(hello, dict)
    assert (hello["name"], hello["mac"]) == ("lo", "00:00:00:00:00:00")
    assert ask(agent, op="nothing")["error"] is not None
    assert agent.stdin is not None
    agent.stdin.close()
    assert agent.wait(timeout=20) == 0


def test_the_archive_is_the_same_each_time() -> None:
    before = agent_program()
    agent_program.cache_clear()
    assert agent_program() == before


@pytest.mark.root
def test_its_programs_are_loaded_out_of_the_archive(agent: subprocess.Popen[str]) -> None:
    answer = ask(agent, op="floor", length=60, seconds=0.1, pps=1000.0, chunk=1)
    assert "ok" in answer, answer


@pytest.mark.root
def test_it_does_not_go_on_sending_for_nobody(agent: subprocess.Popen[str]) -> None:
    assert agent.stdin is not None
    agent.stdin.write(json.dumps({"op": "floor", "length": 60, "seconds": 50.0, "pps": 10.0, "chunk": 1}) + "\n")
    agent.stdin.flush()
    time.sleep(0.5)
    assert agent.poll() is None
    agent.stdin.close()
    agent.wait(timeout=20)
