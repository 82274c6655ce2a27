"""Does without a capability that a store turns out to lack.

Knows: which headers of a request need which capability, and what replaces them.
Must not know: how capabilities are probed (`s3/probe`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import TypeVar

from sftpgw.errors import (
    CopiesLackChecksums,
    NameNotKept,
    NoSuchObject,
    NotImplementedByStore,
    PartsMustBeEqual,
    PreconditionFailed,
    StoreError,
)
from sftpgw.model.store import (
    ByteRange,
    Capabilities,
    Checksum,
    MultipartUpload,
    ObjectInfo,
    ObjectName,
)
from sftpgw.s3.capabilities import CapabilitySource, is_same_as_slash
from sftpgw.s3.object_reads import ObjectReads
from sftpgw.s3.s3_request import S3Request

T = TypeVar("T")


class CapabilityFallbacks:
    """Corrects what is believed of a store by what it refuses.

    :param capability_source: what is believed, and learns of refusals.
    :param reads: looks at objects in place of conditions that the store lacks.
    """

    def __init__(self, capability_source: CapabilitySource, reads: ObjectReads) -> None:
        self._capability_source = capability_source
        self._reads = reads

    async def for_writing(self, name: ObjectName) -> Capabilities:
        """The capabilities of the bucket, once they are known.

        :raises NameNotKept: the store would store `name` under another key
        """
        capabilities = await self._capability_source.known(name.bucket)
        if is_same_as_slash(name.key, capabilities):
            raise NameNotKept(f"{name}: is another name to this store", code="InvalidObjectName")
        return capabilities

    async def send(self, request: S3Request, send: Callable[[S3Request], Awaitable[T]]) -> T:
        """Send; where the store refuses a header, do without its capability from now on.

        :param request: the request with all its headers.
        :param send: sends the request, or one with fewer headers.
        :raises PreconditionFailed: a condition that had to be left out does not hold
        """
        try:
            return await send(request)
        except NotImplementedByStore:
            if not self._capability_source.is_adaptable:
                raise
            for lacking in _candidates(request):
                reduced = request.without(lacking)
                await self._require_left_out_conditions(request, reduced)
                with suppress(NotImplementedByStore):
                    result = await send(reduced)
                    for name in sorted(lacking):
                        self._capability_source.must_do_without(request.bucket, name)
                    return result
            raise

    async def _require_left_out_conditions(self, request: S3Request, reduced: S3Request) -> None:
        """Look whether the conditions hold that `reduced` does not have any more.

        :raises PreconditionFailed:
        """
        conditions = {name: value for name, value in request.headers if name.startswith("If-")}
        for name, value in conditions.items():
            if (name, value) in reduced.headers:
                continue
            try:
                info, _ = await self._reads.head_with_headers(
                    ObjectName(request.bucket, request.key)
                )
                etag = info.etag
            except NoSuchObject:
                etag = ""
            if (name == "If-None-Match" and etag) or (name == "If-Match" and etag != value):
                raise PreconditionFailed(f"{name} does not hold", code="PreconditionFailed")

    async def require_credible_copy(
        self,
        upload: MultipartUpload,
        source: ObjectInfo,
        wanted: ByteRange,
        reported: Checksum | None,
    ) -> None:
        """Check the checksum that the store reports for a copied part.

        It is believed where the store has been seen to report right ones. Else it must not be
        visibly wrong: a range does not have the checksum of the whole source. A store that reports
        none refuses to complete the upload in the end.

        :raises CopiesLackChecksums: the checksum is missing or wrong
        """
        bucket = upload.name.bucket
        if self._capability_source.is_proved(bucket, "copied_checksums"):
            return  # a user can make a file whose first part has the checksum of the whole
        if reported is None:
            raise self.copies_lack_checksums(upload, "a copied part has no checksum")
        if wanted.size_bytes == source.size_bytes:
            return
        whole = source.checksum
        if whole is None:
            with suppress(StoreError):
                whole = (await self._reads.head(source.name, with_checksum=True)).checksum
        if reported == whole:
            raise self.copies_lack_checksums(upload, "a range has the checksum of the whole")
        if whole is not None:
            self._capability_source.proved(bucket, "copied_checksums")

    def copies_lack_checksums(self, upload: MultipartUpload, reason: str) -> CopiesLackChecksums:
        """The error for a store that copies no parts into uploads with checksums; remembers it."""
        self._capability_source.must_do_without(upload.name.bucket, "copied_checksums")
        return CopiesLackChecksums(reason, code="NotImplemented")

    def parts_must_be_equal(self, upload: MultipartUpload, error: StoreError) -> PartsMustBeEqual:
        """The error for a store that takes only parts of one size; remembers it."""
        self._capability_source.must_do_without(upload.name.bucket, "unequal_parts")
        return PartsMustBeEqual(error.message, code=error.code, status=error.status)


def _candidates(request: S3Request) -> Iterator[frozenset[str]]:
    """The capabilities that the store may lack: each one that the request uses, then all."""
    used = {name.lower() for name, _ in request.headers}
    names = {name for name, header in request.optional if header.lower() in used}
    yield from (frozenset({name}) for name in sorted(names))
    if len(names) > 1:
        yield frozenset(names)
