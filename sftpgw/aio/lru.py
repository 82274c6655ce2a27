"""Dicts that forget their least recently used entries."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush, heapreplace
from itertools import chain
from typing import Generic, TypeVar

from sftpgw.aio.active_weights import ActiveWeights

K = TypeVar("K")
V = TypeVar("V")


class LRUDict(OrderedDict[K, V]):
    """A dict of bounded size. Only `put` counts as use, and keeps the bound.

    :param max_entries: how many entries it keeps; the least recently used one goes for a new one.
    """

    def __init__(self, max_entries: int) -> None:
        super().__init__()
        self._max_entries = max_entries

    def put(self, key: K, value: V) -> None:
        """Set an entry, and make it the most recently used one."""
        self[key] = value
        self.move_to_end(key)
        if len(self) > self._max_entries:
            self.popitem(last=False)


class SharedLRU(Generic[K, V]):
    """A dict of bounded size for several owners, who cannot push out each other's entries.

    A new entry takes the place of the least recently used one of its own owner, if that owner has a
    fair share of the entries or more, else of the owner that has most by weight. That one is found
    in a heap, which is made when it is needed first: there may be as many owners as entries. What
    it says of an owner is out of date once the owner has less.

    :param max_entries: how many entries it keeps.
    :param weight_of: returns the weight of an owner.
    """

    def __init__(
        self, max_entries: int, weight_of: Callable[[str], float] = lambda user: 1.0
    ) -> None:
        self._max_entries = max_entries
        self._weights = ActiveWeights(weight_of)  # of the owners that have entries
        self._owners: dict[K, str] = {}
        self._entries: dict[str, OrderedDict[K, V]] = {}
        self._most: list[tuple[float, int, str]] = []  # how much each has, less than 0; a turn
        self._turns = 0

    def __len__(self) -> int:
        return len(self._owners)

    def get(self, key: K) -> V | None:
        """The value; None if there is none. The owner does not matter."""
        owner = self._owners.get(key)
        return None if owner is None else self._entries[owner][key]

    def items(self) -> Iterator[tuple[K, V]]:
        """All keys with their values, by owner."""
        return chain.from_iterable(entries.items() for entries in self._entries.values())

    def touch(self, key: K) -> None:
        """Make an entry the most recently used one of its owner."""
        self._entries[self._owners[key]].move_to_end(key)

    def put(self, owner: str, key: K, value: V) -> None:
        """Set an entry, which belongs to `owner` from now on.

        :param owner: the user who has caused it.
        :param key: its key.
        :param value: its value.
        """
        self.pop(key)
        if len(self._owners) >= self._max_entries:
            self._forget_one(owner)
        self._owners[key] = owner
        entries = self._entries.get(owner)
        if entries is None:
            entries = self._entries[owner] = OrderedDict()
            self._weights.add(owner)
        entries[key] = value
        if self._most:
            self._note(owner)

    def pop(self, key: K) -> None:
        """Forget an entry, if there is one."""
        owner = self._owners.pop(key, None)
        if owner is not None:
            del self._entries[owner][key]
            self._drop_if_empty(owner)

    def _forget_one(self, newcomer: str) -> None:
        owner = newcomer
        own, weights = len(self._entries.get(newcomer, ())), self._weights
        if own < weights.share(newcomer, len(self._owners)):
            owner = self._owner_of_most()
        key, _ = self._entries[owner].popitem(last=False)
        del self._owners[key]
        self._drop_if_empty(owner)

    def _drop_if_empty(self, owner: str) -> None:
        if not self._entries[owner]:
            del self._entries[owner]
            self._weights.remove(owner)

    def _owner_of_most(self) -> str:
        most = self._most
        if not most:
            self._turns = len(self._entries)
            most += ((self._rank(each), turn, each) for turn, each in enumerate(self._entries))
            heapify(most)
        while True:
            noted, turn, owner = most[0]
            rank = self._rank(owner)
            if noted == rank:
                return owner
            if noted < rank < 0:
                heapreplace(most, (rank, turn, owner))
            else:
                heappop(most)  # it has nothing, or more, which was noted later

    def _note(self, owner: str) -> None:
        """An owner has more than before."""
        if len(self._most) > 2 * len(self._entries) + 8:
            self._most.clear()
            return
        self._turns += 1
        heappush(self._most, (self._rank(owner), self._turns, owner))

    def _rank(self, owner: str) -> float:
        entries = self._entries.get(owner)
        return -len(entries) / self._weights.weight(owner) if entries else 0.0
