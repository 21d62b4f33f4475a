"""Jinja over the shipped templates: a missing value is an error, values are never templates."""

from __future__ import annotations

from functools import partial

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

from rbops.errors import RbopsError
from rbops.resources import shared

__all__ = ["template"]


def template(name: str, **values: object) -> bytes:
    """The rendered ``templates/NAME.j2``. RbopsError when a value is missing: the template is ours."""
    environment = Environment(
        loader=FileSystemLoader(shared("templates")),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        finalize=partial(_one_line, name),
        autoescape=False,  # noqa: S701 - unit and INI files, no HTML; _one_line refuses what could break out
        trim_blocks=True,
    )
    environment.filters["ruby"] = _ruby
    try:
        return environment.get_template(f"{name}.j2").render(values).encode()
    except TemplateError as error:
        raise RbopsError(f"template {name}: {error}", code="render.template") from error


def _ruby(value: str) -> str:
    """A Ruby string literal in which nothing is interpolated."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _one_line(name: str, value: object) -> object:
    """Refuse a value that would begin a second line in a unit or INI file."""
    if isinstance(value, str) and any(not char.isprintable() for char in value):
        raise RbopsError(f"template {name}: {value!r} is not a single line of text", code="render.template")
    return value
