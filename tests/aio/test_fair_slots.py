"""`aio/fair_slots`: so many at once, in a fair order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from sftpgw.aio.fair_slots import FairSlots


class Held:
    """What takes slots, and the order in which they were granted."""

    def __init__(self, slots: FairSlots) -> None:
        self.slots = slots
        self.granted: list[str] = []
        self.waiting: list[Deferred[None]] = []

    def take(self, user: str) -> None:
        waiting = self.slots.acquire((user, "session"))
        if waiting is None:
            self.granted.append(user)
        else:
            waiting.addCallbacks(lambda _: self.granted.append(user), lambda _: None)
            self.waiting.append(waiting)


def test_a_user_with_one_request_waits_for_one_turn() -> None:
    held = Held(FairSlots(1))
    for user in "aaaaab":
        held.take(user)
    held.slots.release()
    assert held.granted == ["a", "b"]


def test_a_user_with_twice_the_weight_gets_twice_as_many() -> None:
    held = Held(FairSlots(1, {"a": 1.0, "b": 2.0}.__getitem__))
    for user in ["a", "b"] * 30:
        held.take(user)
    for _ in range(29):
        held.slots.release()
    assert held.granted.count("b") == 20


def test_a_slot_is_given_back_where_its_holder_fails() -> None:
    slots = FairSlots(1)

    async def fail() -> None:
        async with slots.slot(("a",)):
            raise OSError("on purpose")

    failed = Deferred.fromCoroutine(fail())
    failed.addErrback(lambda failure: failure.trap(OSError) and None)
    assert (slots.held, len(slots)) == (0, 0)


def test_a_waiter_that_is_cancelled_leaves_the_queue() -> None:
    slots = FairSlots(1)
    assert slots.acquire(("a",)) is None

    async def wait() -> None:
        async with slots.slot(("b",)):
            pytest.fail("there is no slot")

    waiting = Deferred.fromCoroutine(wait())
    waiting.addErrback(lambda _: None)
    waiting.cancel()
    assert (slots.held, len(slots)) == (1, 0)
    slots.release()
    assert slots.held == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(("take", "end", "cancel")))))
def test_the_slots_are_never_exceeded_and_all_are_given_back(
    steps: list[tuple[str, str]],
) -> None:
    slots = FairSlots(2)
    held = Held(slots)
    ended = 0
    for user, step in steps:
        if step == "take":
            held.take(user)
        elif step == "end" and ended < len(held.granted):
            ended += 1
            slots.release()
        elif step == "cancel" and held.waiting:
            held.waiting.pop(0).cancel()
        assert slots.held == len(held.granted) - ended <= 2
        assert not len(slots) or slots.held == 2
    while ended < len(held.granted):
        ended += 1
        slots.release()
    assert (slots.held, len(slots)) == (0, 0)
