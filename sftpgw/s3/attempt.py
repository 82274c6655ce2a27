"""One attempt of a request: sign, send, read the response.

Knows: the signer, the HTTP client, and which fault each of its errors is.
Must not know: whether a request is sent again (`s3/request_executor`), what an operation means.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from botocore.credentials import ReadOnlyCredentials
from twisted.web.http_headers import Headers

from sftpgw.aws.endpoints import Endpoints
from sftpgw.aws.signer import HeaderList, Signer
from sftpgw.errors import StoreError
from sftpgw.http.certificates import AuthoritiesUnusable, CertificateRefused, TlsFailed
from sftpgw.http.client import (
    ConnectFailed,
    ConnectionBroken,
    ExchangeTimedOut,
    HttpClient,
    HttpRequest,
    NoHttp,
)
from sftpgw.http.proxies import ProxyUnusable
from sftpgw.http.tunnels import ProxyRefused
from sftpgw.s3.error_codes import (
    BAD_ANSWER,
    CERTIFICATE_REFUSED,
    CONNECT_FAILED,
    CONNECTION_LOST,
    CUT_BODY,
    PROXY_REFUSED,
    SETTINGS_UNUSABLE,
    TIMED_OUT,
    TLS_FAILED,
    WAIT_STATUSES,
)
from sftpgw.s3.error_responses import AttemptError, error_response
from sftpgw.s3.headers import MissingHeader
from sftpgw.s3.retry.plan import Fault
from sftpgw.s3.s3_request import MAX_DOCUMENT_BYTES, BodyStream, Response, S3Request
from sftpgw.s3.store_headers import StoreHeaders
from sftpgw.wire.s3xml import MalformedDocument

USER_AGENT = "sftpgw"
SLOW_RESPONSE_SECONDS = 300.0

_OPERATIONS_ON_CONTENT = frozenset({"GetObject", "HeadObject"})

_FAULT_CODES: dict[type[Exception], str] = {
    ConnectFailed: CONNECT_FAILED,
    ConnectionBroken: CONNECTION_LOST,
    ExchangeTimedOut: TIMED_OUT,
    NoHttp: BAD_ANSWER,
    CertificateRefused: CERTIFICATE_REFUSED,
    TlsFailed: TLS_FAILED,
    ProxyRefused: PROXY_REFUSED,
    ProxyUnusable: SETTINGS_UNUSABLE,
    AuthoritiesUnusable: SETTINGS_UNUSABLE,
    MalformedDocument: BAD_ANSWER,
    MissingHeader: BAD_ANSWER,
}
_FAULTS = tuple(_FAULT_CODES)

Accept = Callable[[Response], Awaitable[None] | None]
"""Checks a 2xx, at once or not; raises `AttemptError`, `MalformedDocument` or `MissingHeader` if it
is not the response that the operation promises."""


@dataclass(slots=True)
class Traffic:
    """What the attempts of one request have moved, for `FinishedRequest`."""

    attempts: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0

    def sent(self, size_bytes: int) -> None:
        self.sent_bytes += size_bytes


@dataclass(slots=True)
class SignedRequest:
    """An attempt that is ready to be sent, with what it was signed with."""

    plain: S3Request
    signed: HttpRequest
    credentials: ReadOnlyCredentials
    region: str


class ResponseReader:
    """The `ResponseSink` of one attempt. A 2xx goes into the stream, if there is one; anything
    else is collected.

    :param stream: takes the body of a 2xx; None: the body is collected.
    :param traffic: counts the received bytes.
    :param max_document_bytes: how long the document of a 2xx may be.
    """

    def __init__(
        self,
        stream: BodyStream | None,
        traffic: Traffic,
        max_document_bytes: int = MAX_DOCUMENT_BYTES,
    ) -> None:
        self.status = 0
        self.headers = Headers()
        self.document = bytearray()
        self._stream = stream
        self._traffic = traffic
        self._max_document_bytes = max_document_bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def began(self, status: int, headers: Headers) -> None:
        self.status, self.headers = status, headers
        if self.is_success and self._stream is not None:
            self._stream.began(status, headers)

    def received(self, data: bytes) -> None:
        self._traffic.received_bytes += len(data)
        if self.is_success and self._stream is not None:
            self._stream.received(data)
            return
        self.document += data
        most_bytes = self._max_document_bytes if self.is_success else MAX_DOCUMENT_BYTES
        if len(self.document) > most_bytes:
            self.document.clear()
            raise MalformedDocument(
                f"status {self.status} with a document of over {most_bytes} bytes"
            )


class AttemptSender:
    """Sends requests to S3, each once.

    :param http: the connections of the process.
    :param endpoints: the URL and signing region of each bucket.
    :param signer: signs, by the store's clock.
    :param read_timeout_seconds: how long nothing may move in an exchange.
    :param store_headers: the headers that follow from the settings of the store.
    """

    def __init__(
        self,
        http: HttpClient,
        endpoints: Endpoints,
        signer: Signer,
        read_timeout_seconds: float,
        store_headers: StoreHeaders,
    ) -> None:
        self.store_headers = store_headers
        self.http = http
        self.endpoints = endpoints
        self.signer = signer
        self.requests: Counter[str] = Counter()
        """Attempts so far, by S3's names of the operations."""
        self._read_timeout_seconds = read_timeout_seconds
        self._transcoded: set[str] = set()

    def ask_for_stored_bytes(self, bucket: str) -> None:
        """From now on, ask the store of `bucket` not to decompress objects (GCS)."""
        self._transcoded.add(bucket)

    async def payload_hash(self, request: S3Request, user: str) -> str:
        """The hash of the body for `signed`. It is the same for all attempts of a request.

        :param request: the request.
        :param user: whose CPU time it takes.
        """
        endpoint = self.endpoints.of_bucket(request.bucket)
        return await self.signer.payload_hash(request.body, endpoint, user)

    def signed(
        self, request: S3Request, credentials: ReadOnlyCredentials, payload_hash: str, user: str
    ) -> SignedRequest:
        """The request, signed for now.

        :param request: the request.
        :param credentials: what it is signed with.
        :param payload_hash: the result of `payload_hash`.
        :param user: whose CPU time the response takes.
        :raises StoreError: it has no URL, or a header that cannot be sent
        """
        endpoint = self.endpoints.of_bucket(request.bucket)
        silence_seconds = self._read_timeout_seconds
        plain = request.headers
        if others := self.store_headers.of(request.operation):
            plain = (*plain, *others)
        try:
            url = endpoint.url(request.key, request.query)
            headers = self.signer.sign(
                request.method,
                url,
                headers=_checked(plain),
                payload_hash=payload_hash,
                endpoint=endpoint,
                credentials=credentials,
            )
        except ValueError as error:
            raise StoreError(f"cannot be sent: {error}", code="BadRequest") from error
        response_seconds = SLOW_RESPONSE_SECONDS if request.is_slow else 0.0
        signed = HttpRequest(
            method=request.method,
            url=url,
            headers=(*headers, *self._unsigned_headers(request)),
            body=request.body,
            response_timeout_seconds=max(silence_seconds, response_seconds),
            silence_timeout_seconds=silence_seconds,
            user=user,
        )
        return SignedRequest(request, signed, credentials, endpoint.signing_region)

    async def send(
        self,
        request: SignedRequest,
        stream: BodyStream | None,
        accept: Accept | None,
        traffic: Traffic,
    ) -> Response:
        """Send once; returns the 2xx.

        :param request: the signed request.
        :param stream: takes the body of a 2xx.
        :param accept: checks a 2xx.
        :param traffic: counts the attempt and its bytes.
        :raises AttemptError: there is no 2xx, or not the whole body
        """
        reader = ResponseReader(stream, traffic, request.plain.max_document_bytes)
        self.requests[request.plain.operation] += 1
        traffic.attempts += 1
        try:
            await self.http.exchange(request.signed, reader, traffic.sent)
            if stream is not None and reader.is_success and not stream.is_complete:
                raise AttemptError(Fault(CUT_BODY), "the body ended too early")
            if not reader.is_success:
                raise self._error_response(request, reader)
            response = Response(reader.status, reader.headers, bytes(reader.document))
            if accept is not None and (accepting := accept(response)) is not None:
                await accepting
        except _FAULTS as error:
            if stream is None or not stream.is_complete:
                raise AttemptError(_fault(error, reader), str(error)) from error
            response = Response(reader.status, reader.headers, b"")
        return response

    def _unsigned_headers(self, request: S3Request) -> HeaderList:
        """Headers that may change on the way. GCS changes ``Accept-Encoding``.

        ``Accept-Encoding`` is sent only where it is needed. Elsewhere it would allow proxies, and
        GCS itself with its lists, to compress.
        """
        agent = ("User-Agent", USER_AGENT)
        if request.bucket in self._transcoded and request.operation in _OPERATIONS_ON_CONTENT:
            return (agent, ("Accept-Encoding", "gzip"))
        return (agent,)

    def _error_response(self, request: SignedRequest, reader: ResponseReader) -> AttemptError:
        return error_response(
            reader.status,
            reader.headers,
            bytes(reader.document),
            is_head=request.plain.method == "HEAD",
            final_codes=request.plain.final_codes,
            region=request.region,
            now_seconds=self.signer.now_seconds(),
        )


def _fault(error: Exception, reader: ResponseReader) -> Fault:
    if isinstance(error, MalformedDocument) and reader.status in WAIT_STATUSES:
        return Fault("", reader.status)  # the long page of a proxy before a store that is away
    return Fault(_FAULT_CODES[type(error)])


def _checked(headers: HeaderList) -> HeaderList:
    """:raises ValueError: a value that no header can carry"""
    for name, value in headers:
        if not (value.isascii() and value.isprintable()):
            raise ValueError(f"the header {name} is not printable ASCII")
    return headers
