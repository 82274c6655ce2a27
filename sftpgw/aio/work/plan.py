"""Who works next, and how much work one reactor iteration takes.

Knows: who waits, and how many seconds each has used. Must not know: what the work is, or which
clock runs.

Rules

1. In one iteration, what waits gets a round of turns, and what arrives behind it is worked off at
   once. Each of the two takes `round_seconds` at most. Work is done in quanta, and the last one may
   end late: by a quantum, and by one step of work that cannot be divided.
2. What arrives is worked off at once if there is time left for it and nothing waits, or its user
   has hardly used more than the others. While only work of its own user waits, the same holds for
   what was used in this round: hashing waits all the time during an upload. What is worked off at
   once is not queued.
3. Otherwise work waits. The user who has used least is next, then the session, then the channel
   (`aio/fair_order`). A quantum lasts `quantum_seconds` while others wait.
4. What was used is charged after each quantum, as it was measured. Use while nothing waits counts
   against those that wait before the next round, and is forgotten with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from sftpgw.aio.fair_order import FairOrder, Path, Ticket

T = TypeVar("T")

ROUND_SECONDS = 0.004
"""At most twice as much lies between two looks at the sockets. A login looks about eight times, and
a put once for each 256 KiB: beside a flood, twice as long a round gave a put half the speed."""

QUANTUM_SECONDS = 0.002
"""How long one channel works while others wait: 125 small packets, or a full read of an upload."""

AT_ONCE_SHARE = 16
"""Up to this part of a quantum a user may be ahead of the others, and is worked for at once: enough
for a STAT. Connections in bulk wait instead, and more has come when they are read: 200 uploads at
once took 7 % less CPU time than with a whole quantum."""


class WorkPlan(Generic[T]):
    """The seconds of one reactor iteration, and what waits for them.

    :param weight_of: as of `FairOrder`.
    :param round_seconds: how long a round takes, and what arrives behind it.
    :param quantum_seconds: how much one gets in a row while others wait.
    :ivar left_seconds: how much of either is left; not above 0 if it is used up.
    :ivar is_empty: whether nothing waits. An attribute, since each read of a socket asks.
    """

    __slots__ = (
        "_is_serving",
        "_order",
        "_quantum_seconds",
        "_round_seconds",
        "_used_at_once",
        "is_empty",
        "left_seconds",
    )

    def __init__(
        self,
        weight_of: Callable[[str], float] = lambda user: 1.0,
        round_seconds: float = ROUND_SECONDS,
        quantum_seconds: float = QUANTUM_SECONDS,
    ) -> None:
        self.left_seconds = round_seconds
        self.is_empty = True
        self._order: FairOrder[T] = FairOrder(weight_of)
        self._round_seconds = round_seconds
        self._quantum_seconds = quantum_seconds
        self._used_at_once: list[tuple[Path, float]] = []
        self._is_serving = False

    @property
    def is_used_up(self) -> bool:
        """Whether no further quantum may begin before `renew`."""
        return self.left_seconds <= 0.0

    @property
    def is_quiet(self) -> bool:
        """Whether nothing waits, and what arrives needs not wait either."""
        return self.is_empty and self.left_seconds > 0.0

    @property
    def quantum_seconds(self) -> float:
        """How long a quantum that begins now may last."""
        left_seconds = self.left_seconds
        return left_seconds if self.is_empty else min(left_seconds, self._quantum_seconds)

    def may_begin(self, user: str) -> bool:
        """Whether work that arrives now is done at once.

        :param user: whose work it is.
        """
        if self.left_seconds <= 0.0:
            return False
        if self.is_empty:
            return True
        users = self._order.users
        if len(users) == 1 and user in users:
            used_seconds = self._round_seconds - self.left_seconds
        else:
            used_seconds = self._order.used(user)
        return used_seconds * AT_ONCE_SHARE < self._quantum_seconds

    def put(self, path: Path, item: T) -> Ticket[T]:
        """Let `item` wait.

        :param path: whose work it is: user, session, and channel or another name.
        :param item: what waits.
        """
        used, self._used_at_once = self._used_at_once, []
        self.is_empty = False
        ticket = self._order.put(path, item, cost=0.0)
        for each, seconds in used:
            self._order.charge(each, seconds)
        return ticket

    def remove(self, ticket: Ticket[T]) -> None:
        """Take out what waits."""
        self._order.remove(ticket)
        self.is_empty = self._order.is_empty

    def take_next(self) -> Ticket[T] | None:
        """What works next in this round; None if nothing waits, or the round is over.

        What it uses is charged before the next one is taken.
        """
        if self.is_empty or self.left_seconds <= 0.0:
            return None
        ticket = self._order.begin()
        self._is_serving = True
        self.is_empty = self._order.is_empty
        return ticket

    def charge(self, path: Path, seconds: float) -> bool:
        """Count what a quantum has used.

        :param path: who has used it.
        :param seconds: how long it took, by the clock of the work.
        :returns: `is_used_up`.
        """
        self.left_seconds = left_seconds = self.left_seconds - seconds
        if self._is_serving:
            self._is_serving = False
            self._order.end(seconds)
        elif self.is_empty:
            self._used_at_once.append((path, seconds))
        else:
            self._order.charge(path, seconds)
        return left_seconds <= 0.0

    def renew(self) -> None:
        """Begin a round, or end it: nothing is used of what comes now."""
        self.left_seconds = self._round_seconds
        self._used_at_once.clear()
