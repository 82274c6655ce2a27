"""The same work for many things, some of them at once.

Knows: how many may be under way, and what follows from a failure.
Must not know: what the work is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred

T = TypeVar("T")


async def in_parallel(
    work: Callable[[T], Awaitable[None]], things: Iterable[T], at_once: int
) -> None:
    """Returns when all is done, in any order.

    After a failure nothing more is begun; it is raised when nothing is under way any more,
    so that whoever clears up after it meets no latecomers. Cancelled, it drops all of it.
    """
    waiting = iter(things)
    failures: list[Exception] = []

    async def take_turns() -> None:
        for thing in waiting:
            try:
                await work(thing)
            except Exception as error:
                failures.append(error)
            if failures:
                return

    workers = [Deferred.fromCoroutine(take_turns()) for _ in range(at_once)]
    for worker in workers:
        await worker
        if any(isinstance(failure, CancelledError) for failure in failures):
            for each in workers:
                each.cancel()
    if failures:
        raise failures[0]
