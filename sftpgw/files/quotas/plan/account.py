"""How much is stored at one place, as far as this process knows.

Knows: the last count, what was changed since, what uploads under way will need.
Must not know: quotas, requests, where figures of other processes come from.

Rules

1. What is stored is the last count, plus what this process has changed since, plus what others
   have told that they have. It is never less than nothing.
2. Each count has a *generation*. What was changed counts from the beginning of that generation: of
   a count of this process from its end (`running_count` has followed it key by key), of a count of
   another process from the moment at which it began. What others tell of another generation does
   not count.
3. Uploads reserve what they will add, and give it back when they end. What is reserved is of no
   interest to other processes.
4. Where it is not known what a file replaces, it counts as new and *doubtful*. The next count takes
   the doubt away.
5. What a file replaces is *believed*: another process may have removed it, and has told that. Then
   it is taken off twice. So, as long as others change something here, much that is believed is a
   reason to count early: else the figures could get smaller and smaller, and the quota void.
"""

from __future__ import annotations

from collections.abc import Iterable

from sftpgw.files.quotas.plan.delta_history import DeltaHistory
from sftpgw.files.quotas.plan.quota_records import CountRecord, NodeRecord
from sftpgw.files.quotas.plan.running_count import RunningCount
from sftpgw.files.quotas.plan.usage import NOTHING_STORED, Place, Usage
from sftpgw.model.units import MIB

EARLY_SECONDS = 60.0
"""So soon a count may follow the last one, if there is a reason."""

UNSURE_SHARE = 10
"""A tenth of what is stored, if it is doubtful, is a reason to count early where a quota is nearly
used up. Elsewhere most doubtful files are just new. The same share, if it is believed to be
replaced, is one wherever other processes change something."""


class ClosedCount:
    """A count whose figures are not published yet.

    :param record: its record.
    :param own_total: the sum of the changes of this process when it was closed.
    :param settled_doubts: the doubts that it takes away.
    """

    __slots__ = ("own_total", "record", "settled_doubts")

    def __init__(self, record: CountRecord, own_total: Usage, settled_doubts: Usage) -> None:
        self.record = record
        self.own_total = own_total
        self.settled_doubts = settled_doubts


class PlaceAccount:
    """What is stored at one place.

    :param place: the place.
    :ivar generation: that of the last count; empty as long as there was none.
    :ivar counted: what the last count has found.
    :ivar counted_seconds: when it ended.
    :ivar others: what other processes have changed since.
    :ivar reserved: what uploads of this process will add.
    :ivar grants: how many uploads to the place are under way.
    :ivar is_questioned: whether there is a reason to count early.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.generation = ""
        self.counted = NOTHING_STORED
        self.counted_seconds = 0.0
        self.others = NOTHING_STORED
        self.reserved = NOTHING_STORED
        self.grants = 0
        self.is_questioned = False
        self._count_took_seconds = 0.0
        self._history = DeltaHistory()
        self._base = NOTHING_STORED
        self._doubts = NOTHING_STORED
        self._believed = NOTHING_STORED
        self._running: RunningCount | None = None

    # Questions.

    @property
    def is_known(self) -> bool:
        """Whether there was a count."""
        return bool(self.generation)

    @property
    def own(self) -> Usage:
        """What this process has changed since the last count."""
        return self._history.total - self._base

    @property
    def used(self) -> Usage:
        """What is stored."""
        return (self.counted + self.own + self.others).at_least_nothing

    @property
    def taken(self) -> Usage:
        """What is stored, and what uploads under way will add."""
        return self.used + self.reserved

    @property
    def doubtful(self) -> Usage:
        """How much of what is stored may be counted twice: files that have replaced others."""
        return self._doubts

    def wants_count(self, now_seconds: float, every_seconds: float) -> bool:
        """Whether the place is to be counted.

        :param now_seconds: the time.
        :param every_seconds: how old a count may get.
        """
        if self._running is not None:
            return False
        age_seconds = now_seconds - self.counted_seconds
        if not self.is_known or not 0 <= age_seconds < every_seconds:
            return True
        # Long counts do not follow each other all the time.
        is_early = age_seconds >= max(EARLY_SECONDS, 10 * self._count_took_seconds)
        return is_early and self.is_questioned

    def note_tight(self) -> None:
        """A quota is nearly used up: from now on it matters if much is doubtful."""
        self.is_questioned |= self._is_much(self._doubts)

    def _is_much(self, unsure: Usage) -> bool:
        limit_bytes = max(MIB, self.used.size_bytes // UNSURE_SHARE)
        limit_files = max(10, self.used.files // UNSURE_SHARE)
        return unsure.size_bytes > limit_bytes or unsure.files > limit_files

    # What this process does.

    def change(
        self, key: str, before: Usage, after: Usage, now_seconds: float, *, is_doubtful: bool
    ) -> None:
        """Something was stored under a key, or removed.

        :param key: the key.
        :param before: what was stored there; nothing if it is not known.
        :param after: what is stored there now.
        :param now_seconds: the time.
        :param is_doubtful: whether `before` is not known.
        """
        if self._running is not None:
            self._running.change(key, before, after, is_doubtful=is_doubtful)
        if is_doubtful:
            self._doubts += after
        if after:  # what is removed was looked at just before
            self._believed += before
        self._history.add(after - before, now_seconds)

    def adjust(self, delta: Usage, now_seconds: float) -> None:
        """A suspended upload was kept, or is gone; or many objects were moved at once.

        :param delta: how much more is stored.
        :param now_seconds: the time.
        """
        if self._running is not None:
            self._running.total += delta
        self._history.add(delta, now_seconds)

    # Counts.

    def begin_count(self) -> RunningCount:
        """This process counts the place from now on."""
        self._running = RunningCount()
        self._believed = NOTHING_STORED
        return self._running

    def close_count(self, generation: str, began_seconds: float, now_seconds: float) -> ClosedCount:
        """All pages have come. The figures count when they are published (`take_count`).

        :param generation: the new generation.
        :param began_seconds: when the count began.
        :param now_seconds: the time.
        """
        running = self._running
        assert running is not None, "a count is under way"
        self._running = None
        record = CountRecord(
            generation,
            running.total.at_least_nothing,
            began_seconds=began_seconds,
            ended_seconds=now_seconds,
        )
        return ClosedCount(record, self._history.total, self._doubts - running.doubtful)

    def drop_count(self) -> None:
        """The count has failed: the last one stays."""
        self._running = None

    def take_count(self, closed: ClosedCount) -> Usage:
        """The count of this process counts from now on. Returns by how much it corrects.

        :param closed: the count.
        """
        known = self.counted + self.others + (closed.own_total - self._base)
        self._begin_generation(closed.record, closed.own_total)
        self._doubts -= closed.settled_doubts
        return closed.record.found - known

    def adopt(self, record: CountRecord) -> None:
        """The count that is published.

        :param record: its record.
        """
        if record.generation == self.generation:
            return
        self._begin_generation(record, self._history.at(record.began_seconds))
        self._doubts = self._believed = NOTHING_STORED

    def _begin_generation(self, record: CountRecord, base: Usage) -> None:
        self.generation = record.generation
        self.counted = record.found
        self.counted_seconds = record.ended_seconds
        self._count_took_seconds = record.ended_seconds - record.began_seconds
        self._base = base
        self.others = NOTHING_STORED
        self.is_questioned = False

    # Other processes.

    def take_others(self, records: Iterable[NodeRecord]) -> None:
        """What other processes tell.

        :param records: their records.
        """
        told = [record.changed for record in records if record.generation == self.generation]
        self.others = sum(told, NOTHING_STORED)
        if told and self._is_much(self._believed):
            self.is_questioned = True
