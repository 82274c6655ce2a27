"""The requests of one upload: carries out a command of the plan against the store.

Knows: the object's name and properties, the multipart uploads that are open, where
pieces are hidden.
Must not know: which command follows, memory, SFTP.

The object's own multipart upload is the first request of all, so that metadata and class
are fixed there, and the condition and the order of commits belong to its completion.
Pieces are plain objects of the standard class (`plan/pieces`), named after that upload:
whoever knows its id finds them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from sftpgw.errors import StoreError
from sftpgw.files.inflight import Registration
from sftpgw.interfaces import EventSink, ObjectStore
from sftpgw.plan.assembling import (
    AbortUpload,
    CompletePiece,
    CompleteUpload,
    CopyPiece,
    DropPiece,
    OpenUpload,
    SendPart,
)
from sftpgw.plan.uploading import Command, PutWhole
from sftpgw.values import (
    ByteRange,
    MultipartUpload,
    ObjectInfo,
    ObjectName,
    ObjectProperties,
    StoredPart,
    WriteCondition,
)

PIECE_PROPERTIES = ObjectProperties(storage_class="STANDARD")


def pieces_prefix(state_prefix: str) -> str:
    """Where pieces are, in each bucket."""
    return f"{state_prefix}pieces/"


class Sending:
    """What one upload asks of the store.

    :param properties: what the object is created with, asked when that happens.
    """

    def __init__(
        self,
        *,
        store: ObjectStore,
        registration: Registration,
        events: EventSink,
        state_prefix: str,
        condition: WriteCondition,
        properties: Callable[[], ObjectProperties],
    ) -> None:
        self._store = store
        self._registration = registration
        self._events = events
        self._state_prefix = state_prefix
        self._condition = condition
        self._properties = properties
        self._multiparts: dict[int, MultipartUpload] = {}
        self._piece_etags: dict[int, str] = {}
        self.etag = ""
        """The object's, once it has been published."""

    async def carry_out(self, command: Command) -> StoredPart | None:
        """Returns what a part has become, if it was one. :raises StoreError:"""
        match command:
            case OpenUpload():
                await self._open(command.upload)
            case SendPart():
                multipart = self._multiparts[command.upload]
                return await self._store.upload_part(multipart, command.number, command.body)
            case CompletePiece():
                await self._complete_piece(command)
            case CopyPiece():
                return await self._copy_piece(command)
            case CompleteUpload():
                await self._complete(command)
            case PutWhole():
                await self._put(command)
            case DropPiece():
                await self._drop(command.upload)
            case AbortUpload():
                await self._abort(self._multiparts[command.upload])
        return None

    async def _open(self, upload: int) -> None:
        if upload == 0:
            self._registration.bind()
            created = await self._store.create_upload(self._registration.name, self._properties())
        else:
            name = self._piece_name(upload)
            self._registration.keeps(name)
            created = await self._store.create_upload(name, PIECE_PROPERTIES)
        self._registration.keeps(created)
        self._multiparts[upload] = created

    async def _put(self, whole: PutWhole) -> None:
        await self._registration.turn()
        if self._registration.is_removed:
            return
        name = self._registration.name
        self.etag = await self._store.put(
            name, whole.body, self._properties(), self._current_condition
        )

    async def _complete(self, complete: CompleteUpload) -> None:
        await self._registration.turn()
        multipart = self._multiparts[0]
        if self._registration.is_removed:
            await self._abort(multipart)
            return
        self.etag = await self._store.complete_upload(
            multipart, complete.parts, self._current_condition
        )

    @property
    def _current_condition(self) -> WriteCondition:
        """What was demanded at OPEN, unless the file was renamed to replace another since."""
        return WriteCondition.NONE if self._registration.may_replace else self._condition

    # Pieces.

    def _piece_name(self, piece: int) -> ObjectName:
        owner = hashlib.sha256(self._multiparts[0].upload_id.encode()).hexdigest()[:32]
        key = f"{pieces_prefix(self._state_prefix)}{owner}/{piece:05}"
        return ObjectName(self._registration.name.bucket, key)

    async def _complete_piece(self, complete: CompletePiece) -> None:
        multipart = self._multiparts[complete.upload]
        etag = await self._store.complete_upload(multipart, complete.parts)
        self._piece_etags[complete.upload] = etag

    async def _copy_piece(self, copy: CopyPiece) -> StoredPart:
        etag = self._piece_etags[copy.upload]
        source = ObjectInfo(self._piece_name(copy.upload), copy.size_bytes, etag, 0.0)
        whole = ByteRange(0, copy.size_bytes)
        return await self._store.copy_part(self._multiparts[0], copy.number, source, whole)

    # What is left is swept away later, and told to the operator at once.

    async def _drop(self, piece: int) -> None:
        name = self._piece_name(piece)
        try:
            await self._store.delete(name)
        except StoreError as error:
            self.tell_failure("piece-left-behind", error, piece=name.key)

    async def _abort(self, multipart: MultipartUpload) -> None:
        try:
            await self._store.abort_upload(multipart)
        except StoreError as error:
            self.tell_failure("upload-left-behind", error, upload_id=multipart.upload_id)

    def tell_failure(self, event: str, error: Exception, **facts: str) -> None:
        """Tell the operator, with what the store's support would ask for."""
        if isinstance(error, StoreError):
            facts |= {"code": error.code, "request_id": error.request_id}
        why = getattr(error, "message", "")
        self._events.tell(event, key=self._registration.name.key, why=why, **facts)
