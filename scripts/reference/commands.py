"""The two command lines, read from typer's commands and from argparse's parser, and the exit codes from the errors."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator
from typing import Any

import typer

from rbops import errors
from rbops.cli.app import build
from rbops.cli.command import help_record
from rbops.node.arguments import parser
from scripts.reference.model import Option, Program, Verb

__all__ = ["controller", "exit_codes", "node"]


def controller() -> Program:
    """``rbops``, from the application that runs."""
    root: Any = typer.main.get_command(build())
    context = root.make_context("rbops", [], resilient_parsing=True)
    options = _options(help_record(parameter, context) for parameter in root.get_params(context))
    return Program("rbops", _paragraphs(root.help), options, tuple(_verbs(root, "rbops")))


def _verbs(group: Any, path: str) -> Iterator[Verb]:
    for name, command in group.commands.items():
        whole = f"{path} {name}"
        if hasattr(command, "commands"):
            yield from _verbs(command, whole)
            continue
        context = command.make_context(whole, [], resilient_parsing=True)
        usage = re.sub(r"\s+", " ", command.get_usage(context)).removeprefix("Usage: ")
        options = _options(help_record(parameter, context) for parameter in command.params)
        yield Verb(whole, usage, _paragraphs(command.help), options)


def _options(records: Iterable[tuple[str, str] | None]) -> tuple[Option, ...]:
    return tuple(Option(record[0], re.sub(r"\s+", " ", record[1])) for record in records if record)


def node() -> Program:
    """``rbops-node``, from its parser."""
    found = parser()
    choices = next(action for action in found._actions if isinstance(action, argparse._SubParsersAction)).choices
    shared = set.intersection(*({_option(action) for action in _actions(sub)} for sub in choices.values()))
    verbs = tuple(
        Verb(
            f"rbops-node {name}",
            _usage(sub, shared),
            (_sentence(sub.description or ""),),
            tuple(option for option in map(_option, _actions(sub)) if option not in shared),
        )
        for name, sub in choices.items()
    )
    first = next(iter(choices.values()))
    common = tuple(option for option in map(_option, _actions(first)) if option in shared)
    options = tuple(dict.fromkeys((*map(_option, _actions(found)), *common)))
    return Program("rbops-node", (found.description or "",), options, verbs)


def _actions(found: argparse.ArgumentParser) -> list[argparse.Action]:
    """Its options, without those that only choose the verb."""
    return [action for action in found._actions if action.option_strings]


def _option(action: argparse.Action) -> Option:
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    text = _sentence(action.help or "")
    if action.required:
        text += "  [required]"
    elif action.nargs != 0 and action.default is not None and action.dest != "holder":
        text += f"  [default: {action.default}]"
    return Option(f"{', '.join(action.option_strings)}{value}", re.sub(r"\s+", " ", text))


def _usage(sub: argparse.ArgumentParser, shared: set[Option]) -> str:
    words = [sub.prog]
    for action in _actions(sub):
        option = _option(action)
        if option not in shared:
            spelling = re.sub(r"^.*, (?=--)", "", option.spelling)
            words.append(spelling if action.required else f"[{spelling}]")
    return " ".join(words)


def _sentence(text: str) -> str:
    """As the pages write it: with a capital and a full stop."""
    text = re.sub(r"\s+", " ", text).strip()
    return text[:1].upper() + text[1:] + ("" if not text or text[-1] in ".!?" else ".")


def _paragraphs(text: str | None) -> tuple[str, ...]:
    return tuple(re.sub(r"\s+", " ", part).strip() for part in (text or "").split("\n\n"))


def exit_codes() -> tuple[tuple[int, str], ...]:
    """Each code with the first sentence of the class that ends a command with it; 0 is success."""
    classes = [getattr(errors, name) for name in errors.__all__]
    kinds = [kind for kind in classes if isinstance(kind, type) and issubclass(kind, errors.RbopsError)]
    found = {0: "Done."}
    for kind in sorted(kinds, key=lambda kind: len(kind.__mro__)):
        summary = re.sub(r"\s+", " ", (kind.__doc__ or "").split("\n\n")[0])
        found.setdefault(kind.exit_code, summary)
    found[errors.RbopsError.exit_code] = "A bug in rbops; the message names the file with the traceback."
    return tuple(sorted(found.items()))
