"""Takes taps away when the process that made them ends: its standard input ends then.

    python -m rbops.lab.cables.guard        a line for each tap: NAMESPACE DEVICE PROGRAM-ID MAP-ID

It answers each line when it has them open.
It keeps every tap and its map open: a map of programs is emptied when nobody has it open.
"""

from __future__ import annotations

import signal
import sys

from rbops.dataplane.xdp.libbpf import BpfError, Map, Program
from rbops.errors import CheckFailed
from rbops.lab.cables.taps import release

__all__ = ["main"]


def main() -> int:
    """Keep what is read until the end of input, then take it away, the last first."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    kept = []
    for line in sys.stdin:
        netns, device, program, held = line.split()
        kept.append((netns, device, Program.from_id(int(program)), Map.from_id(int(held))))
        sys.stdout.write("kept\n")
        sys.stdout.flush()
    failed = 0
    for netns, device, tap, behind in reversed(kept):
        try:
            release(netns, device, tap, behind)
        except (BpfError, CheckFailed) as error:
            sys.stderr.write(f"rbops: {device} in {netns}: {error}\n")
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
