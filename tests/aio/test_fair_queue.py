"""`aio/fair_queue`: the Deferreds of what waits in a fair order."""

from __future__ import annotations

from sftpgw.aio.fair_queue import FairQueue


def drained(queue: FairQueue[int]) -> list[tuple[str, int]]:
    found = []
    while queue:
        path, item, _ = queue.pop()
        found.append((path[0], item))
    return found


def test_users_take_turns() -> None:
    queue: FairQueue[int] = FairQueue()
    for user, item in (("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5), ("b", 6)):
        queue.put((user,), item)
    assert (queue.next_path, queue.next_item, len(queue)) == (("a",), 1, 6)
    assert set(queue.users) == {"a", "b", "c"}
    assert drained(queue) == [("a", 1), ("b", 4), ("c", 5), ("a", 2), ("b", 6), ("a", 3)]
    assert (len(queue), set(queue.users)) == (0, set())


def test_pop_returns_the_entries_that_put_has_returned() -> None:
    queue: FairQueue[int] = FairQueue()
    waiting = queue.put(("a",), 1)
    assert queue.pop()[2] is waiting


def test_a_cancelled_entry_leaves_and_that_is_told() -> None:
    left: list[int] = []
    queue: FairQueue[int] = FairQueue(lambda: left.append(len(queue)))
    waiting = [queue.put((user,), item) for user, item in (("a", 1), ("a", 2), ("b", 3))]
    for each in waiting:
        each.addErrback(lambda _: None)
    waiting[0].cancel()
    assert (queue.next_path, queue.next_item, left) == (("a",), 2, [2])
    waiting[1].cancel()
    assert (queue.next_path, queue.next_item, left) == (("b",), 3, [2, 1])
    assert drained(queue) == [("b", 3)]
    assert queue.is_empty


def test_use_that_did_not_wait_is_charged() -> None:
    queue: FairQueue[int] = FairQueue()
    queue.put(("b",), 0)
    queue.charge(("a",), 5)
    queue.put(("a",), 1)
    for item in (2, 3):
        queue.put(("b",), item)
    assert drained(queue) == [("b", 0), ("b", 2), ("b", 3), ("a", 1)]


def test_a_user_with_twice_the_weight_gets_twice_as_much() -> None:
    queue: FairQueue[int] = FairQueue(weight_of={"a": 1.0, "b": 2.0}.__getitem__)
    for item in range(30):
        for user in ("a", "b"):
            queue.put((user,), item)
    served = [queue.pop()[0] for _ in range(30)]
    assert served.count(("b",)) == 20
