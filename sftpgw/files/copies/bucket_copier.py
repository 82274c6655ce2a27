"""Copies one object from one bucket to another: in the store, or through the gateway.

Knows: which of the two, how the bytes are read and stored, and which properties go along.
Must not know: users, or what becomes of the original.

The gateway copies between buckets of two stores, and where the store refuses to copy from one
bucket to the other: its credentials may read each, and may not do both at once. The bytes are read
as by a client and written as by one, so that the memory budget, the parts and the checksums are
those of any transfer.

Metadata, Content-Type and the like, tags and the mtime go along. Class and encryption are those of
the target: another store has other classes and other keys.
"""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import Deferred

from sftpgw.errors import (
    AccessDenied,
    NoSuchObject,
    NotImplementedByStore,
    ObjectChanged,
    StoreTrouble,
)
from sftpgw.files.copies.copier import Copier
from sftpgw.files.copies.plan import is_same
from sftpgw.files.downloads.download import Download
from sftpgw.files.listing.plan import modified_seconds
from sftpgw.files.paths import Location
from sftpgw.files.session_context import SessionContext, moving
from sftpgw.files.uploads.open_mode import OpenMode
from sftpgw.files.uploads.opener import UploadOpener
from sftpgw.files.uploads.upload import Upload
from sftpgw.model.filesystem import AttributeChanges, WriteIntent
from sftpgw.model.settings import OnDisconnect
from sftpgw.model.store import ObjectInfo, WriteCondition
from sftpgw.model.units import KIB

STEP_BYTES = 256 * KIB


class BucketCopier:
    """Copies objects between buckets for one session.

    :param context: the objects that the session's files use.
    :param copier: copies within the store.
    """

    def __init__(self, context: SessionContext, copier: Copier) -> None:
        self._copier = copier
        # A copy that fails is not resumed: the original is still there.
        files = replace(context.files, on_disconnect=OnDisconnect.DISCARD)
        self._context = replace(context, files=files)
        self._upload_opener = UploadOpener(self._context)

    async def copy(self, source: ObjectInfo, target: Location, condition: WriteCondition) -> str:
        """Copy an object. Returns the copy's ETag.

        :param source: the object, as HEAD has just described it, with its checksum.
        :param target: the file that the copy is to be.
        :param condition: what must hold when the copy is stored.
        :raises PreconditionFailed, AlreadyExists: the target exists, and must not be replaced.
        :raises ObjectChanged: the source or the copy is another version by now.
        :raises FileError, StoreError: nothing was stored.
        """
        if self._context.store.can_copy(source.name.bucket, target.bucket):
            try:
                with moving(self._context, source, target.file):
                    return await self._copier.copy(source, target.file, condition)
            except (AccessDenied, NotImplementedByStore):
                pass  # it may be allowed to read here, and to write there
        return await self._copy_through(source, target, condition)

    async def _copy_through(
        self, source: ObjectInfo, target: Location, condition: WriteCondition
    ) -> str:
        reader = Download(self._context, source.name, etag=source.etag)
        await reader.open()
        try:
            writer = self._open_writer(source, target, condition)
            try:
                await _copy_bytes(reader, writer, source.size_bytes)
                await writer.commit()
            finally:
                await writer.abandon()
        finally:
            reader.close()
        return await self._verified(source, target)

    def _open_writer(
        self, source: ObjectInfo, target: Location, condition: WriteCondition
    ) -> Upload:
        return self._upload_opener.open(
            target,
            WriteIntent(expected_bytes=source.size_bytes),
            OpenMode(condition, like=source),
            AttributeChanges(modified_seconds=modified_seconds(source)),
            may_skip=False,
            may_read=False,
            may_set_times=True,
        )

    async def _verified(self, source: ObjectInfo, target: Location) -> str:
        """:raises StoreTrouble: the copy is another one than its source."""
        try:
            copied = await self._context.store.head(target.file, with_checksum=True)
        except NoSuchObject:
            raise ObjectChanged("the copy was removed by another client meanwhile") from None
        if not is_same(source, copied):
            raise StoreTrouble("the new name was given to another file meanwhile, or differs")
        return copied.etag


async def _copy_bytes(reader: Download, writer: Upload, size_bytes: int) -> None:
    offset = 0
    while offset < size_bytes:
        found = reader.read(offset, min(STEP_BYTES, size_bytes - offset))
        body = await found if isinstance(found, Deferred) else found
        body_bytes = sum(map(len, body))
        reader.traffic.copied_out(body_bytes)
        writer.traffic.copied_in(body_bytes)
        taken = writer.write(offset, *body)
        if taken is not None:
            await taken
        offset += body_bytes
