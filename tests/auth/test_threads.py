"""Password hashes have threads of their own."""

from __future__ import annotations

import threading
from typing import Any

import pytest_twisted
from twisted.internet import reactor as installed
from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

from sftpgw.auth.threads import LoginThreads


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
        guesses = [threads.run(release.wait, 30) for _ in range(20)]
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
