"""Requests to S3 before they are signed, and the responses to them.

Knows: the fields of a request and of a response.
Must not know: how a request is signed, sent or retried (`s3/request_executor`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from twisted.web.http_headers import Headers

from sftpgw.aws.signer import HeaderList
from sftpgw.errors import NoSuchObject, StoreError
from sftpgw.model.store import ObjectName
from sftpgw.model.units import KIB, MIB, Body

MAX_DOCUMENT_BYTES = 64 * KIB
"""The longest document of a response that is no page of a list, errors included."""

MAX_PAGE_BYTES = 7 * MIB
"""The longest page of a list: 1,000 keys of 1,024 bytes, each byte of which some store sends as
``&quot;``, with 1,000 bytes of other fields each."""


@dataclass(frozen=True, slots=True)
class S3Request:
    """A request before it is signed.

    :param operation: S3's name of the operation, for the log and the counter.
    :param method: the HTTP method.
    :param bucket: the name of the bucket, or the ARN of an access point.
    :param key: the key of the object, not encoded; "" for requests about the bucket.
    :param query: names and values, not encoded.
    :param headers: names and values, without those of the signature.
    :param body: its buffers, in order.
    :param missing: the error class for a 404 without a known code.
    :param is_slow: the store may need minutes before it responds (copies, Complete).
    :param final_codes: S3 error codes after which the request is not sent again.
    :param optional: pairs of a capability (a field of `Capabilities`) and the header that needs
        it.
    :param max_document_bytes: how long the document of a 2xx may be.
    :param find_reason: asks the store for a reason why the request fails with status 500 each
        time; None if it finds none.
    :param source: the object that it copies from; None if it copies nothing.
    :param hides_missing: a 403 may mean that the object is missing. The caller finds out, and the
        log is not told of it.
    """

    operation: str
    method: str
    bucket: str
    key: str = ""
    query: tuple[tuple[str, str], ...] = ()
    headers: HeaderList = field(default=(), repr=False)
    body: Body = ()
    missing: type[StoreError] = NoSuchObject
    is_slow: bool = False
    final_codes: frozenset[str] = frozenset()
    optional: tuple[tuple[str, str], ...] = ()
    max_document_bytes: int = MAX_DOCUMENT_BYTES
    find_reason: Callable[[], Awaitable[StoreError | None]] | None = None
    source: ObjectName | None = None
    hides_missing: bool = False

    def without(self, lacking: frozenset[str]) -> S3Request:
        """The same request without the headers that need the capabilities in `lacking`."""
        dropped = {header.lower() for name, header in self.optional if name in lacking}
        headers = tuple(pair for pair in self.headers if pair[0].lower() not in dropped)
        return replace(self, headers=headers)


@dataclass(slots=True)
class Response:
    """A 2xx response.

    :param status: the HTTP status.
    :param headers: all headers.
    :param document: its body; empty where a `BodyStream` has taken it.
    """

    status: int
    headers: Headers
    document: bytes


@dataclass(slots=True)
class AttemptLog:
    """What a caller needs to know of the attempts of one or more requests, also if they failed.

    :param may_have_happened: one of the failed attempts may have been carried out by the store.
    """

    may_have_happened: bool = False


class BodyStream(Protocol):
    """Takes the body of a 2xx as it arrives. It stays the same for all attempts of a request."""

    @property
    def received_bytes(self) -> int:
        """How many bytes of the body have arrived, over all attempts."""

    @property
    def is_complete(self) -> bool:
        """Whether the whole body has arrived."""

    def began(self, status: int, headers: Headers) -> None:
        """The headers of an attempt's response have arrived.

        :raises AttemptError: it is not the response that was asked for
        """

    def received(self, data: bytes) -> None:
        """The next bytes of the body.

        :raises AttemptError: there are more than the response promised
        """
