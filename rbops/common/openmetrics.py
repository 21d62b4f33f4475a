"""Metrics as text, in the two forms that Prometheus reads: OpenMetrics 1.0 and its own older format 0.0.4."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["OPENMETRICS", "TEXT", "Family", "Sample", "merged", "text"]

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
"""Content type of what :func:`text` writes."""
TEXT = "text/plain; version=0.0.4; charset=utf-8"
"""Content type of the same with ``old``."""

Sample = tuple[Mapping[str, str], int | float]
"""Labels and value."""

_SUFFIX = {"counter": "_total", "info": "_info", "gauge": ""}
_OLD_KIND = {"counter": "counter", "info": "gauge", "gauge": "gauge"}
_ESCAPED = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})
_ESCAPED_HELP = str.maketrans({"\\": "\\\\", "\n": "\\n"})


@dataclass(frozen=True, slots=True)
class Family:
    """Samples of one name. ``name`` is without the suffix of its kind (``_total``) and ends in its ``unit``.

    ``about`` is its help text. An ``info`` has the value 1 and tells by its labels.
    """

    name: str
    kind: Literal["counter", "gauge", "info"]
    about: str
    samples: tuple[Sample, ...] = ()
    unit: str = ""

    @property
    def sample_name(self) -> str:
        """What queries name: ``rbops_port_receive_packets_total``."""
        return self.name + _SUFFIX[self.kind]


def text(families: Iterable[Family], *, old: bool = False) -> str:
    """All families with samples as OpenMetrics; ``old``: as format 0.0.4."""
    lines = [line for family in families if family.samples for line in _lines(family, old=old)]
    return "\n".join([*lines, *([] if old else ["# EOF"]), ""])


def merged(many: Iterable[Iterable[Family]]) -> list[Family]:
    """Families of several servers as one list: the samples of a name have to stand together."""
    found: dict[str, Family] = {}
    for families in many:
        for family in families:
            known = found.get(family.name)
            before = () if known is None else known.samples
            found[family.name] = Family(family.name, family.kind, family.about, (*before, *family.samples), family.unit)
    return list(found.values())


def _lines(family: Family, *, old: bool) -> Iterator[str]:
    head = family.sample_name if old else family.name
    about = family.about.translate(_ESCAPED_HELP if old else _ESCAPED)
    yield f"# HELP {head} {about}"
    yield f"# TYPE {head} {_OLD_KIND[family.kind] if old else family.kind}"
    if family.unit and not old:
        yield f"# UNIT {head} {family.unit}"
    for labels, value in family.samples:
        written = ",".join(f'{name}="{word.translate(_ESCAPED)}"' for name, word in labels.items())
        yield f"{family.sample_name}{{{written}}} {_number(value)}"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(float(value))
