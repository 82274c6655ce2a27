"""A token bucket: how often something may happen, with a reserve for bursts.

Knows: tokens and time. Must not know: what they are spent on, or which clock runs.
"""

from __future__ import annotations


class TokenBucket:
    """Begins full. A caller that lets `tokens` go below zero is in debt.

    :param capacity: the most tokens that it holds.
    :param per_second: how many it gains.
    :param now_seconds: the time at which counting begins.
    """

    __slots__ = ("_capacity", "_counted_at_seconds", "_per_second", "tokens")

    def __init__(self, capacity: float, per_second: float, now_seconds: float) -> None:
        self.tokens = float(capacity)
        self._capacity = capacity
        self._per_second = per_second
        self._counted_at_seconds = now_seconds

    @property
    def is_full(self) -> bool:
        """Whether it holds as much as it can, as of the last `refill`."""
        return self.tokens >= self._capacity

    def refill(self, now_seconds: float) -> None:
        """Add the tokens that time has brought since the last call.

        A clock that was set back brings none, and time counts from there on.
        """
        passed_seconds = max(0.0, now_seconds - self._counted_at_seconds)
        self._counted_at_seconds = now_seconds
        self.add(passed_seconds * self._per_second)

    def add(self, tokens: float) -> None:
        """Add tokens from another source than time, or give some back."""
        self.tokens = min(self.tokens + tokens, self._capacity)

    def spend(self, tokens: float = 1.0) -> None:
        """Take tokens out, whether there are enough or not."""
        self.tokens -= tokens
