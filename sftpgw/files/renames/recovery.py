"""Finishing the rename of a directory: what follows once its outcome is decided.

Knows: the two ways in which a rename ends, and when one that was left alone is taken up.
Must not know: why it was begun, who waits for it.

Whoever renames ends here, and so does whoever finds the record after a crash: the gateway
when it starts and every few minutes, or the next rename that concerns the same keys. All
steps can be taken twice, and by two at once.

Moved: each version that was copied is deleted under its old name. What is there instead
by now was never copied, and stays; long after the crash, that may be the same bytes, stored
again, so that whoever takes up a rename looks at dates, too. Abandoned: each copy is removed,
but only while the original is there and is the same; so nothing is ever the last of its kind
that goes.

Either way markers go last, the deepest first: stores that have directories remove none that
anything is in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby

from sftpgw.aio.parallel import in_parallel
from sftpgw.aio.periodic import PeriodicTask
from sftpgw.errors import (
    CredentialsUnavailable,
    GatewayError,
    NoSuchObject,
    PreconditionFailed,
    StoreUnavailable,
)
from sftpgw.files.copies.copier import Copier
from sftpgw.files.copies.plan import is_surely_same
from sftpgw.files.housekeeping.ghost_directories import clear_ghosts
from sftpgw.files.listing.markers import MARKER, is_empty_marker
from sftpgw.files.renames.journal import RenameJournal, heartbeat, list_records
from sftpgw.files.renames.plan import Entry, FoundRename, Intent, Outcome, names
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.events.file_events import InterruptedRenameFinished
from sftpgw.model.events.gateway_events import Defect, FinishFailed
from sftpgw.model.store import ObjectInfo, ObjectName, ObjectStore

AT_ONCE = 16
"""Requests of one rename that are under way at the same time."""

FIRST_SECONDS = 20.0
EVERY_SECONDS = 300.0
UNGUARDED_SECONDS = 86400.0
"""Where the store decides nothing, a rename must be so long dead before it is given up."""

TOMBSTONE_SECONDS = 7 * 86400.0
MAX_TOLD = 100


Entries = tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class CompletedRename:
    """How a rename has ended; `spared` counts what was not touched since it has changed."""

    intent: Intent
    outcome: Outcome
    spared: int = 0


class RenameCompleter:
    """Takes renames to their end."""

    def __init__(self, store: ObjectStore, copier: Copier, clock: Clock, events: EventSink) -> None:
        self._store = store
        self._copier = copier
        self._clock = clock
        self._events = events

    async def finish(
        self,
        record: RenameJournal,
        pages: tuple[int, ...],
        intent: Intent,
        outcome: Outcome,
        *,
        is_late: bool = False,
    ) -> CompletedRename:
        """Do all that follows from `outcome`. The record is left.

        :param is_late: files may have been stored again meanwhile. A HEAD for each.
        :raises StoreError: as it is; it can be called again.
        """
        spared: list[Entry] = []

        async def settle(entry: Entry) -> None:
            source, target = names(intent, entry)
            if outcome is Outcome.MOVED:
                is_done = await self._delete_source(source, entry, is_late=is_late)
            elif intent.over_marker and not entry.suffix:
                is_done = await self._restore_marker(source, target, entry)
            else:
                is_done = await self._delete_copy(source, target, entry)
            if not is_done:
                spared.append(entry)

        with_markers: dict[int, Entries] = {}
        for number in pages:
            entries = await _page(record, number)
            await in_parallel(settle, [e for e in entries if not _is_of_marker(e)], AT_ONCE)
            if any(map(_is_of_marker, entries)):
                # Of all pages before, the numbers: memory holds one page.
                with_markers = dict.fromkeys(with_markers, ()) | {number: entries}
        for number, in_hand in reversed(with_markers.items()):
            markers = filter(_is_of_marker, in_hand or await _page(record, number))
            for _, level in groupby(sorted(markers, key=_depth, reverse=True), key=_depth):
                await in_parallel(settle, level, AT_ONCE)
        return CompletedRename(intent, outcome, len(spared))

    async def _delete_source(
        self, source: ObjectName, entry: Entry, *, is_late: bool = False
    ) -> bool:
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
        return await self._delete_source(target, Entry(entry.suffix, copied.etag))

    async def _restore_marker(self, source: ObjectName, target: ObjectName, entry: Entry) -> bool:
        """The target had a marker; a copy of one that holds bytes makes room for one again."""
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

    async def clear_folders(self, intent: Intent, outcome: Outcome) -> None:
        """Behind `finish`, where the store keeps folders of its own
        (`files/housekeeping/ghost_directories`).

        :raises StoreError:
        """
        gone, twin = intent.source, intent.target
        if outcome is Outcome.ABANDONED:
            gone, twin = twin, gone
        spares_top = outcome is Outcome.ABANDONED and intent.over_marker
        await clear_ghosts(self._store, intent.bucket, gone, twin=twin, spares_top=spares_top)

    # Records that were left alone.

    async def take_up(self, bucket: str, found: FoundRename) -> CompletedRename | None:
        """Finish a rename that nobody works on any more.

        None: that must wait, or there was nothing to finish.

        :raises StoreError, StoreTrouble: the record remains.
        """
        record = RenameJournal(self._store, bucket, found.key_prefix)
        if not found.has_intent:
            await self._clear_away(bucket, found)
            return None
        intent = await record.intent()
        outcome = await record.decided()
        if outcome is None and not await self._may_give_up(bucket, found):
            return None
        if not await record.claim(found.claim_key):
            return None
        await record.write_intent(intent)
        if outcome is None:
            outcome = await record.decide(Outcome.ABANDONED)
        beating = heartbeat(lambda: record.write_intent(intent), self._clock)
        try:
            finished = await self.finish(record, found.pages, intent, outcome, is_late=True)
            await beating.finish()
        finally:
            beating.stop()
        if found.pages:  # else nothing was copied, and what is at the target is somebody's
            await self.clear_folders(intent, outcome)
        if outcome is Outcome.MOVED:
            await record.remove(found.pages, (*found.claim_keys, found.claim_key))
        else:
            await record.bury()
        self._events.emit(
            InterruptedRenameFinished(
                bucket=bucket,
                key=intent.source,
                new_key=intent.target,
                outcome=outcome.value,
                spared=finished.spared,
            )
        )
        return finished

    async def _may_give_up(self, bucket: str, found: FoundRename) -> bool:
        able = await self._store.learn_capabilities(bucket)
        age_seconds = self._clock.seconds() - found.written_seconds
        return able.conditional_put or age_seconds > UNGUARDED_SECONDS

    async def _clear_away(self, bucket: str, found: FoundRename) -> None:
        if self._clock.seconds() - found.written_seconds > TOMBSTONE_SECONDS:
            for key in found.keys:
                await self._store.delete(ObjectName(bucket, key))


async def _page(record: RenameJournal, number: int) -> Entries:
    """Nothing, if somebody else has been here, to the end."""
    try:
        return await record.page(number)
    except NoSuchObject:
        return ()


def _is_copy(original: ObjectInfo, copied: ObjectInfo, entry: Entry) -> bool:
    """Whether the original still is what `entry` names, and what is at the target the same."""
    return original.etag == entry.etag and is_surely_same(original, copied)


def _is_of_marker(entry: Entry) -> bool:
    return not entry.suffix or entry.suffix.endswith("/")


def _depth(entry: Entry) -> int:
    return entry.suffix.count("/")


class RenameRecovery:
    """Looks for interrupted renames now and then, from `start` to `stop`.

    :param random: a number in [0, 1) each time, so that processes do not meet.
    """

    def __init__(
        self,
        buckets: tuple[str, ...],
        state_prefix: str,
        *,
        completer: RenameCompleter,
        store: ObjectStore,
        clock: Clock,
        events: EventSink,
        random: Callable[[], float],
    ) -> None:
        self._buckets = buckets
        self._state_prefix = state_prefix
        self._completer = completer
        self._store = store
        self._clock = clock
        self._events = events
        self._told: set[tuple[str, str, str]] = set()
        self._rounds = PeriodicTask(
            self.look,
            first_seconds=FIRST_SECONDS,
            every_seconds=EVERY_SECONDS,
            clock=clock,
            on_failure=lambda failure: events.emit(Defect(where="finisher", failure=failure)),
            random=random,
        )

    def start(self) -> None:
        """The first look comes within half a minute."""
        self._rounds.start()

    def stop(self) -> None:
        """Drop a request that is under way, and let no other follow."""
        self._rounds.stop()

    async def look(self) -> None:
        """Look everywhere once."""
        for bucket in self._buckets:
            try:
                await self._look_into(bucket)
            except GatewayError as error:
                self._tell_failure(bucket, self._state_prefix, error)

    async def _look_into(self, bucket: str) -> None:
        for found in await list_records(self._store, bucket, self._state_prefix):
            if found.is_left_alone(self._clock.seconds()):
                try:
                    await self._completer.take_up(bucket, found)
                except (CredentialsUnavailable, StoreUnavailable):
                    raise
                except GatewayError as error:
                    # Another gateway was faster, or it cannot be done: on to the next.
                    self._tell_failure(bucket, found.key_prefix, error)

    def _tell_failure(self, bucket: str, prefix: str, error: GatewayError) -> None:
        """Once for each reason, not every few minutes."""
        reason = (bucket, prefix, error.message)
        if reason not in self._told:
            if len(self._told) >= MAX_TOLD:
                self._told.clear()
            self._told.add(reason)
            self._events.emit(FinishFailed(bucket=bucket, prefix=prefix, reason=error.message))
