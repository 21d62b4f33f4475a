"""Write the reference pages into ``docs/``; ``pages`` gives them to whoever compares."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from scripts.reference.commands import controller, exit_codes, node
from scripts.reference.error_codes import found
from scripts.reference.man import controller_page, node_page, spec_page
from scripts.reference.markdown import cli_page, errors_page
from scripts.reference.schema import sections

__all__ = ["pages"]


def pages() -> Mapping[str, str]:
    """Every generated file by its path below ``docs/``."""
    rbops, rbops_node, codes = controller(), node(), exit_codes()
    return {
        "cli.md": cli_page(rbops, rbops_node, codes),
        "errors.md": errors_page(found()),
        "man/rbops.1": controller_page(rbops, codes),
        "man/rbops-node.8": node_page(rbops_node, codes),
        "man/rbops-spec.5": spec_page(sections()),
    }


if __name__ == "__main__":
    docs = Path(__file__).parents[2] / "docs"
    for name, text in pages().items():
        (docs / name).parent.mkdir(exist_ok=True)
        (docs / name).write_text(text, encoding="utf-8")
