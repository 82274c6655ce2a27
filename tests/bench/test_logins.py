"""The bench of logins: its proofs log in, and its table has a line for each."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.logins import LoginCost, LoginsPlan, logins_table, measure_logins
from bench.servers import REPOSITORY


def test_the_table_has_a_line_for_each_proof_and_tree() -> None:
    table = logins_table(
        [LoginCost("ed25519", "before", 4.44, 71.2), LoginCost("ed25519", "after", 4.0, 80.0)]
    )
    assert "ed25519 before 4.4    71" in table
    assert "ed25519 after  4.0    80" in table


@pytest.mark.slow
def test_every_proof_logs_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "none")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
    told: list[str] = []
    found = measure_logins(LoginsPlan([REPOSITORY], 2, 2), tmp_path, told.append)
    assert len(found) == len(told) == 11
    assert all(each.cpu_milliseconds > 0 for each in found)
