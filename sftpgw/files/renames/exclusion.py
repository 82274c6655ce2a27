"""Keeping two renames of the same keys apart, also those of different processes.

Knows: how a rename finds others that overlap with it. Must not know: how it moves keys.

Each rename writes its intent first and lists all journals then. Of two that begin at the same time,
at least one sees the other; so they never both go on. Both may be refused.

The list has one row for each journal. Only those journals are read whose IDs tell that they may
overlap (rule 6 of `plan`): other renames, of whatever user, cost nothing but their rows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from sftpgw.errors import LimitReached, NoSuchObject
from sftpgw.files.housekeeping.pages import all_pages
from sftpgw.files.renames.journal import RenameJournal, find_journal
from sftpgw.files.renames.plan import (
    LEASE_SECONDS,
    FoundJournal,
    Intent,
    Outcome,
    journals_prefix,
    may_overlap,
)
from sftpgw.files.renames.settler import RenameSettler
from sftpgw.files.session_context import SessionContext


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
        self._state_prefix = context.settings.state_prefix
        self._journal = journal
        self._settler = settler

    async def require(self, intent: Intent, path: str) -> bool:
        """Check that no other rename overlaps; settle those that were interrupted.

        :param intent: the intent of this rename, already in the journal.
        :param path: the directory, for the message.
        :returns: whether one of these had the same source and target, and has moved all of it.
        :raises LimitReached: an overlapping rename is in progress.
        """
        is_moved = False
        async for found, other in self._overlapping(intent):
            settled = None
            if found.is_expired(self._clock.seconds()):
                settled = await self._settler.take_over(intent.bucket, found)
            if settled is None:
                raise LimitReached(
                    f"{path}: this directory, or one above or below, is being renamed, or its "
                    f"rename was interrupted; try again in {LEASE_SECONDS:.0f} seconds"
                )
            is_same = (other.source, other.target) == (intent.source, intent.target)
            is_moved |= is_same and settled.outcome is Outcome.MOVED
        return is_moved

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

    async def _overlapping(self, intent: Intent) -> AsyncIterator[tuple[FoundJournal, Intent]]:
        """The journals of other renames that overlap with this one, and their intents."""
        prefix = journals_prefix(self._state_prefix)
        async for page in all_pages(self._store, intent.bucket, prefix, delimiter="/"):
            for key_prefix in page.prefixes:
                if key_prefix == self._journal.key_prefix or not may_overlap(key_prefix, intent):
                    continue
                found = await self._read(intent.bucket, key_prefix)
                if found is not None and found[1].overlaps(intent):
                    yield found

    async def _read(self, bucket: str, key_prefix: str) -> tuple[FoundJournal, Intent] | None:
        """A journal and its intent; None if its rename has ended."""
        found = await find_journal(self._store, bucket, self._state_prefix, key_prefix)
        if found is None or not found.has_intent:
            return None
        try:
            return found, await RenameJournal(self._store, bucket, key_prefix).read_intent()
        except NoSuchObject:
            return None
