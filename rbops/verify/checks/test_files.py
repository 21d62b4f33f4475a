"""The files on the server are those rendered from the plan.

PYTEST_DONT_REWRITE: a check's own message is what users are shown, not pytest's account of the operands.
"""

from __future__ import annotations

import pytest

from rbops.verify.plugin import Case


def test_digest(file_case: Case) -> None:
    """Each rendered file is there with the same SHA-256."""
    server = file_case.server
    lines = server.output(
        "sha256sum -- " + " ".join(["%s"] * len(server.files)) + " 2>/dev/null || true", *server.files
    )
    found = {path.strip(): digest for digest, path in (line.split(maxsplit=1) for line in lines.splitlines())}
    if file_case.key not in found:
        pytest.fail(f"{file_case.key} is missing or cannot be read", pytrace=False)
    assert found[file_case.key] == file_case.want, f"{file_case.key} was changed since it was rendered"


def test_plan(server_case: Case) -> None:
    """The server's node.json carries this plan's digest."""
    text = server_case.server.json("cat /etc/rbops/node.json")
    want = server_case.server.node.digest
    assert text["digest"] == want, f"the server is configured from plan {text['digest'][:12]}, not {want[:12]}"
