"""Threads for what takes long before a login, and the order in which addresses get them.

These are hashes of passwords, and signatures by large RSA host keys. Both give Python's lock back.

Knows: that a hash takes a core for a quarter of a second, how many may run at once, and which
address each one is for.
Must not know: passwords, keys or users.

The reactor's own threads look up host names and the store's credentials, which must not wait
behind hundreds of guessed passwords.

Rules

- Addresses take turns (`aio.fair_order`): the next call is for the address that has used least
  time. An IPv6 /64 counts as one address. The time is charged once it is known, since hashes
  differ: a user of users.ini may have one that takes seconds.
- A hash that was the right one is charged a tenth. So an address that logs in goes before those
  that guess, and cannot keep one that has mistyped a password waiting for long.
- One address never has all threads, where there are two or more. So a login from another one
  starts at once while one address guesses.
- One core is left to the reactor, where there are two or more: the libraries give Python's lock
  back, so that a hash takes a whole core.
- A wait that is cancelled leaves the queue. A hash that has begun keeps its thread until it ends,
  and is charged, whether its client is still there or not.
- How many wait is bounded by admission: each connection waits for one call at most.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from sftpgw.aio.fair_order import FairOrder, Ticket

MAX_THREADS = 4
"""How many passwords are hashed at the same time at most: each may take memory that no limit
counts."""

RIGHT_SHARE = 0.1
"""What is charged of the time of a hash that was the right one."""


def threads_for(cores: int) -> int:
    """How many threads hash passwords.

    :param cores: how many cores the process may use.
    """
    return max(1, min(cores - 1, MAX_THREADS))


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


RunInThread = Callable[..., Deferred[Any]]
"""``LoginThreads.run``: takes the client's address or /64, a function and its arguments. In tests,
a function that makes the call at once."""


class _LoginSource:
    """An address with calls that wait or run.

    :ivar waiting: the calls that wait, in their order.
    :ivar running: how many of its calls run.
    :ivar ticket: its place in the order; None if nothing waits, or as many run as may.
    """

    __slots__ = ("running", "ticket", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[_Call] = deque()
        self.running = 0
        self.ticket: Ticket[str] | None = None


class _Call:
    """One call that was asked for.

    :ivar done: fires with its result.
    """

    __slots__ = ("arguments", "done", "function")

    def __init__(
        self, function: Callable[..., Any], arguments: tuple[object, ...], done: Deferred[Any]
    ) -> None:
        self.function = function
        self.arguments = arguments
        self.done = done


class LoginThreads:
    """A thread pool that starts with its first call, and stops with the reactor.

    :param reactor: Twisted's reactor.
    :param limit: how many threads there are at most; by default as many as the cores bear.
    """

    def __init__(self, reactor: Any, limit: int | None = None) -> None:
        self._reactor = reactor
        self._free = limit if limit is not None else threads_for(usable_cores())
        self._most_of_one = max(1, self._free - 1)
        self._pool = ThreadPool(0, self._free, name="sftpgw-logins")
        self._order: FairOrder[str] = FairOrder()
        self._sources: dict[str, _LoginSource] = {}

    @property
    def waiting(self) -> int:
        """How many calls wait for a thread."""
        return sum(len(source.waiting) for source in self._sources.values())

    def run(self, source: str, function: Callable[..., Any], *arguments: object) -> Deferred[Any]:
        """Call a function in a thread, once it is the source's turn.

        :param source: the address that the call is for (`model.addresses.source_of`).
        :param function: hashes a password, and tells whether it is the right one; or signs a key
            exchange.
        :param arguments: its arguments.
        """
        done: Deferred[Any] = Deferred(lambda done: self._leave(source, done))
        self._sources.setdefault(source, _LoginSource()).waiting.append(
            _Call(function, arguments, done)
        )
        self._line_up(source)
        self._start_all()
        return done

    def _line_up(self, name: str) -> None:
        """Put the source into the order, take it out, or forget it: as its calls are."""
        source = self._sources[name]
        may_start = bool(source.waiting) and source.running < self._most_of_one
        if may_start and source.ticket is None:
            source.ticket = self._order.put((name,), name, cost=0.0)
        elif not may_start and source.ticket is not None:
            self._order.remove(source.ticket)
            source.ticket = None
        if not source.waiting and not source.running:
            del self._sources[name]

    def _start_all(self) -> None:
        while self._free and not self._order.is_empty:
            name = self._order.pop().item
            source = self._sources[name]
            source.ticket = None
            source.running += 1
            self._free -= 1
            self._start(name, source.waiting.popleft())
            self._line_up(name)

    def _start(self, name: str, call: _Call) -> None:
        if not self._pool.started:
            self._pool.start()
            self._reactor.addSystemEventTrigger("during", "shutdown", self._pool.stop)
        self._pool.callInThread(self._work, name, call)

    def _work(self, name: str, call: _Call) -> None:
        """In the thread: call, and tell the reactor."""
        began_seconds = time.monotonic()
        try:
            outcome: Any = call.function(*call.arguments)
        except BaseException:  # a panic of `cryptography` is no `Exception`
            outcome = Failure()
        seconds = time.monotonic() - began_seconds
        self._reactor.callFromThread(self._on_ended, name, call, outcome, seconds)

    def _on_ended(self, name: str, call: _Call, outcome: Any, seconds: float) -> None:
        self._free += 1
        self._sources[name].running -= 1
        self._order.charge((name,), seconds * RIGHT_SHARE if outcome is True else seconds)
        self._line_up(name)
        self._start_all()
        if not call.done.called:  # else the client is gone
            call.done.callback(outcome)

    def _leave(self, name: str, done: Deferred[Any]) -> None:
        """A call was cancelled: it leaves the queue if it waits there."""
        source = self._sources[name]
        source.waiting = deque(call for call in source.waiting if call.done is not done)
        self._line_up(name)
