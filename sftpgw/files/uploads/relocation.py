"""Publishes an upload whose file was renamed after its first part had been sent.

Knows: the requests that bring such an upload under its new name, in an order that loses nothing.
Must not know: when a file is renamed, or how parts are sent.

A multipart upload can be completed only under the key that it was begun for, and its parts can be
neither read nor copied before. So at CLOSE

1. it is completed under its first key, if nothing is stored there. A file that was stored there
   meanwhile is not replaced: then nothing is published, and CLOSE fails. In this process such a
   file waits (`Registration.wait_for_key`), so that only another process can have stored it.
2. The object is copied to its name, and the copy is verified.
3. The first key is freed, if it still has the object that was completed there.

For as long as that takes, sessions of this process that look at either name wait. Other processes
see the whole file under its first key for a moment. A process that is killed in between leaves the
whole file there, or under both names.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

from sftpgw.errors import (
    AlreadyExists,
    ConditionalConflict,
    GatewayError,
    LimitReached,
    NoSuchObject,
    ObjectChanged,
    PreconditionFailed,
    StoreError,
    StoreTrouble,
)
from sftpgw.files.copies.copier import Copier
from sftpgw.files.existence import is_stored
from sftpgw.files.session_context import SessionContext
from sftpgw.model.events.file_events import FileRenamed, RenameLeftBehind
from sftpgw.model.store import (
    MultipartUpload,
    ObjectInfo,
    ObjectName,
    StoredPart,
    WriteCondition,
)


class Relocator:
    """Completes uploads under their first key and moves the objects to their names.

    :param context: the objects that the session's files use.
    """

    def __init__(self, context: SessionContext) -> None:
        self._store = context.store
        self._transfers = context.transfers
        self._copier = Copier(context.store, context.transfers, context.events)
        self._events = context.events

    async def publish(
        self,
        upload: MultipartUpload,
        parts: tuple[StoredPart, ...],
        name: ObjectName,
        condition: WriteCondition,
        *,
        check: Callable[[], Awaitable[None]],
    ) -> str:
        """Publish the file under `name`, and nowhere else. Returns its ETag.

        It directly follows the `Commit.wait` of the upload itself, without any other wait in
        between: two uploads that have each other's keys would wait for each other.

        :param upload: the multipart upload.
        :param parts: its parts.
        :param name: the name of the file now.
        :param condition: under which it may take that name.
        :param check: raises an error if the file must not be published; called when no earlier
            commit is waited for any more.
        :raises ObjectChanged: the first key is taken; the upload is still open.
        :raises AlreadyExists: the name is taken, and must not be replaced.
        :raises StoreTrouble: the file is stored, but not only under its name.
        """
        async with self._transfers.in_turn(upload.name, may_overtake=True):
            await check()
            await self._complete(upload, parts)
            return await self._move(upload.name, parts, name, condition)

    async def _complete(self, upload: MultipartUpload, parts: tuple[StoredPart, ...]) -> None:
        able = await self._store.learn_capabilities(upload.name.bucket)
        if not able.conditional_complete and await is_stored(self._store, upload.name):
            raise _taken(upload.name)
        try:
            await self._store.complete_upload(upload, parts, WriteCondition.IF_ABSENT)
        except (PreconditionFailed, ConditionalConflict):
            raise _taken(upload.name) from None

    async def _move(
        self,
        key: ObjectName,
        parts: tuple[StoredPart, ...],
        name: ObjectName,
        condition: WriteCondition,
    ) -> str:
        try:
            stored = await self._stored(key, parts)
            etag = await self._copy(stored, name, condition)
        except (StoreError, LimitReached, StoreTrouble) as error:
            self._emit_left(key, name, error)
            raise StoreTrouble(
                f"the file is stored, but still as {_base_name(key)}, the name that it had when "
                "its upload began: rename it again"
            ) from None
        try:
            await self._free(stored)
        except StoreError as error:
            self._emit_left(key, name, error)
            raise StoreTrouble(
                f"the file is stored, but also as {_base_name(key)}, the name that it had when "
                "its upload began: that one could not be removed"
            ) from None
        self._events.emit(
            FileRenamed(
                key=key.key,
                new_key=name.key,
                size_bytes=stored.size_bytes,
                bucket=key.bucket,
                etag=etag.strip('"'),
            )
        )
        return etag

    async def _stored(self, key: ObjectName, parts: tuple[StoredPart, ...]) -> ObjectInfo:
        try:
            stored = await self._store.head(key, with_checksum=True)
        except NoSuchObject:
            raise _overtaken(key) from None
        if stored.size_bytes != sum(part.size_bytes for part in parts):
            raise _overtaken(key)
        return stored

    async def _copy(self, stored: ObjectInfo, name: ObjectName, condition: WriteCondition) -> str:
        try:
            return await self._copier.copy(stored, name, condition)
        except NoSuchObject:
            raise _overtaken(stored.name) from None
        except PreconditionFailed:
            may_be_taken = condition is WriteCondition.IF_ABSENT
            if not may_be_taken or not await is_stored(self._store, name):
                raise _overtaken(stored.name) from None
        await self._free(stored)
        raise AlreadyExists("another client has created this file meanwhile")

    async def _free(self, stored: ObjectInfo) -> None:
        """Delete the object under its first key. A file that was stored there since stays."""
        with suppress(PreconditionFailed):
            await self._copier.delete_version(stored.name, stored.etag, is_in_turn=True)

    def _emit_left(self, key: ObjectName, name: ObjectName, error: GatewayError) -> None:
        self._events.emit(
            RenameLeftBehind(key=key.key, new_key=name.key, reason=error.message, bucket=key.bucket)
        )


def _base_name(key: ObjectName) -> str:
    return key.key.rsplit("/", 1)[-1]


def _taken(key: ObjectName) -> ObjectChanged:
    return ObjectChanged(
        f"another file was stored as {_base_name(key)}, the name that this one had when its "
        "upload began and without which the store cannot make a file of it; nothing was stored, "
        "send it again"
    )


def _overtaken(key: ObjectName) -> ObjectChanged:
    return ObjectChanged(
        f"the file was replaced by another one as {_base_name(key)}, the name that it had when "
        "its upload began, before it could be renamed; send it again"
    )
