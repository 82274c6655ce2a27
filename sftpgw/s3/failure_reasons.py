"""Asks a store why it fails with status 500 each time.

Knows: reasons that stores built on file systems do not name.
Must not know: when it is time to ask (`s3/request_executor`).
"""

from __future__ import annotations

from sftpgw.errors import NameInTheWay, NoSuchUpload, StoreError
from sftpgw.model.store import MultipartUpload, ObjectName
from sftpgw.s3.bound_executor import BoundExecutor
from sftpgw.s3.object_reads import ObjectReads
from sftpgw.s3.s3_request import S3Request


class FailureReasons:
    """Each method returns the reason as an error, or None if it finds none.

    :param executor: sends the requests; they have a short deadline.
    :param reads: lists folders.
    """

    def __init__(self, executor: BoundExecutor, reads: ObjectReads) -> None:
        self._executor = executor
        self._reads = reads

    async def folder_in_the_way(self, name: ObjectName) -> StoreError | None:
        """The store is a file system and has a folder of this name."""
        reads = self._reads.with_short_deadline()
        try:
            page = await reads.list(name.bucket, f"{name.key}/", limit=1)
        except StoreError:
            return None
        if not (page.objects or page.prefixes):
            return None
        return NameInTheWay(f"{name}: has the name of a folder", code="InternalError", status=500)

    async def upload_not_completed(self, upload: MultipartUpload) -> StoreError | None:
        """The upload is gone, or a folder is in the way.

        After NoSuchUpload the caller looks whether the object was published.
        """
        request = S3Request(
            "ListParts",
            "GET",
            upload.name.bucket,
            upload.name.key,
            query=(("max-parts", "1"), ("uploadId", upload.upload_id)),
            missing=NoSuchUpload,
        )
        try:
            await self._executor.with_short_deadline().send(request)
        except NoSuchUpload as error:
            return error
        except StoreError:
            return None
        return await self.folder_in_the_way(upload.name)
