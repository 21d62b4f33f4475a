"""The elements' Direct VLB in plain C++, without Click: packet by packet what rbops/vlb/model.py decides."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rbops.vlb.model import Flow, InputServer, VlbConfig

ROOT = Path(__file__).parent.parent.parent
EVERY = {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "tests/vlb/vectors").glob("*.json"))}
VECTORS = {name: vector for name, vector in EVERY.items() if "bundles" not in vector["config"]}
"""Click uses one cable to a server."""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("core") / "driver"
    command = ["g++", "-std=c++11", "-O1", "-Wall", "-Wextra", "-Werror", "-fsanitize=undefined,address"]
    command += ["-fno-sanitize-recover=all", "-I", str(ROOT / "rbops/dataplane/click")]
    subprocess.run([*command, str(Path(__file__).with_name("core_driver.cc")), "-o", str(program)], check=True)
    return program


def script(config: dict[str, Any], start: int, steps: list[dict[str, Any]]) -> Iterator[str]:
    """The driver's input."""
    quota = config["routing"] == "direct-vlb"
    servers = max(int(server) for server in config["next_hop"]) + 1
    outputs = {name: number for number, name in enumerate(config["link_bps"])}
    rotation = config["intermediates"] if quota else [*config["intermediates"], config["server"]]
    head = (config["server"], servers, int(quota), config["flowlet_ticks"], config["flowlet_entries"])
    yield " ".join(map(str, ("config", *head, config["cores"], config["max_frame"], config["direct_quota_bps"])))
    for rate in config["link_bps"].values():
        yield f"link {rate} {config['max_frame']}"
    for server, name in config["next_hop"].items():
        yield f"server {server} {outputs[name]}"
    yield " ".join(map(str, ("rotation", *rotation)))
    yield f"start {start}"
    for step in steps:
        if "alive" in step:
            yield from (f"alive {server} {int(alive)}" for server, alive in step["alive"].items())
        elif "swap" in step:
            yield "swap"
        elif "forward" in step:
            yield f"forward {step['tick']} {step['core']} {step['forward']} {step['size']}"
        else:
            values = (step["tick"], step["core"], *step["flow"], step["dest"], step["size"])
            yield "packet " + " ".join(map(str, values))


def play(driver: Path, config: dict[str, Any], start: int, steps: list[dict[str, Any]]) -> list[tuple[int, str, str]]:
    """(first server or -1, what the flowlet table did, hash) of every packet."""
    text = "\n".join(script(config, start, steps)) + "\n"
    done = subprocess.run([driver], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    return [(int(via), how, f"{int(hashed, 16):016x}") for via, how, hashed in lines]


@pytest.mark.parametrize("name", VECTORS)
def test_vector(name: str, driver: Path) -> None:
    vector = VECTORS[name]
    packets = [step for step in vector["steps"] if "flow" in step]
    wanted = [
        (-1 if step["via"] is None else step["via"], step["how"], vector["hashes"][",".join(map(str, step["flow"]))])
        for step in packets
    ]
    assert play(driver, vector["config"], vector["start_tick"], vector["steps"]) == wanted


def random_run(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A server of six with overloaded links, two of them on one port, and any packets at any times."""
    draw = random.Random(seed)  # noqa: S311 (a test's packets)
    names = ["int1", "int2", "int3", "int4"]
    config = {
        "server": 2,
        "cores": 3,
        "routing": draw.choice(["direct-vlb", "vlb"]),
        "direct_quota_bps": draw.choice([0, 3_000_000, 20_000_000]),
        "flowlet_ticks": draw.choice([0, 1, 20, 60_000]),
        "flowlet_entries": draw.choice([1, 4, 1024]),
        "max_frame": 1514,
        "intermediates": draw.sample([0, 1, 3, 4, 5], draw.randint(0, 5)),
        "next_hop": {"0": "int1", "1": "int2", "3": "int3", "4": "int4", "5": "int4"},
        "link_bps": {name: draw.choice([0, 7_999, 2_000_000, 30_000_000]) for name in names},
    }
    tick, steps = (1 << 32) - 500, list[dict[str, Any]]()
    for _ in range(2000):
        tick += draw.choice([0, 0, 0, 1, 1, 5, 40, 70_000])
        dest, size, core = draw.choice([0, 1, 3, 4, 5]), draw.randint(60, 1514), draw.randrange(3)
        kind = draw.random()
        if kind < 0.02:
            steps.append({"tick": tick, "alive": {str(dest): draw.random() < 0.6}})
        elif kind < 0.04:
            steps.append({"swap": True})
        elif kind < 0.15:
            steps.append({"tick": tick, "core": core, "forward": dest, "size": size})
        else:
            flow = [0xC6120000 + draw.randrange(30), 0xC6120100 + dest, 17, 1000 + draw.randrange(4), 53]
            steps.append({"tick": tick, "core": core, "flow": flow, "dest": dest, "size": size})
    return config, steps


@pytest.mark.parametrize("seed", range(12))
def test_does_as_the_model_also_over_swaps_and_around_the_end_of_the_clock(seed: int, driver: Path) -> None:
    config, steps = random_run(seed)
    hops = {int(server): name for server, name in config["next_hop"].items()}
    fields = {**config, "next_hop": hops, "intermediates": tuple(config["intermediates"])}
    model = InputServer(VlbConfig(**fields), 0)
    wanted = []
    for step in steps:
        if "alive" in step:
            for server, alive in step["alive"].items():
                model.set_alive(int(server), alive=alive)
        elif "forward" in step:
            # A frame for a server whose link is down is dropped before it is charged.
            if model.alive[step["forward"]]:
                model.forward(step["tick"], step["core"], step["forward"], step["size"])
        elif "flow" in step:
            choice = model.choose(step["tick"], step["core"], Flow(*step["flow"]), step["dest"], step["size"])
            wanted.append((-1 if choice.via is None else choice.via, choice.how))
    wrapped = [{**step, "tick": step["tick"] % (1 << 32)} if "tick" in step else step for step in steps]
    assert [found[:2] for found in play(driver, config, 0, wrapped)] == wanted
