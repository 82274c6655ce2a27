"""Waiting for memory: `files/memory/reservation`."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from sftpgw.files.memory.budget import Budget
from sftpgw.files.memory.reservation import RECLAIM_SECONDS, request_reclaim_while_waiting


def test_a_fault_in_giving_back_does_not_end_the_requests(logged_failures: Any) -> None:
    clock, budget, asked = Clock(), Budget(100), [0]

    def on_pressure() -> None:
        asked[0] += 1
        raise RuntimeError("a bug")

    budget.charge(100)
    granted = budget.acquire(1)
    assert granted is not None
    budget.watch(on_pressure)
    request_reclaim_while_waiting(budget, clock, granted)
    for times in (1, 2):
        clock.advance(RECLAIM_SECONDS)
        (failure,), logged_failures.found = logged_failures.found, []
        assert "a bug" in failure
        assert asked[0] == times
    budget.release(100)
    assert granted.called
    assert clock.getDelayedCalls() == []
