"""Where standings are kept: the seam that several gateways will share.

Knows: which entries outlive others when there are too many.
Must not know: what failures mean (`plan`).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Protocol

from sftpgw.aio.lru import SharedLRU
from sftpgw.auth.lockout.plan import EMPTY, Standing, Subject

MAX_ENTRIES = 10_000
"""How many subjects of each kind are remembered. All of them together take at most 40 MiB."""


class LockoutState(Protocol):
    """Remembers standings. Answers at once, also where gateways share it: by its own view of them.

    An implementation for several gateways changes its own view, and brings the change to the others
    by compare-and-swap: a change is pure, so that it can be made again on what another gateway has
    written meanwhile.
    """

    def get(self, subject: Subject) -> Standing:
        """What is known of a subject; `EMPTY` if nothing is.

        :param subject: the subject.
        """

    def update(self, subject: Subject, change: Callable[[Standing], Standing]) -> Standing:
        """Change what is known of a subject, and return it.

        :param subject: the subject.
        :param change: makes the next standing from the present one; it is pure, and may be called
            again.
        """

    def entries(self) -> Iterator[tuple[Subject, Standing]]:
        """All that is known, in no order."""


class _Retention(enum.Enum):
    """What makes an entry worth keeping. Entries push out only others that are worth the same."""

    FAILURES = enum.auto()
    LOGINS = enum.auto()
    BANS = enum.auto()


_Pool = tuple[bool, bool, _Retention]


class ProcessLockoutState:
    """The `LockoutState` of one process.

    Addresses, users, and users at addresses are kept apart; and of each, those from which a user
    has logged in, and others that had a ban. So a flood of addresses that fail once ends no ban,
    and forgets no login. What is known of logins is shared fairly by the users who have logged in.

    :param max_entries: how many entries each of these pools keeps.
    """

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self._max_entries = max_entries
        self._pools: dict[_Pool, SharedLRU[Subject, Standing]] = {}

    def __len__(self) -> int:
        """How many entries there are."""
        return sum(map(len, self._pools.values()))

    def get(self, subject: Subject) -> Standing:
        """What is known of a subject; `EMPTY` if nothing is."""
        for retention in _Retention:
            pool = self._pools.get((bool(subject.address), bool(subject.user), retention))
            found = None if pool is None else pool.get(subject)
            if found is not None:
                return found
        return EMPTY

    def update(self, subject: Subject, change: Callable[[Standing], Standing]) -> Standing:
        """Change what is known of a subject, and return it."""
        old = self.get(subject)
        new = change(old)
        if old != EMPTY:
            self._pool(subject, old).pop(subject)
        if new != EMPTY:
            owner = new.last_user if _retention_of(new) is _Retention.LOGINS else ""
            self._pool(subject, new).put(owner, subject, new)
        return new

    def entries(self) -> Iterator[tuple[Subject, Standing]]:
        """All that is known, in no order."""
        return chain.from_iterable(pool.items() for pool in self._pools.values())

    def _pool(self, subject: Subject, standing: Standing) -> SharedLRU[Subject, Standing]:
        key = (bool(subject.address), bool(subject.user), _retention_of(standing))
        if key not in self._pools:
            self._pools[key] = SharedLRU(self._max_entries)
        return self._pools[key]


def _retention_of(standing: Standing) -> _Retention:
    if standing.last_login_seconds is not None:
        return _Retention.LOGINS
    return _Retention.BANS if standing.bans else _Retention.FAILURES
