"""The verb ``click-check``: a Click configuration, or all that a spec renders to, checked without running it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rbops.cli.options import Output
from rbops.cli.output import Format, emit_json, say, show

if TYPE_CHECKING:
    from rbops.click import CheckOptions, ClickText, Report
    from rbops.click.elements import Driver
    from rbops.click.installed import Installed
    from rbops.errors import Diagnostic

__all__ = ["register"]

SCHEMA_VERSION = 1


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("click-check")(click_check)


@dataclass(frozen=True, slots=True)
class _Checked:
    """A report, which rules may be broken in it, and where its elements were looked up."""

    report: Report
    allow: tuple[str, ...]
    elements: str

    @property
    def denied(self) -> int:
        """How many errors and violations make it fail."""
        return len(self.report.errors) + sum(breach.rule not in self.allow for breach in self.report.breaches)


def click_check(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Click configurations, or specs (.yml, .yaml).", show_default=False),
    ],
    kernel: Annotated[
        bool | None,
        typer.Option("--linuxmodule/--userlevel", help="Driver to check for. Default: any that has all elements."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            "-j",
            "--threads",
            min=1,
            max=1024,
            metavar="N",
            help="Number of threads. Default: as many as are configured.",
        ),
    ] = None,
    fastclick: Annotated[
        bool, typer.Option("--fastclick", help="Spread devices over threads as FastClick does.")
    ] = False,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow",
            metavar="RULE",
            help="Report violations of rule 1 (shared-queues) or rule 2 (cross-core), but do not fail.",
        ),
    ] = None,
    prefix: Annotated[
        Path | None, typer.Option("--prefix", metavar="DIR", help="Installation prefix of the Click to check for.")
    ] = None,
    define: Annotated[
        list[str] | None,
        typer.Option("-D", "--define", metavar="NAME=VALUE", help="Define a variable, as on Click's command line."),
    ] = None,
    output: Output = Format.TEXT,
) -> None:
    """Check Click configurations: syntax, elements, ports, push and pull, and the paper's two rules.

    Rule 1: one queue of a device is touched by one thread. Rule 2: a packet stays on the thread that received it.
    """
    from rbops.click import CheckOptions
    from rbops.click.installed import find_click

    allowed = _allowed(allow or ())
    driver: Driver | None = None if kernel is None else "linuxmodule" if kernel else "userlevel"
    checked: list[_Checked] = []
    for path in paths:
        is_spec = path.suffix in {".yml", ".yaml"}
        click = find_click(prefix, look=not is_spec)
        spreads = fastclick or click.fastclick
        options = CheckOptions(driver, threads, spreads, click.library, click.package, _defines(define or []))
        checked += (_of_spec if is_spec else _of_file)(path, click, options, allowed)
    _print(checked, output)


def _allowed(given: Sequence[str]) -> tuple[str, ...]:
    """The rules by the names that a spec has for breaking them, or by their own. Raises UsageError (2)."""
    from rbops.errors import UsageError
    from rbops.spec.router import RULES

    known: dict[str, str] = {**RULES, **{rule: rule for rule in RULES.values()}}
    for name in given:
        if name not in known:
            hint = " or ".join(RULES)
            raise UsageError(f"--allow: {name!r} is not a rule", code="click-check.unknown-rule", hint=hint)
    return tuple(dict.fromkeys(known[name] for name in given))


def _defines(given: list[str]) -> dict[str, str]:
    """``NAME=VALUE`` by name. Raises UsageError (2)."""
    from rbops.errors import UsageError

    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.replace("_", "a").isalnum():
            raise UsageError(
                f"--define: {text!r} is not a definition", code="click-check.define", hint="write --define NAME=VALUE"
            )
        found[name] = value
    return found


def _of_file(path: Path, click: Installed, options: CheckOptions, allow: tuple[str, ...]) -> Iterator[_Checked]:
    from dataclasses import replace

    from rbops.click import check
    from rbops.click.installed import read_text
    from rbops.dataplane.click.controller.libraries import Keyless

    keyless = Keyless(click.library)
    report = check(read_text(path), click.table, replace(options, library=keyless.library))
    yield _Checked(replace(report, notes=(*keyless.places, *report.notes)), allow, click.table.origin)


def _of_spec(path: Path, click: Installed, options: CheckOptions, allow: tuple[str, ...]) -> Iterator[_Checked]:
    """Each server's configuration as it would be pushed; planning checks the fragment in its own file."""
    from dataclasses import replace

    from rbops.click import check
    from rbops.dataplane import registry
    from rbops.dataplane.click.controller import planning
    from rbops.dataplane.click.controller.files import keyless
    from rbops.dataplane.click.controller.libraries import Rendered
    from rbops.errors import UsageError, Where
    from rbops.planner import plan_spec
    from rbops.render import render
    from rbops.spec import load_spec

    spec = load_spec(path)
    if not registry.controller(spec.dataplane).own_element:
        raise UsageError(
            f"the data plane is {spec.dataplane}",
            code="click-check.dataplane",
            where=Where(file=str(path), field="dataplane"),
            hint="write `dataplane: click`, or name a .click file",
        )
    driver = options.driver or planning.driver(spec)
    plan = plan_spec(spec)
    rendered = render(plan)
    both = tuple(dict.fromkeys((*spec.router.allowed_rules, *allow)))
    texts: dict[bytes, ClickText] = {}
    count = 0
    for server in plan.servers:
        files = Rendered(server.name, (*rendered.files_of(server.name), *keyless(plan)), texts)
        own = replace(
            options,
            driver=driver,
            threads=options.threads or len(server.cores.dataplane),
            fastclick=options.fastclick or planning.spreads(spec),
            library=files.library,
        )
        reports = [_Checked(check(text, click.table, own), both, click.table.origin) for text in files.configurations()]
        # What another one requires was checked with it.
        found = [item for item in reports if item.report.path not in files.libraries]
        count += len(found)
        yield from found
    if not count:
        raise UsageError(
            "it renders to no Click configuration", code="click-check.nothing", where=Where(file=str(path))
        )


def _print(checked: list[_Checked], output: Format) -> None:
    """Errors on stderr, where editors look; the result on stdout. Raises typer.Exit (1) when something failed."""
    from rbops.report.click_check import report_blocks, report_json
    from rbops.report.words import counted

    for item in checked:
        for diagnostic in _messages(item):
            say(diagnostic.render())
    denied = sum(item.denied for item in checked)
    if output is Format.JSON:
        found = [{**report_json(item.report, item.allow), "known_from": item.elements} for item in checked]
        emit_json({"schema_version": SCHEMA_VERSION, "ok": not denied, "files": found})
    else:
        show([block for item in checked for block in report_blocks(item.report, item.allow)])
    if denied:
        say(counted(denied, "error"))
        raise typer.Exit(1)


def _messages(item: _Checked) -> Iterator[Diagnostic]:
    from rbops.report.click_check import violation

    yield from item.report.errors
    yield from (violation(breach, item.allow) for breach in item.report.breaches)
    yield from (_note(note) for note in item.report.notes)


def _note(note: Diagnostic) -> Diagnostic:
    from dataclasses import replace

    return replace(note, message=f"note: {note.message}")
