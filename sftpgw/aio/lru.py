"""Dicts that forget their least recently used entries."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
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
    fair share of the entries or more, else of the owner that has most by weight.

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
            owner = max(
                self._entries, key=lambda each: len(self._entries[each]) / weights.weight(each)
            )
        key, _ = self._entries[owner].popitem(last=False)
        del self._owners[key]
        self._drop_if_empty(owner)

    def _drop_if_empty(self, owner: str) -> None:
        if not self._entries[owner]:
            del self._entries[owner]
            self._weights.remove(owner)
