"""Expected errors by class, code and place: their wording is free to change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest

from rbops.errors import RbopsError, SpecError, Where

__all__ = ["raises"]

_Error = TypeVar("_Error", bound=RbopsError)


@contextmanager
def raises(kind: type[_Error], code: str, **where: object) -> Iterator[pytest.ExceptionInfo[_Error]]:
    """The block raises ``kind`` with this code, at a place with these parts (see ``rbops.errors.Where``).

    Of a SpecError one of the diagnostics has the code and the parts ``path``, ``line``, ``column``, ``field``.
    """
    with pytest.raises(kind) as caught:
        yield caught
    error = caught.value
    if isinstance(error, SpecError):
        found = [(item.code, {name: getattr(item, name) for name in where}) for item in error.diagnostics]
        assert (code, where) in found
        return
    place = error.where if isinstance(error.where, Where) else Where(field=error.where)
    assert (error.code, {name: getattr(place, name) for name in where}) == (code, where), str(error)
