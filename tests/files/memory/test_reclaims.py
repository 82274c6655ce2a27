"""Waiting for memory: `files/memory/reclaims`."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from sftpgw.files.memory.budget import Budget
from sftpgw.files.memory.reclaims import RECLAIM_SECONDS


def test_a_fault_in_giving_back_does_not_end_the_requests(logged_failures: Any) -> None:
    clock, budget, asked = Clock(), Budget(100), [0]

    def on_pressure() -> None:
        asked[0] += 1
        raise RuntimeError("a bug")

    budget.charge(100)
    granted = budget.acquire(1)
    assert granted is not None
    budget.watch(on_pressure)
    budget.reclaim_until(granted, clock)
    for times in (1, 2):
        clock.advance(RECLAIM_SECONDS)
        (failure,), logged_failures.found = logged_failures.found, []
        assert "a bug" in failure
        assert asked[0] == times
    budget.release(100)
    assert granted.called
    assert clock.getDelayedCalls() == []


def test_all_that_wait_cause_one_call_a_second() -> None:
    clock, budget, asked = Clock(), Budget(100), [0]

    def on_pressure() -> None:
        asked[0] += 1

    budget.charge(100)
    budget.watch(on_pressure)
    for _ in range(200):
        granted = budget.acquire(1)
        assert granted is not None
        budget.reclaim_until(granted, clock)
    asked[0] = 0
    assert len(clock.getDelayedCalls()) == 1
    clock.pump([RECLAIM_SECONDS] * 3)
    assert asked[0] == 3
    budget.release(100)
    clock.pump([RECLAIM_SECONDS] * 2)
    assert asked[0] == 5
    budget.release(100)
    assert clock.getDelayedCalls() == []
    budget.release(100)
    assert budget.held_bytes == 0
