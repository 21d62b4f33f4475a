"""When a cable counts as dead, and when as alive again."""

from __future__ import annotations

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st

from rbops.node.liveness import ALIVE, BACK_NS, DEAD, UNKNOWN, Cable, Judge, Timing, cables
from rbops.node.reach import Said
from rbops.node.schema.dataplane import FabricPort
from tests.node.recorded import config

MS = 1_000_000


class Notes:
    """What a data plane notes; ``answering`` are the ports whose far end answers at once."""

    def __init__(self, ports: int) -> None:
        self.at = dict.fromkeys(range(ports), 0)
        self.kept: dict[int, tuple[int, int, int, int]] = {}
        self.silent: set[int] = set()
        self.packets = dict.fromkeys(range(ports), 0)
        self.asked = dict.fromkeys(range(ports), 0)
        self.cut: set[int] = set()
        self.says: set[tuple[int, int]] = set()
        self.silent_cables: set[int] = set()

    def frame(self, mac: bytes, sequence: int, now_ns: int, said: Said | None = None) -> bytes:
        del said
        return mac + sequence.to_bytes(4, "big") + now_ns.to_bytes(8, "big")

    def said(self, port: int) -> Said | None:
        del port
        return None

    def cut(self) -> int:
        return 0

    def set_cut(self, server: int, cut: int) -> None:
        del server, cut

    def answered_ns(self, port: int) -> int:
        return self.at[port]

    def received(self, port: int) -> tuple[int, int]:
        return self.packets[port], self.asked[port]

    def is_cut(self, server: int) -> bool:
        return server in self.cut

    def cut_of(self, server: int) -> int:
        return sum(1 << lost for near, lost in self.says if near == server)

    def noted(self, port: int) -> tuple[int, int, int, int]:
        return self.kept.get(port, (0, 0, 0, UNKNOWN))

    def note(self, port: int, sent: int, missed: int, transitions: int, state: int) -> None:
        self.kept[port] = (sent, missed, transitions, state)

    def set_silent(self, server: int, *, silent: bool) -> None:
        (self.silent.add if silent else self.silent.discard)(server)

    def set_cable_silent(self, port: int, *, silent: bool) -> None:
        (self.silent_cables.add if silent else self.silent_cables.discard)(port)


@dataclasses.dataclass
class Play:
    """Rounds of a prober with ``ports`` cables, to server 1, 2, ...; ``now`` in ns."""

    ports: int = 3
    timing: Timing = dataclasses.field(default_factory=Timing)
    now: int = 1_000 * MS

    def __post_init__(self) -> None:
        self.notes = Notes(self.ports)
        self.restart()

    def restart(self) -> None:
        self.judge = Judge([Cable(port, (port + 1,), port + 1) for port in range(self.ports)], self.notes, self.timing)

    def round(self, *answering: int, after_ms: float = 10) -> list[int]:
        """Time passes, the probes of the round before are answered on these ports: ports that changed."""
        for port in answering:
            self.notes.at[port] = self.now + MS // 10
        self.now += int(after_ms * MS)
        changed = self.judge.round(self.now)
        self.judge.sent(())
        return [cable.port for cable in changed]


ALL = (0, 1, 2)


def started(ports: int = 3, timing: Timing | None = None) -> Play:
    play = Play(ports, timing or Timing())
    for _ in range(3):
        play.round(*range(play.ports))
    return play


def test_a_silent_neighbour_is_dead_after_three_missed_rounds() -> None:
    play = started()
    last = play.now + MS // 10
    assert [play.round(0, 2) for _ in range(2)] == [[], []]
    assert play.round(0, 2) == [1]
    assert play.notes.silent == {2}
    assert play.now - last <= 40 * MS


def test_an_interval_and_a_multiplier_of_ones_own() -> None:
    """For machines that do not answer within milliseconds; all silent: 8/3 as long, a second of answers or the time."""
    play = started(timing=Timing(500 * MS, 4))
    assert [play.round(0, 2, after_ms=500) for _ in range(4)] == [[], [], [], [1]]
    assert [play.round(*ALL, after_ms=500) for _ in range(5)] == [[], [], [], [], [1]]
    assert [play.round(after_ms=500) for _ in range(11)] == [*[[]] * 10, [0, 1, 2]]


def test_it_is_used_again_after_a_second_of_answers_and_not_before() -> None:
    play = started()
    for _ in range(10):
        play.round(0, 2)
    first = play.now
    while not play.round(*ALL):
        assert play.notes.silent == {2}
    assert BACK_NS <= play.now - first <= BACK_NS + 2 * Timing().interval_ns
    assert play.notes.silent == set()


def test_answers_that_stop_again_begin_the_second_anew() -> None:
    play = started()
    for _ in range(10):
        play.round(0, 2)
    for _ in range(3):
        for _ in range(90):
            assert play.round(*ALL) == []
        for _ in range(3):
            assert play.round(0, 2) == []
    assert play.notes.silent == {2}


def test_who_never_answered_is_used() -> None:
    play = Play()
    for _ in range(50):
        assert play.round(0) == []
    assert play.notes.silent == set()
    assert [play.notes.noted(port)[3] for port in ALL] == [ALIVE, UNKNOWN, UNKNOWN]


def test_a_prober_that_was_late_blames_nobody() -> None:
    play = started()
    for _ in range(20):
        assert play.round(after_ms=400) == []
        assert play.round(*ALL) == []
    assert play.notes.silent == set()


def test_a_prober_that_is_always_late_still_finds_the_dead() -> None:
    play = started()
    changed = [port for _ in range(10) for port in play.round(0, 2, after_ms=18)]
    assert changed == [1]


def loaded(play: Play, *answering: int) -> list[int]:
    """A round in which packets come by cable 1, and its far end's probes."""
    play.notes.packets[1] += 5
    play.notes.asked[1] += 1
    return play.round(*answering)


def test_a_neighbour_whose_packets_come_is_not_dead_for_lost_probes() -> None:
    """An overloaded one: each loses most probes."""
    play = started()
    for _ in range(100):
        assert loaded(play, 0, 2) == []
    assert play.notes.silent == set()
    assert play.judge._cables[1].missed == 100
    assert [play.round(0, 2) for _ in range(3)] == [[], [], [1]], "no packets any more"


def test_a_neighbour_that_hears_nothing_says_so_and_is_dead() -> None:
    """Packets of it come, but the cable or its program takes none of ours."""
    play = started()
    assert loaded(play, 0, 2) == []
    play.notes.cut.add(2)
    assert [loaded(play, 0, 2) for _ in range(3)] == [[], [], [1]]
    for _ in range(200):
        assert loaded(play, 0, 2) == [], "packets bring nobody back"


def test_packets_without_probes_vouch_for_nobody_for_long() -> None:
    """Its userland may hang, so that nobody says what its program takes."""
    play = started()
    loaded(play, 0, 2)
    rounds = 0
    while not play.notes.silent:
        play.notes.packets[1] += 5
        play.round(0, 2)
        rounds += 1
    assert 30 <= rounds <= 33


def test_silence_of_all_must_last_longer() -> None:
    play = started()
    assert [play.round() for _ in range(7)] == [[]] * 7
    assert play.round() == [0, 1, 2]
    play = started()
    assert [play.round() for _ in range(6)] == [[]] * 6
    assert play.round(0) == [1, 2]


def test_the_only_neighbour_needs_no_witness() -> None:
    play = started(ports=1)
    assert [play.round() for _ in range(3)] == [[], [], [0]]


def test_a_prober_that_starts_again_knows_who_was_dead() -> None:
    play = started()
    for _ in range(20):
        play.round(0, 2)
    play.notes.silent.clear()
    play.restart()
    assert play.notes.silent == {2}
    assert play.round(0, 2) == []
    sent, missed, transitions, state = play.notes.noted(1)
    assert (sent > 0, missed > 0, transitions, state) == (True, True, 1, DEAD)


@given(st.lists(st.tuples(st.sets(st.sampled_from(ALL)), st.sampled_from([10, 10, 10, 12, 30, 200])), max_size=400))
@settings(deadline=None)
def test_state_and_flags_agree_and_dead_ones_were_silent(rounds: list[tuple[set[int], int]]) -> None:
    play, silent_for = started(), dict.fromkeys(ALL, 0)
    for answering, after in rounds:
        before = set(play.notes.silent)
        play.round(*answering, after_ms=after)
        for port in ALL:
            silent_for[port] = 0 if port in answering else silent_for[port] + 1
            if port + 1 in play.notes.silent - before:
                assert silent_for[port] >= 3
        for cable in play.judge._cables:
            assert (cable.state == DEAD) == (cable.port + 1 in play.notes.silent)


def test_a_port_stands_for_all_servers_behind_it() -> None:
    ports = tuple(FabricPort(f"int{peer}", "internal", 10**9, peer_server=peer) for peer in (1, 2))
    external = FabricPort("ext0", "external", 10**9, id=0)
    fabric = dataclasses.replace(
        config().dataplane.fabric, ports=(external, *ports), next_hop={1: "int1", 2: "int2", 3: "int2"}
    )
    assert [(cable.port, cable.servers, cable.peer) for cable in cables(fabric)] == [(1, (1,), 1), (2, (2, 3), 2)]


def test_of_several_cables_to_a_server_one_is_left_out_and_with_the_last_the_server() -> None:
    fabric = dataclasses.replace(
        config().dataplane.fabric,
        ports=tuple(
            FabricPort(name, "internal", 10**9, None, peer)
            for name, peer in (("int1p0", 1), ("int2", 2), ("int1p1", 1))
        ),
        next_hop={1: "int1p0", 2: "int2"},
    )
    found = cables(fabric)
    assert [(cable.port, cable.servers, cable.bundle) for cable in found] == [
        (0, (1,), (0, 2)), (1, (2,), ()), (2, (1,), (0, 2)),
    ]  # fmt: skip
    play = Play()
    play.judge = Judge(found, play.notes, Timing())
    for _ in range(3):
        play.round(0, 1, 2)
    for _ in range(5):
        play.round(0, 1)
    assert (play.notes.silent_cables, play.notes.silent) == ({2}, set())
    for _ in range(5):
        play.round(1)
    assert (play.notes.silent_cables, play.notes.silent) == ({0, 2}, {1})
    for _ in range(120):
        play.round(0, 1)
    assert (play.notes.silent_cables, play.notes.silent) == ({2}, set())
    play.judge = Judge(cables(fabric), play.notes, Timing())  # started again
    assert (play.notes.silent_cables, play.notes.silent) == ({2}, set())


def test_a_neighbour_says_which_servers_behind_it_are_cut_off() -> None:
    """In a fly servers 1 and 2 are reached over neighbour 5, and 3 over 6; what 6 says of server 1 is of no use."""
    play = Play(2)
    play.judge = Judge([Cable(0, (1, 2), 5), Cable(1, (3,), 6)], play.notes, Timing())
    for _ in range(3):
        play.round(0, 1)
    play.notes.says = {(5, 2), (5, 9), (6, 1)}
    play.round(0, 1)
    assert play.notes.silent == {2}
    for _ in range(4):
        play.round(1)
    assert play.notes.silent == {1, 2}
    for _ in range(120):
        play.round(0, 1)
    assert play.notes.silent == {2}
    play.notes.says = set()
    play.round(0, 1)
    assert play.notes.silent == set()
