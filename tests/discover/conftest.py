from __future__ import annotations

from tests.support.lab import make_lab

__all__ = ["make_lab"]
