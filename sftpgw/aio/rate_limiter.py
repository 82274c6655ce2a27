"""A rate in bytes per second that several waiters share, in turns.

Knows: how many bytes have been let through, and who waits for more.
Must not know: which way the bytes go, or what they are.

Rules

1. Bytes are paid from a token bucket. The next waiter is served while it has any token, so that one
   turn may leave a debt. The debt is paid before anyone is served again: the rate holds over time,
   whatever the size of a turn.
2. Waiters take turns by what they have used (`aio.fair_order`): sessions, then their channels.
3. Bytes that cannot wait, since a client was allowed to send them, are paid as they come.
4. A user's debt outlives the user's sessions: a new connection does not begin with a full bucket.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias
from weakref import WeakValueDictionary

from sftpgw.aio.delayed_call import cancel_pending
from sftpgw.aio.fair_order import FairOrder, Path, Ticket
from sftpgw.aio.token_bucket import TokenBucket
from sftpgw.model.clock import Clock, DelayedCall
from sftpgw.model.units import KIB

BURST_SECONDS = 0.25
"""How long a rate may be left unused and still be had later."""

SHORTEST_WAIT_SECONDS = 0.005
MIN_QUANTUM_BYTES = 4 * KIB
MAX_QUANTUM_BYTES = 256 * KIB
QUANTA_PER_SECOND = 20

OnTurn: TypeAlias = Callable[[], int]
"""Lets bytes through, and returns how many."""


class RateLimiter:
    """One rate, and those who wait for their share of it.

    :param bytes_per_second: the rate.
    :param clock: measures it.
    """

    def __init__(self, bytes_per_second: int, clock: Clock) -> None:
        self._clock = clock
        self._order: FairOrder[OnTurn] = FairOrder()
        self._timer: DelayedCall | None = None
        self._is_serving = False
        self.bytes_per_second = bytes_per_second
        self._bucket = self._full_bucket()

    @property
    def quantum_bytes(self) -> int:
        """How much one turn should let through: little enough that many take turns each second."""
        fair_bytes = self.bytes_per_second // QUANTA_PER_SECOND
        return max(MIN_QUANTUM_BYTES, min(fair_bytes, MAX_QUANTUM_BYTES))

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing waits, and nothing is owed."""
        self._bucket.refill(self._clock.seconds())
        return self._order.is_empty and self._bucket.is_full

    def change(self, bytes_per_second: int) -> None:
        """Go on with another rate. What is owed stays owed."""
        if bytes_per_second == self.bytes_per_second:
            return
        self._bucket.refill(self._clock.seconds())
        owed_bytes = min(0.0, self._bucket.tokens)
        self.bytes_per_second = bytes_per_second
        self._bucket = self._full_bucket()
        self._bucket.tokens += owed_bytes
        cancel_pending(self._timer)
        self._timer = None
        self._serve()

    def pay(self, path: Path, size_bytes: int) -> None:
        """Count bytes that did not wait.

        :param path: whose they are: a session, and a channel of it.
        :param size_bytes: how many.
        """
        self._bucket.refill(self._clock.seconds())
        self._bucket.spend(size_bytes)
        self._order.charge(path, size_bytes)

    def pay_back(self, path: Path, size_bytes: int) -> None:
        """Bytes that were paid will not come.

        :param path: whose they are.
        :param size_bytes: how many.
        """
        if not size_bytes:
            return
        self._bucket.refill(self._clock.seconds())
        self._bucket.add(size_bytes)
        self._order.charge(path, -size_bytes)
        cancel_pending(self._timer)
        self._timer = None
        self._serve()

    def wait(self, path: Path, on_turn: OnTurn) -> Ticket[OnTurn]:
        """Call `on_turn` once, when it is the waiter's turn; at once if it is now.

        :param path: who waits: a session, and a channel of it.
        :param on_turn: lets bytes through.
        """
        ticket = self._order.put(path, on_turn)
        self._serve()
        return ticket

    def leave(self, ticket: Ticket[OnTurn]) -> None:
        """A waiter whose turn has not come gives it up."""
        self._order.remove(ticket)
        if self._order.is_empty:
            cancel_pending(self._timer)
            self._timer = None

    def _full_bucket(self) -> TokenBucket:
        capacity_bytes = max(1.0, self.bytes_per_second * BURST_SECONDS)
        return TokenBucket(capacity_bytes, self.bytes_per_second, self._clock.seconds())

    def _serve(self) -> None:
        if self._is_serving or self._timer is not None:
            return
        self._is_serving = True
        try:
            self._bucket.refill(self._clock.seconds())
            while self._bucket.tokens > 0 and not self._order.is_empty:
                used_bytes = self._order.begin().item()
                self._bucket.spend(used_bytes)
                self._order.end(used_bytes)
        finally:
            self._is_serving = False
            self._serve_later()

    def _serve_later(self) -> None:
        """Come back for those who wait; also if a turn has raised, which is not their fault."""
        if not self._order.is_empty:
            wait_seconds = (1 - self._bucket.tokens) / self.bytes_per_second
            self._timer = self._clock.callLater(
                max(wait_seconds, SHORTEST_WAIT_SECONDS), self._on_time
            )

    def _on_time(self) -> None:
        self._timer = None
        self._serve()


class UserRates:
    """The rates of all users.

    :param clock: measures them.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._in_use: WeakValueDictionary[tuple[str, str], RateLimiter] = WeakValueDictionary()
        self._remembered: dict[tuple[str, str], RateLimiter] = {}
        self._look_at = 64

    def __len__(self) -> int:
        """How many rates are remembered."""
        return len(self._remembered)

    def of(self, user: str, direction: str, bytes_per_second: int | None) -> RateLimiter | None:
        """The rate of a user in one direction, for all sessions; None without a limit.

        :param user: the name of the user.
        :param direction: which way the bytes go.
        :param bytes_per_second: the rate as it is now.
        """
        if bytes_per_second is None:
            return None
        key = (user, direction)
        limiter = self._in_use.get(key)
        if limiter is None:
            self._forget_some()
            limiter = self._in_use[key] = RateLimiter(bytes_per_second, self._clock)
        self._remembered[key] = limiter
        limiter.change(bytes_per_second)
        return limiter

    def _forget_some(self) -> None:
        """Forget those at rest, now and then: unless a session has it, a new one is the same."""
        if len(self._remembered) < self._look_at:
            return
        kept = {key: each for key, each in self._remembered.items() if not each.is_at_rest}
        self._remembered = kept
        self._look_at = max(64, 2 * len(kept))
