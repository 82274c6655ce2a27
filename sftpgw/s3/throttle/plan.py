"""How many requests to a bucket may be in flight, once its store has asked for fewer.

Knows: which requests were refused and which were served, and how many are in flight.
Must not know: which requests wait (`s3/request_budget`), how a request is sent.

Rules

1. There is no limit until the store says "slow down". Then half of the requests in flight may be,
   but at least one, and at most half of the ceiling.
2. Requests that were in flight together are refused together, which says the same thing once: only
   the refusal of a request that began after the last halving halves the limit again.
3. After as many successes as the limit allows at once it grows by one, but only while requests
   wait: an unused limit proves nothing.
4. The limit ends when it has grown to the ceiling, or when no request has waited and none was
   refused for a minute.

TCP finds its share of a line in the same way (additive increase, multiplicative decrease).
https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html
"""

from __future__ import annotations

CALM_SECONDS = 60.0


class Throttle:
    """The limit for one bucket.

    :param ceiling: a limit of this many requests counts as no limit.
    """

    def __init__(self, ceiling: int) -> None:
        self.in_flight = 0
        self.limit: int | None = None
        """How many may be in flight; None: any number."""
        self.refusals = 0
        """The refusals since the limit began."""
        self._ceiling = ceiling
        self._halvings = 0
        self._successes = 0
        self._refused_seconds = 0.0

    @property
    def has_room(self) -> bool:
        """Whether another request may begin."""
        return self.limit is None or self.in_flight < self.limit

    def began(self) -> int:
        """A request begins; returns a value for `refused`."""
        self.in_flight += 1
        return self._halvings

    def ended(self) -> None:
        """A request has its response, or was given up."""
        self.in_flight -= 1

    def refused(self, began: int, now_seconds: float) -> None:
        """The store has asked for fewer requests; called before `ended`.

        :param began: the result of `began` for this request.
        :param now_seconds: the time, by any monotonic clock.
        """
        self._refused_seconds = now_seconds
        if self.limit is None:
            self.refusals = 0
            self._lower(min(self.in_flight, self._ceiling))
        elif began == self._halvings:
            self._lower(self.limit)
        self.refusals += 1

    def served(self, now_seconds: float, *, is_crowded: bool) -> bool:
        """The store has served a request; called before `ended`. Returns whether the limit ends.

        :param now_seconds: the time, by the same clock as for `refused`.
        :param is_crowded: requests wait.
        """
        if self.limit is None:
            return False
        if is_crowded or self.in_flight >= self.limit:
            self._successes += 1
            if self._successes >= self.limit:
                self._successes = 0
                self.limit += 1
        is_calm = not is_crowded and now_seconds - self._refused_seconds >= CALM_SECONDS
        if self.limit < self._ceiling and not is_calm:
            return False
        self.limit = None
        self._successes = 0
        return True

    def _lower(self, from_limit: int) -> None:
        self.limit = max(1, from_limit // 2)
        self._halvings += 1
        self._successes = 0
