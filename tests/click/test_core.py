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
VECTORS = {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "tests/vlb/vectors").glob("*.json"))}


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
    bundles = {server: config.get("bundles", {}).get(server, [name]) for server, name in config["next_hop"].items()}
    down: set[str] = set()
    rotation = config["intermediates"] if quota else [*config["intermediates"], config["server"]]
    head = (config["server"], servers, int(quota), config["flowlet_ticks"], config["flowlet_entries"])
    yield " ".join(map(str, ("config", *head, config["cores"], config["max_frame"], config["direct_quota_bps"])))
    for rate in config["link_bps"].values():
        yield f"link {rate} {config['max_frame']}"
    for server, names in bundles.items():
        yield " ".join(map(str, ("server", server, *(outputs[name] for name in names))))
    yield " ".join(map(str, ("rotation", *rotation)))
    yield f"start {start}"
    for step in steps:
        if "alive" in step:
            yield from (f"alive {server} {int(alive)}" for server, alive in step["alive"].items())
        elif "cable" in step:
            for name, alive in step["cable"].items():
                (down.discard if alive else down.add)(name)
                yield f"cable {outputs[name]} {int(alive)}"
                yield from of_bundles(name, bundles, down)
        elif "swap" in step:
            yield "swap"
        elif "forward" in step:
            values = (step["tick"], step["core"], step["forward"], step["size"], *step.get("flow", ()))
            yield "forward " + " ".join(map(str, values))
        else:
            values = (step["tick"], step["core"], *step["flow"], step["dest"], step["size"])
            yield "packet " + " ".join(map(str, values))


def of_bundles(cable: str, bundles: dict[str, list[str]], down: set[str]) -> Iterator[str]:
    """Whoever says something of a cable says of servers whether all of their cables are down."""
    for server, names in bundles.items():
        if cable in names:
            yield f"alive {server} {int(not down.issuperset(names))}"


def play(driver: Path, config: dict[str, Any], start: int, steps: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """(first server or -1, what the flowlet table did, hash, port or None) of a packet; (port or None,) of others."""
    text = "\n".join(script(config, start, steps)) + "\n"
    done = subprocess.run([driver], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names = [*config["link_bps"], None]
    found: list[tuple[Any, ...]] = []
    for line in done.stdout.splitlines():
        via, *rest, output = line.split()
        port = names[int(output)]
        found.append((int(via), rest[0], f"{int(rest[1], 16):016x}", port) if rest else (port,))
    return found


@pytest.mark.parametrize("name", VECTORS)
def test_vector(name: str, driver: Path) -> None:
    vector = VECTORS[name]
    config = vector["config"]
    wanted: list[tuple[Any, ...]] = []
    for step in vector["steps"]:
        if "forward" in step:
            wanted.append((step.get("port", config["next_hop"][str(step["forward"])]),))
        elif "flow" in step:
            hashed = vector["hashes"][",".join(map(str, step["flow"]))]
            via = -1 if step["via"] is None else step["via"]
            port = None if via < 0 else step.get("port", config["next_hop"][str(via)])
            wanted.append((via, step["how"], hashed, port))
    assert play(driver, config, vector["start_tick"], vector["steps"]) == wanted


def a_flow(draw: random.Random, dest: int) -> list[int]:
    return [0xC6120000 + draw.randrange(30), 0xC6120100 + dest, 17, 1000 + draw.randrange(4), 53]


def random_run(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A server of six with overloaded links, two of them on one port, or bundles, and any packets at any times."""
    draw = random.Random(seed)  # noqa: S311 (a test's packets)
    names = ["int1", "int2", "int3", "int4", "int2b", "int4b", "int4c"]
    bundles = {"1": ["int2", "int2b"], "4": ["int4", "int4b", "int4c"], "5": ["int4", "int4b", "int4c"]}
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
        "bundles": bundles if seed % 2 else {},
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
        elif kind < 0.06 and str(dest) in config["bundles"]:
            steps.append({"tick": tick, "cable": {draw.choice(bundles[str(dest)]): draw.random() < 0.6}})
        elif kind < 0.15:
            steps.append({"tick": tick, "core": core, "forward": dest, "size": size, "flow": a_flow(draw, dest)})
        else:
            step = {"tick": tick, "core": core, "flow": a_flow(draw, dest), "dest": dest, "size": size}
            steps.append(step)
    return config, steps


@pytest.mark.parametrize("seed", range(12))
def test_does_as_the_model_also_over_swaps_and_around_the_end_of_the_clock(seed: int, driver: Path) -> None:
    config, steps = random_run(seed)
    hops = {int(server): name for server, name in config["next_hop"].items()}
    bundles = {int(server): tuple(names) for server, names in config["bundles"].items()}
    fields = {**config, "next_hop": hops, "intermediates": tuple(config["intermediates"]), "bundles": bundles}
    model = InputServer(VlbConfig(**fields), 0)
    wanted: list[tuple[Any, ...]] = []
    for step in steps:
        if "alive" in step:
            for server, alive in step["alive"].items():
                model.set_alive(int(server), alive=alive)
        elif "cable" in step:
            for name, alive in step["cable"].items():
                model.set_cable(name, alive=alive)
        elif "forward" in step:
            # A frame for a server whose link is down is dropped before it is charged.
            port = None
            if model.alive[step["forward"]]:
                flow = Flow(*step["flow"])
                port = model.forward(step["tick"], step["core"], step["forward"], step["size"], flow)
            wanted.append((port,))
        elif "flow" in step:
            choice = model.choose(step["tick"], step["core"], Flow(*step["flow"]), step["dest"], step["size"])
            wanted.append((-1 if choice.via is None else choice.via, choice.how, choice.port))
    wrapped = [{**step, "tick": step["tick"] % (1 << 32)} if "tick" in step else step for step in steps]
    found = play(driver, config, 0, wrapped)
    assert [(one[0], one[1], one[3]) if len(one) > 1 else one for one in found] == wanted
