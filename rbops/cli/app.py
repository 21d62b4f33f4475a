"""The root command: registers the verbs, and turns what they raise into a message and an exit code."""

from __future__ import annotations

import gc
import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from rbops import __version__
from rbops.cli import (
    click_check,
    demo,
    deploy,
    discover,
    drain,
    lab,
    lab_cables,
    monitoring,
    plan,
    predict,
    report,
    route,
    selftest,
    spec,
    status,
    verify,
)
from rbops.cli.command import Verb
from rbops.cli.options import wants_json
from rbops.cli.output import Reported, emit, emit_json, error_json, say, warnings_on_stderr
from rbops.errors import CheckFailed, RbopsError, SpecError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["build", "main"]

_EPILOG = (
    "Exit codes: 0 done, 1 a check or test failed, 2 usage or spec error, 3 servers or inventory do not match, "
    "4 unreachable, 5 apply failed and was rolled back, 6 state unknown, 7 locked, 70 a bug in rbops."
)
_GC_AFTER = 50_000
"""Objects made between two looks for garbage, where Python's default is 700 or 2,000."""


class _Root(TyperGroup):
    """The outermost frame: every error ends here, as one message and one exit code."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The verbs in the order of a router's life, not by name."""
        del ctx
        return list(self.commands)

    def invoke(self, ctx: Any) -> Any:
        """Run the verb; KeyboardInterrupt, RbopsError and bugs leave as messages."""
        try:
            with warnings_on_stderr():
                return super().invoke(ctx)
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except TyperException as error:
            # typer itself writes usage and message to stderr.
            if wants_json(ctx):
                emit_json(error_json(UsageError(error.format_message(), code="usage.invalid")))
            raise
        except Reported as reported:
            raise _end(reported.error) from reported
        except RbopsError as error:
            raise _end(error, as_json=wants_json(ctx)) from error
        except KeyboardInterrupt as error:
            raise _end(CheckFailed("interrupted", code="rbops.interrupted"), as_json=wants_json(ctx)) from error
        except Exception as error:  # the outermost frame: whatever is left is a bug of ours
            bug = RbopsError(
                f"a bug in rbops: {type(error).__name__}: {error}",
                code="rbops.bug",
                hint=f"please report it with {_traceback_file()}",
            )
            raise _end(bug, as_json=wants_json(ctx)) from error


def _end(error: RbopsError, *, as_json: bool = False) -> typer.Exit:
    """Write ``error``: its message to stderr, with ``as_json`` its values to stdout too."""
    if as_json:
        emit_json(error_json(error))
    # Spec errors begin with file:line:column, where editors and CI look for them.
    prefix = "" if isinstance(error, SpecError) else "rbops: "
    say(f"{prefix}{error}" + (f"\nhint: {error.hint}" if error.hint else ""))
    return typer.Exit(error.exit_code)


def _traceback_file() -> Path:
    import tempfile
    import traceback
    from pathlib import Path

    handle, name = tempfile.mkstemp(prefix="rbops-traceback-", suffix=".txt")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(f"rbops {__version__}, Python {sys.version}\n{' '.join(sys.argv[:2])}\n\n{traceback.format_exc()}")
    return Path(name)


def _version(value: bool) -> None:
    if value:
        emit(f"rbops {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Turn a rack of Linux servers into one router: plan, render, apply, verify and test it.

    Start with `rbops init`, `rbops plan router.yml`, or see it all at once with `rbops demo`.
    """
    del version


def build() -> typer.Typer:
    """The application with all verbs."""
    app = typer.Typer(
        name="rbops",
        cls=_Root,
        callback=_root,
        no_args_is_help=True,
        epilog=_EPILOG,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for module in (
        spec,
        plan,
        predict,
        click_check,
        lab,
        lab_cables,
        discover,
        deploy,
        status,
        drain,
        monitoring,
        verify,
        route,
        selftest,
        report,
        demo,
    ):
        module.register(app)
    for group in (app, *(info.typer_instance for info in app.registered_groups)):
        for command in group.registered_commands if group is not None else ():
            command.cls = Verb
    return app


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    # TERM and HUP end a verb as Ctrl-C does: what was begun is rolled back on the way out.
    del signum, frame
    raise KeyboardInterrupt


def main() -> None:
    """The ``rbops`` command."""
    # What is imported and planned stays: looking through all of it for garbage, again and again, finds none.
    gc.set_threshold(_GC_AFTER)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # ignored from the start, as by nohup: that stays
            signal.signal(number, _interrupt)
    build()(prog_name="rbops")
