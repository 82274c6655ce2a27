"""Uploads that were cut off, and are kept for their clients to go on with.

Knows: how their records (`uploads/suspended/plan`) are written, found, claimed and removed, and
what
a client is told of such a file.
Must not know: how an upload goes on, or SFTP.

Rules

1. Nothing is asked of the store unless `[files] on_disconnect = resume`.
2. An upload is kept if nothing is stored under its name. Of two of one name, the one that
   was opened later is.
3. Who has claimed a record has the upload, and nobody else: it goes on with it, or aborts
   it. A gateway that dies then leaves an upload without a record, which is swept away.
4. Where the store cannot create an object only once, two gateways may go on with one
   upload. Each completes it with the parts that it has sent itself, by their ETags: one
   stores its file, the other one fails.
5. A record that cannot be read is none.
"""

from __future__ import annotations

from dataclasses import dataclass

from sftpgw.aio.parallel import in_parallel
from sftpgw.errors import (
    AccessDenied,
    ConditionalConflict,
    FileError,
    NoSuchObject,
    ObjectChanged,
    PreconditionFailed,
    StoreError,
    StoreTrouble,
    Unsupported,
)
from sftpgw.files.existence import is_stored
from sftpgw.files.housekeeping.pages import all_pages
from sftpgw.files.housekeeping.state_objects import (
    StateObject,
    claim,
    read_state_object,
    write_state_object,
)
from sftpgw.files.session_context import SessionContext
from sftpgw.files.uploads.suspended.plan import (
    SuspendedUpload,
    claim_name,
    directory_prefix,
    parse_partial,
    partial_text,
    record_name,
    records_prefix,
)
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.events.upload_events import (
    ClaimLeftBehind,
    PartialDropped,
    PartialKept,
    PartialLeftBehind,
    PartialResumed,
    PartialUnreadable,
    UploadFacts,
    UploadLeftBehind,
    store_failure_facts,
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

AT_ONCE = 16
NEVER_BYTES = 1 << 62


@dataclass(frozen=True, slots=True)
class FoundUpload:
    """A partial, and the version of its record."""

    record: ObjectInfo
    partial: SuspendedUpload

    @property
    def attributes(self) -> FileAttributes:
        """As a file: what there is of it, and since when."""
        return FileAttributes(FileKind.FILE, self.partial.size_bytes, self.record.modified_seconds)


class SuspendedRecords:
    """The records of one bucket or several."""

    def __init__(self, store: ObjectStore, state_prefix: str, events: EventSink) -> None:
        self._store = store
        self._state_prefix = state_prefix
        self._events = events

    async def read(self, record: ObjectName) -> FoundUpload | None:
        """None if there is none, or none that makes sense."""
        try:
            text = await read_state_object(self._store, record)
            return FoundUpload(text.info, _parsed(text))
        except (NoSuchObject, AccessDenied):  # where nobody may list, what is missing is a 403
            return None
        except StoreTrouble as error:
            self._events.emit(PartialUnreadable(record=record.key, reason=error.message))
            return None

    async def write(self, record: ObjectName, partial: SuspendedUpload) -> None:
        """:raises PreconditionFailed, ConditionalConflict: there is one."""
        text = partial_text(partial)
        await write_state_object(self._store, record, text, WriteCondition.IF_ABSENT)

    async def claim(self, found: FoundUpload) -> bool:
        """Take the record away; False if somebody else has done that, or is about to."""
        await self._store.learn_capabilities(found.record.name.bucket)
        name = claim_name(self._state_prefix, found.partial.upload)
        if not await claim(self._store, name, b"{}"):
            return False
        try:
            again = await self.read(found.record.name)
            if again is None or again.partial != found.partial:
                return False
            await self._store.delete(found.record.name)
            return True
        finally:
            await self._forget(name)

    async def _forget(self, claim: ObjectName) -> None:
        """What is left is swept away later; until then nobody can claim this upload."""
        try:
            await self._store.delete(claim)
        except StoreError as error:
            self._events.emit(ClaimLeftBehind(record=claim.key, reason=error.message))

    async def drop(self, found: FoundUpload, *, reason: str) -> bool:
        """Abort the upload; False if it is somebody else's by now."""
        if not await self.claim(found):
            return False
        partial = found.partial
        try:
            await self._store.abort_upload(partial.upload)
        except StoreError as error:
            self._events.emit(
                UploadLeftBehind(
                    key=partial.upload.name.key,
                    bucket=partial.upload.name.bucket,
                    upload_id=partial.upload.upload_id,
                    **store_failure_facts(error),
                )
            )
        self._events.emit(
            PartialDropped(
                key=partial.upload.name.key,
                bucket=partial.upload.name.bucket,
                size_bytes=partial.size_bytes,
                reason=reason,
            )
        )
        return True


class SuspendedUploads:
    """One user's partials, for one session."""

    def __init__(self, context: SessionContext) -> None:
        self.is_wanted = context.files.on_disconnect is OnDisconnect.RESUME
        self.user = context.user
        self._store = context.store
        self._state_prefix = context.settings.state_prefix
        self._events = context.events
        self._records = SuspendedRecords(context.store, self._state_prefix, context.events)

    def tail_bytes(self, able: Capabilities) -> int | None:
        """What is sent when a client is lost, though it is no whole part; None for nothing."""
        if not self.is_wanted:
            return None
        return MIN_PART_BYTES if able.unequal_parts else NEVER_BYTES

    # Looking.

    async def find(self, name: ObjectName) -> FoundUpload | None:
        """What is kept under a name that nothing is stored under. A GET."""
        if not self.is_wanted:
            return None
        found = await self._records.read(record_name(self._state_prefix, self.user, name))
        is_ours = found is not None and found.partial.upload.name == name
        return found if is_ours else None

    async def in_directory(self, bucket: str, key_prefix: str) -> dict[str, FileAttributes]:
        """By key, all that is kept of a directory's files. A LIST, and a GET for each."""
        kept: dict[str, FileAttributes] = {}

        async def read(record: ObjectInfo) -> None:
            found = await self._records.read(record.name)
            if found is not None:
                kept[found.partial.upload.name.key] = found.attributes

        page = await self._page(bucket, key_prefix)
        await in_parallel(read, page.objects, AT_ONCE)
        return kept

    async def is_any_in(self, bucket: str, key_prefix: str) -> bool:
        """Whether anything is kept of a directory's files. A LIST."""
        return bool((await self._page(bucket, key_prefix)).objects)

    async def _page(self, bucket: str, key_prefix: str) -> ListPage:
        """The first one: that a thousand uploads to one directory are cut off is unheard of."""
        if not self.is_wanted:
            return ListPage((), (), None)
        prefix = directory_prefix(self._state_prefix, self.user, key_prefix)
        return await self._store.list(bucket, prefix)

    async def demand_none(self, name: ObjectName, path: str) -> None:
        """What could be done with a whole file. :raises Unsupported: there is a part of it."""
        found = await self.find(name)
        if found is not None:
            raise incomplete(found, path)

    # Changing.

    async def go_on(
        self, found: FoundUpload, path: str, *, truncate: bool
    ) -> SuspendedUpload | None:
        """The file is opened: its upload goes on, or is dropped if the file begins anew.

        :raises ObjectChanged: somebody else goes on with it.
        """
        if truncate:
            await self.forget(found, reason="the file was opened anew")
            return None
        if not await self._records.claim(found):
            raise ObjectChanged(
                f"{path}: another session is sending the rest of this file; look again later"
            )
        partial = found.partial
        self._events.emit(
            PartialResumed(
                key=partial.upload.name.key,
                bucket=partial.upload.name.bucket,
                path=path,
                size_bytes=partial.size_bytes,
            )
        )
        return partial

    async def drop(self, name: ObjectName, *, reason: str) -> bool:
        """Forget what is kept under a name; whether there was something. A GET, mostly."""
        found = await self.find(name)
        return found is not None and await self._records.drop(found, reason=reason)

    async def forget(self, found: FoundUpload, *, reason: str) -> None:
        """Drop what was found, unless somebody else has gone on with it."""
        await self._records.drop(found, reason=reason)

    async def published(self, name: ObjectName) -> None:
        """Something was stored: an older upload may have been kept meanwhile. Never raises."""
        try:
            await self.drop(name, reason="the file was stored")
        except StoreError as error:
            self._events.emit(
                PartialLeftBehind(key=name.key, bucket=name.bucket, reason=error.message)
            )

    async def keep(self, partial: SuspendedUpload, facts: UploadFacts) -> bool:
        """Write down an upload that stays open; False if it shall not.

        :param facts: what else the log is told.
        :raises StoreError: it could not be written down.
        """
        name = partial.upload.name
        if not self.is_wanted or await self._is_stored(name):
            return False
        record = record_name(self._state_prefix, self.user, name)
        try:
            await self._records.write(record, partial)
        except (PreconditionFailed, ConditionalConflict):
            if not await self._replace(record, partial):
                return False
        self._events.emit(PartialKept(size_bytes=partial.size_bytes, **facts))
        return True

    async def _is_stored(self, name: ObjectName) -> bool:
        try:
            return await is_stored(self._store, name)
        except AccessDenied:
            return True  # nobody can tell, so that nobody could find the partial either

    async def _replace(self, record: ObjectName, partial: SuspendedUpload) -> bool:
        before = await self._records.read(record)
        if before is None or before.partial.began_seconds > partial.began_seconds:
            return False
        if not await self._records.drop(before, reason="a later upload was kept"):
            return False
        await self._records.write(record, partial)
        return True


class SuspendedExpiry:
    """Removes what nobody has gone on with.

    :param kept_seconds: so long is it kept.
    """

    def __init__(
        self,
        store: ObjectStore,
        state_prefix: str,
        kept_seconds: float,
        clock: Clock,
        events: EventSink,
    ) -> None:
        self._store = store
        self._state_prefix = state_prefix
        self._kept_seconds = kept_seconds
        self._clock = clock
        self._records = SuspendedRecords(store, state_prefix, events)

    async def expire(self, bucket: str) -> frozenset[MultipartUpload]:
        """Look at all records of a bucket; returns the uploads that stay.

        :raises StoreError:
        """
        left: set[MultipartUpload] = set()
        async for page in all_pages(self._store, bucket, records_prefix(self._state_prefix)):
            for record in page.objects:
                left |= await self._look(record)
        return frozenset(left)

    async def _look(self, record: ObjectInfo) -> set[MultipartUpload]:
        age_seconds = self._clock.seconds() - record.modified_seconds
        found = await self._records.read(record.name)
        if found is None:
            if age_seconds > self._kept_seconds:
                await self._store.delete(record.name, if_match=record.etag)
            return set()
        if age_seconds > self._kept_seconds and await self._records.drop(found, reason="expired"):
            return set()
        return {found.partial.upload}


def incomplete(found: FoundUpload, path: str) -> FileError:
    """Why a file that was cut off cannot be read, hashed, renamed or changed."""
    return Unsupported(
        f"{path}: only the first {found.partial.size_bytes} bytes of this file have arrived; "
        "send the rest (reput, put -c, put -a), or remove it"
    )


def _parsed(text: StateObject) -> SuspendedUpload:
    """:raises StoreTrouble: it makes no sense"""
    try:
        return parse_partial(text.data, text.info.name.bucket)
    except ValueError as error:
        raise StoreTrouble(f"the record of a partial cannot be read: {error}") from None
