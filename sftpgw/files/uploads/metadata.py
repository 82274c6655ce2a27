"""The properties that an upload's object is created with, and its mtime afterwards.

Knows: the mtime that the client wants, the properties of the edited object, and what S3 fixes
when an object or its multipart upload is created.
Must not know: bytes, parts, memory.

S3 fixes metadata, tags and class with the first request of an upload. An mtime that comes later
is set when the file is stored, before its CLOSE is answered (`files/mtimes/setter`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from twisted.python.failure import Failure

from sftpgw.errors import NoSuchObject, PermissionDenied
from sftpgw.files.copies.preserved_properties import MTIME, mtime_text, restated
from sftpgw.files.listing.plan import attributes_of
from sftpgw.files.mtimes.setter import MtimeSetter
from sftpgw.files.session_context import SessionContext
from sftpgw.files.transfers.registry import Registration
from sftpgw.files.uploads.plan.upload_plan import UploadPlan
from sftpgw.files.uploads.reporter import UploadReporter
from sftpgw.model.store import NO_METADATA, ObjectInfo, ObjectProperties

NO_TIMES = "nothing was written to the file, and you may not set the times of stored files here"


class UploadMetadata:
    """The properties of one upload's object.

    :param context: the objects that the session's files use.
    :param registration: knows the file's name, and the object that is edited (its base).
    :param plan: tells whether something was written, and whether the metadata is sent.
    :param reporter: told of a defect: an mtime that cannot be set does not end the upload.
    :param modified_seconds: the mtime that OPEN asks for.
    :param created_with: the mtime that a resumed upload was created with.
    :param may_set_times: whether the user may set the mtime of a stored file.
    :param like: as of `OpenMode`.
    """

    def __init__(
        self,
        context: SessionContext,
        registration: Registration,
        plan: UploadPlan,
        reporter: UploadReporter,
        *,
        modified_seconds: float | None,
        created_with: float | None,
        may_set_times: bool,
        like: ObjectInfo | None = None,
    ) -> None:
        self._like = like
        self.created_with = created_with
        self._store = context.store
        self._storage_class = context.storage_class_of(registration.name)
        self._opened_seconds = context.clock.seconds()
        self._context = context
        self._registration = registration
        self._plan = plan
        self._reporter = reporter
        self._modified_seconds = modified_seconds
        self._may_set_times = may_set_times

    # The mtime.

    def set_mtime(self, seconds: float) -> None:
        """The client sets the mtime.

        :raises LimitReached: the file is too large for that by now.
        """
        if self._plan.metadata_is_sent and seconds != self.created_with:
            MtimeSetter(self._context).require_possible(self._plan.size_bytes)
        self._modified_seconds = seconds

    @property
    def takes_mtime(self) -> bool:
        """Whether an mtime that came now would be sent with the object, and none has come yet."""
        plan = self._plan
        is_open = plan.is_changed and not plan.metadata_is_sent and plan.end_reason is None
        return is_open and self._may_set_times and self._modified_seconds is None

    def announce_mtime(self, seconds: float) -> None:
        """The mtime that the client is about to set may be sent with the object."""
        if self.takes_mtime:
            self._modified_seconds = seconds

    def shown_mtime(self, written_seconds: float) -> float:
        """The mtime that the file shows now.

        :param written_seconds: when the client wrote last.
        """
        if self._modified_seconds is not None:
            return self._modified_seconds
        base = self._registration.base
        if base is not None and not self._plan.is_changed:
            base_seconds = attributes_of(base).modified_seconds
            return written_seconds if base_seconds is None else base_seconds
        return written_seconds

    async def after_publication(self, size_bytes: int, etag: str) -> None:
        """The file is stored; set an mtime that came too late for its metadata. Never raises.

        :param size_bytes: the size of the file.
        :param etag: the ETag of its object.
        """
        stored = ObjectInfo(self._registration.name, size_bytes, etag, self._opened_seconds)
        try:
            await MtimeSetter(self._context).on_published(
                stored, created_with=self.created_with, wanted=self._modified_seconds
            )
        except Exception:
            self._reporter.defect(Failure())

    async def set_mtime_only(self) -> PermissionDenied | None:
        """Set the mtime of a stored file that was opened, and that nothing was written to.

        A user who may overwrite an empty file may set its mtime: overwriting it with nothing
        would set one, too. Never raises. Returns why the mtime was not set, if that is to be told.
        """
        seconds, base = self._modified_seconds, self._registration.base
        is_untouched = not self._plan.is_changed and self._plan.end_reason is None
        if base is None or seconds is None or not is_untouched:
            return None
        if not self._may_set_times and base.size_bytes:
            is_set = int(attributes_of(base).modified_seconds or 0) == int(seconds)
            return None if is_set else PermissionDenied(NO_TIMES)
        try:
            await self._registration.commit.wait()
            await MtimeSetter(self._context).set_if_same(self._registration.base or base, seconds)
        except Exception:
            self._reporter.defect(Failure())
        return None

    # The other properties.

    async def properties(self) -> ObjectProperties:
        """The properties to create the object with; its mtime is fixed from now on."""
        metadata = {}
        self.created_with = self._modified_seconds
        if self._modified_seconds is not None:
            metadata[MTIME] = mtime_text(self._modified_seconds)
        base, tags = await self._base_and_tags()
        if base is None:
            return await self._properties_of_new(metadata)
        preserved = restated(base, tags=tags)
        # The bytes are new, so that the old mtime is not theirs.
        others = {name: value for name, value in preserved.metadata.items() if name != MTIME}
        # Stores without classes know none by name.
        is_usual = preserved.storage_class == "STANDARD" and not self._storage_class
        storage_class = "" if is_usual else preserved.storage_class
        return replace(preserved, metadata=others | metadata, storage_class=storage_class)

    async def _properties_of_new(self, metadata: dict[str, str]) -> ObjectProperties:
        like = self._like
        if like is None:
            return ObjectProperties(metadata=metadata, storage_class=self._storage_class)
        tags = await self._store.tags(like.name) if like.tag_count else NO_METADATA
        preserved = restated(like, tags=tags)
        return replace(
            preserved,
            metadata={**preserved.metadata, **metadata},
            storage_class=self._storage_class,
            encryption=NO_METADATA,
        )

    async def _base_and_tags(self) -> tuple[ObjectInfo | None, Mapping[str, str]]:
        while (base := self._registration.base) is not None and base.tag_count:
            try:
                return base, await self._store.tags(base.name)
            except NoSuchObject:
                if base is self._registration.base:
                    break  # perhaps none of its bytes is needed; if one is, that request fails
        return base, NO_METADATA
