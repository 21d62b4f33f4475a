"""The root command: registers the verbs, and turns what they raise into a message and an exit code."""

from __future__ import annotations

import json
import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from rbops import __version__
from rbops.cli import click_check, demo, deploy, discover, lab, plan, predict, selftest, spec, verify
from rbops.cli.options import wants_json
from rbops.cli.output import emit, say
from rbops.errors import CheckFailed, RbopsError, SpecError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["build", "main"]

_EPILOG = (
    "Exit codes: 0 done, 1 a check or test failed, 2 usage or spec error, 3 servers or inventory do not match, "
    "4 unreachable, 5 apply failed and was put back, 6 state unknown, 7 locked, 70 a bug in rbops."
)


class _Root(TyperGroup):
    """The outermost frame: every error ends here, as one message and one exit code."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The verbs in the order a person meets them, not by name."""
        del ctx
        return list(self.commands)

    def invoke(self, ctx: Any) -> Any:
        """Run the verb; KeyboardInterrupt, RbopsError and bugs leave as messages."""
        try:
            return super().invoke(ctx)
        except (TyperException, typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except RbopsError as error:
            # Spec errors begin with file:line:column, where editors and CI look for them.
            prefix = "" if isinstance(error, SpecError) else "rbops: "
            say(f"{prefix}{error}" + (f"\nhint: {error.hint}" if error.hint else ""))
            if wants_json(ctx):
                # Not on stdout, where a result may be already; a program takes the last line of stderr.
                say(json.dumps({"schema_version": 1, "error": error.to_json()}, sort_keys=True))
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            say("rbops: interrupted")
            raise typer.Exit(CheckFailed.exit_code) from error
        except Exception as error:  # the outermost frame: whatever is left is a bug of ours
            say(
                f"rbops: a bug in rbops: {type(error).__name__}: {error}\nhint: please report it with "
                f"{_traceback_file()}"
            )
            raise typer.Exit(RbopsError.exit_code) from error


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
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Turn a rack of Linux servers into one router: plan, render, push, verify and prove it.

    Start with `rbops init`, `rbops plan router.yml`, or see it all at once with `rbops demo`.
    """
    del version


def build() -> typer.Typer:
    """The application with all verbs, in the order of a router's life."""
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
    for module in (spec, plan, predict, click_check, lab, discover, deploy, verify, selftest, demo):
        module.register(app)
    return app


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    # TERM and HUP end a verb as Ctrl-C does: what was begun is put back on the way out.
    del signum, frame
    raise KeyboardInterrupt


def main() -> None:
    """The ``rbops`` command."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # ignored from the start, as by nohup: that stays
            signal.signal(number, _interrupt)
    build()(prog_name="rbops")
