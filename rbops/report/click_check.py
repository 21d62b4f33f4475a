"""What ``click-check`` found, as text and as JSON."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from rbops.click import Report
from rbops.click.devices import DeviceQueue
from rbops.click.rules import Breach
from rbops.errors import Diagnostic
from rbops.report.tables import Block, Table
from rbops.report.words import counted

__all__ = ["report_blocks", "report_json", "violation"]

_SHOWN = 8
_DRIVERS = {"userlevel": "user level", "linuxmodule": "Linux kernel"}


def violation(breach: Breach, allow: Collection[str]) -> Diagnostic:
    """A broken rule as a message, with its cost."""
    start = f"{breach.rule}, allowed" if breach.rule in allow else breach.rule
    loss = f"predicted to cost {breach.predicted_loss:.1%} of the rate"
    return replace(breach.place, message=f"{start}: {breach.place.message} ({loss})")


def report_blocks(report: Report, allow: Collection[str]) -> Iterator[Block]:
    """One file: its size, its threads, and the verdict."""
    head = f"{report.path} ({_DRIVERS[report.driver]})"
    if report.errors or report.router is None:
        yield f"{head}: {counted(len(report.errors), 'error')}; the rules were not checked"
        return
    size = f"{len(report.router.elements)} elements, {len(report.router.connections)} connections"
    rows = tuple(
        (str(use.thread), _queues(use.receives), _queues(use.sends), str(use.elements)) for use in report.threads
    )
    yield Table(f"{head}: {size}", ("thread", "receives from", "sends to", "elements"), rows)
    yield "\n".join(_verdict(report, allow))


def _queues(queues: tuple[DeviceQueue, ...]) -> str:
    shown = []
    for queue in queues:
        device = f"port {queue.device}" if queue.device.isdigit() else queue.device
        shown.append(f"{device} queue {queue.queue}" if queue.queue.isdigit() else f"{device} ({queue.queue})")
    return ", ".join(shown[:_SHOWN]) + (f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else "")


def _verdict(report: Report, allow: Collection[str]) -> Iterator[str]:
    meaning = {"rule1": "each queue is touched by one thread", "rule2": "each packet stays on one thread"}
    for rule, text in meaning.items():
        broken = [breach for breach in report.breaches if breach.rule == rule]
        if not broken:
            yield f"{rule} holds: {text}"
            continue
        worst = max(breach.predicted_loss for breach in broken)
        how = "broken, as allowed" if rule in allow else "broken"
        yield f"{rule} is {how}: {len(broken)} time{'s' if len(broken) > 1 else ''}, at worst {worst:.1%} of the rate"


def report_json(report: Report, allow: Collection[str]) -> dict[str, object]:
    """One file for other programs."""
    router = report.router
    return {
        "path": report.path,
        "driver": report.driver,
        "elements": len(router.elements) if router else None,
        "connections": len(router.connections) if router else None,
        "classes": sorted({element.kind for element in router.elements}) if router else [],
        "errors": [error.to_json() for error in report.errors],
        "violations": [
            {
                **breach.place.to_json(),
                "rule": breach.rule,
                "elements": list(breach.elements),
                "threads": list(breach.threads),
                "predicted_loss": breach.predicted_loss,
                "allowed": breach.rule in allow,
            }
            for breach in report.breaches
        ],
        "notes": [note.to_json() for note in report.notes],
        "threads": [
            {
                "thread": use.thread,
                "receives": [_queue(queue) for queue in use.receives],
                "sends": [_queue(queue) for queue in use.sends],
                "elements": use.elements,
            }
            for use in report.threads
        ],
    }


def _queue(queue: DeviceQueue) -> dict[str, object]:
    return {"device": queue.device, "queue": int(queue.queue) if queue.queue.isdigit() else None}
