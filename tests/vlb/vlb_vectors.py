"""Reads and plays the test vectors in ``vectors/``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rbops.vlb.model import Choice, Flow, InputServer, VlbConfig

FOLDER = Path(__file__).parent / "vectors"


def load() -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def config_of(vector: dict[str, Any]) -> VlbConfig:
    config = dict(vector["config"])
    config["next_hop"] = {int(server): port for server, port in config["next_hop"].items()}
    config["intermediates"] = tuple(config["intermediates"])
    config["bundles"] = {int(server): tuple(ports) for server, ports in config.get("bundles", {}).items()}
    return VlbConfig(**config)


def play(vector: dict[str, Any]) -> list[Choice]:
    """The model's choice for every packet of the vector."""
    server = InputServer(config_of(vector), vector["start_tick"])
    choices = []
    for step in vector["steps"]:
        if "alive" in step:
            for via, alive in step["alive"].items():
                server.set_alive(int(via), alive=alive)
        elif "cable" in step:
            for port, alive in step["cable"].items():
                server.set_cable(port, alive=alive)
        elif "forward" in step:
            port = server.forward(step["tick"], step["core"], step["forward"], step["size"])
            assert port == step.get("port", port), step
        else:
            flow = Flow(*step["flow"])
            choices.append(server.choose(step["tick"], step["core"], flow, step["dest"], step["size"]))
    return choices
