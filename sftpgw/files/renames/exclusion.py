"""Keeping two renames of the same keys apart, also those of different processes.

Knows: how a rename finds others that overlap with it. Must not know: how it moves keys.

Each rename writes its intent first and lists all journals then. Of two that begin at the same time,
at least one sees the other; so they never both go on. Both may be refused.

The list has one row for each journal. Only those journals are read whose IDs tell that they may
overlap (rule 6 of `plan`): other renames, of whatever user, cost nothing but their rows. Another
writer of the bucket may have put any number of rows there. A rename that cannot look through all of
them is refused: it could miss another rename of the same keys.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from sftpgw.errors import LimitReached, NoSuchObject, StoreError, StoreTrouble, refuses_one_object
from sftpgw.files.housekeeping.pages import all_pages
from sftpgw.files.renames.journal import RenameJournal, find_journal
from sftpgw.files.renames.plan import (
    INTENT,
    LEASE_SECONDS,
    FoundJournal,
    Intent,
    Outcome,
    is_of_older_gateway,
    journals_prefix,
    may_overlap,
)
from sftpgw.files.renames.settler import RenameSettler
from sftpgw.files.session_context import SessionContext
from sftpgw.model.events.file_events import RenameRecordsTooMany, RenameRecordUnreadable

MAX_PAGES = 32
"""So many pages of 1,000 journals a rename looks through: at 30 ms for a LIST, a second."""

MAX_READ = 256
"""So many intents of others a rename reads: at 30 ms for a GET, eight seconds."""


@dataclass(frozen=True, slots=True)
class _Other:
    """Another rename that may overlap.

    :param journal: its journal.
    :param intent: its intent; None: it cannot be read.
    :param reason: why not.
    :param is_text_bad: it was read, and is no intent: no gateway can read it.
    """

    journal: FoundJournal
    intent: Intent | None
    reason: str = ""
    is_text_bad: bool = False


class RenameExclusion:
    """Looks for other renames, for one rename.

    :param context: the objects that the session's files use.
    :param journal: the journal of this rename.
    :param settler: settles an overlapping rename that was interrupted.
    """

    def __init__(
        self, context: SessionContext, journal: RenameJournal, settler: RenameSettler
    ) -> None:
        self._store = context.store
        self._clock = context.clock
        self._events = context.events
        self._settings_of = context.settings_of
        self._journal = journal
        self._settler = settler

    def _state_prefix(self, bucket: str) -> str:
        return self._settings_of(bucket).state_prefix

    async def require(self, intent: Intent, path: str) -> bool:
        """Check that no other rename overlaps; settle those that were interrupted.

        :param intent: the intent of this rename, already in the journal.
        :param path: the directory, for the message.
        :returns: whether one of these had the same source and target, and has moved all of it.
        :raises LimitReached: an overlapping rename is in progress.
        """
        is_moved = False
        async for other in self._overlapping(intent):
            if other.intent is None:
                await self._pass_unreadable(intent.bucket, path, other)
                continue
            settled = None
            if other.journal.is_expired(self._clock.seconds()):
                settled = await self._settler.take_over(intent.bucket, other.journal)
            if settled is None:
                raise LimitReached(
                    f"{path}: this directory, or one above or below, is being renamed, or its "
                    f"rename was interrupted; try again in {LEASE_SECONDS:.0f} seconds"
                )
            is_same = (other.intent.source, other.intent.target) == (intent.source, intent.target)
            is_moved |= is_same and settled.outcome is Outcome.MOVED
        return is_moved

    async def _pass_unreadable(self, bucket: str, path: str, other: _Other) -> None:
        """Go on beside a rename whose intent cannot be read.

        :raises LimitReached: a gateway works on it, or may do so later. If the store only refuses
            to show the intent, another gateway may be able to read it.
        """
        may_abandon = is_of_older_gateway(other.journal.key_prefix) and other.is_text_bad
        if may_abandon and await self._settler.abandon_unreadable(bucket, other.journal):
            return
        key = other.journal.key_prefix + INTENT
        self._events.emit(RenameRecordUnreadable(bucket=bucket, key=key, reason=other.reason))
        raise LimitReached(
            f"{path}: the record of another rename cannot be read; it may be about this directory; "
            f"the operator of the gateway has to look at {key}"
        )

    async def holds(self, intent: Intent) -> bool:
        """Whether still no other rename overlaps, after another process abandoned this one.

        The intent is written again before. If another rename overlaps, this one must not touch any
        key any more; its journal becomes a tombstone.

        :param intent: the intent of this rename.
        """
        await self._journal.write_intent(intent)
        async for _ in self._overlapping(intent):
            await self._journal.leave_tombstone()
            return False
        return True

    async def _overlapping(self, intent: Intent) -> AsyncIterator[_Other]:
        """The other renames that overlap with this one, or may do so.

        :raises LimitReached: there are more journals than one rename can look through.
        """
        prefix = journals_prefix(self._state_prefix(intent.bucket))
        pages = read = rows = 0
        own_store = self._store.for_state()
        async for page in all_pages(own_store, intent.bucket, prefix, delimiter="/"):
            pages += 1
            rows += len(page.prefixes) + len(page.objects)
            for key_prefix in page.prefixes:
                if key_prefix == self._journal.key_prefix or not may_overlap(key_prefix, intent):
                    continue
                read += 1
                if read > MAX_READ:
                    raise self._too_many(intent.bucket, prefix, rows)
                other = await self._read(intent, key_prefix)
                if other is not None:
                    yield other
            if pages >= MAX_PAGES and page.next_token is not None:
                raise self._too_many(intent.bucket, prefix, rows)

    def _too_many(self, bucket: str, prefix: str, rows: int) -> LimitReached:
        self._events.emit(RenameRecordsTooMany(bucket=bucket, prefix=prefix, rows=rows))
        return LimitReached(
            "there are too many records of renames to tell whether another one is about the same "
            f"files; the operator of the gateway has to look at {prefix}"
        )

    async def _read(self, intent: Intent, key_prefix: str) -> _Other | None:
        """Another rename; None if it has ended, or does not overlap."""
        bucket, reason, is_text_bad = intent.bucket, "", False
        other: Intent | None = None
        try:
            other = await RenameJournal(self._store, bucket, key_prefix).read_intent()
        except NoSuchObject:
            return None
        except StoreTrouble as error:
            reason, is_text_bad = error.message, True
        except StoreError as error:
            if not refuses_one_object(error):
                raise
            reason = error.message
        if other is not None and not other.overlaps(intent):
            return None
        found = await find_journal(self._store, bucket, self._state_prefix(bucket), key_prefix)
        if found is None or not found.has_intent:
            return None
        return _Other(found, other, reason, is_text_bad)
