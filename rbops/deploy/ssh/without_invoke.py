"""paramiko, without a library that takes a third of its import.

paramiko runs commands of ``Match exec`` in an OpenSSH configuration with invoke. It reads none here: OpenSSH does.
"""

from __future__ import annotations

import sys

__all__ = ["paramiko"]

_UNUSED = "invoke"

_there = _UNUSED in sys.modules
if not _there:
    sys.modules[_UNUSED] = None  # type: ignore[assignment]  # Python's way to say that there is none
try:
    import paramiko
finally:
    if not _there:
        del sys.modules[_UNUSED]
