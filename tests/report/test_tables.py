"""The one look of tables: aligned in a pipe, folded and coloured on a terminal."""

from __future__ import annotations

import io

from rich.console import Console

from rbops.report.tables import Styled, Table, plain, rich_text

TABLE = Table(
    "Ports",
    ("port", "packets", "address"),
    (("ext0", "1,200", "192.0.2.1/24"), ("ext10", Styled("7 (3 lost)", "bad"), "-"), ("int1", "-", "10.0.0.1/8")),
)


def test_plain() -> None:
    assert plain(["head", TABLE, Styled("end", "good")]) == (
        "head\n"
        "\n"
        "Ports\n"
        "  port      packets  address\n"
        "  -----  ----------  ------------\n"
        "  ext0        1,200  192.0.2.1/24\n"
        "  ext10  7 (3 lost)  -\n"
        "  int1            -  10.0.0.1/8\n"
        "\n"
        "end\n"
    )


def test_a_terminal_folds_and_colours() -> None:
    out = io.StringIO()
    Console(file=out, width=28, force_terminal=True, color_system="standard", highlight=False).print(rich_text([TABLE]))
    text = out.getvalue()
    assert "\x1b[31m" in text
    plain_lines = Console(file=io.StringIO(), width=28)
    plain_lines.print(rich_text([TABLE]))
    assert all(len(line) <= 28 for line in plain_lines.file.getvalue().splitlines())  # type: ignore[attr-defined]


def test_text_is_never_markup() -> None:
    out = io.StringIO()
    Console(file=out, width=60).print(rich_text([Table("[red]", ("[b]",), (("[/]",),)), "[bold]"]))
    assert all(text in out.getvalue() for text in ("[red]", "[b]", "[/]", "[bold]"))
