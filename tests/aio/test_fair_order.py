"""`aio/fair_order`: who has used least is next, at each level of the path."""

from __future__ import annotations

from itertools import count

import pytest

from sftpgw.aio.fair_order import MAX_DEBTORS, MAX_NESTED_DEBTORS, FairOrder, Path
from tests.aio.fair_histories import run_history


def filled(*paths: str, cost: float = 1.0) -> FairOrder[int]:
    """An order with one entry for each path, which is written as ``user/session``."""
    order: FairOrder[int] = FairOrder()
    for item, path in enumerate(paths):
        order.put(tuple(path.split("/")), item, cost)
    return order


def drained(order: FairOrder[int]) -> list[Path]:
    return [order.pop().path for _ in range(len(order))]


@pytest.mark.parametrize("first", range(0, 3000, 300))
def test_random_histories_are_fair(first: int) -> None:
    for seed in range(first, first + 300):
        run_history(seed)


def test_sessions_share_what_their_user_gets() -> None:
    order = filled(*["a/1"] * 4, *["a/2"] * 2, *["b/1"] * 3)
    assert ["/".join(path) for path in drained(order)] == [
        *("a/1", "b/1", "a/2", "b/1", "a/1", "b/1"),
        *("a/2", "a/1", "a/1"),
    ]


def test_a_user_gains_nothing_by_many_sessions() -> None:
    order = filled(*(f"a/{session}" for session in range(100)), *["b/1"] * 5)
    assert [path[0] for path in drained(order)[:10]] == ["a", "b"] * 5


def test_an_expensive_entry_is_paid_for_by_waiting() -> None:
    order: FairOrder[int] = FairOrder()
    order.put(("a", "1"), 0, 10.0)
    for item in range(12):
        order.put(("b", "1"), item, 1.0)
    order.put(("a", "1"), 1, 10.0)
    assert "".join(path[0] for path in drained(order)) == "a" + "b" * 10 + "abb"


def test_idle_time_earns_no_credit() -> None:
    order = filled("a", "b")
    for _ in range(1000):
        order.put(order.pop().path if order.next.path == ("a",) else ("a",), 0)
    while order.next.path != ("a",) or "b" in order.users:
        order.pop()
    for item in range(6):
        order.put(("b",), item)
        order.put(("a",), item)
    users = [path[0] for path in drained(order)]
    assert users[:10].count("b") <= 6


def test_use_while_nothing_waited_leaves_no_debt_but_the_last_charge() -> None:
    order: FairOrder[int] = FairOrder()
    for _ in range(1000):
        order.charge(("a",), 1)
    for item in range(3):
        order.put(("a",), item)
        order.put(("b",), item)
    assert "".join(path[0] for path in drained(order)) in ("babaab", "bababa")


def test_a_charge_that_was_too_high_is_corrected() -> None:
    order = filled("a", "b", "a", "b", cost=4)
    order.pop()
    assert (order.used("a"), order.used("b")) == (4, 0)
    order.charge(("a",), -3)
    assert order.used("a") == 1


def test_sessions_that_come_and_go_are_forgotten() -> None:
    order: FairOrder[int] = FairOrder()
    for number in range(3 * MAX_NESTED_DEBTORS):
        order.put(("user", str(number)), 0)
        order.pop()
    assert len(order._root.debtors["user"].debtors) == MAX_NESTED_DEBTORS


def test_debts_that_others_have_caught_up_with_are_forgotten() -> None:
    order = filled("a", *"b" * 8)
    order.charge(("c",), 3)
    drained(order)
    assert list(order._root.debtors) == ["b"]


def test_at_most_so_many_debts_are_remembered() -> None:
    order = filled("honest")
    for number in range(3 * MAX_DEBTORS):
        order.charge((str(number),), 5)
    assert len(order._root.debtors) == MAX_DEBTORS
    assert order.next.path == ("honest",)


def test_an_entry_may_leave_from_anywhere() -> None:
    order: FairOrder[int] = FairOrder()
    numbers = count()
    tickets = [order.put(("a", session), next(numbers)) for session in "xxyy"]
    order.remove(tickets[1])
    order.remove(tickets[2])
    assert [order.pop().item for _ in range(len(order))] == [0, 3]
    assert order.is_empty
    assert not order.users


def test_what_an_entry_has_used_is_charged_when_it_ends() -> None:
    order = filled("a/1", "a/1", "b/1", "b/1")
    assert order.begin().path == ("a", "1")
    order.end(2.5)
    assert [path[0] for path in drained(order)] == ["b", "b", "a"]


def test_one_that_waits_again_while_it_is_served_has_its_old_place() -> None:
    order = filled("a/1", "b/1")
    path = order.begin().path
    order.put(path, 2)
    order.end(1)
    assert [path[0] for path in drained(order)] == ["b", "a"]


def test_others_of_a_session_may_leave_while_it_is_served() -> None:
    order = filled("a/1/x")
    other = order.put(("a", "1", "y"), 1)
    assert order.begin().path == ("a", "1", "x")
    order.remove(other)
    assert order.is_empty
    order.end(5)
    assert not order.users
    assert order.used("a") == 5


def test_an_entry_that_did_not_end_costs_nothing() -> None:
    order = filled("a/1", "b/1")
    order.begin()
    assert order.begin().path == ("b", "1")
    order.end(1)
    assert (order.used("a"), order.used("b"), len(order)) == (0, 1, 0)
