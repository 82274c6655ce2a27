"""The order in which users get what is scarce: memory, requests, CPU, password hashing.

Knows: what waits, by user, session and channel, and how much each of them has used.
Must not know: what is used, its unit, or the time.

Rules

1. What waits has a path: a user, then as a rule a session, then a channel or a file. The next
   entry is found level by level: the child that has used least comes first, and of children that
   have used the same, the one that was served longest ago. Entries with the same path keep their
   order.
2. An entry that leaves the queue charges its cost to each level of its path. Use that is known only
   afterwards, or that never waited, is charged by itself. A user's use is divided by its weight.
3. Each level has a *virtual time*: the use of the child that was served last. A child that begins
   to wait, or uses something without waiting, starts at the virtual time if it has used less. So
   idle time earns no credit: nothing can be saved up for a flood. And use while no other child
   waited leaves no debt beyond the last charge.
4. A child at or below the virtual time is forgotten once nothing of it waits. Of the others at most
   `MAX_DEBTORS` are remembered, of one user's sessions and channels `MAX_NESTED_DEBTORS`.

So an entry is served at the latest when each other child of its level has caught up with it: none
waits for ever, as long as there is a bound on names. This is start-time fair queuing (Goyal, Vin
and Cheng, SIGCOMM 1996), one queue for each level. Deficit round robin must know the cost before it
serves; here it may be measured afterwards.

The children that wait are in a heap. An entry of the heap is out of date once its child has been
charged or has left, and is dropped when it comes first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from heapq import heapify, heappop, heappush, heapreplace
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")

Path: TypeAlias = tuple[str, ...]
"""A user, then a session, then a channel or a file; some queues have only the first ones."""

MAX_DEBTORS = 1000
MAX_NESTED_DEBTORS = 32
"""How many children of one node are remembered that wait for nothing and have used more."""


class Ticket(Generic[T]):
    """One entry that waits.

    :param path: whose entry it is.
    :param item: what was put into the queue.
    :param cost: what is charged when it leaves the queue.
    """

    __slots__ = ("cost", "item", "path")

    def __init__(self, path: Path, item: T, cost: float) -> None:
        self.path = path
        self.item = item
        self.cost = cost


class _Sharer(Generic[T]):
    """A user, session or channel: its entries or its children, and what it has used."""

    __slots__ = (
        "debtors",
        "entries",
        "heap",
        "is_served",
        "max_debtors",
        "turn",
        "turns",
        "used",
        "virtual_time",
        "waiting",
    )

    def __init__(self, used: float, max_debtors: int = MAX_NESTED_DEBTORS) -> None:
        self.used = used
        self.max_debtors = max_debtors
        self.turn = 0
        self.turns = 0
        self.virtual_time = 0.0
        self.is_served = False  # its entry has been taken out, and is not paid yet
        self.waiting: dict[str, _Sharer[T]] = {}
        self.heap: list[tuple[float, int, str]] = []
        self.debtors: OrderedDict[str, _Sharer[T]] = OrderedDict()
        self.entries: OrderedDict[Ticket[T], None] = OrderedDict()

    def next_child(self) -> _Sharer[T]:
        """Of the children that wait, the one that has used least, and was served longest ago."""
        heap, waiting = self.heap, self.waiting
        while True:
            used, turn, name = heap[0]
            child = waiting.get(name)
            if child is not None and child.turn == turn and child.used == used:
                return child
            heappop(heap)

    def wake(self, name: str) -> _Sharer[T]:
        """A child that does not wait begins to wait now."""
        child = self.waiting[name] = self._caught_up(name)
        self.turns += 1
        child.turn = self.turns
        self._queue(name, child)
        return child

    def charged(self, name: str, use: float) -> _Sharer[T]:
        """Charge a child for use that did not wait, or that was measured afterwards."""
        child = self.waiting.get(name)
        if child is not None:
            child.used += use
            self._queue(name, child)
            return child
        child = self._caught_up(name)
        if not self.waiting:
            self.virtual_time = child.used
        self._remember(name, child)
        child.used += use
        return child

    def served(self, name: str, use: float) -> None:
        """A child was served: it pays, and goes to the end of those that have used the same."""
        child = self.waiting[name]
        child.used += use
        child.is_served = False
        if child.entries or child.waiting:
            self.turns += 1
            child.turn = self.turns
            self._queue(name, child)
        else:
            del self.waiting[name]
            if child.used > self.virtual_time:
                self._remember(name, child)
        if self.debtors:
            self._forget_some()

    def _queue(self, name: str, child: _Sharer[T]) -> None:
        heap = self.heap
        if heap and heap[0][2] == name:  # out of date from now on
            heapreplace(heap, (child.used, child.turn, name))
            return
        if len(heap) > 2 * len(self.waiting) + 8:
            heap[:] = [(each.used, each.turn, other) for other, each in self.waiting.items()]
            heapify(heap)
        heappush(heap, (child.used, child.turn, name))

    def settle(self, name: str) -> None:
        """A child may wait for nothing any more."""
        child = self.waiting[name]
        if not (child.entries or child.waiting or child.is_served):
            del self.waiting[name]
            if child.used > self.virtual_time:
                self._remember(name, child)

    def _caught_up(self, name: str) -> _Sharer[T]:
        child = self.debtors.pop(name, None) if self.debtors else None
        if child is None:
            return _Sharer(self.virtual_time)
        child.used = max(child.used, self.virtual_time)
        return child

    def _remember(self, name: str, child: _Sharer[T]) -> None:
        self.debtors[name] = child
        if len(self.debtors) > self.max_debtors:
            self.debtors.popitem(last=False)

    def _forget_some(self) -> None:
        """Look at the two oldest debtors only, so that serving costs the same for any number."""
        debtors = self.debtors
        for _ in range(min(2, len(debtors))):
            name = next(iter(debtors))
            if debtors[name].used > self.virtual_time:
                debtors.move_to_end(name)
            else:
                del debtors[name]


class FairOrder(Generic[T]):
    """What waits, and what is next.

    :param weight_of: returns the weight of a user, by the first name of a path: a user with
        weight 2 gets twice as much as one with weight 1. It must be above 0.
    """

    def __init__(self, weight_of: Callable[[str], float] = lambda user: 1.0) -> None:
        self._weight_of = weight_of
        self._root: _Sharer[T] = _Sharer(0.0, MAX_DEBTORS)
        self._length = 0
        self._served_path: Path | None = None

    def __len__(self) -> int:
        """How many entries wait."""
        return self._length

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._length

    @property
    def users(self) -> Collection[str]:
        """The users that have entries in the queue, or one that has begun."""
        return self._root.waiting.keys()

    def put(self, path: Path, item: T, cost: float = 1.0) -> Ticket[T]:
        """Put `item` behind the other entries with the same path.

        :param path: whose entry it is. One path must not be the beginning of another one.
        :param item: what waits.
        :param cost: what is charged when it leaves by `pop`.
        """
        ticket = Ticket(path, item, cost)
        node = self._root
        for name in path:
            node = node.waiting.get(name) or node.wake(name)
        node.entries[ticket] = None
        self._length += 1
        return ticket

    def remove(self, ticket: Ticket[T]) -> None:
        """Take out an entry, wherever it stands, and charge nothing."""
        nodes = self._nodes(ticket.path)
        del nodes[-1].entries[ticket]
        self._length -= 1
        for parent, name in zip(reversed(nodes[:-1]), reversed(ticket.path), strict=True):
            parent.settle(name)

    @property
    def next(self) -> Ticket[T]:
        """The entry that `pop` would take out. The queue must not be empty."""
        node = self._root
        while node.waiting:
            node = node.next_child()
        return next(iter(node.entries))

    def pop(self) -> Ticket[T]:
        """Take out the next entry, and charge its cost. The queue must not be empty."""
        ticket = self.begin()
        self.end(ticket.cost)
        return ticket

    def begin(self) -> Ticket[T]:
        """Take out the next entry, whose cost is not known yet. The queue must not be empty.

        `end` charges it. Until then its names stay in the queue, so that they are not made anew for
        what it puts in. One that has not ended when another one begins costs nothing.
        """
        if self._served_path is not None:
            self.end(0.0)
        node = self._root
        while node.waiting:
            child = node.next_child()
            node.virtual_time = max(node.virtual_time, child.used)
            child.is_served = True
            node = child
        ticket, _ = node.entries.popitem(last=False)
        self._length -= 1
        self._served_path = ticket.path
        return ticket

    def end(self, cost: float) -> None:
        """Charge the entry that has begun.

        :param cost: how much it has used, in the unit of this queue.
        """
        path, self._served_path = self._served_path, None
        assert path is not None
        nodes = self._nodes(path[:-1])
        for depth in range(len(path) - 1, 0, -1):
            nodes[depth].served(path[depth], cost)
        nodes[0].served(path[0], cost / self._weight_of(path[0]))

    def charge(self, path: Path, cost: float) -> None:
        """Charge use that did not wait, or that was measured afterwards.

        :param path: who has used it.
        :param cost: how much, in the unit of this queue. Negative: less was used than was charged.
        """
        use = cost / self._weight_of(path[0])
        node = self._root
        for name in path:
            node = node.charged(name, use)
            use = cost

    def used(self, user: str) -> float:
        """How far a user is ahead of the virtual time, in weighted units; 0 for none."""
        root = self._root
        child = root.waiting.get(user) or root.debtors.get(user)
        return max(0.0, child.used - root.virtual_time) if child else 0.0

    def _nodes(self, path: Path) -> list[_Sharer[T]]:
        """The nodes on the way to entries that wait, the root first."""
        nodes = [self._root]
        for name in path:
            nodes.append(nodes[-1].waiting[name])
        return nodes
