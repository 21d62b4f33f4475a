"""The verb ``report``: saved results of the self-test as text, a page or JUnit, and several beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rbops.cli.options import ExamplesFile, JunitFile
from rbops.cli.output import emit_json, save_examples, save_junit, say, show
from rbops.errors import UsageError, Where

if TYPE_CHECKING:
    from rbops.report.results.document import ResultDoc

__all__ = ["register", "report"]


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("report")(report)


def report(
    results: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RESULT.json...", help="What `rbops selftest --format json` wrote.", show_default=False),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write a self-contained HTML page to FILE instead."),
    ] = None,
    junit: JunitFile = None,
    examples: ExamplesFile = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of a result instead.")] = False,
) -> None:
    """Show saved results of the self-test; several are compared.

    One result is shown as the self-test itself showed it, or as a page with `-o`. Of several each figure stands by run,
    and a run that left what the runs before it had is marked: by over 10 %, or with four runs before it by over 2 % and
    over three times their spread.
    """
    from rbops.report.results import document

    if schema:
        emit_json(document.schema())
        return
    if not results:
        raise UsageError("no result to show", code="report.no-files", hint="give files, or --schema")
    documents = [document.read(path) for path in results]
    if junit is not None:
        _junit(junit, documents)
    if examples is not None:
        _examples(examples, documents)
    if page is not None:
        _page(page, documents, results)
    else:
        _text(documents, results)


def _text(documents: list[ResultDoc], paths: list[Path]) -> None:
    from rbops.report.results.compare import comparison_blocks
    from rbops.report.results.restore import restored
    from rbops.report.selftest import selftest_blocks

    if len(documents) == 1:
        show(selftest_blocks(restored(documents[0])))
    else:
        show(comparison_blocks(documents, _names(paths)))


def _page(target: Path, documents: list[ResultDoc], paths: list[Path]) -> None:
    from rbops.report.results.page import comparison_page
    from rbops.report.results.page import page as one_page

    text = one_page(documents[0]) if len(documents) == 1 else comparison_page(documents, _names(paths))
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"cannot be written: {error.strerror}", code="report.unwritable", where=Where(file=str(target))
        ) from error
    say(f"wrote {target}")


def _junit(target: Path, documents: list[ResultDoc]) -> None:
    from rbops.report.results.restore import restored
    from rbops.report.selftest import selftest_junit

    save_junit(target, [selftest_junit(restored(document)) for document in documents])


def _examples(target: Path, documents: list[ResultDoc]) -> None:
    from rbops.report.results.restore import restored

    if len(documents) > 1:
        raise UsageError("--examples takes the packets of one result", code="report.examples")
    save_examples(target, restored(documents[0]))


def _names(paths: list[Path]) -> list[str]:
    """The files' names without ending; with their folders where two are alike."""
    stems = [path.stem for path in paths]
    return stems if len(set(stems)) == len(stems) else [str(path) for path in paths]
