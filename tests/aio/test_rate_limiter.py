"""A rate that several waiters share: it holds over time, and they get equal shares."""

from __future__ import annotations

import gc
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from sftpgw.aio.rate_limiter import BURST_SECONDS, RateLimiter, UserRates

RATE = 1_000_000


class Waiter:
    """Takes a quantum at each turn, for ever."""

    def __init__(self, limiter: RateLimiter, name: str, taken: Counter[str]) -> None:
        self.limiter, self.name, self.taken = limiter, name, taken
        self.ticket = limiter.wait((name.partition("/")[0], name), self.on_turn)

    def on_turn(self) -> int:
        size_bytes = self.limiter.quantum_bytes
        self.taken[self.name] += size_bytes
        self.ticket = self.limiter.wait((self.name.partition("/")[0], self.name), self.on_turn)
        return size_bytes


def pass_time(clock: Clock, seconds: float, step_seconds: float = 0.01) -> None:
    for _ in range(round(seconds / step_seconds)):
        clock.advance(step_seconds)


@pytest.mark.parametrize("count", [1, 10, 100])
@pytest.mark.parametrize("rate", [20_000, RATE, 100_000_000])
def test_the_rate_holds_for_any_number_of_waiters(rate: int, count: int) -> None:
    clock, taken = Clock(), Counter[str]()
    limiter = RateLimiter(rate, clock)
    for number in range(count):
        Waiter(limiter, f"s{number}/0", taken)
    pass_time(clock, 60)
    assert sum(taken.values()) == pytest.approx(60 * rate, rel=0.02)
    unequal_bytes = max(taken.values()) - min(taken[f"s{number}/0"] for number in range(count))
    # The first one had what could be had at once.
    assert unequal_bytes <= rate * BURST_SECONDS + limiter.quantum_bytes


def test_sessions_take_turns_and_not_their_channels() -> None:
    clock, taken = Clock(), Counter[str]()
    limiter = RateLimiter(RATE, clock)
    for name in ("many/0", "many/1", "many/2", "one/0"):
        Waiter(limiter, name, taken)
    pass_time(clock, 60)
    assert taken["one/0"] == pytest.approx(30 * RATE, rel=0.02)
    assert taken["many/1"] == pytest.approx(10 * RATE, rel=0.02)


def test_what_could_not_wait_is_paid_before_the_next_turn() -> None:
    clock, taken = Clock(), Counter[str]()
    limiter = RateLimiter(RATE, clock)
    limiter.pay(("s", "0"), 10 * RATE)
    Waiter(limiter, "s/1", taken)
    pass_time(clock, 9)
    assert not taken
    pass_time(clock, 51)
    assert sum(taken.values()) == pytest.approx(50 * RATE, rel=0.02)


def test_a_rate_that_is_not_used_is_not_saved_up() -> None:
    clock, taken = Clock(), Counter[str]()
    limiter = RateLimiter(RATE, clock)
    clock.advance(1000)
    Waiter(limiter, "s/0", taken)
    assert sum(taken.values()) <= RATE * BURST_SECONDS + limiter.quantum_bytes


def test_the_rate_changes_and_debts_stay() -> None:
    clock, taken = Clock(), Counter[str]()
    limiter = RateLimiter(RATE, clock)
    limiter.pay(("s", "0"), 10 * RATE)
    limiter.change(10 * RATE)
    Waiter(limiter, "s/0", taken)
    pass_time(clock, 0.5)
    assert not taken
    pass_time(clock, 9.5)
    assert sum(taken.values()) == pytest.approx(90 * RATE, rel=0.05)


def test_a_turn_that_raises_does_not_stop_the_others() -> None:
    clock = Clock()
    limiter = RateLimiter(10_000, clock)
    served: list[str] = []

    def fail() -> int:
        raise ConnectionError

    def serve() -> int:
        served.append("other")
        return 4096

    limiter.pay(("other", "0"), 10_000)
    limiter.wait(("broken", "0"), fail)
    limiter.wait(("other", "0"), serve)
    with pytest.raises(ConnectionError):
        clock.advance(1)
    clock.advance(1)
    assert served == ["other"]


def test_one_that_leaves_leaves_no_timer() -> None:
    clock, taken = Clock(), Counter[str]()
    limiter = RateLimiter(RATE, clock)
    limiter.pay(("s", "0"), RATE)
    waiter = Waiter(limiter, "s/0", taken)
    assert clock.getDelayedCalls()
    limiter.leave(waiter.ticket)
    assert clock.getDelayedCalls() == []


@settings(max_examples=200)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("pay"), st.integers(0, 500_000)),
            st.tuples(st.just("wait"), st.integers(1, 300_000)),
            st.tuples(st.just("pass"), st.integers(1, 2000)),
            st.tuples(st.just("change"), st.integers(10_000, RATE)),
        ),
        max_size=40,
    )
)
def test_never_more_than_the_rate_and_each_is_served(history: list[tuple[str, int]]) -> None:
    clock, limiter = Clock(), None
    limiter = RateLimiter(RATE, clock)
    served: list[int] = []
    asked, paid, may_bytes, turns = 0, 0, RATE * BURST_SECONDS, 0
    for kind, amount in history:
        if kind == "pay":
            limiter.pay(("s", "0"), amount)
            paid += amount
        elif kind == "wait":
            asked += 1
            turns = max(turns, amount)
            path = ("s", str(asked % 3))
            limiter.wait(path, lambda amount=amount: served.append(amount) or amount)
        elif kind == "pass":
            clock.advance(amount / 1000)
            may_bytes += RATE * amount / 1000
        else:
            limiter.change(amount)
        # The last turn may leave a debt of its own size.
        assert sum(served) <= may_bytes + turns
    for _ in range(100_000):
        if not clock.getDelayedCalls():
            break
        clock.advance(1)
    assert len(served) == asked


class TestUserRates:
    def test_without_a_limit_there_is_no_limiter(self) -> None:
        assert UserRates(Clock()).of("alice", "upload", None) is None

    def test_sessions_share_one_and_directions_do_not(self) -> None:
        rates = UserRates(Clock())
        first = rates.of("alice", "upload", RATE)
        assert rates.of("alice", "upload", RATE) is first
        assert rates.of("alice", "download", RATE) is not first
        assert rates.of("bob", "upload", RATE) is not first

    def test_a_new_rate_is_that_of_the_sessions_that_are_there(self) -> None:
        rates = UserRates(Clock())
        first = rates.of("alice", "upload", RATE)
        rates.of("alice", "upload", 5)
        assert first is not None
        assert first.bytes_per_second == 5

    def test_a_debt_outlives_the_session(self) -> None:
        clock = Clock()
        rates = UserRates(clock)
        first = rates.of("alice", "upload", RATE)
        assert first is not None
        first.pay(("s", "0"), 100 * RATE)
        del first
        gc.collect()
        for number in range(1000):
            rates.of(f"user{number}", "upload", RATE)
        again = rates.of("alice", "upload", RATE)
        assert again is not None
        assert not again.is_at_rest

    def test_those_at_rest_are_forgotten_unless_a_session_has_them(self) -> None:
        rates = UserRates(Clock())
        held = rates.of("alice", "upload", RATE)
        for number in range(10_000):
            rates.of(f"user{number}", "upload", RATE)
        assert len(rates) <= 128
        assert rates.of("alice", "upload", RATE) is held
