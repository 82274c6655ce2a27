"""The requests of one upload: carries out a command of the plan against the store.

Knows: the object's name and properties, its open multipart uploads, where staging objects are.
Must not know: which command follows, memory, SFTP.

The object's own multipart upload is created before anything else, so that metadata and class are
fixed there. The condition of the publication and the order of commits belong to its completion.
Staging objects are plain objects of the standard class (`uploads/plan/staging_layout`). Their
keys are made from the id of the object's own upload, so that the sweeper finds them.

Bytes of the base object are fetched and copied under the ETag that it had at OPEN, so that two
versions are never mixed. Before the end that ETag is checked once more, since what others have
stored meanwhile must not be undone. Where the store ignores ETags when it copies, the check also
shows that the base was the same all the time. A small file is put directly after its base was
fetched, so the base is checked again only if the commit had to wait.

Requests before the end are tried for as long as the upload is wanted. Once it is given up, none
of them is retried, and none waits for a slot of the throttle. The end itself, and cleaning up,
is tried for as long as any other request: the client may disconnect after its CLOSE, and
parts that are left in the store cost money.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cached_property

from twisted.internet.defer import DeferredLock

from sftpgw.aio.cancel import CancelToken
from sftpgw.errors import (
    CopiesLackChecksums,
    StoreError,
    StoreTrouble,
)
from sftpgw.files.body_collector import BodyCollector
from sftpgw.files.multipart_abort import abort_or_report
from sftpgw.files.session_context import SessionContext
from sftpgw.files.transfers.registry import Registration
from sftpgw.files.uploads.edited_base import EditedBase
from sftpgw.files.uploads.open_mode import OpenMode
from sftpgw.files.uploads.plan.upload_commands import (
    AbortUpload,
    Command,
    CommandResult,
    CompleteStaging,
    CompleteUpload,
    CopyBase,
    CopyStaging,
    CreateUpload,
    DropStaging,
    FetchBase,
    PutWhole,
    SendPart,
    SuspendUpload,
)
from sftpgw.files.uploads.relocation import Relocator
from sftpgw.model.events.upload_events import (
    PieceLeftBehind,
    UploadNotKept,
    store_failure_facts,
)
from sftpgw.model.limits import MAX_PARTS, MIN_PART_BYTES
from sftpgw.model.piece_names import pieces_of_upload
from sftpgw.model.store import (
    ByteRange,
    MultipartUpload,
    ObjectInfo,
    ObjectName,
    ObjectProperties,
    ObjectStore,
    StoredPart,
    WriteCondition,
)
from sftpgw.model.units import Body

STAGING_PROPERTIES = ObjectProperties(storage_class="STANDARD")


class UploadExecutor:
    """The requests of one upload.

    :param context: the objects that the session's files use.
    :param registration: knows the file's name, and the object that is edited (its base).
    :param mode: the condition of the publication, and the suspended upload that goes on.
    :param properties: makes the properties of the object, when it is created.
    :param suspend: writes the record of an upload that stays open; whether it may stay.
    :param may_copy: whether parts may be copied into the object's own upload.
    :ivar etag: the object's ETag, once it is published.
    """

    def __init__(
        self,
        context: SessionContext,
        registration: Registration,
        mode: OpenMode,
        *,
        properties: Callable[[], Awaitable[ObjectProperties]],
        suspend: Callable[[MultipartUpload, tuple[StoredPart, ...]], Awaitable[bool]],
        may_copy: bool,
    ) -> None:
        self.etag = ""
        self._store = context.store
        self._context = context
        self._cancel_token = CancelToken()
        self._cancellable_store = context.store.with_cancel(self._cancel_token)
        self._registration = registration
        self._clock = context.clock
        self._events = context.events
        self._state_prefix = context.settings_of(registration.name.bucket).state_prefix
        self._condition = mode.condition
        self._properties = properties
        self._suspend = suspend
        self._may_copy = may_copy
        self._base = EditedBase(context.store, registration)
        self._multiparts: dict[int, MultipartUpload] = {}
        self._has_sent = False
        self._replacing = DeferredLock()
        self._staging_etags: dict[int, str] = {}
        if mode.resumed is not None:
            self._take_over(mode.resumed.upload)

    def stop_retrying(self) -> None:
        """Requests under way are not retried, but for those that publish or clean up."""
        self._cancel_token.cancel()

    def end(self) -> None:
        """Nothing is carried out any more: what leads back to the upload goes."""
        self._properties, self._suspend = _no_properties, _suspend_nothing

    async def carry_out(self, command: Command) -> CommandResult:
        """Returns the stored part of a command that sends or copies one, or the fetched bytes.

        :raises StoreError: the store refuses, or is away.
        :raises ObjectChanged: the base object is not what it was at OPEN.
        """
        match command:
            case CreateUpload():
                await self._create(command.upload)
            case SendPart():
                return await self._send_part(command)
            case CopyBase():
                return await self._copy_base(command)
            case FetchBase():
                return await self._fetch_base(command.wanted)
            case CompleteStaging():
                await self._complete_staging(command)
            case CopyStaging():
                return await self._copy_staging(command)
            case CompleteUpload():
                await self._complete(command)
                self._count_stored(command.size_bytes)
            case PutWhole():
                await self._put(command)
                self._count_stored(command.size_bytes)
            case DropStaging():
                await self._drop(command.upload)
            case AbortUpload():
                await self._abort(self._multiparts[command.upload], is_staging=command.upload > 0)
            case SuspendUpload():
                await self._suspend_upload(command)
        return None

    async def _create(self, upload: int) -> None:
        if upload == 0:
            properties = await self._properties()
            name = self._registration.name
            self._registration.bind(name)
            own = await self._create_own(name, properties)
            self._take_over(own)
            await self._try_copying(own)
        else:
            name = self._staging_name(upload)
            self._registration.pin(name)
            created = await self._staging_store.create_upload(name, STAGING_PROPERTIES)
            self._registration.pin(created)
            self._multiparts[upload] = created

    async def _create_own(self, name: ObjectName, properties: ObjectProperties) -> MultipartUpload:
        return await self._cancellable_store.create_upload(name, properties, copies=self._may_copy)

    async def _try_copying(self, own: MultipartUpload) -> None:
        """Copy a part that is not needed, before parts are sent that would have to be sent again.

        Once for each bucket that could not be probed before. A part that the completion does not
        name is not in the object.
        """
        base = self._base.info
        if not own.may_refuse_copies or base is None or base.size_bytes < MIN_PART_BYTES:
            return
        wanted = ByteRange(0, MIN_PART_BYTES)
        try:
            await self._cancellable_store.copy_part(own, MAX_PARTS, base, wanted)
        except CopiesLackChecksums:
            await self._replace_own(own)
        except StoreError:
            return  # whatever the reason, the first copy that matters meets it again

    async def _send_part(self, part: SendPart) -> StoredPart:
        self._has_sent |= part.upload == 0
        multipart = self._multiparts[part.upload]
        store = self._staging_store if part.upload else self._cancellable_store
        return await store.upload_part(multipart, part.number, part.body)

    def _take_over(self, own: MultipartUpload) -> None:
        """The object's own upload is open."""
        self._registration.bind(own.name)
        self._registration.pin(own)
        self._multiparts[0] = own

    # The publication.

    async def _put(self, whole: PutWhole) -> None:
        properties = await self._properties()
        has_waited = await self._registration.commit.wait()
        has_waited |= await self._registration.wait_for_key(self._clock)
        if has_waited:
            await self._base.check()
        name = self._registration.name
        self.etag = await self._store.put(name, whole.body, properties, self._current_condition)

    async def _complete(self, complete: CompleteUpload) -> None:
        await self._registration.commit.wait()
        multipart = self._multiparts[0]
        name, condition = self._registration.name, self._current_condition
        if self.has_moved:
            self.etag = await Relocator(self._context).publish(
                multipart, complete.parts, name, condition, check=self._base.check
            )
            return
        await self._registration.wait_for_key(self._clock)
        await self._base.check()
        self.etag = await self._store.complete_upload(multipart, complete.parts, condition)

    def _count_stored(self, size_bytes: int) -> None:
        """What is stored counts in quotas at once, and is not reserved any more in a moment."""
        if self._context.quotas is not None:
            self._context.quotas.stored(self._registration.name, size_bytes)

    @property
    def has_moved(self) -> bool:
        """Whether the object's own upload was begun under another name than the file has now."""
        own = self._multiparts.get(0)
        return own is not None and own.name != self._registration.name

    @property
    def _current_condition(self) -> WriteCondition:
        """The condition of OPEN, unless the file was renamed to replace another since."""
        return WriteCondition.NONE if self._registration.may_replace else self._condition

    # The base object.

    async def _copy_base(self, copy: CopyBase) -> StoredPart:
        return await self._base.ask(lambda base: self._copied_base(base, copy))

    async def _copied_base(self, base: ObjectInfo, copy: CopyBase) -> StoredPart:
        multipart, copy_part = self._multiparts[0], self._cancellable_store.copy_part
        try:
            return await copy_part(multipart, copy.number, base, copy.wanted)
        except CopiesLackChecksums:
            await self._replace_own(multipart)
            return await copy_part(self._multiparts[0], copy.number, base, copy.wanted)

    async def _replace_own(self, refused: MultipartUpload) -> None:
        """Create another upload, which accepts copied parts, in place of one that refused.

        :raises CopiesLackChecksums: parts of the client's are in that already.
        """
        await self._replacing.acquire()
        try:
            if self._multiparts[0] is not refused:
                return  # another copy was refused before
            if self._has_sent:
                raise CopiesLackChecksums("parts were sent already", code="NotImplemented")
            self._take_over(await self._create_own(refused.name, await self._properties()))
            await self._abort(refused)
        finally:
            self._replacing.release()

    async def _fetch_base(self, wanted: ByteRange) -> Body:
        async def ask(base: ObjectInfo) -> Body:
            fetched = BodyCollector(wanted.size_bytes)
            await self._cancellable_store.get(base.name, wanted, fetched, if_match=base.etag)
            if fetched.size_bytes != wanted.size_bytes:
                raise StoreTrouble("the store sent less than the object's size promises")
            return fetched.body

        return await self._base.ask(ask)

    # Staging objects.

    @cached_property
    def _staging_store(self) -> ObjectStore:
        """For the requests of staging objects, which are the gateway's own."""
        return self._cancellable_store.for_state()

    def _staging_name(self, upload: int) -> ObjectName:
        pieces = pieces_of_upload(self._state_prefix, self._multiparts[0].upload_id)
        return ObjectName(self._registration.name.bucket, f"{pieces}{upload:05}")

    async def _complete_staging(self, complete: CompleteStaging) -> None:
        multipart = self._multiparts[complete.upload]
        etag = await self._staging_store.complete_upload(multipart, complete.parts)
        self._staging_etags[complete.upload] = etag

    async def _copy_staging(self, copy: CopyStaging) -> StoredPart:
        etag = self._staging_etags[copy.upload]
        source = ObjectInfo(self._staging_name(copy.upload), copy.size_bytes, etag, 0.0)
        whole = ByteRange(0, copy.size_bytes)
        copy_part = self._staging_store.copy_part
        return await copy_part(self._multiparts[0], copy.number, source, whole)

    # Cleaning up. Leftovers are swept later; the operator is told of them at once.

    async def _drop(self, upload: int) -> None:
        name = self._staging_name(upload)
        try:
            await self._store.for_state().delete(name)
        except StoreError as error:
            self._events.emit(
                PieceLeftBehind(
                    key=self._name.key,
                    bucket=self._name.bucket,
                    piece=name.key,
                    **store_failure_facts(error),
                )
            )

    async def _abort(self, multipart: MultipartUpload, *, is_staging: bool = False) -> None:
        store = self._store.for_state() if is_staging else self._store
        await abort_or_report(store, self._events, multipart, self._name)

    async def _suspend_upload(self, command: SuspendUpload) -> None:
        """Leave the upload open, with a record of it, or else abort it.

        Earlier commits come first: a file that they publish needs no suspended upload. Nor would
        an upload be found again whose file has another name by now.
        """
        multipart = self._multiparts[0]
        await self._registration.commit.wait()
        is_suspended = False
        try:
            if not self._registration.is_removed and not self.has_moved:
                is_suspended = await self._suspend(multipart, command.parts)
        except StoreError as error:
            self._events.emit(
                UploadNotKept(
                    key=self._name.key,
                    bucket=self._name.bucket,
                    upload_id=multipart.upload_id,
                    **store_failure_facts(error),
                )
            )
        if not is_suspended:
            await self._abort(multipart)

    @property
    def _name(self) -> ObjectName:
        """The file's name now."""
        return self._registration.name


async def _no_properties() -> ObjectProperties:
    """Of an upload that has ended."""
    return ObjectProperties()


async def _suspend_nothing(upload: MultipartUpload, parts: tuple[StoredPart, ...]) -> bool:
    """An upload that has ended is not suspended."""
    return False
