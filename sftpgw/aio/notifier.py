"""Coroutines that wait for the same event, whatever it is."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


class Notifier:
    """A condition variable for one thread: `wait`, and `notify_all`.

    A waiter may be cancelled at any time, also by another one that has just been notified.

    :param on_none_left: is called when the last waiter leaves, cancelled or about to be notified.
    """

    __slots__ = ("_on_none_left", "_waiters")

    def __init__(self, on_none_left: Callable[[], None] | None = None) -> None:
        self._waiters: dict[Deferred[None], None] = {}
        self._on_none_left = on_none_left

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._waiters)

    def wait(self) -> Deferred[None]:
        """Fires with the next `notify_all`. Cancel it to leave."""
        waiter: Deferred[None] = Deferred(self._leave)
        self._waiters[waiter] = None
        return waiter

    def notify_all(self, failure: Failure | None = None) -> None:
        """Wake all that wait now. A waiter that comes meanwhile waits for the next call.

        :param failure: the error that they get; None: they get None.
        """
        waiters, self._waiters = self._waiters, {}
        if waiters and self._on_none_left is not None:
            self._on_none_left()
        for waiter in waiters:
            if waiter.called:
                continue  # another one, notified before, has cancelled it
            if failure is None:
                waiter.callback(None)
            else:
                waiter.errback(failure)

    def _leave(self, waiter: Deferred[None]) -> None:
        if waiter not in self._waiters:
            return
        del self._waiters[waiter]
        if not self._waiters and self._on_none_left is not None:
            self._on_none_left()
