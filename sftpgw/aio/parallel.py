"""The same work for many items, some of them at once.

Knows: how many may be under way, and what follows from a failure.
Must not know: what the work is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred

T = TypeVar("T")


async def in_parallel(
    work: Callable[[T], Awaitable[None]], items: Iterable[T], at_once: int
) -> None:
    """Do `work` for each item. Returns when all is done, in any order.

    After a failure no item is begun any more. The failure is raised when nothing is under way, so
    that the caller can clean up behind all of it. When cancelled, what is under way is cancelled.

    :param work: what is done for one item.
    :param items: taken one by one as work is begun.
    :param at_once: how many items may be under way.
    :raises Exception: the first failure of `work`.
    """
    remaining = iter(items)
    failures: list[Exception] = []

    async def work_on_remaining() -> None:
        for item in remaining:
            try:
                await work(item)
            except Exception as error:
                failures.append(error)
            if failures:
                return

    workers = [Deferred.fromCoroutine(work_on_remaining()) for _ in range(at_once)]
    for worker in workers:
        await worker
        if any(isinstance(failure, CancelledError) for failure in failures):
            for each in workers:
                each.cancel()
    if failures:
        raise failures[0]
