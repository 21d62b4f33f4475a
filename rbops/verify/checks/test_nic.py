"""What the NIC and its driver were told: rings, coalescing, offloads, hashing, steering, polling.

What a driver lacks, refuses or rounds, and rbops-node said so, is left out with its reason.

PYTEST_DONT_REWRITE: a check's own message is what users are shown, not pytest's account of the operands.
"""

from __future__ import annotations

import pytest

from rbops.common.fabric import FABRIC_MAC
from rbops.node import coalescing, offloads, rings, rss, steering
from rbops.verify.plugin import Case

_THREADS = (
    "grep -lE %s /proc/[0-9]*/comm 2>/dev/null | cut -d/ -f3 | sort -n | "
    "while read p; do cat /proc/$p/comm; taskset -pc $p; done"
)


def _compare(case: Case, wanted: dict[str, str], found: dict[str, str]) -> None:
    """Each planned value against the device's; left out when every difference has an excuse."""
    wrong: list[str] = []
    excused: list[str] = []
    for name, want in wanted.items():
        have = found.get(name, "none")
        if have != want:
            reason = case.server.excuse(f"port {case.port['name']}", name)
            (excused if reason else wrong).append(f"{name} is {have}, planned {want}{f': {reason}' if reason else ''}")
    assert not wrong, "; ".join(wrong)
    if excused:
        pytest.skip("; ".join(excused))


def test_rings(ring_case: Case) -> None:
    """Descriptors a queue (`ethtool -g`); sizes that rbops chose are cut to what the device has."""
    planned = ring_case.port["ring"]
    facts = rings.parse(ring_case.server.ethtool("-g", ring_case.port) or "")
    fit = ring_case.port.get("ring_fit", True)
    wanted = {f"ring {kind}": str(min(n, facts[0].get(kind, n)) if fit else n) for kind, n in planned.items()}
    _compare(ring_case, wanted, {f"ring {kind}": str(count) for kind, count in facts[1].items()})


def test_coalescing(coalesce_case: Case) -> None:
    """When the device interrupts (`ethtool -c`); a driver without an adaptive mode has it off."""
    planned = coalesce_case.port["coalesce"]
    facts = coalescing.parse(coalesce_case.server.ethtool("-c", coalesce_case.port) or "")
    wanted = {f"coalesce {key}": _word(value) for key, value in planned.items()}
    found = {
        f"coalesce {key}": facts.get(key, "off" if isinstance(on, bool) else "none") for key, on in planned.items()
    }
    _compare(coalesce_case, wanted, found)


def test_offloads(offload_case: Case) -> None:
    """Features on and off as the data plane needs them (`ethtool -k`); one the driver does not know is off."""
    facts = offloads.parse(offload_case.server.ethtool("-k", offload_case.port) or "")
    planned = offload_case.port["offloads"]
    wanted = {f"offload {name}": _word(on) for name, on in planned.items()}
    _compare(offload_case, wanted, {f"offload {name}": _word(offloads.is_on(facts, name)) for name in planned})


def test_rss(rss_case: Case) -> None:
    """Frames are spread over the planned queues in equal shares, hashed with the planned key (`ethtool -x`)."""
    port = rss_case.port
    facts = rss.parse(rss_case.server.ethtool("-x", port) or "")
    wanted, found = {}, {}
    if port.get("rss") is not None:
        wanted["rss"] = f"equal {port['rss']}"
        equal = facts.table == tuple(entry % port["rss"] for entry in range(len(facts.table)))
        found["rss"] = wanted["rss"] if equal and facts.table else f"queues {sorted(set(facts.table)) or 'none'}"
    if port.get("rss_key"):
        size = (facts.key or "").count(":") + 1
        wanted["rss key"] = ":".join(["6d:5a"] * (size // 2)) if port["rss_key"] == rss.SYMMETRIC else port["rss_key"]
        found["rss key"] = facts.key or "none"
    _compare(rss_case, wanted, found)


def test_steering(steering_case: Case) -> None:
    """The NIC has exactly the planned rules by fabric MAC (`ethtool -n`)."""
    port = steering_case.port
    rules = steering.parse(steering_case.server.ethtool("-n", port) or "")
    found = {f"steering {rule.mac}": f"queue {rule.queue}" for rule in rules}
    wanted = {f"steering {rule['mac']}": f"queue {rule['queue']}" for rule in port["steering"]}
    reason = steering_case.server.excuse(f"port {port['name']}", "steering")
    if reason and not found:
        pytest.skip(reason)
    _compare(steering_case, wanted, found)
    more = sorted(name for name in found.keys() - wanted.keys() if name.startswith(f"steering {FABRIC_MAC}"))
    assert not more, f"rules that are not planned: {', '.join(more)}"


def test_napi(napi_case: Case) -> None:
    """Threaded polling, deferred interrupts and flush timeout, as sysfs shows them."""
    port = napi_case.port
    wanted = {name: str(value) for name, value in (port.get("napi") or {}).items()}
    if port.get("threaded_napi") is not None:
        wanted["threaded"] = str(int(port["threaded_napi"]))
    base = f"/sys/class/net/{napi_case.server.device(port)}"
    text = napi_case.server.output(
        "grep -Hs '' " + " ".join(["%s"] * len(wanted)) + " || true", *(f"{base}/{name}" for name in wanted)
    )
    pairs = (line.split(":", 1) for line in text.splitlines())
    _compare(napi_case, wanted, {path.rsplit("/", 1)[-1]: value.strip() for path, value in pairs})


def test_napi_threads(thread_case: Case) -> None:
    """With threaded polling each receive queue's thread is pinned to the queue's core."""
    port = thread_case.port
    text = thread_case.server.output(_THREADS, f"^napi/{thread_case.server.device(port)}(-[0-9]+)?$")
    lines = text.splitlines()
    pinned = {
        name.strip(): said.rpartition(": ")[2].strip() for name, said in zip(lines[::2], lines[1::2], strict=False)
    }
    # Threads of NAPIs that only transmit have the id 0.
    receiving = [cpus for name, cpus in sorted(pinned.items(), key=_id) if _id((name, cpus))]
    reason = thread_case.server.excuse(f"port {port['name']}", "napi thread 0")
    if reason and not receiving:
        pytest.skip(reason)
    want = [str(queue["rx_core"]) for queue in port["queues"]]
    assert receiving == want, f"the polling threads may run on CPUs {receiving or 'none'}, planned {want}"


def _id(thread: tuple[str, str]) -> int:
    number = thread[0].rpartition("-")[2]
    return int(number) if number.isdigit() else 0


def _word(on: object) -> str:
    return ("on" if on else "off") if isinstance(on, bool) else str(on)
