"""The fair order (`aio/fair_order`), for coroutines that wait.

Knows: the Deferreds of what waits. Must not know: what they wait for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred

from sftpgw.aio.fair_order import FairOrder, Path

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Entries that wait by user, session and channel; the next is of the one that has used least.

    :param on_leave: is called after a waiter was cancelled and has left the queue.
    :param weight_of: returns the weight of a user, as for `FairOrder`.
    """

    def __init__(
        self,
        on_leave: Callable[[], None] | None = None,
        weight_of: Callable[[str], float] = lambda user: 1.0,
    ) -> None:
        self._order: FairOrder[tuple[T, Deferred[None]]] = FairOrder(weight_of)
        self._on_leave = on_leave
        self.is_empty = True
        """Whether nothing waits. An attribute, since each READ and each part asks."""

    def __len__(self) -> int:
        """How many entries wait."""
        return len(self._order)

    @property
    def users(self) -> Collection[str]:
        """The users that have entries in the queue."""
        return self._order.users

    @property
    def next_path(self) -> Path:
        """Whose entry is the next one. The queue must not be empty."""
        return self._order.next.path

    @property
    def next_item(self) -> T:
        """What was put in with the next entry. The queue must not be empty."""
        return self._order.next.item[0]

    def put(self, path: Path, item: T, cost: float = 1.0) -> Deferred[None]:
        """Put `item` behind the other entries with the same path.

        Returns what `pop` hands out with it, for the caller of `pop` to fire. Cancel it to leave.

        :param path: whose entry it is.
        :param item: what waits.
        :param cost: what is charged when it leaves by `pop`.
        """

        def leave(_: Deferred[None]) -> None:
            self._order.remove(ticket)
            self.is_empty = self._order.is_empty
            if self._on_leave is not None:
                self._on_leave()

        granted: Deferred[None] = Deferred(leave)
        ticket = self._order.put(path, (item, granted), cost)
        self.is_empty = False
        return granted

    def pop(self) -> tuple[Path, T, Deferred[None]]:
        """Take out the next entry: its path, its item, and the Deferred that waits for it."""
        ticket = self._order.pop()
        self.is_empty = self._order.is_empty
        item, granted = ticket.item
        return ticket.path, item, granted

    def charge(self, path: Path, cost: float) -> None:
        """Charge use that did not wait, or that was measured afterwards.

        :param path: who has used it.
        :param cost: how much, in the unit of this queue.
        """
        self._order.charge(path, cost)
