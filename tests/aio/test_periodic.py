"""`aio/periodic`: rounds one after the other, however each of them ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet import task
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from sftpgw.aio.periodic import PeriodicTask
from tests.results import result_of


class Rounds:
    """A task whose rounds the test ends."""

    def __init__(
        self,
        random: Callable[[], float] | None = None,
        on_failure: Callable[[Failure], None] | None = None,
    ) -> None:
        self.clock = task.Clock()
        self.begun_seconds: list[float] = []
        self.under_way: Deferred[None] = Deferred()
        self.failures: list[Failure] = []
        spread = {} if random is None else {"random": random}
        self.task = PeriodicTask(
            self._round,
            first_seconds=5,
            every_seconds=10,
            clock=self.clock,
            on_failure=on_failure or self.failures.append,
            **spread,
        )
        self.task.start()

    async def _round(self) -> None:
        self.begun_seconds.append(self.clock.seconds())
        self.under_way = Deferred()
        await self.under_way


def test_the_pause_begins_when_a_round_has_ended() -> None:
    rounds = Rounds()
    rounds.clock.advance(5)
    rounds.clock.advance(100)
    assert rounds.begun_seconds == [5]
    rounds.under_way.callback(None)
    rounds.clock.pump([9.5, 0.5])
    assert rounds.begun_seconds == [5, 115]


def test_pauses_are_spread_at_random() -> None:
    luck = iter([0.0, 0.9])
    rounds = Rounds(lambda: next(luck))
    rounds.clock.advance(2.5)
    rounds.under_way.callback(None)
    rounds.clock.advance(14)
    assert rounds.begun_seconds == [2.5, 16.5]


def test_a_failure_is_told_and_the_next_round_follows() -> None:
    rounds = Rounds()
    rounds.clock.advance(5)
    rounds.under_way.errback(ValueError("no"))
    assert [each.type for each in rounds.failures] == [ValueError]
    rounds.clock.advance(10)
    assert rounds.begun_seconds == [5, 15]


def test_the_next_round_follows_though_the_failure_cannot_be_told(logged_failures: Any) -> None:
    told: list[Failure] = []

    def raise_again(failure: Failure) -> None:
        told.append(failure)
        failure.trap(KeyError)

    rounds = Rounds(on_failure=raise_again)
    rounds.clock.advance(5)
    rounds.under_way.errback(ValueError("no"))
    rounds.clock.advance(10)
    assert rounds.begun_seconds == [5, 15]
    finishing = Deferred.fromCoroutine(rounds.task.finish())
    rounds.under_way.errback(ValueError("no"))
    result_of(finishing)
    assert [each.type for each in told] == [ValueError, ValueError]
    found, logged_failures.found = logged_failures.found, []
    assert ["could not be reported" in each for each in found] == [True, True]


@pytest.mark.parametrize("is_under_way", [False, True])
def test_stop_cancels_what_is_under_way(is_under_way: bool) -> None:
    rounds = Rounds()
    if is_under_way:
        rounds.clock.advance(5)
    rounds.task.stop()
    assert rounds.under_way.called is is_under_way
    assert not rounds.clock.getDelayedCalls()
    assert rounds.failures == []
    rounds.task.stop()


def test_finish_waits_for_the_round_under_way() -> None:
    rounds = Rounds()
    rounds.clock.advance(5)
    finishing = Deferred.fromCoroutine(rounds.task.finish())
    assert not finishing.called
    rounds.under_way.callback(None)
    result_of(finishing)
    assert not rounds.clock.getDelayedCalls()
    result_of(rounds.task.finish())


def test_a_round_that_is_cancelled_from_within_is_no_failure() -> None:
    rounds = Rounds()
    rounds.clock.advance(5)
    rounds.under_way.errback(CancelledError())
    assert rounds.failures == []
    rounds.clock.advance(10)
    assert rounds.begun_seconds == [5, 15]
