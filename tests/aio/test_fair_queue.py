"""`aio/fair_queue`: users take turns, each user's entries keep their order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sftpgw.aio.fair_queue import FairQueue


def drained(queue: FairQueue[int]) -> list[tuple[str, int]]:
    found = []
    while queue:
        user, item, _ = queue.pop()
        found.append((user, item))
    return found


def test_users_take_turns() -> None:
    queue: FairQueue[int] = FairQueue()
    for user, item in (("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5), ("b", 6)):
        queue.put(user, item)
    assert (queue.next_user, queue.next_item, len(queue)) == ("a", 1, 6)
    assert queue.users == {"a", "b", "c"}
    assert drained(queue) == [("a", 1), ("b", 4), ("c", 5), ("a", 2), ("b", 6), ("a", 3)]
    assert (len(queue), set(queue.users)) == (0, set())


def test_pop_returns_the_entries_that_put_has_returned() -> None:
    queue: FairQueue[int] = FairQueue()
    waiting = queue.put("a", 1)
    assert queue.pop()[2] is waiting


def test_a_cancelled_entry_leaves_and_that_is_told() -> None:
    left: list[int] = []
    queue: FairQueue[int] = FairQueue(lambda: left.append(len(queue)))
    waiting = [queue.put(user, item) for user, item in (("a", 1), ("a", 2), ("b", 3))]
    for each in waiting:
        each.addErrback(lambda _: None)
    waiting[0].cancel()
    assert (queue.next_user, queue.next_item, left) == ("a", 2, [2])
    waiting[1].cancel()
    assert (queue.next_user, queue.next_item, left) == ("b", 3, [2, 1])
    assert drained(queue) == [("b", 3)]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers())))
def test_nothing_is_lost_and_no_one_is_served_twice_while_another_waits(
    entries: list[tuple[str, int]],
) -> None:
    queue: FairQueue[int] = FairQueue()
    for user, item in entries:
        queue.put(user, item)
    served = drained(queue)
    for user in "abc":
        own = [item for whose, item in entries if whose == user]
        assert [item for whose, item in served if whose == user] == own
    for index in range(1, len(served)):
        if served[index - 1][0] == served[index][0]:
            assert len({user for user, _ in served[index:]}) == 1
