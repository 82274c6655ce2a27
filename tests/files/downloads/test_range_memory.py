"""The memory that a download waits for."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from sftpgw.files.downloads.range_memory import RangeMemory
from sftpgw.files.memory.budget import Budget


def test_a_download_that_fails_with_what_it_was_granted_gives_it_back() -> None:
    def broken() -> None:
        raise RuntimeError("a defect")

    clock = Clock()
    budget = Budget(100, clock.seconds)
    memory = RangeMemory(budget.share("alice"), clock, broken)
    with pytest.raises(RuntimeError, match="a defect"):
        memory.queue(60)
    assert budget.held_bytes == 0
