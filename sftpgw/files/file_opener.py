"""OPEN: which requests come before a file can be read or written.

Knows: the order of the questions, and which of them the flags of OPEN need.
Must not know: how bytes are moved.

Rules

1. An OPEN that depends on the content of a file first waits for the CLOSE of a handle with which
   the same session writes it: sshfs sends these two in the wrong order (`Lookup.wait_for_close`).
2. An OPEN waits for commits of the file that are in progress.
3. OPEN for writing sends no request whose result would not change its own result.
4. Where a quota is used up, OPEN for writing fails (`quotas/session_quotas`).
5. Where the user sees nothing (`drop_box`), OPEN tells nothing but whether a file may be stored.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from sftpgw.errors import AlreadyExists, NoSuchFile, NoSuchObject, StoreError
from sftpgw.files.downloads.download import Download
from sftpgw.files.drop_box import DropBox, require_unseen_file_name
from sftpgw.files.listing.markers import require_writable
from sftpgw.files.lookup import Lookup
from sftpgw.files.paths import Location
from sftpgw.files.permissions import Operation, allows, require
from sftpgw.files.session_context import SessionContext
from sftpgw.files.uploads.open_mode import OpenMode, decide, must_look, unseen_intent
from sftpgw.files.uploads.opener import UploadOpener
from sftpgw.files.uploads.plan.write_bounds import require_file_size
from sftpgw.files.uploads.suspended.storage import FoundUpload, SuspendedUploads, incomplete
from sftpgw.files.uploads.upload import Upload
from sftpgw.model.filesystem import AttributeChanges, WriteIntent
from sftpgw.model.store import ObjectInfo


class FileOpener:
    """Opens the files of one session.

    :param context: the objects that the session's files use.
    :param lookup: tells what exists.
    :param suspended_uploads: the suspended uploads of the session's user.
    :param drop_box: remembers what the session stores where its user sees nothing.
    """

    def __init__(
        self,
        context: SessionContext,
        lookup: Lookup,
        suspended_uploads: SuspendedUploads,
        drop_box: DropBox,
    ) -> None:
        self._drop_box = drop_box
        self._context = context
        self._store = context.store
        self._transfers = context.transfers
        self._lookup = lookup
        self._suspended_uploads = suspended_uploads
        self._upload_opener = UploadOpener(context)

    # For reading.

    async def open_reader(self, location: Location) -> Download:
        """Open an existing file for reading; `FileTree.open_reader` without the gate."""
        await self._lookup.require_file_name(location)
        self._transfers.require_open()
        await self._lookup.wait_for_close(location)
        await self._transfers.settled(location.file)
        was_written = bool(self._transfers.writing(location.file))
        download = Download(self._context, location.file, path=location.path)
        try:
            await download.open()
        except NoSuchObject:
            if was_written and not self._transfers.writing(location.file):
                return await self.open_reader(location)  # it was closed during the GET
            await self._suspended_uploads.require_none(location.file, location.path)
            raise await self._lookup.absent_file_error(location) from None
        if location.is_marker_content:
            await self._require_content(download, location)
        return download

    async def _require_content(self, download: Download, location: Location) -> None:
        """:raises NoSuchFile: the marker of the directory holds no bytes."""
        try:
            if not (await download.attributes()).size_bytes:
                raise await self._lookup.absent_file_error(location)
        except BaseException:  # the client may be gone
            download.close()
            raise

    async def open_made(
        self, location: Location, intent: WriteIntent, changes: AttributeChanges
    ) -> Download:
        """Open a file for reading, after creating or emptying it as `intent` says.

        This is OPEN with CREAT or TRUNC but without WRITE (open(2) with O_RDONLY). The file is
        stored when this returns. The GET of `open_reader` comes first, unless `intent` empties the
        file or forbids that it exists.

        :param location: the file.
        :param intent: what to do before.
        :param changes: the attributes of a created file.
        :raises AlreadyExists: `intent` is exclusive, and the file exists.
        """
        await self._lookup.require_file_name(location, creates=intent.create)
        if not (intent.truncate or (intent.create and intent.exclusive)):
            try:
                return await self.open_reader(location)
            except NoSuchFile:
                pass
        await self._make(location, intent, changes)
        return await self.open_reader(location)

    async def _make(
        self, location: Location, intent: WriteIntent, changes: AttributeChanges
    ) -> None:
        """Store an empty file, unless one exists by now and `intent` accepts that."""
        require(location, Operation.WRITE)
        only_if_absent = not intent.truncate
        try:
            writer = await self.open_writer(
                location, replace(intent, exclusive=only_if_absent or intent.exclusive), changes
            )
            try:
                await writer.commit()
            finally:
                await writer.abandon()
        except AlreadyExists:
            if intent.exclusive:
                raise

    # For writing.

    async def open_writer(
        self,
        location: Location,
        intent: WriteIntent,
        changes: AttributeChanges,
        *,
        may_resume: bool = True,
    ) -> Upload:
        """Open a file for writing; `FileTree.open_writer` without the gate for WRITE.

        :param location: the file.
        :param intent: what OPEN asks for.
        :param changes: the attributes that OPEN sets.
        :param may_resume: whether a suspended upload of the file may be resumed.
        :raises FileError, StoreError: the file cannot be opened like this.
        """
        may_overwrite, is_blind = allows(location, Operation.OVERWRITE), location.access.is_blind
        if is_blind:
            require_unseen_file_name(location)
            intent, may_overwrite = unseen_intent(intent, may_overwrite=may_overwrite)
        else:
            await self._lookup.require_file_name(location, creates=intent.create)
        require_writable(location)
        self._transfers.require_open()
        if self._context.quotas is not None:
            await self._context.quotas.wait_until_known(location.file)
        if must_look(intent, may_overwrite=True):
            # Where the user sees nothing, a wait would tell that others are uploading this file.
            appends = intent.append and not is_blind
            await self._lookup.wait_for_close(location, appends=appends)
        await self._transfers.settled(location.file)
        existing, is_unknown = await self._find_existing(location, intent, may_overwrite)
        found = None if existing else await self._find_suspended(location, may_resume=may_resume)
        if existing is None and not is_blind:
            # Behind the wait for `find`, during which a directory may come into being.
            await self._lookup.require_no_directory(location)
        if existing is None and intent.create and not is_blind:
            await self._lookup.require_no_file_above(location)
        mode = decide(
            intent,
            existing,
            may_overwrite=may_overwrite,
            path=location.path,
            is_hidden=is_unknown,
            is_suspended=found is not None,
        )
        await self._require_space(location, intent.expected_bytes, found)
        if mode.base is not None:
            require(location, Operation.CHANGE)
            await self._store.learn_capabilities(location.bucket)
        may_skip = self._may_skip(location, intent, existing)
        if found is not None:
            resumed = await self._suspended_uploads.resume(
                found, location.path, truncate=intent.truncate
            )
            mode = replace(mode, resumed=resumed)
        return self._begin_upload(location, intent, mode, changes, may_skip=may_skip)

    async def _find_suspended(self, location: Location, *, may_resume: bool) -> FoundUpload | None:
        """:raises Unsupported: there is one, and the file cannot be opened for what is left."""
        found = await self._suspended_uploads.find(location.file)
        if found is not None and not may_resume:
            raise incomplete(found, location.path)
        return found

    async def _require_space(
        self, location: Location, announced_bytes: int | None, found: FoundUpload | None
    ) -> None:
        """Check that something may be written to a file. A HEAD, if a quota is nearly used up.

        A size that is announced is judged here, before a suspended upload loses its record.

        :raises LimitReached: nothing fits, or not as much.
        """
        require_file_size(announced_bytes or 0, self._context.file_bytes)
        quotas = self._context.quotas
        if quotas is None:
            return
        is_blind = location.access.is_blind
        if quotas.is_tight(location.file) and not is_blind:
            with suppress(StoreError):  # it counts as a new file then
                await self._lookup.find_file_summary(location)
        quotas.require_space(
            location.file,
            location.path,
            announced_bytes=announced_bytes,
            suspended_bytes=None if found is None else found.size_bytes,
            is_blind=is_blind,
        )

    async def _find_existing(
        self, location: Location, intent: WriteIntent, may_overwrite: bool
    ) -> tuple[ObjectInfo | None, bool]:
        """The existing file, as far as `intent` needs it, and whether that is unknown."""
        existing, is_unknown = None, False
        may_tell = intent.create or not location.access.is_blind
        if may_tell and must_look(intent, may_overwrite=may_overwrite):
            # With TRUNC none of its bytes are preserved, with EXCL it must not exist.
            needs_all = not (intent.truncate or (intent.create and intent.exclusive))
            existing, is_unknown = await self._lookup.find_file_for_open(
                location, needs_all=needs_all
            )
        return existing, is_unknown

    def _begin_upload(
        self,
        location: Location,
        intent: WriteIntent,
        mode: OpenMode,
        changes: AttributeChanges,
        *,
        may_skip: bool,
    ) -> Upload:
        self._lookup.cache.note_change(location)
        upload = self._upload_opener.open(
            location,
            intent,
            mode,
            changes,
            may_skip=may_skip,
            may_read=allows(location, Operation.READ),
            may_set_times=allows(location, Operation.SET_TIMES),
        )
        self._lookup.note_upload(upload, location)
        if location.access.is_blind:
            self._drop_box.watch(upload)
        return upload

    def _may_skip(
        self, location: Location, intent: WriteIntent, existing: ObjectInfo | None
    ) -> bool:
        """Whether the first WRITE may leave a gap before it.

        It may not where the client may count on bytes of an upload that no longer can be resumed.
        """
        if intent.truncate or existing is not None:
            return True
        return not (self._suspended_uploads.is_wanted or self._transfers.newest(location.file))
