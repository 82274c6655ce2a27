"""The requests of one upload: carries out a command of the plan against the store.

Knows: the object's name and properties, the multipart uploads that are open, where
pieces are hidden.
Must not know: which command follows, memory, SFTP.

The object's own multipart upload is the first request of all that change anything, so that
metadata and class are fixed there, and the condition and the order of commits belong to its
completion.
Pieces are plain objects of the standard class (`uploads/plan/staging_layout`), named after that
upload:
whoever knows its id finds them.

What is kept of the object below is fetched and copied under the ETag that it had at OPEN,
so that no two versions are mixed. Before the end that ETag is looked at once more, since what
others have stored meanwhile must not be undone; and where the store ignores ETags when it
copies, it was the same all the time if it is the same then. A small file is put right after it
was fetched: there only a commit that it had to wait for can have come in between.

What an upload needs before its end is asked for as long as somebody wants it: given up, it sends
no part again, and none waits for its turn. The end itself, and what clears up, is tried for as
long as any other request: the client may have hung up after its CLOSE, and what is left behind
costs money.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from twisted.internet.defer import DeferredLock

from sftpgw.aio.cancel import CancelToken
from sftpgw.errors import (
    CopiesLackChecksums,
    NoSuchObject,
    ObjectChanged,
    PreconditionFailed,
    StoreError,
    StoreTrouble,
)
from sftpgw.files.body_collector import BodyCollector
from sftpgw.files.transfers.registry import Registration
from sftpgw.files.uploads.plan.upload_commands import (
    AbortUpload,
    Command,
    CompleteStaging,
    CompleteUpload,
    CopyBase,
    CopyStaging,
    CreateUpload,
    DropStaging,
    FetchBase,
    Outcome,
    PutWhole,
    SendPart,
    SuspendUpload,
)
from sftpgw.files.uploads.relocation import Relocator
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.events.upload_events import (
    PieceLeftBehind,
    UploadLeftBehind,
    UploadNotKept,
    store_failure_facts,
)
from sftpgw.model.limits import MAX_PARTS, MIN_PART_BYTES
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

T = TypeVar("T")

PIECE_PROPERTIES = ObjectProperties(storage_class="STANDARD")


def pieces_prefix(state_prefix: str) -> str:
    """Where pieces are, in each bucket."""
    return f"{state_prefix}pieces/"


async def _keep_nothing(upload: MultipartUpload, parts: tuple[StoredPart, ...]) -> bool:
    return False


class UploadExecutor:
    """What one upload asks of the store.

    :param registration: knows the file's name, and the object that is edited (its base).
    :param relocator: publishes it, if it has another name by then than its upload.
    :param properties: what the object is created with, asked when that happens.
    :param keep: writes down an upload that is to stay open; whether it may.
    :param resumed: the object's own upload, if it is open already.
    :param may_copy: parts may be copied into the object's own upload.
    """

    def __init__(
        self,
        *,
        store: ObjectStore,
        registration: Registration,
        relocator: Relocator,
        clock: Clock,
        events: EventSink,
        state_prefix: str,
        condition: WriteCondition,
        properties: Callable[[], Awaitable[ObjectProperties]],
        keep: Callable[[MultipartUpload, tuple[StoredPart, ...]], Awaitable[bool]] = _keep_nothing,
        resumed: MultipartUpload | None = None,
        may_copy: bool = False,
    ) -> None:
        self._store = store
        self._cancel_token = CancelToken()
        self._wanted_from = store.with_cancel(self._cancel_token)
        self._registration = registration
        self._relocator = relocator
        self._clock = clock
        self._events = events
        self._state_prefix = state_prefix
        self._condition = condition
        self._properties = properties
        self._has_kept = False
        self._keep = keep
        self._may_copy = may_copy
        self._multiparts: dict[int, MultipartUpload] = {}
        self._has_sent = False
        self._anew = DeferredLock()
        if resumed is not None:
            self._take_over(resumed)
        self._piece_etags: dict[int, str] = {}
        self.etag = ""
        """The object's, once it has been published."""

    def give_up(self) -> None:
        """What is on its way is the last that is sent, but for what publishes or clears up."""
        self._cancel_token.cancel()

    async def carry_out(self, command: Command) -> Outcome:
        """Returns what a part has become, or what was fetched.

        :raises StoreError:
        :raises ObjectChanged: the object below is not what it was.
        """
        match command:
            case CreateUpload():
                await self._open(command.upload)
            case SendPart():
                return await self._send_part(command)
            case CopyBase():
                return await self._copy_below(command)
            case FetchBase():
                return await self._fetch_below(command.wanted)
            case CompleteStaging():
                await self._complete_piece(command)
            case CopyStaging():
                return await self._copy_piece(command)
            case CompleteUpload():
                await self._complete(command)
            case PutWhole():
                await self._put(command)
            case DropStaging():
                await self._drop(command.upload)
            case AbortUpload():
                await self._abort(self._multiparts[command.upload])
            case SuspendUpload():
                await self._keep_open(command)
        return None

    async def _open(self, upload: int) -> None:
        if upload == 0:
            properties = await self._properties()
            name = self._registration.name
            self._registration.bind(name)
            own = await self._create_own(name, properties)
            self._take_over(own)
            await self._try_copying(own)
        else:
            name = self._piece_name(upload)
            self._registration.pin(name)
            created = await self._wanted_from.create_upload(name, PIECE_PROPERTIES)
            self._registration.pin(created)
            self._multiparts[upload] = created

    async def _create_own(self, name: ObjectName, properties: ObjectProperties) -> MultipartUpload:
        return await self._wanted_from.create_upload(name, properties, copies=self._may_copy)

    async def _try_copying(self, own: MultipartUpload) -> None:
        """Copy a part that nobody needs, before anything is sent that would have to be sent again.

        Once for each bucket that could not be tried out before. A part that is not named at the end
        is not in the object.
        """
        base = self._registration.base
        if not own.may_refuse_copies or base is None or base.size_bytes < MIN_PART_BYTES:
            return
        wanted = ByteRange(0, MIN_PART_BYTES)
        try:
            await self._wanted_from.copy_part(own, MAX_PARTS, base, wanted)
        except CopiesLackChecksums:
            await self._begin_anew(own)
        except StoreError:
            return  # whatever it is, the first copy that matters tells

    async def _send_part(self, part: SendPart) -> StoredPart:
        self._has_sent |= part.upload == 0
        multipart = self._multiparts[part.upload]
        return await self._wanted_from.upload_part(multipart, part.number, part.body)

    def _take_over(self, own: MultipartUpload) -> None:
        """The object's own upload is open."""
        self._registration.bind(own.name)
        self._registration.pin(own)
        self._multiparts[0] = own

    async def _put(self, whole: PutWhole) -> None:
        properties = await self._properties()
        has_waited = await self._registration.commit.wait()
        has_waited |= await self._registration.wait_for_key(self._clock)
        if has_waited and self._has_kept:
            await self._demand_unchanged()
        name = self._registration.name
        self.etag = await self._store.put(name, whole.body, properties, self._current_condition)

    async def _complete(self, complete: CompleteUpload) -> None:
        await self._registration.commit.wait()
        multipart = self._multiparts[0]
        name, condition = self._registration.name, self._current_condition
        if self.has_moved:
            self.etag = await self._relocator.publish(
                multipart, complete.parts, name, condition, check=self._check
            )
            return
        await self._registration.wait_for_key(self._clock)
        await self._check()
        self.etag = await self._store.complete_upload(multipart, complete.parts, condition)

    async def _check(self) -> None:
        if self._has_kept:
            await self._demand_unchanged()

    @property
    def has_moved(self) -> bool:
        """Whether the object's own upload was begun under another name than the file has now."""
        own = self._multiparts.get(0)
        return own is not None and own.name != self._registration.name

    @property
    def _current_condition(self) -> WriteCondition:
        """What was demanded at OPEN, unless the file was renamed to replace another since."""
        return WriteCondition.NONE if self._registration.may_replace else self._condition

    # The object that is edited. It may be renamed while it is asked for.

    async def _copy_below(self, copy: CopyBase) -> StoredPart:
        return await self._of_base(lambda base: self._copied_below(base, copy))

    async def _copied_below(self, base: ObjectInfo, copy: CopyBase) -> StoredPart:
        multipart, copy_part = self._multiparts[0], self._wanted_from.copy_part
        try:
            return await copy_part(multipart, copy.number, base, copy.wanted)
        except CopiesLackChecksums:
            await self._begin_anew(multipart)
            return await copy_part(self._multiparts[0], copy.number, base, copy.wanted)

    async def _begin_anew(self, refused: MultipartUpload) -> None:
        """Open another upload, which parts can be copied into, instead of the one that refused.

        :raises CopiesLackChecksums: bytes of the client's are in that already.
        """
        await self._anew.acquire()
        try:
            if self._multiparts[0] is not refused:
                return  # another copy was refused before
            if self._has_sent:
                raise CopiesLackChecksums("parts were sent already", code="NotImplemented")
            self._take_over(await self._create_own(refused.name, await self._properties()))
            await self._abort(refused)
        finally:
            self._anew.release()

    async def _fetch_below(self, wanted: ByteRange) -> Body:
        async def ask(base: ObjectInfo) -> Body:
            fetched = BodyCollector(wanted.size_bytes)
            await self._wanted_from.get(base.name, wanted, fetched, if_match=base.etag)
            if fetched.size_bytes != wanted.size_bytes:
                raise StoreTrouble("the store sent less than the object's size promises")
            return fetched.body

        return await self._of_base(ask)

    async def _of_base(self, ask: Callable[[ObjectInfo], Awaitable[T]]) -> T:
        """:raises ObjectChanged: it is not what it was, under the name that it has now."""
        self._has_kept = True
        while True:
            base = self._known_base
            try:
                return await ask(base)
            except (PreconditionFailed, NoSuchObject):
                if base is self._known_base:
                    raise _changed() from None

    async def _demand_unchanged(self) -> None:
        """Nobody has replaced what the edit was made of: its bytes would come back."""
        base = self._known_base
        try:
            found = await self._store.head(base.name)
        except NoSuchObject:
            raise _changed() from None
        if found.etag != base.etag:
            raise _changed()

    @property
    def _known_base(self) -> ObjectInfo:
        assert self._registration.base is not None, "nothing is kept of nothing"
        return self._registration.base

    # Pieces.

    def _piece_name(self, piece: int) -> ObjectName:
        owner = hashlib.sha256(self._multiparts[0].upload_id.encode()).hexdigest()[:32]
        key = f"{pieces_prefix(self._state_prefix)}{owner}/{piece:05}"
        return ObjectName(self._registration.name.bucket, key)

    async def _complete_piece(self, complete: CompleteStaging) -> None:
        multipart = self._multiparts[complete.upload]
        etag = await self._wanted_from.complete_upload(multipart, complete.parts)
        self._piece_etags[complete.upload] = etag

    async def _copy_piece(self, copy: CopyStaging) -> StoredPart:
        etag = self._piece_etags[copy.upload]
        source = ObjectInfo(self._piece_name(copy.upload), copy.size_bytes, etag, 0.0)
        whole = ByteRange(0, copy.size_bytes)
        return await self._wanted_from.copy_part(self._multiparts[0], copy.number, source, whole)

    # What is left is swept away later, and told to the operator at once.

    async def _drop(self, piece: int) -> None:
        name = self._piece_name(piece)
        try:
            await self._store.delete(name)
        except StoreError as error:
            self._events.emit(
                PieceLeftBehind(
                    key=self._name.key,
                    bucket=self._name.bucket,
                    piece=name.key,
                    **store_failure_facts(error),
                )
            )

    async def _abort(self, multipart: MultipartUpload) -> None:
        try:
            await self._store.abort_upload(multipart)
        except StoreError as error:
            self._events.emit(
                UploadLeftBehind(
                    key=self._name.key,
                    bucket=self._name.bucket,
                    upload_id=multipart.upload_id,
                    **store_failure_facts(error),
                )
            )

    async def _keep_open(self, command: SuspendUpload) -> None:
        """What is published before is not overtaken: nobody needs the upload then.

        Nor is it found again once its file has another name than the upload.
        """
        multipart = self._multiparts[0]
        await self._registration.commit.wait()
        is_kept = False
        try:
            if not self._registration.is_removed and not self.has_moved:
                is_kept = await self._keep(multipart, command.parts)
        except StoreError as error:
            self._events.emit(
                UploadNotKept(
                    key=self._name.key,
                    bucket=self._name.bucket,
                    upload_id=multipart.upload_id,
                    **store_failure_facts(error),
                )
            )
        if not is_kept:
            await self._abort(multipart)

    @property
    def _name(self) -> ObjectName:
        """The file's name by now."""
        return self._registration.name


def _changed() -> ObjectChanged:
    return ObjectChanged(
        "somebody else has changed the file meanwhile, so that nothing of it was stored; "
        "open it again"
    )
