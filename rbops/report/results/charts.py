"""Pictures of a result as SVG: who sent to whom, the rate search, loads. Text stays text, each has a description."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise

from rbops.report.results.document import RateDoc
from rbops.report.results.phases import PathDoc

__all__ = ["bars", "latency", "rate_search", "topology"]

_WIDE, _HIGH = 640, 300
_LEFT, _BOTTOM, _TOP = 70, 44, 16
_BAR, _GAP = 18, 6
_NINES, _CURVES = 4, 5


def topology(servers: Sequence[str], ports: Mapping[str, Sequence[int]], spread: Sequence[PathDoc]) -> str:
    """Servers in a circle with their external ports; a line's width is the packets between its two ends."""
    loads = _loads(spread)
    most = max(loads.values(), default=0) or 1
    size, radius = 460, 150
    places = {
        name: (
            size / 2 + radius * math.sin(2 * math.pi * number / len(servers)),
            size / 2 - radius * math.cos(2 * math.pi * number / len(servers)),
        )
        for number, name in enumerate(servers)
    }
    parts = []
    for (one, other), packets in sorted(loads.items()):
        (x1, y1), (x2, y2) = places[one], places[other]
        title = f"{one} and {other}: {packets:,} packets"
        width = 1 + 9 * packets / most
        line = f'<line class="link" x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}" stroke-width="{width:.1f}">'
        parts.append(f"{line}<title>{escape(title)}</title></line>")
    for name, (x, y) in places.items():
        parts.append(f'<circle class="server" cx="{x:.0f}" cy="{y:.0f}" r="26"/>')
        parts.append(_text(x, y + 5, name, "middle", "name"))
        own = ", ".join(map(str, ports.get(name, ())))
        if own:
            out = 1.36
            px, py = size / 2 + (x - size / 2) * out, size / 2 + (y - size / 2) * out
            text = f"port {own}" if len(ports[name]) == 1 else f"ports {own}"
            parts.append(_text(px, py + 4, text, "middle", "port"))
    label = f"{len(servers)} servers, the width of a line is the packets that went over it"
    return _svg(size, size, label, parts)


def _loads(spread: Sequence[PathDoc]) -> dict[tuple[str, str], int]:
    """Packets by pair of neighbours, both ways together; a path over a third server counts on both its cables."""
    found: dict[tuple[str, str], int] = {}
    for path in spread:
        stops = [path.source, *([path.via] if path.via else []), path.destination]
        for one, other in pairwise(stops):
            if one != other:
                key = (min(one, other), max(one, other))
                found[key] = found.get(key, 0) + path.packets
    return found


def rate_search(rate: RateDoc) -> str:
    """Loss against the rate sent, one mark a trial: a filled circle passed, a cross failed."""
    fastest = max((trial.sent_pps for trial in rate.trials), default=1) or 1
    losses = [100 * (trial.lost + trial.unsent) / trial.sent if trial.sent else 100.0 for trial in rate.trials]
    worst = max((*losses, 0.1))
    parts = _axes("sent, Mpps", "lost, %", fastest / 1e6, worst)
    for number, (trial, loss) in enumerate(zip(rate.trials, losses, strict=True), 1):
        x = _LEFT + (_WIDE - _LEFT - 20) * trial.sent_pps / fastest
        y = _HIGH - _BOTTOM - (_HIGH - _BOTTOM - _TOP - 10) * loss / worst
        title = f"<title>trial {number}: {trial.sent_pps:,} packets a second, {loss:.4g} % lost</title>"
        if trial.passed:
            parts.append(f'<circle class="good" cx="{x:.1f}" cy="{y:.1f}" r="6">{title}</circle>')
        else:
            cross = f"M{x - 5:.1f} {y - 5:.1f}l10 10m0 -10l-10 10"
            parts.append(f'<path class="bad" d="{cross}">{title}</path>')
    label = f"{len(rate.trials)} trials, loss against rate; the table below has the figures"
    return _svg(_WIDE, _HIGH, label, parts)


def latency(curves: Mapping[str, Sequence[tuple[int, int]]]) -> str:
    """Latency by the share of packets that are slower, both logarithmic; a curve is a histogram (upper ns, packets)."""
    shown = {name: list(_slower(histogram)) for name, histogram in curves.items() if histogram}
    times = [time for points in shown.values() for _, time in points]
    low, high = (math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))) if times else (0, 1)
    high = max(high, low + 1)
    width, height, base = _WIDE - _LEFT - 150, _HIGH - _BOTTOM - _TOP - 10, _HIGH - _BOTTOM
    parts = [f'<path class="axis" d="M{_LEFT} {_TOP}V{base}H{_LEFT + width + 10}"/>']
    for nines in range(_NINES + 1):
        text = "all" if nines == 0 else f"{100 - 10.0 ** (2 - nines):g} %"
        parts.append(_text(_LEFT + width * nines / _NINES, base + 16, text, "middle", "tick"))
    for power in range(low, high + 1):
        y = base - height * (power - low) / (high - low)
        parts.append(_text(_LEFT - 8, y + 4, f"{10.0 ** (power - 3):g}", "end", "tick"))
    parts += _titles("percentile", "µs", width, height)
    for number, (name, points) in enumerate(shown.items()):
        places = [
            (
                _LEFT + width * min(1.0, -math.log10(slower) / _NINES),
                base - height * (math.log10(time) - low) / (high - low),
            )
            for slower, time in points
        ]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(
            f'<polyline class="curve c{number % _CURVES}" points="{line}"><title>{escape(name)}</title></polyline>'
        )
        y = _TOP + 10 + number * 20
        parts.append(f'<path class="curve c{number % _CURVES}" d="M{_WIDE - 132} {y}h22"/>')
        parts.append(_text(_WIDE - 104, y + 4, name, "start", "port"))
    return _svg(_WIDE, _HIGH, "latency by percentile and load; the table below has the figures", parts)


def _slower(histogram: Sequence[tuple[int, int]]) -> Iterator[tuple[float, float]]:
    """Share of packets that are slower than what a class holds, and its time in ns; up to the last in 10^-_NINES."""
    total, seen = sum(count for _, count in histogram), 0
    for time, count in histogram:
        yield max(1 - seen / total, 10.0**-_NINES), max(time, 1)
        seen += count
    yield 10.0**-_NINES, max(histogram[-1][0], 1)


def bars(values: Mapping[str, float], label: str, unit: str) -> str:
    """A horizontal bar for each value, longest full width."""
    most = max(values.values(), default=0) or 1
    parts, left = [], 110
    for row, (name, value) in enumerate(values.items()):
        y = row * (_BAR + _GAP)
        width = (_WIDE - left - 110) * value / most
        parts.append(_text(left - 8, y + 14, name, "end", "port"))
        parts.append(f'<rect class="bar" x="{left}" y="{y}" width="{width:.1f}" height="{_BAR}"/>')
        parts.append(_text(left + width + 8, y + 14, f"{value:,.4g} {unit}", "start", "port"))
    return _svg(_WIDE, len(values) * (_BAR + _GAP), label, parts)


def _axes(across: str, up: str, right: float, top: float) -> list[str]:
    """Two axes with four ticks each."""
    base, width, height = _HIGH - _BOTTOM, _WIDE - _LEFT - 20, _HIGH - _BOTTOM - _TOP - 10
    parts = [f'<path class="axis" d="M{_LEFT} {_TOP}V{base}H{_WIDE - 10}"/>']
    for step in range(5):
        x, y = _LEFT + width * step / 4, base - height * step / 4
        parts.append(_text(x, base + 16, f"{right * step / 4:.3g}", "middle", "tick"))
        parts.append(_text(_LEFT - 8, y + 4, f"{top * step / 4:.3g}", "end", "tick"))
    return [*parts, *_titles(across, up, width, height)]


def _titles(across: str, up: str, width: float, height: float) -> list[str]:
    """What is on the two axes of a plot of that size."""
    middle = f"14 {_TOP + height / 2:.0f}"
    return [
        _text(_LEFT + width / 2, _HIGH - 6, across, "middle", "tick"),
        f'<g transform="rotate(-90 {middle})">{_text(14, _TOP + height / 2, up, "middle", "tick")}</g>',
    ]


def _text(x: float, y: float, text: str, anchor: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    box = f'width="{width:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    head = f'<svg role="img" aria-label="{escape(label)}" {box}>'
    return f"{head}{''.join(parts)}</svg>"
