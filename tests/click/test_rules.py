"""The two rules on flat graphs: which threads reach what, and where a packet changes its core."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rbops.click import ClickText, Report, bundled, check
from rbops.click.elements import with_elementmap

Check = Callable[..., Report]


def found(report: Report) -> list[tuple[str, tuple[str, ...], tuple[int, ...]]]:
    assert [error.render() for error in report.errors] == []
    return [(breach.rule, breach.elements, breach.threads) for breach in report.breaches]


def parallel(cores: int) -> str:
    """The paper's way: each core has a queue of each port and everything between them."""
    lines = [
        f"rx{i} :: FromDPDKDevice(0, QUEUE {i}) -> Strip(14) -> Counter -> Unstrip(14) -> ToDPDKDevice(1, QUEUE {i});\n"
        f"StaticThreadSched(rx{i} {i});"
        for i in range(cores)
    ]
    return "\n".join(lines)


def test_one_core_for_each_queue_and_packet_keeps_both_rules(checked: Check) -> None:
    report = checked(parallel(4))
    assert found(report) == []
    assert [use.thread for use in report.threads] == [0, 1, 2, 3]
    for use in report.threads:
        assert [str(q) for q in use.receives] == [f"receive queue {use.thread} of device 0"]
        assert [str(q) for q in use.sends] == [f"transmit queue {use.thread} of device 1"]
        assert use.elements == 5


def test_without_a_scheduler_all_runs_on_thread_0(checked: Check) -> None:
    text = "FromDevice(eth0) -> c :: Counter -> q :: Queue -> ToDevice(eth1); FromDevice(eth1) -> c;"
    assert found(checked(text, threads=8)) == []


def test_pipeline_over_a_queue_breaks_rule_2(checked: Check) -> None:
    text = "f :: FromDevice(eth0) -> q :: Queue -> t :: ToDevice(eth1); StaticThreadSched(f 0, t 1);"
    report = checked(text)
    assert found(report) == [("rule2", ("q",), (0, 1))]
    assert report.breaches[0].predicted_loss == 0.647
    assert report.breaches[0].place.column == 1


def test_a_queue_whose_sides_share_a_thread_is_no_breach(checked: Check) -> None:
    assert found(checked("f :: FromDevice(eth0) -> Queue -> t :: ToDevice(eth1); StaticThreadSched(f 3, t 3);")) == []


@pytest.mark.parametrize(
    ("between", "elements"),
    [
        ("c :: Counter", ["c"]),
        ("CheckIPHeader", []),
        ("s :: CPUSwitch; s[0] -> c0 :: Counter -> Discard; s[1] -> c1 :: Counter -> Discard; Idle", []),
        ("h :: HashSwitch(0, 4)[0] -> c0 :: Counter -> Discard; h[1] -> c1 :: Counter", ["c0", "c1"]),
    ],
)
def test_elements_that_two_threads_share(between: str, elements: list[str], checked: Check) -> None:
    text = f"""a :: FromDPDKDevice(0, QUEUE 0); b :: FromDPDKDevice(0, QUEUE 1); n :: Null;
        a -> n; b -> n; n -> {between} -> Discard; StaticThreadSched(a 0, b 1);"""
    assert sorted(name for _, names, _ in found(checked(text)) for name in names) == elements


def test_one_transmit_queue_of_two_threads_breaks_rule_1(checked: Check) -> None:
    text = """a :: FromDPDKDevice(0, QUEUE 0) -> t :: ToDPDKDevice(1, QUEUE 0);
        b :: FromDPDKDevice(0, QUEUE 1) -> t; StaticThreadSched(a 0, b 1)"""
    report = checked(text)
    assert found(report) == [("rule1", ("t",), (0, 1))]
    assert (report.breaches[0].place.line, report.breaches[0].predicted_loss) == (2, 0.588)


def test_the_same_queue_named_twice_breaks_rule_1(checked: Check) -> None:
    text = "a, b :: MQPollDevice(eth0, QUEUE 2); a -> Discard; b -> Discard; StaticThreadSched(a 0, b 1);"
    assert found(checked(text)) == [("rule1", ("a", "b"), (0, 1))]


def test_elements_without_a_queue_number_get_queues_of_their_own(checked: Check) -> None:
    text = "a, b :: FromDPDKDevice(0); a -> Discard; b -> Discard; StaticThreadSched(a 0, b 1);"
    assert found(checked(text)) == []


def test_fastclick_spreads_a_device_over_threads(checked: Check) -> None:
    text = "FromDPDKDevice(0) -> c :: Counter -> ToDPDKDevice(1);"
    assert found(checked(text, threads=2)) == []
    assert found(checked(text, threads=2, fastclick=True)) == [("rule2", ("c",), (0, 1))]
    one = "FromDPDKDevice(0, MAXTHREADS 1, THREADOFFSET 1) -> c :: Counter -> ToDPDKDevice(1);"
    report = checked(one, threads=2, fastclick=True)
    assert found(report) == []
    assert [use.elements for use in report.threads] == [0, 3]


def test_fastclick_names_a_core_by_its_node(checked: Check) -> None:
    text = "a :: FromDevice(eth0) -> Discard; StaticThreadSched(a {})"
    assert [use.elements for use in checked(text.format("0/1"), fastclick=True).threads] == [0, 2]
    wrong = [
        ("1/1", True, "thread 1/1 depends on"),
        ("0/1", False, "a 0/1 is not a valid pair"),
        ("\u00b2", True, "is not a valid pair"),
    ]
    for thread, fastclick, said in wrong:
        (error,) = checked(text.format(thread), fastclick=fastclick).errors
        assert said in error.message


def test_kernel_devices(checked: Check) -> None:
    text = """p0 :: MQPollDevice(eth3, QUEUE 0, BURST 32) -> MQPushToDevice(eth2, QUEUE 0);
        p1 :: MQPollDevice(eth3, QUEUE 1, BURST 32) -> q :: Queue -> t1 :: MQToDevice(eth2, QUEUE 1);
        StaticThreadSched(p0 0, p1 1, t1 1);"""
    report = checked(text)
    assert (report.driver, found(report)) == ("linuxmodule", [])
    assert [[str(q) for q in use.sends] for use in report.threads] == [
        ["transmit queue 0 of device eth2"],
        ["transmit queue 1 of device eth2"],
    ]


def test_scheduling_a_compound_element_schedules_what_is_in_it(checked: Check) -> None:
    text = """elementclass Side { $d | FromDevice($d) -> q :: Queue -> ToDevice($d) }
        a :: Side(eth0); b :: Side(eth1); StaticThreadSched(a 0, b 1);"""
    report = checked(text)
    assert found(report) == []
    assert [use.elements for use in report.threads] == [3, 3]


def test_a_scheduler_names_elements_of_its_own_scope(checked: Check) -> None:
    text = """elementclass Side { $d, $t | f :: FromDevice($d) -> Discard; StaticThreadSched(f $t) }
        Side(eth0, 0); Side(eth1, 1);"""
    assert [[q.device for q in use.receives] for use in checked(text).threads] == [["eth0"], ["eth1"]]


def test_packets_pulled_through_an_element_leave_it_on_the_pulling_thread(checked: Check) -> None:
    text = """f :: FromDevice(eth0) -> Queue -> c :: CheckIPHeader -> u :: Unqueue -> Discard;
        c[1] -> n :: Counter -> Discard; StaticThreadSched(f 1, u 1)"""
    report = checked(text)
    assert found(report) == []
    assert [use.elements for use in report.threads] == [0, 7]


def test_tasks_that_are_moved_at_run_time_prove_nothing(checked: Check) -> None:
    text = "FromDevice(eth0) -> Discard; b :: BalancedThreadSched"
    assert found(checked(text)) == []
    assert found(checked(text, threads=2)) == [("rule2", ("b",), (0, 1))]


def test_a_look_up_that_several_read_is_a_note(checked: Check) -> None:
    text = """a :: FromDPDKDevice(0); b :: FromDPDKDevice(1); a, b -> r :: DirectIPLookup(0/0 0) -> Discard;
        StaticThreadSched(a 0, b 1)"""
    report = checked(text)
    assert found(report) == []
    assert ["'r' is read by threads 0 and 1" in note.message for note in report.notes] == [True]


def test_a_thread_that_does_not_run_is_thread_0(checked: Check) -> None:
    text = "a :: FromDevice(eth0) -> Discard; StaticThreadSched(a 7)"
    assert [use.elements for use in checked(text, threads=2).threads] == [2, 0]
    assert len(checked(text).threads) == 8


PIPELINE = "f :: FromDevice(eth0) -> p :: {} -> c :: Counter -> Discard; StaticThreadSched(f 0, p 1);"


def test_an_element_whose_own_task_passes_packets_on_breaks_rule_2(checked: Check) -> None:
    """As over Queue and Unqueue, which FastClick's Pipeliner is in one."""
    report = checked(PIPELINE.format("Pipeliner"), fastclick=True)
    assert found(report) == [("rule2", ("p",), (0, 1))]
    assert report.breaches[0].predicted_loss == 0.647
    assert [use.elements for use in report.threads] == [2, 3]


def test_behind_such_an_element_all_is_on_its_own_thread(checked: Check) -> None:
    text = """a :: FromDevice(eth0) -> p :: Pipeliner; b :: FromDevice(eth1) -> p; p -> Counter -> Discard;
        StaticThreadSched(a 0, b 1, p 2);"""
    assert found(checked(text, fastclick=True)) == [("rule2", ("p",), (0, 1, 2))]


def test_on_one_thread_it_is_no_breach(checked: Check) -> None:
    text = "f :: FromDevice(eth0) -> p :: Pipeliner -> Counter -> Discard; StaticThreadSched(f 1, p 1);"
    assert found(checked(text, fastclick=True)) == []


def test_batches_are_gathered_on_the_thread_that_pushes(checked: Check) -> None:
    text = """a :: FromDPDKDevice(0, QUEUE 0); b :: FromDPDKDevice(0, QUEUE 1);
        m :: MinBatch(32, 100); a -> m; b -> m; m -> Discard; StaticThreadSched(a 0, b 1);"""
    assert found(checked(text, fastclick=True)) == []


MAP = """<elementmap xmlns="x" drivers="userlevel">
<entry name="FromDevice" portcount="0/1-2" processing="a/ah" flowcode="x/x"/>
<entry name="Counter" portcount="1/1" processing="a/a"/><entry name="Discard" portcount="1/0" processing="a/a"/>
<entry name="StaticThreadSched" portcount="0/0"/>
<entry name="NewRing" portcount="1/1" processing="h/h" flowcode="x/x"/></elementmap>"""


@pytest.mark.parametrize(
    ("pins", "breaches"),
    [
        ("f 0, p 1", [("rule2", ("p",), (0, 1))]),  # who pins it says that it has a task
        ("f 1", []),
        ("f 1, p 1", []),
    ],
)
def test_a_class_that_only_the_installed_click_knows(pins: str, breaches: list[object]) -> None:
    text = f"f :: FromDevice(eth0) -> p :: NewRing -> Counter -> Discard; StaticThreadSched({pins});"
    table = with_elementmap(bundled(), MAP, "the installed Click")
    assert found(check(ClickText("x.click", text), table)) == breaches


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("FromDevice($dev) -> Discard;", ["dev"]),
        ("define($dev eth0); FromDevice($dev) -> Discard;", []),
        ("FromDevice(${dev-eth0}) -> Discard;", []),
        ("FromDevice(${dev}) -> Print('$label') -> Discard;", ["dev"]),
        ('FromDevice(eth0) -> Print("$label $n") -> Discard;', ["label", "n"]),
        ("elementclass E { $x | input -> Print($x $y) -> output }; FromDevice(eth0) -> E(1) -> Discard;", ["y"]),
        ("Script(set x 1, print $x); FromDevice(eth0) -> Discard;", []),
    ],
)
def test_variables_that_nothing_defines_are_noted(text: str, names: list[str], checked: Check) -> None:
    report = checked(text)
    assert found(report) == []
    told = [
        note.message.split("$", 1)[1].split(" ")[0] for note in report.notes if note.code == "click.undefined-variable"
    ]
    assert told == names
