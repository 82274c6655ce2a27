"""How long to wait before something is tried again.

Pure. Full jitter: those who have failed at the same time do not all come back at the same time.
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

from __future__ import annotations

MAX_DOUBLINGS = 20
"""The exponent is bounded, not only its result: 2.0**5000 is an OverflowError."""


def random_wait_seconds(
    doublings: int, random: float, *, first_seconds: float, longest_seconds: float
) -> float:
    """A random wait below a bound that doubles each time.

    :param doublings: how many waits there were before this one.
    :param random: a number in [0, 1).
    :param first_seconds: the bound of the first wait.
    :param longest_seconds: the bound that is never exceeded.
    """
    bound_seconds = first_seconds * 2.0 ** min(doublings, MAX_DOUBLINGS)
    return random * min(longest_seconds, bound_seconds)
