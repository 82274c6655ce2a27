"""The suspended uploads in the store: their records, and what clients are told of such files.

Knows: how records (`uploads/suspended/plan`) are written, found, claimed and removed.
Must not know: how an upload goes on, or SFTP.

Rules

1. The store is asked for records only if `[files] on_disconnect = resume`.
2. An upload is suspended if nothing is stored under its name. Of two suspended uploads of one
   name, the one that was opened later stays.
3. A session that has claimed a record has the upload to itself: it resumes it, or aborts it. A
   gateway that dies then leaves an upload without a record, which is swept later.
4. Where the store cannot create an object only once, two gateways may resume one upload. Each
   completes it with the parts that it has sent itself, by their ETags: one stores its file, the
   other one fails.
5. For sessions, a record that cannot be read counts as none. The expiry reports a record whose GET
   the store refuses: its upload is not known, so the sweeper must abort none. A record that makes
   no sense protects no upload, and is removed when it is old. One that is about another user's
   file, or another file of the same user, than its name says makes no sense.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sftpgw.aio.parallel import in_parallel
from sftpgw.errors import (
    AccessDenied,
    ConditionalConflict,
    FileError,
    LimitReached,
    NoSuchObject,
    ObjectChanged,
    PreconditionFailed,
    StoreError,
    StoreTrouble,
    Unsupported,
)
from sftpgw.files.existence import is_stored
from sftpgw.files.housekeeping.state_objects import (
    MAX_TEXT_BYTES,
    StateObject,
    claim,
    read_state_object,
    write_state_object,
)
from sftpgw.files.memory.held_memory import HeldMemory
from sftpgw.files.multipart_abort import abort_or_report
from sftpgw.files.session_context import SessionContext
from sftpgw.files.uploads.suspended.plan import (
    SuspendedUpload,
    claim_name,
    directory_prefix,
    parse_record,
    record_name,
    record_text,
)
from sftpgw.model.events import EventSink
from sftpgw.model.events.upload_events import (
    ClaimLeftBehind,
    PartialDropped,
    PartialKept,
    PartialLeftBehind,
    PartialResumed,
    PartialUnreadable,
    UploadFacts,
)
from sftpgw.model.filesystem import FileAttributes, FileKind
from sftpgw.model.limits import MIN_PART_BYTES
from sftpgw.model.settings import OnDisconnect
from sftpgw.model.store import (
    Capabilities,
    ListPage,
    MultipartUpload,
    ObjectInfo,
    ObjectName,
    ObjectStore,
    WriteCondition,
)
from sftpgw.model.units import KIB, MIB

CONCURRENCY = 16
"""How many records are read at the same time."""

SMALL_BYTES = 64 * KIB
"""A record of 800 parts. Larger ones are read one after the other."""

SHOWN_BYTES = 64 * MIB
"""How many bytes of larger records one listing reads: 80 uploads of 10,000 parts."""

NEVER_BYTES = 1 << 62
"""More than any part has: only whole parts are sent."""


@dataclass(frozen=True, slots=True)
class FoundUpload:
    """A suspended upload, with the object of its record, and without its parts.

    :param record: the record's object, in the version that was read.
    :param upload: the upload.
    :param size_bytes: of its parts together.
    :param began_seconds: when its client opened the file.
    """

    record: ObjectInfo
    upload: MultipartUpload
    size_bytes: int
    began_seconds: float

    @property
    def attributes(self) -> FileAttributes:
        """The file that a client sees: the bytes that were sent, and the date of the record."""
        return FileAttributes(FileKind.FILE, self.size_bytes, self.record.modified_seconds)


class SuspendedRecords:
    """The records of suspended uploads.

    :param store: where the records are.
    :param state_prefix_of: returns the prefix of the gateway's own keys in a bucket.
    :param events: told of records that make no sense, and of leftovers.
    :param new_memory: what a record counts in while it is here; None for the gateway's own work,
        which reads one record after the other.
    """

    def __init__(
        self,
        store: ObjectStore,
        state_prefix_of: Callable[[str], str],
        events: EventSink,
        new_memory: Callable[[], HeldMemory] | None = None,
    ) -> None:
        self._store = store
        self._own_store = store.for_state()
        self._state_prefix_of = state_prefix_of
        self._events = events
        self._new_memory = new_memory

    @contextmanager
    def _counted(self) -> Iterator[HeldMemory | None]:
        """What is read in here counts in the memory budget until the end."""
        memory = self._new_memory() if self._new_memory is not None else None
        try:
            yield memory
        finally:
            if memory is not None:
                memory.close()

    async def read(self, record: ObjectName) -> FoundUpload | None:
        """The upload of a record; None if there is none, none that makes sense, or it is denied.

        :raises LimitReached: there is no memory for it.
        """
        try:
            return await self.read_or_raise(record)
        except AccessDenied:  # without the right to list, a missing object is a 403
            return None

    async def read_or_raise(self, record: ObjectName) -> FoundUpload | None:
        """The upload of a record that was listed; None if it is gone, or makes no sense.

        :raises AccessDenied: the store refuses to show it.
        :raises LimitReached: there is no memory for it.
        """
        with self._counted() as memory:
            found = await self._whole(record, memory)
            return None if found is None else _found(*found)

    async def _whole(
        self, record: ObjectName, memory: HeldMemory | None
    ) -> tuple[ObjectInfo, SuspendedUpload] | None:
        try:
            text = await read_state_object(self._own_store, record, memory)
            return text.info, self._parsed(text)
        except NoSuchObject:
            return None
        except StoreTrouble as error:
            self._events.emit(PartialUnreadable(record=record.key, reason=error.message))
            return None

    def _parsed(self, text: StateObject) -> SuspendedUpload:
        """:raises StoreTrouble: the record makes no sense, or has the name of another one"""
        record = text.info.name
        try:
            suspended = parse_record(text.data, record.bucket)
        except ValueError as error:
            raise StoreTrouble(
                f"the record of a suspended upload cannot be read: {error}"
            ) from None
        state_prefix = self._state_prefix_of(record.bucket)
        if record != record_name(state_prefix, suspended.user, suspended.upload.name):
            raise StoreTrouble("the record of a suspended upload has the name of another one")
        return suspended

    async def write(self, record: ObjectName, suspended: SuspendedUpload) -> None:
        """Write the record of an upload.

        :raises PreconditionFailed, ConditionalConflict: there is one.
        """
        text = record_text(suspended)
        await write_state_object(self._own_store, record, text, WriteCondition.IF_ABSENT)

    async def claim(self, found: FoundUpload) -> SuspendedUpload | None:
        """Take the record away, and return what it says.

        None if another session did that, or is about to.

        :raises LimitReached: there is no memory for the record.
        """
        await self._store.learn_capabilities(found.record.name.bucket)
        name = claim_name(self._state_prefix_of(found.upload.name.bucket), found.upload)
        if not await claim(self._own_store, name, b"{}"):
            return None
        try:
            return await self._take(found)
        finally:
            await self._forget(name)

    async def _take(self, found: FoundUpload) -> SuspendedUpload | None:
        """Read the record again and delete it, if it still says the same."""
        with self._counted() as memory:
            try:
                again = await self._whole(found.record.name, memory)
            except AccessDenied:
                return None
            if again is None or replace(_found(*again), record=found.record) != found:
                return None
            await self._own_store.delete(found.record.name)
            return again[1]

    async def _forget(self, claim: ObjectName) -> None:
        """A claim that is left is swept later; until then the upload cannot be claimed."""
        try:
            await self._own_store.delete(claim)
        except StoreError as error:
            self._events.emit(ClaimLeftBehind(record=claim.key, reason=error.message))

    async def drop(self, found: FoundUpload, *, reason: str) -> bool:
        """Abort the upload; False if another session has claimed it."""
        if await self.claim(found) is None:
            return False
        await abort_or_report(self._store, self._events, found.upload)
        self._events.emit(
            PartialDropped(
                key=found.upload.name.key,
                bucket=found.upload.name.bucket,
                size_bytes=found.size_bytes,
                reason=reason,
            )
        )
        return True


class SuspendedUploads:
    """The suspended uploads of one user, for one session.

    :param context: the objects that the session's files use.
    :ivar is_wanted: whether uploads are suspended at all.
    """

    def __init__(self, context: SessionContext) -> None:
        self.is_wanted = context.files.on_disconnect is OnDisconnect.RESUME
        self._user = context.user
        self._store = context.store
        settings_of = context.settings_of
        # No method of this object: what has the records has no way back to it.
        self._state_prefix_of: Callable[[str], str] = lambda bucket: (
            settings_of(bucket).state_prefix
        )
        self._events = context.events
        self._quotas = context.quotas
        self._records = SuspendedRecords(
            context.store,
            self._state_prefix_of,
            context.events,
            lambda: HeldMemory(context.budget, context.clock),
        )

    def tail_bytes(self, able: Capabilities) -> int | None:
        """From which size on the rest is sent when a client is lost, though it is no whole part.

        None if uploads are not suspended.

        :param able: what the store can do.
        """
        if not self.is_wanted:
            return None
        return MIN_PART_BYTES if able.unequal_parts else NEVER_BYTES

    # Finding.

    def _record(self, name: ObjectName) -> ObjectName:
        return record_name(self._state_prefix_of(name.bucket), self._user, name)

    async def find(self, name: ObjectName) -> FoundUpload | None:
        """The suspended upload of a name that nothing is stored under. A GET."""
        if not self.is_wanted:
            return None
        found = await self._records.read(self._record(name))
        is_ours = found is not None and found.upload.name == name
        return found if is_ours else None

    async def in_directory(self, bucket: str, key_prefix: str) -> dict[str, FileAttributes]:
        """The suspended files of a directory, by key. A LIST, and a GET for each."""
        files: dict[str, FileAttributes] = {}

        async def read(record: ObjectInfo) -> None:
            found = await self._records.read(record.name)
            if found is not None:
                files[found.upload.name.key] = found.attributes

        page = await self._page(bucket, key_prefix)
        small = [record for record in page.objects if record.size_bytes <= SMALL_BYTES]
        await in_parallel(read, small, CONCURRENCY)
        for record in shown_large(page.objects):
            await read(record)
        return files

    async def is_any_in(self, bucket: str, key_prefix: str) -> bool:
        """Whether a directory has suspended files. A LIST."""
        return bool((await self._page(bucket, key_prefix)).objects)

    async def _page(self, bucket: str, key_prefix: str) -> ListPage:
        """The first page: a thousand suspended uploads of one directory are unheard of."""
        if not self.is_wanted:
            return ListPage((), (), None)
        prefix = directory_prefix(self._state_prefix_of(bucket), self._user, key_prefix)
        return await self._store.for_state().list(bucket, prefix)

    async def require_none(self, name: ObjectName, path: str) -> None:
        """Check that a file that is not stored is not suspended either.

        :raises Unsupported: it is, and the operation needs the whole file.
        """
        found = await self.find(name)
        if found is not None:
            raise incomplete(found, path)

    # Changing.

    async def resume(
        self, found: FoundUpload, path: str, *, truncate: bool
    ) -> SuspendedUpload | None:
        """The file is opened: its upload goes on, or is dropped if the file begins anew.

        :param found: the upload.
        :param path: the path of the file, for the client.
        :param truncate: the file begins anew.
        :raises ObjectChanged: another session goes on with it.
        """
        if truncate:
            await self.forget(found, reason="the file was opened anew")
            return None
        suspended = await self._records.claim(found)
        if suspended is None:
            raise ObjectChanged(
                f"{path}: another session is sending the rest of this file; look again later"
            )
        self._events.emit(
            PartialResumed(
                key=suspended.upload.name.key,
                bucket=suspended.upload.name.bucket,
                path=path,
                size_bytes=suspended.size_bytes,
            )
        )
        return suspended

    async def drop(self, name: ObjectName, *, reason: str) -> bool:
        """Abort the suspended upload of a name; whether there was one. A GET, mostly."""
        found = await self.find(name)
        return found is not None and await self._abort(found, reason=reason)

    async def forget(self, found: FoundUpload, *, reason: str) -> None:
        """Abort an upload that was found, unless another session has claimed it."""
        await self._abort(found, reason=reason)

    async def _abort(self, found: FoundUpload, *, reason: str) -> bool:
        is_dropped = await self._records.drop(found, reason=reason)
        if is_dropped and self._quotas is not None:
            self._quotas.suspended_gone(found.upload.name, found.size_bytes)
        return is_dropped

    async def published(self, name: ObjectName) -> None:
        """A file was stored: abort an older upload of it. Never raises."""
        try:
            await self.drop(name, reason="the file was stored")
        except (StoreError, LimitReached) as error:
            self._events.emit(
                PartialLeftBehind(key=name.key, bucket=name.bucket, reason=error.message)
            )

    async def suspend(self, suspended: SuspendedUpload, facts: UploadFacts) -> bool:
        """Write the record of an upload that stays open; False if it must not.

        :param suspended: the upload.
        :param facts: what the log is told of it.
        :raises StoreError: the record could not be written.
        """
        name = suspended.upload.name
        if not self.is_wanted or await self._is_stored(name):
            return False
        record = self._record(name)
        try:
            await self._records.write(record, suspended)
        except (PreconditionFailed, ConditionalConflict):
            if not await self._replace(record, suspended):
                return False
        if self._quotas is not None:
            self._quotas.suspended(name, suspended.size_bytes)
        self._events.emit(PartialKept(size_bytes=suspended.size_bytes, **facts))
        return True

    async def _is_stored(self, name: ObjectName) -> bool:
        try:
            return await is_stored(self._store, name)
        except AccessDenied:
            return True  # the upload could not be found again either

    async def _replace(self, record: ObjectName, suspended: SuspendedUpload) -> bool:
        try:
            before = await self._records.read(record)
        except LimitReached as error:
            raise StoreTrouble(f"the record before this one cannot be read: {error}") from None
        if before is None or before.began_seconds > suspended.began_seconds:
            return False
        if not await self._abort(before, reason="a later upload was kept"):
            return False
        await self._records.write(record, suspended)
        return True


def shown_large(records: Iterable[ObjectInfo]) -> Iterator[ObjectInfo]:
    """The records of a list that are not small, as far as a listing reads them.

    :param records: the objects of the list.
    """
    left_bytes = SHOWN_BYTES
    for record in records:
        if SMALL_BYTES < record.size_bytes <= min(left_bytes, MAX_TEXT_BYTES):
            left_bytes -= record.size_bytes
            yield record


def incomplete(found: FoundUpload, path: str) -> FileError:
    """Why a suspended file cannot be read, hashed, renamed or changed."""
    return Unsupported(
        f"{path}: only the first {found.size_bytes} bytes of this file have arrived; "
        "send the rest (reput, put -c, put -a), or remove it"
    )


def _found(record: ObjectInfo, suspended: SuspendedUpload) -> FoundUpload:
    return FoundUpload(record, suspended.upload, suspended.size_bytes, suspended.began_seconds)
