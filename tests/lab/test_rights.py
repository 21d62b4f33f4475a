"""What root in a container may not do is found before a lab is begun."""

from __future__ import annotations

from pathlib import Path

import pytest

from rbops.errors import Mismatch
from rbops.lab.rights import require_rights


def _status(folder: Path, effective: str) -> Path:
    path = folder / "status"
    path.write_text(f"Name:\tpython3\nCapEff:\t{effective}\nCapBnd:\t{effective}\n", encoding="ascii")
    return path


def test_all_rights_are_enough(tmp_path: Path) -> None:
    require_rights(_status(tmp_path, "000001ffffffffff"), lambda _: True)


@pytest.mark.parametrize(
    ("effective", "missing"),
    [
        ("00000000a80425fb", "CAP_NET_ADMIN and CAP_SYS_ADMIN"),
        ("000001ffffdfffff", "CAP_SYS_ADMIN"),
        ("000001ffffffefff", "CAP_NET_ADMIN"),
    ],
)
def test_missing_capabilities_are_named(tmp_path: Path, effective: str, missing: str) -> None:
    with pytest.raises(Mismatch, match=f"lacks {missing}: root") as caught:
        require_rights(_status(tmp_path, effective), lambda _: True)
    assert (caught.value.code, "--privileged" in str(caught.value.hint)) == ("lab.capabilities", True)


def test_cgroups_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(Mismatch, match="is read-only: a lab cannot make its cgroups") as caught:
        require_rights(_status(tmp_path, "000001ffffffffff"), lambda _: False)
    assert caught.value.code == "lab.cgroup-read-only"
