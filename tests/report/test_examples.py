"""Wrong packets as a pcapng file: what was kept comes back, with its port, time and kind."""

from __future__ import annotations

import io
from pathlib import Path

from rbops.capture.records import records as read
from rbops.report.examples import write_examples
from rbops.selftest.example import Example

_EXAMPLES = (
    Example("matrix", "duplicate", 3, 1_790_000_000_000_000_007, bytes(range(60))),
    Example("pair", "misdelivered", 0, 1_790_000_000_000_000_003, bytes(1514)),
)


def test_examples_come_back_in_order_of_time(tmp_path: Path) -> None:
    target = tmp_path / "wrong.pcapng"
    with target.open("wb") as file:
        write_examples(file, _EXAMPLES, "rb4")
    data = target.read_bytes()
    found = list(read(data))
    assert [(one.time, one.length) for one in found] == [
        (1_790_000_000_000_000_003, 1514),
        (1_790_000_000_000_000_007, 60),
    ]
    assert data[found[1].begin : found[1].begin + 60] == bytes(range(60))
    for text in (b"port 0", b"port 3", b"matrix: duplicate, came out of port 3", b"rbops selftest"):
        assert text in data


def test_without_any_it_is_an_empty_capture() -> None:
    file = io.BytesIO()
    write_examples(file, (), "rb4")
    assert list(read(file.getvalue())) == []
