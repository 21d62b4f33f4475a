"""The loader: idempotent, exact about differences, clear about what a server cannot do, nothing lost meanwhile."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.dataplane import Bench, bench
from bench.routes import bgp_like
from rbops.dataplane.xdp import attachments, netdev
from rbops.dataplane.xdp import layout as shape
from rbops.dataplane.xdp.controller.compile import _multiarch
from rbops.dataplane.xdp.controller.fib import compile_fib
from rbops.dataplane.xdp.guard import OWN_BUCKET, OWN_BUCKETS, PUNTED
from rbops.dataplane.xdp.libbpf import XDP_REDIRECT, BpfError, Object, Program, xdp_attach, xdp_attached
from rbops.dataplane.xdp.loader import DataPlane
from rbops.dataplane.xdp.netdev import find_device
from rbops.errors import Mismatch
from rbops.resources import bpf_object
from tests.dataplane.frames import ethernet, ipv4
from tests.dataplane.router import Router, digest, fib_of, node_config, route, run, typed
from tests.support.errors import raises

pytestmark = pytest.mark.root


def settings_of(plane: DataPlane) -> list[tuple[str, str, str]]:
    return [(found.subject, found.setting, found.have) for found in plane.diff()]


def pinned(router: Router) -> dict[str, int]:
    loaded = router.plane._pins.load()
    return {name: entry.id for name, entry in (*loaded.maps.items(), *loaded.programs.items())}


def test_second_apply_changes_nothing(make_router: Callable[..., Router]) -> None:
    router = make_router()
    before = pinned(router)
    assert (router.plane.diff(), router.plane.apply()) == ([], [])
    assert pinned(router) == before


def test_detach_leaves_nothing_and_is_fine_twice(make_router: Callable[..., Router]) -> None:
    router = make_router()
    for _ in range(2):
        router.plane.detach()
        assert not (router.folder / "bpf" / "rbops").exists()
        assert xdp_attached(find_device("ext0", "ext0").ifindex) == (0, "none")
    with raises(Mismatch, "xdp.not-loaded"):
        router.plane.counters()
    assert ("data plane", "program", "none") in settings_of(router.plane)
    assert ("port ext0", "XDP program", "none") in settings_of(router.plane)
    router.plane.apply()
    assert router.plane.diff() == []


def test_new_table_keeps_programs_maps_and_counters(make_router: Callable[..., Router]) -> None:
    router = make_router()
    router.receive("ext0", ethernet(router.mac("ext0"), ipv4("198.18.1.9")))
    before = pinned(router)
    router.write("fib", fib_of([route("198.18.1.0/24", 2, 1)]))
    router.reopen()
    assert [setting for _, setting, _ in settings_of(router.plane)] == ["forwarding table"]
    assert len(router.plane.apply()) == 1
    ran = router.receive("ext0", ethernet(router.mac("ext0"), ipv4("198.18.1.9")))
    assert ran.frame[:6].hex() == "025200020001"
    assert pinned(router) == before
    # The flowlet goes on by server 1, which is not the destination any more.
    assert router.counted() == {"received.external": 2, "forwarded.direct": 1, "forwarded.phase1": 1}
    assert router.plane.status()["generation"] == 2


def test_new_configuration_is_swapped_like_a_table(make_router: Callable[..., Router]) -> None:
    router = make_router()
    before = pinned(router)
    router.reopen(adjacencies=[{"port": 0, "index": 1, "mac": "02:4e:00:00:00:99"}])
    assert [setting for _, setting, _ in settings_of(router.plane)] == ["configuration"]
    router.plane.apply()
    ran = router.receive("ext0", ethernet(router.mac("ext0"), ipv4("198.18.0.9")))
    assert ran.frame[:6].hex() == "024e00000099"
    assert pinned(router) == before


def test_new_program_takes_over_maps_and_counters(make_router: Callable[..., Router]) -> None:
    router = make_router()
    router.receive("ext0", ethernet(router.mac("ext0"), ipv4("198.18.1.9")))
    before = pinned(router)
    newer = router.folder / "newer.o"
    router.reopen(object=str(newer))
    # Bytes behind the last section: another file, the same program.
    router.write("object", bpf_object("dataplane/xdp", "router.bpf.o").read_bytes() + b"\0")
    router.reopen()
    assert [setting for _, setting, _ in settings_of(router.plane)] == ["program"]
    router.plane.apply()
    after = pinned(router)
    assert {name for name in before if before[name] == after[name]} == {
        "arena",
        "cores",
        "control",
        "clocks",
        "devices",
        "rebuild",
        "samples",
    }
    assert router.counted() == {"received.external": 1, "forwarded.direct": 1}
    assert router.plane.diff() == []


def test_larger_table_gets_larger_maps(make_router: Callable[..., Router]) -> None:
    router = make_router()
    before = pinned(router)
    router.write("fib", compile_fib(*bgp_like(100_000, [1, 2, 3])))
    router.reopen()
    router.plane.apply()
    assert pinned(router)["arena"] != before["arena"]
    assert router.plane.diff() == []
    assert [path.name for path in (router.folder / "bpf" / "rbops").iterdir() if path.name != "live"] == ["2"]


def test_what_packets_changed_stays_when_the_table_needs_more_room(make_router: Callable[..., Router]) -> None:
    """Counters, flowlets, links and what probes found; programs and table are new."""
    router = make_router()
    frame = ethernet(router.mac("ext0"), ipv4("198.18.1.9"))
    router.plane.set_alive(1, alive=False)
    first = router.receive("ext0", frame).frame[6:12]
    router.plane.probing().note(1, 100, 0, 2, 1)
    before, serial, maps = router.plane.counters(), router.plane.status()["generation"], pinned(router)
    router.write("fib", compile_fib(*bgp_like(100_000, [1, 2, 3])))
    router.reopen()
    router.plane.apply()
    now, kept = pinned(router), {"cores", "control", "clocks", "devices", "rebuild", "samples"}
    assert {name for name in now if now[name] == maps[name]} == kept
    assert router.plane.counters() == before
    assert router.plane.status()["dead"] == [1]
    assert router.plane.status()["generation"] == serial + 1
    assert router.plane.probing().noted(1) == (100, 0, 2, 1)
    assert router.plane.diff() == []
    by_default = ethernet(router.mac("ext0"), ipv4("198.51.100.9"))
    assert router.receive("ext0", by_default).verdict == XDP_REDIRECT
    # Back, as an ordinary change in the same memory: the flowlet is where it was.
    router.write("fib", fib_of([route("198.18.0.0/15", 1, 1)]))
    router.reopen()
    router.plane.apply()
    assert pinned(router) == now
    assert router.receive("ext0", frame).frame[6:12] == first


def test_a_table_that_grows_is_not_half_there_when_it_fails(
    make_router: Callable[..., Router], monkeypatch: pytest.MonkeyPatch
) -> None:
    router = make_router()
    before, frame = pinned(router), ethernet(router.mac("ext0"), ipv4("198.18.1.9"))
    router.write("fib", compile_fib(*bgp_like(100_000, [1, 2, 3])))
    router.reopen()
    attach, done = attachments.xdp_attach, []

    def fail_at_the_second(ifindex: int, program: Program) -> None:
        done.append(ifindex)
        if len(done) == 2:
            raise BpfError("no", code="test.no")
        attach(ifindex, program)

    with monkeypatch.context() as patched:
        patched.setattr(attachments, "xdp_attach", fail_at_the_second)
        with pytest.raises(BpfError):
            router.plane.apply()
    assert pinned(router) == before
    assert router.receive("ext0", frame).verdict == XDP_REDIRECT
    router.plane.apply()
    assert router.plane.diff() == []
    assert pinned(router)["arena"] != before["arena"]


def test_dead_links_stay_dead_over_an_apply(make_router: Callable[..., Router]) -> None:
    router = make_router()
    router.plane.set_alive(1, alive=False)
    router.write("fib", fib_of([route("198.18.0.0/15", 1, 1)]))
    router.reopen()
    router.plane.apply()
    assert router.plane.status()["dead"] == [1]
    ran = router.receive("ext0", ethernet(router.mac("ext0"), ipv4("198.18.1.9")))
    assert ran.frame[6:12] == router.mac("int2")


def test_finds_what_somebody_detached(make_router: Callable[..., Router]) -> None:
    router = make_router()
    run("ip", "link", "set", "dev", "int2", "xdp", "off")
    assert settings_of(router.plane) == [("port int2", "XDP program", "none")]
    assert router.plane.apply() == ["attached to int2"]
    assert router.plane.diff() == []


def test_a_port_that_is_not_planned_any_more_is_free_again(make_router: Callable[..., Router]) -> None:
    """As after an apply with a server less: nothing of the router stays on its cable."""
    router = make_router(4)
    free, kept = find_device("int3", "int3").ifindex, find_device("int2", "int2").ifindex
    fewer = node_config(router.folder, 3)
    router.reopen(
        **{key: fewer[key] for key in ("servers", "ports", "owners", "next_hop", "intermediates", "addresses")}
    )
    router.write("fib", fib_of([route(f"198.18.{port}.0/24", port, 1) for port in range(3)]))
    router.reopen()
    assert ("port int3", "XDP program", "native") in settings_of(router.plane)
    assert "detached from int3" in router.plane.apply()
    assert xdp_attached(free) == (0, "none")
    assert xdp_attached(kept)[1] == "native"
    assert router.plane.diff() == []


def test_leaves_foreign_programs_alone(make_router: Callable[..., Router]) -> None:
    router = make_router()
    router.plane.detach()
    device = find_device("int2", "int2").ifindex
    with Object(bpf_object("selftest", "sink.bpf.o")) as sink:
        sink.load()
        program = sink.program("check")
        xdp_attach(device, program)
        with raises(Mismatch, "xdp.other-program"):
            router.plane.apply()
        assert xdp_attached(device) == (program.id, "native")
        assert xdp_attached(find_device("ext0", "ext0").ifindex) == (0, "none")  # put back
    run("ip", "link", "set", "dev", "int2", "xdp", "off")


class TestRefusals:
    """Each names the thing and what to do, and changes nothing."""

    def test_missing_device(self, make_router: Callable[..., Router]) -> None:
        router = make_router()
        run("ip", "link", "del", "int3")
        with raises(Mismatch, "xdp.device"):
            router.plane.diff()

    @pytest.mark.parametrize("name", ["object", "fib"])
    def test_damaged_file(self, make_router: Callable[..., Router], name: str) -> None:
        router = make_router()
        copy = router.folder / "copy"
        copy.write_bytes(Path(router.config[name]).read_bytes()[:-1])
        router.reopen(**{name: str(copy), f"{name}_sha256": "0" * 64})
        with raises(Mismatch, "xdp.file"):
            router.plane.apply()
        assert router.receive("ext0", ethernet(router.mac("ext0"), ipv4("198.18.1.9"))).verdict == 4

    def test_no_bpffs(self, make_router: Callable[..., Router]) -> None:
        router = make_router()
        plane = DataPlane(typed(router.config), {}, router.folder / "plain" / "rbops", clock=False)
        with raises(Mismatch, "xdp.no-bpffs"):
            plane.apply()

    def test_no_native_mode(self, make_router: Callable[..., Router]) -> None:
        router = make_router()
        router.plane.detach()
        ports = [*router.config["ports"][:-1], {**router.config["ports"][-1]}]
        plane = DataPlane(
            typed({**router.config, "ports": ports}), {"int3": "lo"}, router.folder / "bpf" / "rbops", clock=False
        )
        with pytest.raises(BpfError, match="cannot attach internal natively") as caught:
            plane.apply()
        assert "native mode" in caught.value.log
        assert caught.value.exit_code == 3
        assert xdp_attached(find_device("ext0", "ext0").ifindex) == (0, "none")

    def test_no_libbpf(self) -> None:
        code = (
            "import ctypes; ctypes.CDLL = lambda *a, **k: (_ for _ in ()).throw(OSError('not there'))\n"
            "from rbops.dataplane.xdp.libbpf import possible_cpus\npossible_cpus()"
        )
        done = subprocess.run(["python3", "-c", code], capture_output=True, text=True, check=False, cwd=Path.cwd())
        assert "libbpf.so.1 cannot be loaded: not there" in done.stderr

    def test_cpu_past_the_queues(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Drivers whose transmit ring is picked by CPU id: mlx5, i40e, ice."""

        def channels(_name: str, _command: int, _size: int) -> bytes:
            return b"".join(number.to_bytes(4, "little") for number in (0x3C, 0, 0, 0, 8, 0, 0, 0, 4))

        monkeypatch.setattr(netdev, "ask", channels)
        device = shape.Device("eth0", 7, bytes(6), 1500, "i40e")
        netdev.check_queues(device, [0, 3])
        with raises(Mismatch, "xdp.queues") as caught:
            netdev.check_queues(device, [0, 4])
        assert "ethtool -L eth0 combined 5" in str(caught.value.hint)

    def test_too_many_servers(self, tmp_path: Path) -> None:
        fabric = typed(node_config(tmp_path, 257)).fabric
        with raises(Mismatch, "xdp.capacity"):
            shape._check_sizes(fabric, [])


def test_layout_is_that_of_the_programs(tmp_path: Path) -> None:
    """layout.py and layout.h agree: the compiler checks Python's sizes, offsets and names."""
    sizes = {
        "struct generation": shape.GENERATION_SIZE,
        "struct core": shape.PATHS_AT,
        "struct control": shape.CONTROL_SIZE,
        "struct device": shape.DEVICE.size,
        "struct ingress": shape.INGRESS.size,
        "struct port": shape.PORT.size,
        "struct next_hop": shape.NEXT_HOP.size,
        "struct punt_bucket": 8,
        "struct bucket": shape.BUCKET.size,
        "struct link": shape.LINK_STATE.size,
        "struct probe": shape.PROBE.size,
        "struct said": shape.SAID.size,
        "struct sampled": shape.SAMPLED.size,
        "struct sample": shape.SAMPLE.size,
    }
    offsets = {
        "struct generation, devices": shape.DEVICES_AT,
        "struct generation, ingress": shape.INGRESS_AT,
        "struct generation, link": shape.LINK_AT,
        "struct generation, rotation": shape.ROTATION_AT,
        "struct generation, ports": shape.PORTS_AT,
        "struct generation, adjacencies": shape.ADJACENCIES_AT,
        "struct generation, next_hops": shape.NEXT_HOPS_AT,
        "struct generation, punt_rate": shape.RATES_AT,
        "struct generation, own": shape.OWN_AT,
        "struct generation, cores": shape.OWN6_AT + 8,
        "struct generation, answer_from": shape.ANSWERS_AT,
        "struct generation, answer_from6": shape.ANSWERS6_AT,
        "struct core, ports": shape.PORT_TRAFFIC_AT,
        "struct core, links": shape.LINKS_AT,
        "struct core, dests": shape.DESTS_AT,
        "struct core, punts": shape.PUNTS_AT,
        "struct core, sampled": shape.SAMPLED_AT,
        "struct control, tick": shape.TICK_AT,
        "struct control, active": shape.ACTIVE_AT,
        "struct control, object_sha256": shape.OBJECT_AT,
        "struct control, links": shape.LINK_STATES_AT,
        "struct control, layout": shape.LAYOUT_AT,
        "struct control, peers": shape.PEERS_AT,
        "struct control, probes": shape.PROBES_AT,
        "struct control, cut": shape.CUT_AT,
        "struct control, said": shape.SAID_AT,
        "struct control, sampling": shape.SAMPLING_AT,
    }
    # Each reason's number is its place in the tuple of names.
    reasons = {f"PUNT_{name.upper()}": number for number, name in enumerate(PUNTED)}
    reasons |= {f"DROP_{name.upper()}": number for number, name in enumerate(shape.DROPPED)}
    reasons |= {f"FWD_{name.upper()}": number for number, name in enumerate(shape.FORWARDED)}
    reasons |= {"FWD_KINDS": len(shape.FORWARDED), "FWD_COUNT": shape.FORWARDED_COUNT}
    reasons |= {"PUNT_REASONS": len(PUNTED), "PUNT_COUNT": shape.PUNTED_COUNT}
    reasons |= {"OWN_BUCKETS": OWN_BUCKETS, "OWN_BUCKET": OWN_BUCKET}
    reasons |= {"DROP_REASONS": len(shape.DROPPED), "DROP_COUNT": shape.DROPPED_COUNT}
    wanted = [f"sizeof({name}) == {size}" for name, size in sizes.items()]
    wanted += [f"__builtin_offsetof({name}) == {offset}" for name, offset in offsets.items()]
    wanted += [f"{name} == {number}" for name, number in reasons.items()]
    source = tmp_path / "layout.c"
    lines = [f'_Static_assert({condition}, "{condition}");' for condition in wanted]
    source.write_text('#include "layout.h"\n' + "\n".join(lines) + "\n")
    folder = bpf_object("dataplane/xdp", "router.bpf.o").parent.parent
    run("clang", "-target", "bpf", "-fsyntax-only", f"-I{folder}", *_multiarch(), str(source))


@pytest.fixture
def loaded_bench() -> Iterator[tuple[Bench, list[bytes]]]:
    """A router between a generator and a sink, and two tables of 20,000 routes."""
    tables = [compile_fib(*bgp_like(20_000, [1, 2, 3, 4], seed=seed)) for seed in (1, 2)]
    with bench(20_000, 10_000_000_000) as made:
        made.plane(tables[0]).apply()
        yield made, tables
        made.plane(tables[0]).detach()


@contextmanager
def traffic(made: Bench) -> Iterator[dict[str, int]]:
    """Full load meanwhile; afterwards how many frames were ``sent`` and how many are ``lost``."""
    count, stop = {"sent": 0, "lost": 0}, threading.Event()
    before = made.at_sink()

    def send() -> None:
        while not stop.is_set():
            made.send(5000)
            count["sent"] += 5000

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield count
    finally:
        stop.set()
        sender.join()
    count["lost"] = count["sent"] - (made.at_sink() - before)


def test_table_swaps_lose_no_packet(loaded_bench: tuple[Bench, list[bytes]]) -> None:
    made, tables = loaded_bench
    with traffic(made) as count:
        for number in range(10):
            assert len(made.plane(tables[1 - number % 2]).apply()) == 1
    assert count["lost"] == 0
    assert count["sent"] > 10_000


def test_program_and_map_replacement_loses_no_packet(loaded_bench: tuple[Bench, list[bytes]]) -> None:
    made, tables = loaded_bench
    larger = compile_fib(*bgp_like(150_000, [1, 2, 3, 4]))
    source = bpf_object("dataplane/xdp", "router.bpf.o").read_bytes()
    with traffic(made) as count:
        for number, blob in enumerate((tables[0], tables[1], larger, tables[0], tables[1])):
            made.config["servers"] += number // 3  # other memory
            path = made.folder / f"{number}.o"
            path.write_bytes(source + bytes(number + 1))
            made.config["object"], made.config["object_sha256"] = str(path), digest(path)
            assert any("loaded" in line for line in made.plane(blob).apply())
    assert count["lost"] == 0
    assert count["sent"] > 10_000
    assert made.plane(tables[1]).counters()["total"]["received"]["external"] == count["sent"], "nor is one not counted"


def test_status_tells_programs_and_digests(make_router: Callable[..., Router]) -> None:
    router = make_router()
    status = router.plane.status()
    assert status["loaded"]
    assert status["fib_sha256"] == router.config["fib_sha256"]
    assert status["object_sha256"] == router.config["object_sha256"]
    assert {entry["mode"] for entry in status["devices"].values()} == {"native"}
    assert len({entry["tag"] for entry in status["devices"].values()}) == 2
