"""Password hashes have threads of their own."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor as installed
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.threads import deferToThread

from sftpgw.auth.threads import LoginThreads, threads_for


class Reactor:
    """The real reactor, except for its end, which the test causes."""

    def __init__(self) -> None:
        self.at_the_end: list[Any] = []

    def addSystemEventTrigger(self, phase: str, event: str, call: Any) -> None:
        assert (phase, event) == ("during", "shutdown")
        self.at_the_end.append(call)

    def __getattr__(self, name: str) -> Any:
        return getattr(installed, name)


@pytest_twisted.ensureDeferred
async def test_waiting_hashes_do_not_delay_other_threads() -> None:
    reactor = Reactor()
    threads = LoginThreads(reactor, limit=2)
    release = threading.Event()
    try:
        guesses = [threads.run(f"192.0.2.{number}", release.wait, 30) for number in range(20)]
        assert await deferToThread(lambda: "a host name") == "a host name"
        assert not any(guess.called for guess in guesses)
        release.set()
        assert await gatherResults(guesses) == [True] * 20
        assert len(reactor.at_the_end) == 1
    finally:
        release.set()
        for call in reactor.at_the_end:
            call()


def test_without_a_password_there_is_no_thread() -> None:
    before = threading.active_count()
    LoginThreads(Reactor())
    assert threading.active_count() == before


class ThreadsByHand:
    """A `LoginThreads` whose calls end when the test says so, each after so many seconds."""

    def __init__(self, limit: int) -> None:
        self.threads = LoginThreads(Reactor(), limit)
        self.running: list[tuple[str, Any]] = []
        self.began: list[str] = []
        self.threads._start = self._start  # type: ignore[method-assign]

    def _start(self, name: str, call: Any) -> None:
        self.running.append((name, call))
        self.began.append(name)

    def ask(self, source: str, count: int = 1) -> list[Deferred[bool]]:
        return [self.threads.run(source, bool) for _ in range(count)]

    def end(self, seconds: float = 1.0, source: str = "", *, is_right: bool = False) -> str:
        """End the oldest call, of this source if it is given."""
        index = next(i for i, (name, _) in enumerate(self.running) if source in ("", name))
        name, call = self.running.pop(index)
        self.threads._on_ended(name, call, is_right, seconds)
        return name


def test_one_address_never_has_all_threads() -> None:
    hands = ThreadsByHand(limit=3)
    hands.ask("guesser", 50)
    assert hands.began == ["guesser"] * 2
    (honest,) = hands.ask("honest")
    assert hands.began[-1] == "honest"
    hands.end(source="honest")
    assert honest.called
    for _ in range(10):
        hands.end()
    assert hands.began.count("guesser") == 12


def test_another_address_is_next_whoever_waits() -> None:
    """With one thread, and eight addresses that have queued forty hashes each.

    No two hashes take the same time; addresses that have used the same to the last bit would go
    before it, once each.
    """
    hands = ThreadsByHand(limit=1)
    for number in range(8):
        hands.ask(f"guesser-{number}", 40)
    for number in range(100):
        hands.end(1.0 + number * 7919 % 101 / 1000)
    hands.ask("honest")
    hands.end()
    assert "honest" in hands.began[-2:]


def test_turns_are_by_the_time_that_hashes_took() -> None:
    hands = ThreadsByHand(limit=1)
    hands.ask("dear", 100)
    hands.ask("cheap", 100)
    for _ in range(50):
        hands.end(4.0 if hands.running[0][0] == "dear" else 1.0)
    assert 3 <= hands.began.count("cheap") / hands.began.count("dear") <= 5


def test_who_logs_in_goes_before_who_guesses_and_stops_no_other() -> None:
    hands = ThreadsByHand(limit=1)
    for number in range(8):
        hands.ask(f"guesser-{number}", 100)
    hands.ask("honest", 100)
    waits = [0]
    for number in range(300):
        ended = hands.end(1.0 + number % 7 / 100, is_right=hands.running[0][0] == "honest")
        waits[-1] += 1
        if ended == "honest":
            waits.append(0)
    assert sum(waits) / len(waits) < 3
    guessed = {name for name in hands.began if name != "honest"}
    assert len(guessed) == 8


def test_a_call_that_is_cancelled_leaves_the_queue() -> None:
    hands = ThreadsByHand(limit=1)
    running, waiting, last = hands.ask("one", 3)
    (other,) = hands.ask("other")
    outcomes: list[Any] = []
    for each in (running, waiting, other):
        each.addErrback(lambda failure: outcomes.append(failure.type))
        each.cancel()
    assert outcomes == [CancelledError] * 3
    assert hands.threads.waiting == 1
    hands.end()  # the one that was running, whose client is gone
    assert hands.began == ["one", "one"]
    hands.end()
    assert last.called
    assert hands.threads.waiting == 0
    assert not hands.threads._sources


@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from(["ask", "end", "leave"]))))
def test_every_call_is_made_or_has_left_and_no_thread_idles(steps: list[tuple[int, str]]) -> None:
    hands = ThreadsByHand(limit=3)
    asked: list[Deferred[Any]] = []
    for number, step in steps:
        if step == "ask":
            asked += hands.ask(f"address-{number}")
        elif step == "end" and hands.running:
            hands.end(number)
        elif step == "leave" and asked:
            asked[number % len(asked)].addErrback(lambda failure: None).cancel()
        per_source = Counter(name for name, _ in hands.running)
        assert len(hands.running) <= 3
        assert all(count <= 2 for count in per_source.values())
        if len(hands.running) < 3:
            blocked = {name for name, count in per_source.items() if count == 2}
            assert all(
                name in blocked for name, each in hands.threads._sources.items() if each.waiting
            )
    while hands.running:
        hands.end()
    assert all(each.called for each in asked)
    assert not hands.threads._sources


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (3, 2), (5, 4), (64, 4)])
def test_a_core_is_left_to_the_reactor(cores: int, threads: int) -> None:
    assert threads_for(cores) == threads


@pytest_twisted.ensureDeferred
async def test_what_a_call_raises_comes_back() -> None:
    reactor = Reactor()
    threads = LoginThreads(reactor)
    try:
        with pytest.raises(ZeroDivisionError):
            await threads.run("192.0.2.1", lambda: bool(1 // 0))
        assert await threads.run("192.0.2.1", lambda: True)
    finally:
        for call in reactor.at_the_end:
            call()


@pytest_twisted.ensureDeferred
async def test_a_panic_comes_back_too_and_keeps_no_thread() -> None:
    """The thread was never free again, and the client waited for ever."""

    class Panic(BaseException):
        """As of `cryptography`, whose errors in Rust are no `Exception`."""

    def fail() -> None:
        raise Panic

    reactor = Reactor()
    threads = LoginThreads(reactor, limit=1)
    try:
        for _ in range(2):
            with pytest.raises(Panic):
                await threads.run("192.0.2.1", fail).addTimeout(5.0, installed)
    finally:
        for call in reactor.at_the_end:
            call()
