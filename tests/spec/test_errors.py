"""Each mistake a user can make beside the exact text he gets: ``errors/NAME.yml`` and ``errors/NAME.txt``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rbops.errors import SpecError
from rbops.spec import load_spec

HERE = Path(__file__).parent / "errors"
CASES = sorted(path.stem for path in HERE.glob("*.yml"))


@pytest.mark.parametrize("name", CASES)
def test_says_what_is_wrong(name: str, golden: Callable[[Path, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE)
    with pytest.raises(SpecError) as caught:
        load_spec(f"{name}.yml")
    golden(HERE / f"{name}.txt", f"{caught.value}\n")
    assert caught.value.exit_code == 2
    assert all(item.code not in {"spec.invalid", ""} for item in caught.value.diagnostics)


def test_every_text_has_its_case() -> None:
    assert sorted(path.stem for path in HERE.glob("*.txt")) == CASES
