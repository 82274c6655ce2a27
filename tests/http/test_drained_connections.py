"""Connections whose responses are given up shortly before their end."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from sftpgw.http.drained_connections import (
    DRAIN_SECONDS,
    DRAINED_BYTES,
    MAX_DRAINED,
    DrainedConnections,
)


class Connection:
    """A connection that can be dropped."""

    is_dropped = False

    def abortConnection(self) -> None:
        self.is_dropped = True


@pytest.mark.parametrize(
    ("left_bytes", "is_drained"),
    [(0, True), (DRAINED_BYTES, True), (DRAINED_BYTES + 1, False), (None, False)],
)
def test_only_a_short_rest_is_drained(left_bytes: int | None, is_drained: bool) -> None:
    assert DrainedConnections(Clock()).begin(Connection(), left_bytes) is is_drained


def test_few_are_drained_at_once() -> None:
    draining, drained = DrainedConnections(Clock()), [Connection() for _ in range(MAX_DRAINED)]
    assert all(draining.begin(each, 1) for each in drained)
    assert not draining.begin(Connection(), 1)
    draining.end(drained[0])
    assert draining.begin(Connection(), 1)


def test_one_that_takes_too_long_is_dropped() -> None:
    clock = Clock()
    draining, slow, fast = DrainedConnections(clock), Connection(), Connection()
    draining.begin(slow, 1)
    draining.begin(fast, 1)
    draining.end(fast)
    clock.advance(DRAIN_SECONDS)
    assert (slow.is_dropped, fast.is_dropped) == (True, False)
    assert not len(draining)
    draining.end(slow)
    assert not clock.getDelayedCalls()


def test_all_can_be_dropped() -> None:
    clock = Clock()
    draining, drained = DrainedConnections(clock), [Connection() for _ in range(3)]
    for each in drained:
        draining.begin(each, 1)
    draining.abort_all()
    assert all(each.is_dropped for each in drained)
    assert not clock.getDelayedCalls()
    assert not draining.begin(Connection(), 0), "it would go back to a pool that is closed"
