"""``--set key=value``: one spec, many variants."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from rbops.errors import UsageError

__all__ = ["MOST_VARIANTS", "variants"]

MOST_VARIANTS = 1000


def variants(settings: Sequence[str]) -> tuple[dict[str, str], ...]:
    """Every combination of ``key=value[,value...]``; one empty variant without settings.

    >>> variants(["router.packets=64B,abilene", "batching.tx_burst=1"])
    ({'router.packets': '64B', 'batching.tx_burst': '1'}, {'router.packets': 'abilene', 'batching.tx_burst': '1'})

    Raises UsageError for text of another form, a key given twice, and more than 1,000 combinations.
    """
    keys: list[str] = []
    values: list[list[str]] = []
    for setting in settings:
        key, sign, text = setting.partition("=")
        choices = [part.strip() for part in text.split(",")]
        if not sign or not key.strip() or not all(choices):
            raise UsageError(
                "expected key=value",
                code="predict.setting",
                where=f"--set {setting}",
                hint="for example --set router.packets=64B,abilene",
            )
        if key.strip() in keys:
            raise UsageError(
                "given twice",
                code="predict.setting-twice",
                where=f"--set {key.strip()}",
                hint=f"--set {key.strip()}=first,second gives a table",
            )
        keys.append(key.strip())
        values.append(choices)
    count = 1
    for choices in values:
        count *= len(choices)
    if count > MOST_VARIANTS:
        text = f"{count} combinations of values, at most {MOST_VARIANTS} are computed"
        raise UsageError(text, code="predict.too-many-variants", hint="set fewer values at once")
    return tuple(dict(zip(keys, combination, strict=True)) for combination in itertools.product(*values))
