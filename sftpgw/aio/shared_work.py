"""Work under way whose result several want: it is done once for all of them.

Knows: which work is under way, and who waits for it. Must not know: what the work is.

Who joins gets a result that is as new as that of work of its own: it joins only what began after
its `mark`. Who leaves ends nothing for the others; when the last one leaves, the work is cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sftpgw.aio.notifier import Notifier

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SharedWork(Generic[K, V]):
    """Work under way, by key. It holds nothing of work that has ended."""

    def __init__(self) -> None:
        self._begun = 0
        self._under_way: dict[K, _UnderWay[V]] = {}

    def __len__(self) -> int:
        """How much work is under way that may be joined."""
        return len(self._under_way)

    @property
    def mark(self) -> int:
        """This moment, for `result`."""
        return self._begun

    async def result(self, key: K, mark: int, work: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """The result of the work for a key: of what is under way, or of new work.

        :param key: which work it is.
        :param mark: work that began before it is not good enough.
        :param work: does it.
        :raises Exception: what the work raises, to all that wait for it.
        """
        found = self._under_way.get(key)
        if found is None or found.number <= mark:
            found = self._begin(key, work)
        return await found.result()

    def _begin(self, key: K, work: Callable[[], Coroutine[Any, Any, V]]) -> _UnderWay[V]:
        self._begun += 1
        begun: _UnderWay[V] = _UnderWay(self._begun)
        self._under_way[key] = begun

        def forget() -> None:
            if self._under_way.get(key) is begun:
                del self._under_way[key]

        begun.start(work(), forget)
        return begun


class _UnderWay(Generic[V]):
    """One piece of work.

    :param number: how many pieces had begun with it.
    """

    __slots__ = ("_forget", "_outcome", "_waiters", "_work", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self._outcome: list[V | Failure] = []
        self._waiters = Notifier(self._left)
        self._work: Deferred[V] | None = None
        self._forget: Callable[[], None]

    def start(self, work: Coroutine[Any, Any, V], forget: Callable[[], None]) -> None:
        """Begin. `forget` is called when it can be joined no more."""
        self._forget = forget
        self._work = Deferred.fromCoroutine(work)
        self._work.addBoth(self._ended)

    async def result(self) -> V:
        if not self._outcome:
            await self._waiters.wait()
        (outcome,) = self._outcome
        if isinstance(outcome, Failure):
            outcome.raiseException()
        return outcome

    def _ended(self, outcome: V | Failure) -> None:
        self._outcome.append(outcome)
        self._forget()
        self._waiters.notify_all()

    def _left(self) -> None:
        """Nothing waits any more: the work has ended, or its result is not wanted."""
        if not self._outcome and self._work is not None:
            self._forget()
            self._work.cancel()
