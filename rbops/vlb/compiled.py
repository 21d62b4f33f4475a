"""What the simulator compiles with: numba, the ``simulate`` extra."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from rbops.errors import UsageError

try:
    from numba import njit
except ImportError as problem:
    raise UsageError(
        "the simulator needs numba", code="simulate.no-numba", hint="pip install 'rbops[simulate]'"
    ) from problem

__all__ = ["Records", "compiled"]

Records = Any
"""An array of records; in compiled functions ``records[i].name`` is a field, which numpy's types do not know."""

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """``function`` as machine code, made at its first call and kept beside the source, or in the user's cache."""
    made: Any
    try:
        made = njit(cache=True, error_model="numpy")(function)
    except RuntimeError:  # neither place can be written to
        made = njit(error_model="numpy")(function)
    return cast("F", made)
