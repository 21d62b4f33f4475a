"""How a verb's help and usage are written."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand

__all__ = ["Verb", "help_record"]


class Verb(TyperCommand):
    """Names arguments by their metavar alone: typer adds braces, and the names of Python's types."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """``[OPTIONS] SPEC [FILE...]``."""
        pieces = ["[OPTIONS]"]
        parameters: list[Any] = self.get_params(ctx)
        for argument in (one for one in parameters if one.param_type_name == "argument"):
            name = argument.display_name_raw + ("..." if argument.nargs != 1 else "")
            pieces.append(name if argument.required else f"[{name}]")
        return pieces

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the sections of arguments and options."""
        parameters = self.get_params(ctx)
        for kind, title in (("argument", "Arguments"), ("option", "Options")):
            of_kind = [parameter for parameter in parameters if parameter.param_type_name == kind]
            if records := [record for record in (help_record(one, ctx) for one in of_kind) if record]:
                with formatter.section(title):
                    formatter.write_dl(records)


def help_record(parameter: Any, ctx: Any) -> tuple[str, str] | None:
    """Name and help of an argument or option as the help has them; None where it is hidden."""
    record: tuple[str, str] | None = parameter.get_help_record(ctx)
    if record is None:
        return None
    name = parameter.display_name_raw if parameter.param_type_name == "argument" else record[0]
    text = re.sub(r"([\d.]+)<=x<=([\d.]+)", r"\1 to \2", record[1])
    return name, re.sub(r"x>=(\d+)", r"at least \1", text)
