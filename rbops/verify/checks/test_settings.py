"""Everything that the plan says of a server, as rbops-node reads it from the kernel: a check for each row it shows.

PYTEST_DONT_REWRITE: a check's own message is what users are shown, not pytest's account of the operands.
"""

from __future__ import annotations

import pytest

from rbops.verify.plugin import Case


def test_setting(row_case: Case) -> None:
    """The setting is as planned; one that the device or the kernel does not support is skipped with the reason."""
    row = row_case.row
    assert row is not None
    if row.have == row.want:
        return
    if row.reason:
        pytest.skip(str(row))
    pytest.fail(str(row), pytrace=False)
