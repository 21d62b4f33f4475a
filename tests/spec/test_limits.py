"""Files that are no spec, or want to be more than one: refused quickly, in bounded memory."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from rbops.errors import Diagnostic, SpecError
from rbops.spec import load_spec
from rbops.spec.reader import MAX_SPEC_BYTES, parse

ROUTER = "router: {external_ports: 4, line_rate: 10Gbps}\n"


def only_error(path: Path) -> Diagnostic:
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert len(caught.value.diagnostics) == 1
    return caught.value.diagnostics[0]


def spec_file(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "router.yml"
    path.write_bytes(data)
    return path


def test_a_missing_file(tmp_path: Path) -> None:
    assert only_error(tmp_path / "none.yml").code == "spec.file"


def test_a_directory(tmp_path: Path) -> None:
    assert only_error(tmp_path).code == "spec.file"


def test_a_file_below_a_file(tmp_path: Path) -> None:
    assert only_error(spec_file(tmp_path, b"") / "router.yml").code == "spec.file"


def test_a_nul_in_the_name() -> None:
    assert only_error(Path("a\0b")).code == "spec.file"


def test_a_hundred_megabytes(tmp_path: Path) -> None:
    path = tmp_path / "router.yml"
    path.touch()
    os.truncate(path, 100 * 2**20)
    assert only_error(path).code == "spec.limit"


def test_a_file_without_end() -> None:
    assert only_error(Path("/dev/zero")).code == "spec.limit"


def test_the_largest_file_is_read(tmp_path: Path) -> None:
    text = ROUTER.encode()
    path = spec_file(tmp_path, text + b"#" * (MAX_SPEC_BYTES - len(text)))
    assert load_spec(path).router.external_ports == 4


@pytest.mark.parametrize(
    ("data", "line", "column"),
    [(b"\xff\xfe\x00", 1, 1), (b"name: rb4\nrouter: caf\xe9\n", 2, 12), (b"\xef\xbb\xbfa: \x80", 1, 4)],
)
def test_not_utf8(tmp_path: Path, data: bytes, line: int, column: int) -> None:
    error = only_error(spec_file(tmp_path, data))
    assert error.code == "spec.encoding"
    assert (error.line, error.column) == (line, column)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    assert load_spec(spec_file(tmp_path, b"\xef\xbb\xbf" + ROUTER.encode())).router.external_ports == 4


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_nested_5000_deep(tmp_path: Path, opening: str) -> None:
    error = only_error(spec_file(tmp_path, (opening * 5000).encode()))
    assert error.code in {"spec.limit", "spec.key-type"}


def test_an_alias_bomb_is_refused_within_a_second(tmp_path: Path) -> None:
    lines = ["a0: &a0 [" + ", ".join("x" * 9) + "]"]
    lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 9) + "]" for n in range(1, 30)]
    start = time.monotonic()
    error = only_error(spec_file(tmp_path, "\n".join(lines).encode()))
    assert error.code == "spec.limit"
    assert time.monotonic() - start < 1


def test_an_alias_is_read(tmp_path: Path) -> None:
    text = ROUTER + "hosts:\n  n0: {ports: &p {ext0: {name: eth1}}}\n  n1: {ports: *p}\n"
    first, second = load_spec(spec_file(tmp_path, text.encode())).hosts.values()
    assert first.ports == second.ports


def test_a_control_character_has_its_place(tmp_path: Path) -> None:
    error = only_error(spec_file(tmp_path, b"name: rb4\nrouter: a\x1b[31mb\n"))
    assert (error.line, error.column) == (2, 10)
    assert "\x1b" not in error.render()


def test_errors_beyond_200_are_counted(tmp_path: Path) -> None:
    text = ROUTER + "routes:\n" + "  - {prefix: x, via: 198.18.0.2}\n" * 500
    with pytest.raises(SpecError) as caught:
        load_spec(spec_file(tmp_path, text.encode()))
    assert len(caught.value.diagnostics) == 201
    assert caught.value.diagnostics[-1].message == "300 more errors from here on"


def test_a_line_too_wide_to_show_is_left_out(tmp_path: Path) -> None:
    error = only_error(spec_file(tmp_path, f"{' ' * 5000}name: -\n{ROUTER}".encode()))
    assert max(len(line) for line in error.render().splitlines()) < 500


def test_scalars_keep_the_text_that_was_written() -> None:
    root, _ = parse("a: 0000:03:00.0\nb: 52:54:00:12:34:56\nc: off\nd: 1e3\ne: 010\nf: 2026-01-01\ng: 'x'\nno: 1", "x")
    assert root.plain() == {
        "a": "0000:03:00.0", "b": "52:54:00:12:34:56", "c": "off", "d": "1e3", "e": "010", "f": "2026-01-01", "g": "x",
        "no": "1",
    }  # fmt: skip
