"""The same work for many things."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred

from sftpgw.aio.parallel import in_parallel
from tests.results import failure_of, result_of


class Work:
    """Work whose end a test decides."""

    def __init__(self) -> None:
        self.under_way: dict[int, Deferred[None]] = {}
        self.begun: list[int] = []
        self.cancelled: list[int] = []

    async def do(self, thing: int) -> None:
        self.begun.append(thing)
        self.under_way[thing] = Deferred(lambda _: self.cancelled.append(thing))
        await self.under_way[thing]


def test_a_limited_number_runs_at_once_until_all_are_done() -> None:
    work = Work()
    done = Deferred.fromCoroutine(in_parallel(work.do, range(5), 2))
    assert work.begun == [0, 1]
    work.under_way[1].callback(None)
    work.under_way[2].callback(None)
    assert work.begun == [0, 1, 2, 3]
    for thing in (0, 3, 4):
        work.under_way[thing].callback(None)
    result_of(done)


@pytest.mark.parametrize("at_once", [1, 3])
def test_no_work_ends_at_once(at_once: int) -> None:
    result_of(in_parallel(Work().do, (), at_once))


def test_after_a_failure_nothing_is_begun_and_the_rest_is_waited_for() -> None:
    work = Work()
    done = Deferred.fromCoroutine(in_parallel(work.do, range(9), 3))
    work.under_way[1].errback(ValueError("one"))
    work.under_way[0].callback(None)
    assert not done.called
    work.under_way[2].errback(ValueError("two"))
    assert work.begun == [0, 1, 2]
    assert str(failure_of(done).value) == "one"


def test_cancelling_drops_all_work() -> None:
    work = Work()
    done = Deferred.fromCoroutine(in_parallel(work.do, range(9), 3))
    done.cancel()
    assert isinstance(failure_of(done).value, CancelledError)
    assert sorted(work.cancelled) == [0, 1, 2]
    assert work.begun == [0, 1, 2]
