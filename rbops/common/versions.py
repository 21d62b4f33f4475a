"""The oldest software that a server may run; roles, messages and documentation say the same (``tests/common``)."""

from __future__ import annotations

__all__ = ["MIN_DEBIAN", "MIN_KERNEL", "MIN_PYTHON"]

MIN_DEBIAN = "12"
"""The oldest Debian release whose packages the servers' software needs (libbpf 1, python3-ethtool)."""

MIN_KERNEL = "6.1"
"""Debian 12's kernel: the oldest that the XDP data plane was loaded on."""

MIN_PYTHON = "3.11"
"""Debian 12's Python: what rbops-node is written for."""
