"""`aio/user_slots`: so many at once for each user."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.internet.defer import CancelledError, Deferred

from sftpgw.aio.user_slots import UserSlots
from tests.results import failure_of, result_of


class Work:
    """What is done in slots: each holds its slot until it is told to end."""

    def __init__(self, slots: UserSlots) -> None:
        self.slots = slots
        self.begun: list[str] = []
        self.waited: dict[str, bool] = {}
        self.ends: dict[str, Deferred[None]] = {}

    def start(self, name: str, user: str, session: str = "session") -> Deferred[None]:
        return Deferred.fromCoroutine(self._run(name, (user, session)))

    async def _run(self, name: str, path: tuple[str, str]) -> None:
        async with self.slots.slot(path) as has_waited:
            self.begun.append(name)
            self.waited[name] = has_waited
            self.ends[name] = Deferred()
            await self.ends[name]


@pytest.fixture
def work() -> Iterator[Work]:
    work = Work(UserSlots(2, 3, lambda: ValueError("too many")))
    yield work
    while work.ends:
        work.ends.popitem()[1].callback(None)
    assert not len(work.slots)


def test_users_do_not_wait_for_each_other_and_sessions_take_turns(work: Work) -> None:
    for name, user, session in (
        ("a1", "a", "1"),
        ("a2", "a", "1"),
        ("a3", "a", "1"),
        ("a4", "a", "1"),
        ("a5", "a", "2"),
        ("b1", "b", "1"),
    ):
        work.start(name, user, session)
    assert work.begun == ["a1", "a2", "b1"]
    work.ends.pop("a1").callback(None)
    work.ends.pop("a2").callback(None)
    assert set(work.begun[3:]) == {"a3", "a5"}, "the other session does not wait for two"
    assert work.waited == {"a1": False, "a2": False, "b1": False, "a3": True, "a5": True}


def test_too_many_that_wait_are_refused(work: Work) -> None:
    tasks = [work.start(str(number), "a") for number in range(6)]
    assert isinstance(failure_of(tasks[-1]).value, ValueError)


def test_one_that_leaves_or_fails_gives_its_place_back(work: Work) -> None:
    tasks = [work.start(str(number), "a") for number in range(4)]
    tasks[2].cancel()
    assert failure_of(tasks[2]).check(CancelledError)
    work.ends.pop("0").errback(ValueError("it failed"))
    assert failure_of(tasks[0]).check(ValueError)
    assert work.begun == ["0", "1", "3"]


def test_many_that_end_at_once_are_no_recursion() -> None:
    slots = UserSlots(1, 10_000, lambda: ValueError("too many"))
    gate: Deferred[None] = Deferred()

    async def run(number: int) -> int:
        async with slots.slot(("a", "session")):
            if not number:
                await gate
            return number

    tasks = [Deferred.fromCoroutine(run(number)) for number in range(5000)]
    gate.callback(None)
    assert [result_of(task) for task in tasks] == list(range(5000))
    assert not len(slots)
