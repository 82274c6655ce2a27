"""One GET, over as many responses as it takes.

Knows: ranges, what a response promises, where the body broke off.
Must not know: how a request is sent or whether it is sent again.

Rules:

1. The sink gets each byte of the range once and in order, and never a byte of another version or
   position. A response that contradicts this is an error.
2. A store that ignores ``Range`` is an error unless the whole object is wanted. A store that
   ignores ``If-Match`` is recognised by the ETag.
3. A 206 that is shorter than the requested range is a body that broke off.
4. A body without a length, or with another length than the stored object has, was decompressed on
   its way. The next request asks for the stored bytes.
   https://docs.cloud.google.com/storage/docs/transcoding
"""

from __future__ import annotations

from twisted.web.http_headers import Headers

from sftpgw.model.store import BodySink, ByteRange, ObjectName
from sftpgw.s3.error_codes import TRANSCODED
from sftpgw.s3.error_responses import AttemptError
from sftpgw.s3.headers import STORED_LENGTH, content_range, count, header, object_info
from sftpgw.s3.retry.plan import Fault
from sftpgw.s3.s3_request import S3Request
from sftpgw.wire.s3xml import quoted


def whole_size(headers: Headers) -> int:
    """The size of an object, by a response that carries all of it.

    :raises AttemptError: the response carries other bytes than those stored
    :raises MissingHeader: the length makes no sense
    """
    length, stored = header(headers, "content-length"), header(headers, STORED_LENGTH)
    if not length or (stored.isdecimal() and stored != length):
        text = "the store sends another form of the object than it has stored"
        raise AttemptError(Fault(TRANSCODED, 200), text)
    return count(headers, "content-length")


class ResumableGet:
    """The `BodyStream` of a GET.

    :param name: the object.
    :param wanted: the range; not empty, and may reach behind the end. None: all.
    :param sink: takes the object's properties and the bytes.
    :param if_match: the ETag that the object must have; None: any, and the same to the end.
    :param hides_missing: as for `S3Request`; may be set later.
    """

    def __init__(
        self,
        name: ObjectName,
        wanted: ByteRange | None,
        sink: BodySink,
        if_match: str | None,
        *,
        hides_missing: bool = False,
    ) -> None:
        self.hides_missing = hides_missing
        self._name = name
        self._sink = sink
        self._if_match = if_match
        self._start = wanted.start if wanted else 0
        self._stop = wanted.stop if wanted else None
        self._size_bytes: int | None = None
        self._promised_bytes: int | None = None
        self._response_bytes = 0
        self.received_bytes = 0

    @property
    def is_complete(self) -> bool:
        return self.received_bytes == self._promised_bytes

    @property
    def _position(self) -> int:
        return self._start + self.received_bytes

    def next_request(self) -> S3Request:
        """The request for the bytes that are still missing."""
        headers = []
        if self._position or self._stop is not None:
            last = "" if self._stop is None else str(self._stop - 1)
            headers.append(("Range", f"bytes={self._position}-{last}"))
        if self._if_match:
            headers.append(("If-Match", self._if_match))
        return S3Request(
            "GetObject",
            "GET",
            self._name.bucket,
            self._name.key,
            headers=tuple(headers),
            hides_missing=self.hides_missing,
        )

    def began(self, status: int, headers: Headers) -> None:
        size_bytes, self._response_bytes = self._promise(status, headers)
        etag = quoted(header(headers, "etag"))
        if (self._if_match and etag != self._if_match) or self._size_bytes not in (
            None,
            size_bytes,
        ):
            raise AttemptError(Fault("PreconditionFailed", 412), "the object was replaced")
        if self._size_bytes is None:
            self._size_bytes = size_bytes
            self._if_match = etag
            stop = size_bytes if self._stop is None else min(self._stop, size_bytes)
            self._promised_bytes = stop - self._start
            self._sink.began(object_info(self._name, size_bytes, headers))

    def received(self, data: bytes) -> None:
        self._response_bytes -= len(data)
        if self._response_bytes < 0:
            raise AttemptError(Fault("TooManyBytes", 200), "a body longer than promised")
        self.received_bytes += len(data)
        self._sink.received(data)

    def _promise(self, status: int, headers: Headers) -> tuple[int, int]:
        """The object's size, and how many bytes of it this response carries."""
        if status != 206:
            size_bytes = whole_size(headers)
            if self._position or (self._stop is not None and self._stop < size_bytes):
                raise AttemptError(Fault("RangeIgnored", 200), "the store ignores Range")
            return size_bytes, size_bytes
        first, last, size_bytes = content_range(headers)
        if first != self._position or (self._stop is not None and last >= self._stop):
            raise AttemptError(Fault("RangeIgnored", 200), "the store sends another range")
        return size_bytes, last - first + 1
