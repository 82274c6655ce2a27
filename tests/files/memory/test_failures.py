"""An error of one transfer is logged, and hits no other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twisted.internet.task import Clock

from sftpgw.files.memory.budget import Budget


@dataclass(eq=False)
class StillUpload:
    """It waits, and is never told anything."""

    is_slow: bool = False
    is_silent: bool = False
    is_stalled: bool = False
    can_cut: bool = False
    unused_bytes: int = 0

    def cut(self) -> None:
        raise AssertionError

    def come_again(self) -> None:
        raise AssertionError


def _broken() -> None:
    raise RuntimeError("a defect")


def test_a_grant_that_fails_keeps_nothing_from_others(logged_failures: Any) -> None:
    budget = Budget(100, Clock().seconds)
    budget.charge(100, "sitter")
    upload = budget.open_upload(StillUpload(), "broken")
    upload.ask(10, 10, _broken)
    granted = budget.acquire(100, "waits")
    assert granted is not None
    budget.release(100, "sitter")
    (failure,), logged_failures.found = logged_failures.found, []
    assert "a defect" in failure
    assert (upload.filling_bytes, budget.waiting) == (10, 1)
    upload.close()
    assert granted.called
    assert budget.held_by("waits") == budget.held_bytes == 100


def test_one_that_fails_to_give_memory_back_keeps_no_other_from_it(logged_failures: Any) -> None:
    budget = Budget(100, Clock().seconds)
    budget.charge(100, "sitter")
    budget.watch(_broken, user="broken")
    budget.watch(lambda: budget.release(100, "sitter"), user="sitter")
    granted = budget.acquire(100, "waits")
    (failure,), logged_failures.found = logged_failures.found, []
    assert "a defect" in failure
    assert granted is not None
    assert granted.called
