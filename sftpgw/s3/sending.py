"""A request, tried until it is answered or nothing helps.

Knows: signing, sending, reading an answer, the remedies of `plan/retrying`,
and what to tell of failures.
Must not know: what any one operation means.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from botocore.credentials import ReadOnlyCredentials
from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers

from sftpgw.errors import (
    CredentialsUnavailable,
    NoSuchObject,
    PreconditionFailed,
    RangeNotSatisfiable,
    StoreError,
    StoreUnavailable,
)
from sftpgw.interfaces import Clock, EventSink
from sftpgw.plan.retrying import (
    BAD_ANSWER,
    CONNECT_FAILED,
    CONNECTION_LOST,
    CUT_BODY,
    TIMED_OUT,
    UNEXPLAINED,
    Fault,
    Remedy,
    RetryPlan,
    TryAgain,
    error_class,
    may_have_happened,
)
from sftpgw.s3.credentials import CredentialSource
from sftpgw.s3.endpoints import Endpoints
from sftpgw.s3.headers import MissingHeader, date_seconds, header, retry_after_seconds
from sftpgw.s3.http import (
    ConnectFailed,
    ConnectionBroken,
    ExchangeTimedOut,
    HttpClient,
    HttpRequest,
)
from sftpgw.s3.signing import HeaderList, Signer
from sftpgw.values import MIB, Body, StoreSettings
from sftpgw.wire.s3xml import ErrorDocument, MalformedDocument, parse_error

USER_AGENT = "sftpgw"
DOCUMENT_LIMIT_BYTES = 16 * MIB
SKEW_SECONDS = 15 * 60.0
SLOW_PATIENCE_SECONDS = 300.0

_FAULT_CODES = {
    ConnectFailed: CONNECT_FAILED,
    ConnectionBroken: CONNECTION_LOST,
    ExchangeTimedOut: TIMED_OUT,
    MalformedDocument: BAD_ANSWER,
    MissingHeader: BAD_ANSWER,
}
_ROUTINE = (NoSuchObject, PreconditionFailed, RangeNotSatisfiable)


@dataclass(frozen=True, slots=True)
class S3Request:
    """A request before it is signed.

    :param operation: S3's name of it, for the log and the counter.
    :param missing: what a 404 without a code means.
    :param is_slow: the store may think for minutes (copies, Complete).
    :param conflict_is_final: a conflict needs more than this request again (Complete).
    """

    operation: str
    method: str
    bucket: str
    key: str = ""
    query: tuple[tuple[str, str], ...] = ()
    headers: HeaderList = ()
    body: Body = ()
    missing: type[StoreError] = NoSuchObject
    is_slow: bool = False
    conflict_is_final: bool = False


@dataclass(frozen=True, slots=True)
class _SignedRequest:
    plain: S3Request
    signed: HttpRequest


@dataclass(slots=True)
class Answer:
    """A 2xx, its body whole."""

    status: int
    headers: Headers
    document: bytes


@dataclass(slots=True)
class Trail:
    """What a caller wants to know of the attempts, whatever came of them."""

    may_have_happened: bool = False


class AttemptFailed(Exception):
    """An attempt that did not succeed; `Sender.send` looks for a remedy."""

    def __init__(
        self,
        fault: Fault,
        message: str,
        *,
        request_id: str = "",
        store_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.fault = fault
        self.message = message
        self.request_id = request_id
        self.store_seconds = store_seconds


class BodyStream(Protocol):
    """Takes the body of a 2xx as it arrives, across attempts."""

    @property
    def received_bytes(self) -> int: ...

    @property
    def is_complete(self) -> bool: ...

    def began(self, status: int, headers: Headers) -> None: ...

    def received(self, data: bytes) -> None: ...


class _AnswerReader:
    """The `AnswerSink` of one attempt: streams a 2xx if there is a stream, else collects."""

    def __init__(self, stream: BodyStream | None) -> None:
        self.status = 0
        self.headers = Headers()
        self.document = bytearray()
        self._stream = stream

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def began(self, status: int, headers: Headers) -> None:
        self.status, self.headers = status, headers
        if self.is_success and self._stream is not None:
            self._stream.began(status, headers)

    def received(self, data: bytes) -> None:
        if self.is_success and self._stream is not None:
            self._stream.received(data)
        elif len(self.document) + len(data) > DOCUMENT_LIMIT_BYTES:
            raise MalformedDocument("an answer without end")
        else:
            self.document += data


@dataclass
class Sender:
    """Everything that the requests of a process share.

    :param clock: delays and durations.
    :param random: a number in [0, 1) each time.
    """

    http: HttpClient
    endpoints: Endpoints
    signer: Signer
    credentials: CredentialSource
    settings: StoreSettings
    clock: Clock
    random: Callable[[], float]
    requests: Counter[str] = field(default_factory=Counter)

    async def send(
        self,
        request: S3Request | Callable[[], S3Request],
        events: EventSink,
        *,
        stream: BodyStream | None = None,
        accept: Callable[[Answer], None] | None = None,
        trail: Trail | None = None,
    ) -> Answer:
        """Send until there is a 2xx.

        :param request: or what makes each attempt's (a download goes on where it was).
        :param accept: looks at a 2xx and raises `AttemptFailed`, `MalformedDocument`
            or `MissingHeader` if it is none.
        :raises StoreError:
        """
        plan = RetryPlan(self.settings.max_attempts, self.random, self.clock.seconds())
        trail = trail or Trail()
        attempt = 0
        while True:
            attempt += 1
            current = request() if callable(request) else request
            credentials = await self._credentials(events)
            started, had_bytes = self.clock.seconds(), stream.received_bytes if stream else 0
            try:
                return await self._attempt(self._signed(current, credentials), stream, accept)
            except AttemptFailed as failed:
                if stream is not None and stream.received_bytes > had_bytes:
                    plan.progressed(self.clock.seconds())
                again = plan.after(failed.fault, self.clock.seconds())
                facts = _facts(current, failed, attempt, self.clock.seconds() - started)
                trail.may_have_happened |= may_have_happened(failed.fault)
                if again is None or not await self._remedied(again, failed, credentials, events):
                    raise self._final(current, failed, events, facts) from failed
                events.tell("s3-request-retried", wait_seconds=again.wait_seconds, **facts)
                if again.wait_seconds:
                    await self._pause(again.wait_seconds)

    # One attempt.

    async def _credentials(self, events: EventSink) -> ReadOnlyCredentials:
        try:
            return await self.credentials.current()
        except CredentialsUnavailable as error:
            events.tell("credentials-unavailable", reason=error.message)
            raise

    async def _attempt(
        self,
        request: _SignedRequest,
        stream: BodyStream | None,
        accept: Callable[[Answer], None] | None,
    ) -> Answer:
        reader = _AnswerReader(stream)
        self.requests[request.plain.operation] += 1
        try:
            await self.http.exchange(request.signed, reader)
            if stream is not None and reader.is_success and not stream.is_complete:
                raise AttemptFailed(Fault(CUT_BODY), "the body ended too early")
            if not reader.is_success:
                raise _refusal(request.plain, reader, self.signer.now_seconds())
            answer = Answer(reader.status, reader.headers, bytes(reader.document))
            if accept is not None:
                accept(answer)
        except tuple(_FAULT_CODES) as error:
            if stream is None or not stream.is_complete:
                raise AttemptFailed(Fault(_FAULT_CODES[type(error)]), str(error)) from error
            answer = Answer(reader.status, reader.headers, b"")
        return answer

    def _signed(self, request: S3Request, credentials: ReadOnlyCredentials) -> _SignedRequest:
        endpoint = self.endpoints.of_bucket(request.bucket)
        silence = self.settings.read_timeout_seconds
        try:
            url = endpoint.url(request.key, request.query)
            headers = self.signer.sign(
                request.method,
                url,
                headers=_checked(request.headers),
                body=request.body,
                endpoint=endpoint,
                credentials=credentials,
            )
        except ValueError as error:
            raise StoreError(f"cannot be sent: {error}", code="BadRequest") from error
        signed = HttpRequest(
            method=request.method,
            url=url,
            headers=(*headers, ("User-Agent", USER_AGENT)),
            body=request.body,
            patience_seconds=max(silence, SLOW_PATIENCE_SECONDS * request.is_slow),
            silence_seconds=silence,
        )
        return _SignedRequest(request, signed)

    # Between attempts, and after the last.

    async def _remedied(
        self,
        again: TryAgain,
        failed: AttemptFailed,
        credentials: ReadOnlyCredentials,
        events: EventSink,
    ) -> bool:
        """Do what may help; whether another attempt makes sense."""
        if again.remedy is Remedy.REFRESH_CREDENTIALS:
            return await self.credentials.renew(credentials)
        if again.remedy is Remedy.CORRECT_CLOCK:
            if failed.store_seconds is None:
                return False
            self.signer.correct_clock(failed.store_seconds)
            events.tell("clock-corrected", offset_seconds=round(self.signer.offset_seconds, 1))
        return True

    def _pause(self, seconds: float) -> Deferred[None]:
        over: Deferred[None] = Deferred(lambda _: call.cancel())
        call = self.clock.callLater(seconds, over.callback, None)
        return over

    def _final(
        self,
        request: S3Request,
        failed: AttemptFailed,
        events: EventSink,
        facts: dict[str, object],
    ) -> StoreError:
        kind = error_class(failed.fault, request.missing)
        if not issubclass(kind, _ROUTINE):
            event = "s3-gave-up" if kind is StoreUnavailable else "s3-request-failed"
            events.tell(event, **facts)
        return kind(
            f"{request.operation}: {failed.message}",
            code=failed.fault.code,
            status=failed.fault.status,
            request_id=failed.request_id,
        )


def _checked(headers: HeaderList) -> HeaderList:
    """:raises ValueError: a value that no header can carry"""
    for name, value in headers:
        if not (value.isascii() and value.isprintable()):
            raise ValueError(f"the header {name} is not printable ASCII")
    return headers


def refused_inside_success(
    document: ErrorDocument, headers: Headers, *, conflict_is_final: bool = False
) -> AttemptFailed:
    """An ``<Error>`` in a 200: by its code, else as if it were a 500."""
    return AttemptFailed(
        Fault(document.code, 500, conflict_is_final=conflict_is_final),
        document.message or document.code,
        request_id=document.request_id or header(headers, "x-amz-request-id"),
    )


def _refusal(request: S3Request, reader: _AnswerReader, now_seconds: float) -> AttemptFailed:
    """What an answer that is not a 2xx says."""
    document = _error_document(bytes(reader.document))
    store_seconds = date_seconds(reader.headers, "date")
    code = document.code
    if request.method == "HEAD" and not code:
        code = _code_of_a_bare_refusal(reader.status, store_seconds, now_seconds)
    message = document.message or f"HTTP status {reader.status}"
    if region := header(reader.headers, "x-amz-bucket-region") or document.region:
        message += f" (the bucket's region is {region})"
    return AttemptFailed(
        Fault(
            code,
            reader.status,
            retry_after_seconds(reader.headers),
            request.conflict_is_final,
        ),
        message,
        request_id=header(reader.headers, "x-amz-request-id") or document.request_id,
        store_seconds=store_seconds,
    )


def _error_document(document: bytes) -> ErrorDocument:
    try:
        return parse_error(document)
    except MalformedDocument:
        return ErrorDocument("")  # a proxy's page, or nothing at all: the status decides


def _code_of_a_bare_refusal(status: int, store_seconds: float | None, now_seconds: float) -> str:
    """HEAD's answers have no body, hence no code: guess those that have a remedy."""
    if status == 400:
        return UNEXPLAINED
    skewed = store_seconds is not None and abs(store_seconds - now_seconds) > SKEW_SECONDS
    return "RequestTimeTooSkewed" if status == 403 and skewed else ""


def _facts(
    request: S3Request, failed: AttemptFailed, attempt: int, seconds: float
) -> dict[str, object]:
    return {
        "operation": request.operation,
        "bucket": request.bucket,
        "key": request.key,
        "status": failed.fault.status,
        "code": failed.fault.code,
        "request_id": failed.request_id,
        "attempt": attempt,
        "seconds": round(seconds, 3),
    }
