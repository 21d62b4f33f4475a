"""The help of every verb: complete, and in the words of its options."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from rbops.cli.app import build


def verbs(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its name; groups too."""
    command = command if command is not None else typer.main.get_command(build())
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from verbs(below, (*path, name))


def test_an_application_has_nothing_of_the_one_built_before() -> None:
    """A group that all applications share would have each of its verbs once more with every one built."""

    def registered(app: typer.Typer) -> list[str | None]:
        groups = [info.typer_instance for info in app.registered_groups]
        return [verb.name for group in (app, *groups) if group is not None for verb in group.registered_commands]

    names = registered(build())
    assert names.count("up") == names.count("get") == 1
    assert registered(build()) == names


@pytest.mark.parametrize(
    ("path", "command"), [pytest.param(*verb, id=" ".join(verb[0]) or "rbops") for verb in verbs()]
)
def test_help_is_complete(path: tuple[str, ...], command: Any) -> None:
    shown = CliRunner().invoke(build(), [*path, "--help"]).stdout
    # Choices are shown as <a|b>; names of Python's types are not for users.
    assert not re.search(r"<(?!=|[a-z0-9-]+\|)|\{", shown), shown
    assert command.help
    for parameter in command.params:
        assert parameter.help, f"{path} {parameter.name} has no help"


@pytest.mark.parametrize(
    ("path", "usage"),
    [
        (["plan"], "Usage: rbops plan [OPTIONS] SPEC"),
        (["scale"], "Usage: rbops scale [OPTIONS] [SPEC]"),
        (["click-check"], "Usage: rbops click-check [OPTIONS] FILE..."),
        (["lab", "exec"], "Usage: rbops lab exec [OPTIONS] LAB HOST COMMAND..."),
    ],
)
def test_usage(path: list[str], usage: str) -> None:
    done = CliRunner().invoke(build(), [*path, "--help"], prog_name="rbops")
    assert done.stdout.splitlines()[0] == usage
