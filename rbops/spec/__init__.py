"""The spec: YAML with line numbers in, a validated frozen ``Spec`` out; its JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike

from rbops.spec.document import Spec

__all__ = ["Spec", "load_spec"]


def load_spec(path: str | PathLike[str], overrides: Mapping[str, str] | None = None) -> Spec:
    """The spec in the YAML file ``path``; ``overrides`` (``{"router.line_rate": "40Gbps"}``) replace values.

    Raises SpecError with every mistake found, in the order of the file.
    """
    from rbops.spec.load import load

    return load(path, overrides or {})
