"""The end of a directory rename: deleting the originals, or deleting the copies.

Knows: the steps after the outcome, and when an interrupted rename may be taken over.
Must not know: who waits for the rename.

Three paths lead here: the rename itself, when all copies exist or when it fails; a later rename of
the same keys; and `files/renames/recovery`, which looks for interrupted renames.

Rules

1. Each step may be repeated, and two processes may carry out the same steps at once.
2. *Moved*: each version that was copied is deleted under its old key, by its ETag. If another
   version is stored there by now, it was never copied, and stays. After a crash, the same bytes may
   have been stored again, with the same ETag; so recovery compares the date as well.
3. *Abandoned*: a copy is deleted only while its original exists and is the same version. So no step
   ever deletes the last object with these bytes.
4. Markers are deleted last, the deepest first: a store with real directories deletes only empty
   ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from sftpgw.aio.parallel import in_parallel
from sftpgw.errors import NoSuchObject, PreconditionFailed
from sftpgw.files.copies.copier import Copier
from sftpgw.files.copies.plan import is_surely_same
from sftpgw.files.housekeeping.ghost_directories import clear_ghosts
from sftpgw.files.listing.markers import MARKER, is_empty_marker
from sftpgw.files.renames.journal import RenameJournal, start_heartbeat
from sftpgw.files.renames.plan import Entry, FoundJournal, Intent, Outcome, source_and_target
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.events.file_events import InterruptedRenameFinished
from sftpgw.model.store import ObjectInfo, ObjectName, ObjectStore

CONCURRENT_REQUESTS = 16
"""How many requests one rename has in flight."""

UNCONDITIONAL_SECONDS = 86400.0
"""How long a lease must be unrenewed where the store has no conditional PUT to decide by."""

TOMBSTONE_SECONDS = 7 * 86400.0
"""How long a journal without an intent is left."""

Entries = tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class SettledRename:
    """A rename that has ended.

    :param intent: which keys it was about.
    :param outcome: how it ended.
    :param spared: how many objects were left, since they were not the ones in the journal.
    """

    intent: Intent
    outcome: Outcome
    spared: int = 0


class RenameSettler:
    """Brings renames to their end.

    :param store: the store.
    :param copier: deletes single versions.
    :param clock: the process's clock.
    :param events: receives the events of interrupted renames.
    """

    def __init__(self, store: ObjectStore, copier: Copier, clock: Clock, events: EventSink) -> None:
        self._store = store
        self._copier = copier
        self._clock = clock
        self._events = events

    async def settle(
        self,
        journal: RenameJournal,
        pages: tuple[int, ...],
        intent: Intent,
        outcome: Outcome,
        *,
        is_late: bool = False,
    ) -> SettledRename:
        """Carry out the outcome for each entry of the journal. The journal itself stays.

        :param journal: the journal.
        :param pages: the numbers of its pages.
        :param intent: its intent.
        :param outcome: its outcome.
        :param is_late: whether files may have been stored again meanwhile: a HEAD for each.
        :raises StoreError: a request failed; `settle` may be called again.
        """
        spared: list[Entry] = []

        async def settle_entry(entry: Entry) -> None:
            source, target = source_and_target(intent, entry)
            if outcome is Outcome.MOVED:
                is_settled = await self._delete_version(source, entry, is_late=is_late)
            elif intent.over_marker and not entry.suffix:
                is_settled = await self._restore_marker(source, target, entry)
            else:
                is_settled = await self._delete_copy(source, target, entry)
            if not is_settled:
                spared.append(entry)

        with_markers: dict[int, Entries] = {}
        for number in pages:
            entries = await _read_page(journal, number)
            files = [entry for entry in entries if not _is_of_marker(entry)]
            await in_parallel(settle_entry, files, CONCURRENT_REQUESTS)
            if any(map(_is_of_marker, entries)):
                # Only the last page stays in memory; of the others, the number.
                with_markers = dict.fromkeys(with_markers, ()) | {number: entries}
        for number, in_memory in reversed(with_markers.items()):
            markers = filter(_is_of_marker, in_memory or await _read_page(journal, number))
            for _, level in groupby(sorted(markers, key=_depth, reverse=True), key=_depth):
                await in_parallel(settle_entry, level, CONCURRENT_REQUESTS)
        return SettledRename(intent, outcome, len(spared))

    async def _delete_version(
        self, source: ObjectName, entry: Entry, *, is_late: bool = False
    ) -> bool:
        """Delete the version of an entry. Returns False if another version is stored."""
        try:
            if is_late and entry.modified_seconds is not None:
                found = await self._store.head(source)
                if found.modified_seconds != entry.modified_seconds:
                    return False
            await self._copier.delete_version(source, entry.etag)
        except PreconditionFailed:
            return False
        except NoSuchObject:
            return True
        return True

    async def _delete_copy(self, source: ObjectName, target: ObjectName, entry: Entry) -> bool:
        """Delete the copy of an entry. Returns False if it must stay (rule 3)."""
        try:
            copied = await self._store.head(target, with_checksum=True)
        except NoSuchObject:
            return True
        try:
            original = await self._store.head(source, with_checksum=True)
        except NoSuchObject:
            return False
        if not _is_copy(original, copied, entry):
            return False
        return await self._delete_version(target, Entry(entry.suffix, copied.etag))

    async def _restore_marker(self, source: ObjectName, target: ObjectName, entry: Entry) -> bool:
        """Replace the copy of a marker that holds bytes by an empty one, as the target had it."""
        try:
            copied = await self._store.head(target, with_checksum=True)
            if is_empty_marker(copied):
                return True
            original = await self._store.head(source, with_checksum=True)
        except NoSuchObject:
            return True
        if not _is_copy(original, copied, entry):
            return False
        await self._store.put(target, (), MARKER)
        return True

    async def clear_ghosts(self, intent: Intent, outcome: Outcome) -> None:
        """Remove the ghost directories that a store may still list after `settle`.

        :param intent: the intent of the rename.
        :param outcome: its outcome: *moved* clears the source, *abandoned* the target.
        :raises StoreError: as the store does.
        """
        gone, twin = intent.source, intent.target
        if outcome is Outcome.ABANDONED:
            gone, twin = twin, gone
        spares_top = outcome is Outcome.ABANDONED and intent.over_marker
        await clear_ghosts(self._store, intent.bucket, gone, twin=twin, spares_top=spares_top)

    # Interrupted renames.

    async def take_over(self, bucket: str, found: FoundJournal) -> SettledRename | None:
        """Settle the rename of a journal whose lease has expired.

        If its outcome is *moved*, it is completed. Without an outcome, it is abandoned and undone:
        its client was never told that it succeeded.

        :param bucket: the bucket.
        :param found: the journal, as it was listed.
        :returns: the settled rename. None if there was none, another process was first, or it is
            too early.
        :raises StoreError, StoreTrouble: a request failed, and the journal is left.
        """
        journal = RenameJournal(self._store, bucket, found.key_prefix)
        if not found.has_intent:
            await self._remove_tombstone(bucket, found)
            return None
        intent = await journal.read_intent()
        outcome = await journal.read_outcome()
        if outcome is None and not await self._may_abandon(bucket, found):
            return None
        if not await journal.claim(found.claim_key):
            return None
        await journal.write_intent(intent)
        if outcome is None:
            outcome = await journal.decide(Outcome.ABANDONED)
        heartbeat = start_heartbeat(lambda: journal.renew(intent), self._clock, self._events)
        try:
            settled = await self.settle(journal, found.pages, intent, outcome, is_late=True)
            await heartbeat.finish()
        finally:
            heartbeat.stop()
        if found.pages:  # without pages nothing was copied: the target belongs to others
            await self.clear_ghosts(intent, outcome)
        if outcome is Outcome.MOVED:
            await journal.remove(found.pages, (*found.claim_keys, found.claim_key))
        else:
            await journal.leave_tombstone()
        self._emit_finished(settled)
        return settled

    async def abandon_unreadable(self, bucket: str, found: FoundJournal) -> bool:
        """End a rename whose intent no gateway can read: it is abandoned unless it has moved.

        Its process may be slow. It learns from the outcome that its rename was given up, and then
        looks for other renames before it touches a key. Nothing is deleted.

        :param bucket: the bucket.
        :param found: the journal, as it was listed.
        :returns: whether it has an outcome now; False: it is too early.
        :raises StoreError, StoreTrouble: a request failed.
        """
        if not found.is_expired(self._clock.seconds()):
            return False
        if found.has_outcome:
            return True
        if not await self._may_abandon(bucket, found):
            return False
        await RenameJournal(self._store, bucket, found.key_prefix).decide(Outcome.ABANDONED)
        return True

    async def _may_abandon(self, bucket: str, found: FoundJournal) -> bool:
        """Whether an outcome may be written for another process."""
        able = await self._store.learn_capabilities(bucket)
        age_seconds = self._clock.seconds() - found.renewed_seconds
        return able.conditional_put or age_seconds > UNCONDITIONAL_SECONDS

    async def _remove_tombstone(self, bucket: str, found: FoundJournal) -> None:
        """Remove a journal without an intent, once no slow process can need it any more."""
        if self._clock.seconds() - found.renewed_seconds > TOMBSTONE_SECONDS:
            for key in found.keys:
                await self._store.for_state().delete(ObjectName(bucket, key))

    def _emit_finished(self, settled: SettledRename) -> None:
        intent = settled.intent
        self._events.emit(
            InterruptedRenameFinished(
                bucket=intent.bucket,
                key=intent.source,
                new_key=intent.target,
                outcome=settled.outcome.value,
                spared=settled.spared,
            )
        )


async def _read_page(journal: RenameJournal, number: int) -> Entries:
    """The entries of a page; none if another process has settled the rename."""
    try:
        return await journal.read_page(number)
    except NoSuchObject:
        return ()


def _is_copy(original: ObjectInfo, copied: ObjectInfo, entry: Entry) -> bool:
    """Whether the original is the version of the entry, and its copy has the same bytes."""
    return original.etag == entry.etag and is_surely_same(original, copied)


def _is_of_marker(entry: Entry) -> bool:
    return not entry.suffix or entry.suffix.endswith("/")


def _depth(entry: Entry) -> int:
    return entry.suffix.count("/")
