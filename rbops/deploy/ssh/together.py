"""The same on all servers at once, and one error of what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from rbops.errors import RbopsError

__all__ = ["each", "raise_errors"]

_WORKERS = 32

_Key = TypeVar("_Key")
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def raise_errors(results: Mapping[str, object]) -> None:
    """Raise the only error among ``results`` itself; of several one with class and code of the highest exit code.

    Its message has every server's error, a line each, and ``causes`` are the errors themselves.
    """
    errors = [result for result in results.values() if isinstance(result, RbopsError)]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        worst = max(errors, key=lambda error: error.exit_code)
        hints = dict.fromkeys(error.hint for error in errors if error.hint)
        lines = "\n".join(str(error) for error in errors)
        raise type(worst)(lines, code=worst.code, hint="\n".join(hints) or None, causes=errors)


def each(items: Iterable[tuple[_Key, _Item]], action: Callable[[_Item], _Result]) -> dict[_Key, _Result | RbopsError]:
    """Apply ``action`` to every item at the same time; an RbopsError is the result of its item."""

    def attempt(item: _Item) -> _Result | RbopsError:
        try:
            return action(item)
        except RbopsError as error:
            return error

    pairs = list(items)
    if not pairs:
        return {}
    with ThreadPoolExecutor(max_workers=min(_WORKERS, len(pairs))) as pool:
        results = pool.map(attempt, [item for _, item in pairs])
        return dict(zip([key for key, _ in pairs], results, strict=True))
