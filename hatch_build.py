"""Build hook: compile the BPF programs with clang, so that a server needs no compiler."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).resolve().parent))

from rbops.dataplane.xdp.controller.compile import compile_all


class BpfBuildHook(BuildHookInterface[Any]):
    """Runs before the wheel is packed, and once for an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile every ``*.bpf.c`` of the package; raises when clang is missing or fails."""
        del version
        compile_all(Path(self.root) / "rbops")
        # One wheel for all: BPF byte code does not depend on the machine, only on its byte order.
        build_data["pure_python"] = True
