"""Threads in which passwords are hashed.

Knows: that a hash takes a core for a quarter of a second, and how many may run at once.
Must not know: passwords or users.

The reactor's own threads look up host names and the store's credentials, which must not wait
behind hundreds of guessed passwords.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

THREADS = 4
"""How many passwords are hashed at the same time."""
T = TypeVar("T")


class LoginThreads:
    """A thread pool that starts with its first call, and stops with the reactor.

    :param reactor: Twisted's reactor.
    :param limit: how many threads there are at most.
    """

    def __init__(self, reactor: Any, limit: int = THREADS) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(0, limit, name="sftpgw-logins")

    def run(self, function: Callable[..., T], *arguments: object) -> Deferred[T]:
        """Call a function in a thread, as ``deferToThread`` does."""
        if not self._pool.started:
            self._pool.start()
            self._reactor.addSystemEventTrigger("during", "shutdown", self._pool.stop)
        running: Deferred[T] = deferToThreadPool(self._reactor, self._pool, function, *arguments)
        return running
