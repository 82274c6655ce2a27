"""How many requests may be in flight after a store has asked for fewer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sftpgw.s3.throttle.plan import CALM_SECONDS, Throttle


def in_flight(throttle: Throttle, count: int) -> list[int]:
    return [throttle.began() for _ in range(count)]


def throttled(to: int) -> Throttle:
    """A throttle whose limit is `to`, nothing in flight."""
    throttle = Throttle(ceiling=64)
    began = in_flight(throttle, 2 * to)
    throttle.refused(began[0], 0.0)
    for _ in began:
        throttle.ended()
    assert throttle.limit == to
    return throttle


def test_without_a_refusal_there_is_no_limit() -> None:
    throttle = Throttle(ceiling=4)
    in_flight(throttle, 1000)
    assert throttle.has_room
    assert not throttle.served(0.0, is_crowded=False)
    assert throttle.has_room


def test_a_refusal_halves_what_is_in_flight() -> None:
    throttle = Throttle(ceiling=64)
    throttle.refused(in_flight(throttle, 9)[3], 0.0)
    assert (throttle.limit, throttle.has_room) == (4, False)


def test_beyond_the_ceiling_the_ceiling_is_halved() -> None:
    throttle = Throttle(ceiling=64)
    throttle.refused(in_flight(throttle, 500)[0], 0.0)
    assert not throttle.served(0.0, is_crowded=True)
    assert throttle.limit == 32


def test_a_lone_request_may_go_on() -> None:
    throttle = Throttle(ceiling=64)
    throttle.refused(throttle.began(), 0.0)
    throttle.ended()
    assert (throttle.limit, throttle.has_room) == (1, True)


def test_requests_that_were_refused_together_halve_it_once() -> None:
    throttle = Throttle(ceiling=64)
    for began in in_flight(throttle, 16):
        throttle.refused(began, 0.0)
        throttle.ended()
    assert (throttle.limit, throttle.refusals) == (8, 16)
    throttle.refused(throttle.began(), 1.0)
    assert throttle.limit == 4


def test_the_limit_grows_by_one_after_as_many_successes_as_it_allows() -> None:
    throttle = throttled(to=4)
    limits = []
    for _ in range(9):
        throttle.began()
        throttle.served(0.0, is_crowded=True)
        throttle.ended()
        limits.append(throttle.limit)
    assert limits == [4, 4, 4, 5, 5, 5, 5, 5, 6]


def test_the_limit_does_not_grow_while_no_request_waits() -> None:
    throttle = throttled(to=4)
    for _ in range(100):
        throttle.began()
        throttle.served(0.0, is_crowded=False)
        throttle.ended()
    assert throttle.limit == 4


def test_the_throttle_ends_at_the_ceiling() -> None:
    throttle = throttled(to=32)
    throttle.began()
    over = [throttle.served(0.0, is_crowded=True) for _ in range(sum(range(32, 64)))]
    assert over == [False] * (len(over) - 1) + [True]
    assert throttle.limit is None


def test_the_throttle_ends_after_a_calm_minute() -> None:
    throttle = throttled(to=4)
    throttle.began()
    assert not throttle.served(CALM_SECONDS - 1, is_crowded=False)
    assert not throttle.served(CALM_SECONDS + 1, is_crowded=True), "requests wait"
    assert throttle.served(CALM_SECONDS + 1, is_crowded=False)


@given(st.lists(st.sampled_from(["begin", "serve", "refuse", "drop"]), max_size=200))
def test_the_limit_never_falls_below_one(events: list[str]) -> None:
    throttle = Throttle(ceiling=8)
    begun: list[int] = []
    for event in events:
        if event == "begin" and throttle.has_room:
            begun.append(throttle.began())
        elif event != "begin" and begun:
            began = begun.pop(0)
            if event == "serve":
                throttle.served(0.0, is_crowded=True)
            elif event == "refuse":
                throttle.refused(began, 0.0)
            throttle.ended()
        assert throttle.in_flight == len(begun)
        assert throttle.limit is None or 1 <= throttle.limit < 8
        assert throttle.has_room or begun
