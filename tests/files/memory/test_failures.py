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
    is_still: bool = False
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


def test_one_that_fails_to_give_way_fails_no_other(logged_failures: Any) -> None:
    budget = Budget(100, Clock().seconds)
    slow = [budget.open_upload(StillUpload(is_slow=True), "broken") for _ in range(3)]
    for upload in slow:
        assert upload.take(25, 1, cannot_wait=False)  # its `come_again` raises
    asks = budget.open_upload(StillUpload(is_slow=True), "asks")
    asks.make_room(10)
    assert len(logged_failures.found) == 1
    logged_failures.found = []
    granted: list[str] = []
    asks.ask(10, 10, lambda: granted.append("asks"))
    assert granted == ["asks"], "the reserve is lent to it"
    for upload in (*slow, asks):
        upload.close()
