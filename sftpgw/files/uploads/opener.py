"""Makes an `Upload` of an OPEN: chooses its plan for the store, the settings and the intent.

Knows: how large parts are for this store and budget, and how a file is read that is being written.
Must not know: whether the file may be opened (`open_mode`), or which bytes are written to it.
"""

from __future__ import annotations

from sftpgw.errors import PermissionDenied
from sftpgw.files.downloads.download import Download
from sftpgw.files.paths import Location
from sftpgw.files.session_context import SessionContext
from sftpgw.files.traffic import FileTraffic
from sftpgw.files.uploads.open_mode import OpenMode
from sftpgw.files.uploads.plan.boundaries import BaseObject
from sftpgw.files.uploads.plan.part_sizes import allowance_bytes, choose_ladder
from sftpgw.files.uploads.plan.staging_layout import layout_for
from sftpgw.files.uploads.plan.upload_limits import SizeGrant, UploadLimits
from sftpgw.files.uploads.plan.upload_plan import UploadPlan
from sftpgw.files.uploads.readback import NoReadback, Readback
from sftpgw.files.uploads.suspended.plan import ResumedParts
from sftpgw.files.uploads.suspended.storage import SuspendedUploads
from sftpgw.files.uploads.upload import Upload
from sftpgw.model.filesystem import AttributeChanges, WriteIntent
from sftpgw.model.limits import MIN_PART_BYTES
from sftpgw.model.store import ObjectInfo


class UploadOpener:
    """Opens the uploads of one session.

    :param context: the objects that the session's files use.
    """

    def __init__(self, context: SessionContext) -> None:
        self._context = context
        self._suspended_uploads = SuspendedUploads(context)

    def open(
        self,
        location: Location,
        intent: WriteIntent,
        mode: OpenMode,
        changes: AttributeChanges,
        *,
        may_skip: bool,
        may_read: bool,
        may_set_times: bool,
    ) -> Upload:
        """Begin the upload of one file; it is registered when this returns.

        :param location: the file.
        :param intent: the flags of OPEN.
        :param mode: how it is granted.
        :param changes: the attributes that OPEN sets.
        :param may_skip: whether the first WRITE may leave a gap before it.
        :param may_read: whether the user may download the file.
        :param may_set_times: whether the user may set the mtime of a stored file.
        :raises LimitReached: the announced size does not fit into an object, or into a quota.
        """
        grant = self._grant(location, mode)
        try:
            plan = self._plan(location.bucket, intent, mode, grant, may_skip=may_skip)
            traffic = self._context.traffic.begin()
            readback: Readback | NoReadback | None = None
            if intent.read and may_read:
                readback = self._readback(plan, mode.base, traffic)
            elif intent.read:
                readback = NoReadback(
                    PermissionDenied(f"{location.path}: you may not download files here")
                )
            return Upload(
                self._context,
                plan,
                location.file,
                path=location.path,
                mode=mode,
                modified_seconds=changes.modified_seconds,
                may_set_times=may_set_times,
                readback=readback,
                traffic=traffic,
            )
        except BaseException:
            # The upload that would give it back does not exist.
            if grant is not None:
                grant.close()
            raise

    def _grant(self, location: Location, mode: OpenMode) -> SizeGrant | None:
        """What the upload may take of the quotas that the file counts in."""
        quotas = self._context.quotas
        if quotas is None:
            return None
        resumed_bytes = mode.resumed.size_bytes if mode.resumed is not None else None
        moved_from = mode.like.name if mode.like is not None else None
        return quotas.begin_upload(
            location.file,
            resumed_bytes=resumed_bytes,
            moved_from=moved_from,
            is_blind=location.access.is_blind,
        )

    def _plan(
        self,
        bucket: str,
        intent: WriteIntent,
        mode: OpenMode,
        grant: SizeGrant | None,
        *,
        may_skip: bool,
    ) -> UploadPlan:
        """The store's capabilities are asked for at each OPEN: a refusal may correct them."""
        able = self._context.store.capabilities_of(bucket)
        settings, limits = self._context.settings_of(bucket), self._context.limits
        ladder = choose_ladder(
            settings.part_size_bytes,
            limits.memory_bytes,
            concurrency=settings.upload_concurrency,
            unequal_parts=able.unequal_parts,
            expected_bytes=intent.expected_bytes,
        )
        base = None
        if mode.base is not None:
            can_copy = able.part_copy and able.unequal_parts
            base = BaseObject(mode.base.size_bytes, can_copy=can_copy)
        bounds = UploadLimits(
            concurrency=settings.upload_concurrency,
            allowance_bytes=allowance_bytes(limits.memory_bytes),
            reorder_bytes=limits.reorder_allowance_bytes,
            early_part_bytes=MIN_PART_BYTES if able.unequal_parts else None,
            tail_bytes=self._suspended_uploads.tail_bytes(able),
            file_bytes=self._context.file_bytes,
            grant=grant,
        )
        plan = UploadPlan(
            layout_for(ladder, able, intent.expected_bytes, is_edit=base is not None),
            bounds,
            base=ResumedParts(mode.resumed.parts) if mode.resumed else base,
            appends=intent.append,
            may_skip=may_skip,
        )
        if intent.expected_bytes is not None:
            plan.expect(intent.expected_bytes)
        return plan

    def _readback(
        self, plan: UploadPlan, base: ObjectInfo | None, traffic: FileTraffic
    ) -> Readback:
        def new_reader(base: ObjectInfo) -> Download:
            return Download(self._context, base.name, etag=base.etag, edit_traffic=traffic)

        return Readback(plan, base, new_reader, traffic=traffic)
