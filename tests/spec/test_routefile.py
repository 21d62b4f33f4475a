"""Route files: columns sorted for the table's compiler, every odd spelling read with care."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbops.errors import SpecError
from rbops.spec.routefile import read_route_file
from rbops.spec.routes import RouteFile
from rbops.spec.units import InvalidValue

LINK_LOCAL = 169 << 8 | 254


def read(tmp_path: Path, text: str, neighbors: set[str] | None = None) -> RouteFile:
    path = tmp_path / "routes.csv"
    path.write_text(text, newline="")
    found, errors = read_route_file(path, neighbors)
    assert errors == []
    assert found is not None
    return found


def rows(found: RouteFile) -> list[tuple[str, int, str]]:
    columns = found.columns
    return [
        (str(IPv4Address(network)), length, str(IPv4Address(via)))
        for network, length, via in zip(columns.networks, columns.lengths, columns.vias, strict=True)
    ]


def test_rows_are_sorted_by_network_then_length(tmp_path: Path) -> None:
    text = (
        "Prefix,Via\r\n10.1.0.0/16,192.0.2.2\r\n\r\n# x\r\n10.0.0.0/8,192.0.2.2\r\n0.0.0.0/0,192.0.2.3\n"
        '"10.0.0.0/9", 192.0.2.3 \n192.0.2.77/32,192.0.2.2'
    )
    assert rows(read(tmp_path, text)) == [
        ("0.0.0.0", 0, "192.0.2.3"),  # noqa: S104  the default route
        ("10.0.0.0", 8, "192.0.2.2"),
        ("10.0.0.0", 9, "192.0.2.3"),
        ("10.1.0.0", 16, "192.0.2.2"),
        ("192.0.2.77", 32, "192.0.2.2"),
    ]


def test_no_routes_are_no_mistake(tmp_path: Path) -> None:
    assert len(read(tmp_path, "prefix,via\n").columns) == 0


def test_twenty_errors_are_enough(tmp_path: Path) -> None:
    path = tmp_path / "routes.csv"
    path.write_text("x,y\n" * 1000)
    found, errors = read_route_file(path, None)
    assert found is None
    assert len(errors) == 20


@settings(deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.integers(1 << 24, (224 << 24) - 1), st.integers(1, 32)).map(
            lambda pair: (pair[0] & (0xFFFFFFFF << (32 - pair[1]) & 0xFFFFFFFF), pair[1])
        ).filter(lambda pair: pair[0] >> 24 not in (0, 127) and pair[0] >> 16 != LINK_LOCAL),
        st.integers(128 << 24, (224 << 24) - 1).filter(lambda via: via >> 16 != LINK_LOCAL),
    )
)  # fmt: skip
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, routes: dict[tuple[int, int], int]) -> None:
    path = tmp_path_factory.mktemp("routes") / "routes.csv"
    path.write_text("".join(f"{IPv4Address(n)}/{length},{IPv4Address(via)}\n" for (n, length), via in routes.items()))
    found, errors = read_route_file(path, None)
    assert errors == []
    assert found is not None
    columns = found.columns
    assert list(zip(columns.networks, columns.lengths, columns.vias, strict=True)) == sorted(
        (network, length, via) for (network, length), via in routes.items()
    )


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_end_in_routes_or_errors(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("routes") / "routes.csv"
    path.write_bytes(data)
    try:
        found, errors = read_route_file(path, {"192.0.2.2"})
    except (SpecError, InvalidValue):
        return
    assert (found is None) == bool(errors)
