"""How much of the log each kind of line may fill, and what was left out.

Knows: bytes of log, kinds of lines, their sources, and time.
Must not know: what a line says, or where it goes.

Rules

1. Each pair of a kind and a source has a token bucket of bytes: `SOURCE_BYTES` at once, and
   `SOURCE_BYTES_PER_SECOND` in the long run. The kind is the event's name. The source is the user,
   before the login the address or /64. So no flood of one kind hides another kind, and none of one
   client those of another.
2. Sources that cost an attacker nothing, such as addresses before the login, share a second bucket
   for all of them: `SHARED_BYTES` and `SHARED_BYTES_PER_SECOND` for each kind.
3. A line is written as long as its buckets are not empty, and may leave a debt. So a bucket exceeds
   its bound by one line at most.
4. What was left out is counted by kind and source, for `MAX_COUNTS` pairs apart; further sources
   are counted together.
5. At most `MAX_SOURCES` buckets are remembered, users and strangers apart. The oldest is forgotten
   for a new one; rule 2 bounds what an attacker with many addresses gains by that.

What must never be left out does not come here: `Event.must_be_logged`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sftpgw.aio.lru import LRUDict
from sftpgw.aio.token_bucket import TokenBucket
from sftpgw.model.units import KIB

SOURCE_BYTES = 128 * KIB
SOURCE_BYTES_PER_SECOND = 1 * KIB
SHARED_BYTES = 1024 * KIB
SHARED_BYTES_PER_SECOND = 8 * KIB

MAX_SOURCES = 10_000
MAX_COUNTS = 100

OTHERS = "others"
"""The source of what is counted together."""


@dataclass(slots=True)
class LeftOut:
    """What was left out of one kind and source.

    :ivar kind: the name of the event, or what the line is about.
    :ivar source: the user or address that has caused it.
    :ivar since_seconds: when the first line was left out.
    :ivar count: how many lines.
    """

    kind: str
    source: str
    since_seconds: float
    count: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """What causes lines of the log.

    :param name: the user or address, as the log tells it.
    :param shared: the sources that it shares a bucket with, for each kind; its own name if its
        kinds share one; None if it shares none.
    """

    name: str
    shared: str | None = None


class LogAllowance:
    """Decides which lines are written.

    :param seconds: returns the time.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._of_users: LRUDict[tuple[str, str], TokenBucket] = LRUDict(MAX_SOURCES)
        self._of_strangers: LRUDict[tuple[str, str], TokenBucket] = LRUDict(MAX_SOURCES)
        self._shared: LRUDict[tuple[str, str], TokenBucket] = LRUDict(MAX_SOURCES)
        self._left_out: dict[tuple[str, str], LeftOut] = {}

    def buckets_for(self, kind: str, source: Source) -> tuple[TokenBucket, ...]:
        """The buckets that a line has to be paid from, none of them empty; () if one is.

        A line that is not written is counted as left out.

        :param kind: the name of the event, or what the line is about.
        :param source: what has caused it.
        """
        now = self._seconds()
        buckets = self._buckets_of(kind, source, now)
        if all(bucket.tokens > 0 for bucket in buckets):
            return buckets
        self._count(kind, source.name, now)
        return ()

    def take_left_out(self) -> list[LeftOut]:
        """What was left out since the last call."""
        left_out, self._left_out = self._left_out, {}
        return list(left_out.values())

    def _buckets_of(self, kind: str, source: Source, now: float) -> tuple[TokenBucket, ...]:
        if source.shared is None:
            return (self._bucket(self._of_users, (kind, source.name), now),)
        # Of the lines of libraries, the kinds share one bucket as well: they are no fixed number.
        key = ("" if source.shared == source.name else kind), source.shared
        return (
            self._bucket(self._of_strangers, (kind, source.name), now),
            self._bucket(self._shared, key, now, SHARED_BYTES, SHARED_BYTES_PER_SECOND),
        )

    def _bucket(
        self,
        buckets: LRUDict[tuple[str, str], TokenBucket],
        key: tuple[str, str],
        now: float,
        capacity: int = SOURCE_BYTES,
        per_second: int = SOURCE_BYTES_PER_SECOND,
    ) -> TokenBucket:
        bucket = buckets.get(key) or TokenBucket(capacity, per_second, now)
        bucket.refill(now)
        buckets.put(key, bucket)
        return bucket

    def _count(self, kind: str, source: str, now: float) -> None:
        key = kind, source
        if key not in self._left_out and len(self._left_out) >= MAX_COUNTS:
            key = kind, OTHERS
        counted = self._left_out.get(key) or LeftOut(*key, now)
        counted.count += 1
        self._left_out[key] = counted
