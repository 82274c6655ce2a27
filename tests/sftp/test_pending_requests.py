"""How many requests of a channel may be pending (`sftp/pending_requests`), without a channel."""

from __future__ import annotations

import pytest

from sftpgw.files.memory.budget import Budget
from sftpgw.model.units import MIB
from sftpgw.sftp.pending_requests import (
    FREE_PENDING_BYTES,
    MAX_PENDING,
    MAX_PENDING_READ_BYTES,
    PENDING_BYTES,
    PENDING_LOT_BYTES,
    PendingRequests,
)
from sftpgw.sftp.unfinished import MAX_UNFINISHED, Unfinished
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind

STAT = wire.OnPath(Kind.STAT, 0, b"/a")


def pending_with(budget: Budget | None = None, unfinished: Unfinished | None = None) -> Pending:
    return Pending(budget, unfinished or Unfinished())


class Pending:
    """The pending requests of one channel."""

    def __init__(self, budget: Budget | None, unfinished: Unfinished) -> None:
        self.went_on = 0
        memory = budget.share("alice") if budget else None
        self.requests = PendingRequests(memory, unfinished, self._on_room)

    def _on_room(self) -> None:
        self.went_on += 1


def test_there_are_at_most_so_many() -> None:
    requests = pending_with().requests
    ends = [requests.begin(STAT) for _ in range(MAX_PENDING)]
    assert not requests.has_room(0)
    ends.pop()()
    assert requests.has_room(0)
    assert requests.count == MAX_PENDING - 1


def test_reads_count_with_the_replies_that_the_client_has_not_taken() -> None:
    requests = pending_with().requests
    length = wire.MAX_READ_BYTES
    end = requests.begin(wire.Read(0, b"handle", 0, length + 1))
    assert requests.has_room(MAX_PENDING_READ_BYTES - length - 1)
    assert not requests.has_room(MAX_PENDING_READ_BYTES - length)
    end()
    assert requests.has_room(MAX_PENDING_READ_BYTES - 1)


@pytest.mark.parametrize("leaves", [False, True])
def test_what_is_counted_in_the_budget_is_given_back(leaves: bool) -> None:
    budget = Budget(64 * MIB)
    requests = pending_with(budget).requests
    ends = []
    while requests.count < MAX_PENDING:
        assert requests.has_room(0)
        ends.append(requests.begin(STAT))
    counted_bytes = FREE_PENDING_BYTES + budget.held_bytes
    assert 0 <= counted_bytes - MAX_PENDING * PENDING_BYTES < PENDING_LOT_BYTES
    if leaves:
        requests.leave()
    for end in ends:
        end()
    assert budget.held_bytes == 0


def test_requests_that_a_lost_channel_leaves_count_for_the_user() -> None:
    unfinished = Unfinished()
    other = pending_with(unfinished=unfinished)
    ends = []
    for _ in range(MAX_UNFINISHED // MAX_PENDING):
        left = pending_with(unfinished=unfinished).requests
        ends += [left.begin(STAT) for _ in range(MAX_PENDING)]
        assert other.requests.has_room(0)
        left.leave()
    assert not other.requests.has_room(0)
    assert other.went_on == 0
    ends.pop()()
    assert other.went_on == 1
    assert other.requests.has_room(0)
