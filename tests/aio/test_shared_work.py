"""Work under way that several wait for."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred

from sftpgw.aio.shared_work import SharedWork
from tests.results import failure_of, result_of


class Work:
    """Work that ends when it is told to."""

    def __init__(self) -> None:
        self.shared: SharedWork[str, int] = SharedWork()
        self.begun: list[Deferred[int]] = []

    async def _do(self) -> int:
        self.begun.append(mine := Deferred())
        return await mine

    def ask(self, key: str = "a", mark: int = 0) -> Deferred[int]:
        return Deferred.fromCoroutine(self.shared.result(key, mark, self._do))


def test_it_is_done_once_for_all_that_ask_meanwhile() -> None:
    work = Work()
    waiting = [work.ask() for _ in range(3)]
    (begun,) = work.begun
    begun.callback(7)
    assert [result_of(each) for each in waiting] == [7, 7, 7]
    assert not len(work.shared)
    work.ask()
    assert len(work.begun) == 2, "its result is not kept"


def test_other_keys_are_other_work() -> None:
    work = Work()
    work.ask("a")
    work.ask("b")
    assert len(work.begun) == len(work.shared) == 2


def test_what_began_before_the_mark_is_not_good_enough() -> None:
    work = Work()
    early = work.ask()
    late = work.ask(mark=work.shared.mark)
    joined = work.ask()
    first, second = work.begun
    first.callback(1)
    assert len(work.shared) == 1, "the second may still be joined"
    second.callback(2)
    assert [result_of(each) for each in (early, late, joined)] == [1, 2, 2]
    assert not len(work.shared)


def test_one_that_leaves_ends_nothing_for_the_others() -> None:
    """Not even the one that has begun it."""
    work = Work()
    leaving, staying = work.ask(), work.ask()
    leaving.cancel()
    assert failure_of(leaving).check(CancelledError)
    work.begun[0].callback(1)
    assert result_of(staying) == 1


def test_when_the_last_one_leaves_it_is_cancelled() -> None:
    work = Work()
    waiting = [work.ask(), work.ask()]
    for each in waiting:
        each.cancel()
        assert failure_of(each).check(CancelledError)
    assert work.begun[0].called
    assert not len(work.shared)
    work.ask()
    assert len(work.begun) == 2, "cancelled work is not joined"


def test_a_failure_is_for_all() -> None:
    work = Work()
    waiting = [work.ask(), work.ask()]
    work.begun[0].errback(ZeroDivisionError())
    for each in waiting:
        assert failure_of(each).check(ZeroDivisionError)
    assert not len(work.shared)


@pytest.mark.parametrize("error", [None, ZeroDivisionError()])
def test_work_may_end_at_once(error: Exception | None) -> None:
    async def do() -> int:
        if error is not None:
            raise error
        return 3

    shared: SharedWork[str, int] = SharedWork()
    asked = Deferred.fromCoroutine(shared.result("a", 0, do))
    if error is None:
        assert result_of(asked) == 3
    else:
        assert failure_of(asked).check(ZeroDivisionError)
    assert not len(shared)
