"""A request, tried until it is answered or nothing helps.

Knows: signing, sending, reading an answer, the remedies of `s3/retry/plan`,
and what to tell of failures.
Must not know: what any one operation means.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from botocore.credentials import ReadOnlyCredentials
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.web.http_headers import Headers

from sftpgw.aio.hasher import Hasher
from sftpgw.aws.credentials import CredentialSource
from sftpgw.aws.endpoints import Endpoints
from sftpgw.aws.signer import HeaderList, Signer
from sftpgw.errors import (
    CredentialsUnavailable,
    NoSuchObject,
    PreconditionFailed,
    RangeNotSatisfiable,
    StoreError,
    StoreUnavailable,
)
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
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.limits import is_longer_than_files
from sftpgw.model.settings import StoreSettings
from sftpgw.model.store import Cancellation
from sftpgw.model.units import MIB, Body
from sftpgw.s3.error_responses import AttemptFailed, refusal
from sftpgw.s3.headers import MissingHeader
from sftpgw.s3.retry.plan import (
    BAD_ANSWER,
    CERTIFICATE_REFUSED,
    CONNECT_FAILED,
    CONNECTION_LOST,
    CUT_BODY,
    PROXY_REFUSED,
    SETTINGS_UNUSABLE,
    TIMED_OUT,
    TLS_FAILED,
    UNEXPLAINED,
    Fault,
    Remedy,
    RetryPlan,
    TryAgain,
    asks_for_fewer,
    error_class,
    may_have_happened,
)
from sftpgw.s3.throttle.queue import Slot, Throttles
from sftpgw.wire.s3xml import MalformedDocument

USER_AGENT = "sftpgw"
DOCUMENT_LIMIT_BYTES = 16 * MIB
SLOW_PATIENCE_SECONDS = 300.0
UNWANTED = "Unwanted"
"""A word of ours, where S3's would be: the request was given up because of whom it was for."""

LONGEST_REASON = 500
"""Characters of what a store says that are told."""

_DEFECT = 500
DOUBT_ATTEMPTS = 4
"""After so many a store that has a defect may be one whose defect has a reason."""

HURRIED_ATTEMPTS = 3
HURRIED_SECONDS = 5.0

_TELL_OF_OBJECTS = frozenset({"GetObject", "HeadObject"})
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
_ROUTINE = (NoSuchObject, PreconditionFailed, RangeNotSatisfiable)


@dataclass(frozen=True, slots=True)
class S3Request:
    """A request before it is signed.

    :param operation: S3's name of it, for the log and the counter.
    :param missing: what a 404 without a code means.
    :param is_slow: the store may think for minutes (copies, Complete).
    :param final_codes: S3's codes after which this request is of no use again.
    :param optional: what the store may lack, by the names of `Capabilities`, and the header that
        asks for it.
    :param doubt: looks for what may be the reason if the store fails (500) again and again.
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
    final_codes: frozenset[str] = frozenset()
    optional: tuple[tuple[str, str], ...] = ()
    doubt: Callable[[], Awaitable[StoreError | None]] | None = None

    def without(self, lacking: frozenset[str]) -> S3Request:
        """The same request, which does not ask for what the store is `lacking`."""
        gone = {header.lower() for name, header in self.optional if name in lacking}
        kept = tuple(pair for pair in self.headers if pair[0].lower() not in gone)
        return replace(self, headers=kept)


@dataclass(frozen=True, slots=True)
class _SignedRequest:
    plain: S3Request
    signed: HttpRequest
    credentials: ReadOnlyCredentials
    region: str


@dataclass(slots=True)
class Response:
    """A 2xx, its body whole."""

    status: int
    headers: Headers
    document: bytes


@dataclass(slots=True)
class AttemptLog:
    """What a caller wants to know of the attempts, whatever came of them."""

    may_have_happened: bool = False


class BodyStream(Protocol):
    """Takes the body of a 2xx as it arrives, across attempts."""

    @property
    def received_bytes(self) -> int: ...

    @property
    def is_complete(self) -> bool: ...

    def began(self, status: int, headers: Headers) -> None: ...

    def received(self, data: bytes) -> None: ...


class _ResponseReader:
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
class RequestExecutor:
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
    hasher: Hasher
    throttles: Throttles
    requests: Counter[str] = field(default_factory=Counter)
    transcoded: set[str] = field(default_factory=set)
    """Buckets whose store decompresses objects unless it is asked not to."""

    def with_short_deadline(self) -> RequestExecutor:
        """The same, for requests that somebody waits for, and that may as well fail."""
        settings = replace(
            self.settings,
            max_attempts=min(self.settings.max_attempts, HURRIED_ATTEMPTS),
            retry_time_seconds=min(self.settings.retry_time_seconds, HURRIED_SECONDS),
        )
        return replace(self, settings=settings)

    async def send(
        self,
        request: S3Request | Callable[[], S3Request],
        events: EventSink,
        *,
        user: str = "",
        cancel_token: Cancellation | None = None,
        stream: BodyStream | None = None,
        accept: Callable[[Response], None] | None = None,
        trail: AttemptLog | None = None,
    ) -> Response:
        """Send until there is a 2xx.

        :param request: or what makes each attempt's (a download goes on where it was).
        :param user: on whose behalf, for a fair share where a store wants fewer requests.
        :param interest: once it is lost, what is on its way is the last attempt.
        :param accept: looks at a 2xx and raises `AttemptFailed`, `MalformedDocument`
            or `MissingHeader` if it is none.
        :raises StoreError:
        """
        plan, trail = self._retry_plan(), trail or AttemptLog()
        attempt, payload_hash = 0, ""
        while True:
            attempt += 1
            current = request() if callable(request) else request
            _demand_interest(current, cancel_token)
            # Once: all attempts of a request have the same body.
            payload_hash = payload_hash or await self._payload_hash(current)
            had_bytes = stream.received_bytes if stream else 0
            with self.throttles.slot(current.bucket, user, is_slow=current.is_slow) as slot:
                if slot.turn is not None:
                    plan.stood_in_line(await self._stood_in_line(slot.turn, cancel_token))
                # Not before: both may be too old by the end of a long line.
                credentials = await self._credentials(events)
                _demand_interest(current, cancel_token)
                signed = self._signed(current, credentials, payload_hash)
                started = self.clock.seconds()
                failed = await self._attempt(signed, stream, accept, slot)
                if isinstance(failed, Response):
                    return failed
            if stream is not None and stream.received_bytes > had_bytes:
                plan.progressed(self.clock.seconds())
            again = plan.after(failed.fault, self.clock.seconds())
            facts = _facts(current, failed, attempt, self.clock.seconds() - started)
            trail.may_have_happened |= may_have_happened(failed.fault)
            if again is None or not await self._remedied(again, failed, signed, events):
                raise self._final(current, failed, events, facts) from failed
            if (reason := await _reason(current, failed.fault, attempt)) is not None:
                events.tell("s3-request-failed", **facts)
                raise reason from failed
            if _is_cancelled(cancel_token):
                events.tell("s3-request-dropped", **facts)
                continue
            events.tell("s3-request-retried", wait_seconds=again.wait_seconds, **facts)
            if again.wait_seconds:
                pause: Deferred[None] = deferLater(self.clock, again.wait_seconds)  # type: ignore[arg-type]
                await _while_wanted(pause, cancel_token)

    def _retry_plan(self) -> RetryPlan:
        return RetryPlan(
            self.settings.max_attempts,
            self.random,
            self.clock.seconds(),
            self.settings.retry_time_seconds,
        )

    # One attempt.

    async def _payload_hash(self, request: S3Request) -> str:
        return await self.signer.payload_hash(
            request.body, self.endpoints.of_bucket(request.bucket)
        )

    async def _credentials(self, events: EventSink) -> ReadOnlyCredentials:
        try:
            return await self.credentials.current()
        except CredentialsUnavailable as error:
            events.tell("credentials-unavailable", reason=error.message)
            raise

    async def _stood_in_line(
        self, turn: Deferred[None], cancel_token: Cancellation | None
    ) -> float:
        """How many seconds it took until it was our turn."""
        since_seconds = self.clock.seconds()
        await _while_wanted(turn, cancel_token)
        return self.clock.seconds() - since_seconds

    async def _attempt(
        self,
        request: _SignedRequest,
        stream: BodyStream | None,
        accept: Callable[[Response], None] | None,
        slot: Slot,
    ) -> Response | AttemptFailed:
        """Send once; `slot` is told what the store thinks of that."""
        try:
            answer = await self._exchanged(request, stream, accept)
        except AttemptFailed as failed:
            if asks_for_fewer(failed.fault):
                slot.refused()
            return failed
        slot.served()
        return answer

    async def _exchanged(
        self,
        request: _SignedRequest,
        stream: BodyStream | None,
        accept: Callable[[Response], None] | None,
    ) -> Response:
        """:raises AttemptFailed: it was not to be had this time"""
        reader = _ResponseReader(stream)
        self.requests[request.plain.operation] += 1
        try:
            await self.http.exchange(request.signed, reader)
            if stream is not None and reader.is_success and not stream.is_complete:
                raise AttemptFailed(Fault(CUT_BODY), "the body ended too early")
            if not reader.is_success:
                raise self._refusal(request, reader)
            answer = Response(reader.status, reader.headers, bytes(reader.document))
            if accept is not None:
                accept(answer)
        except tuple(_FAULT_CODES) as error:
            if stream is None or not stream.is_complete:
                raise AttemptFailed(Fault(_FAULT_CODES[type(error)]), str(error)) from error
            answer = Response(reader.status, reader.headers, b"")
        return answer

    def _signed(
        self, request: S3Request, credentials: ReadOnlyCredentials, payload_hash: str
    ) -> _SignedRequest:
        endpoint = self.endpoints.of_bucket(request.bucket)
        silence = self.settings.read_timeout_seconds
        try:
            url = endpoint.url(request.key, request.query)
            headers = self.signer.sign(
                request.method,
                url,
                headers=_checked(request.headers),
                payload_hash=payload_hash,
                endpoint=endpoint,
                credentials=credentials,
            )
        except ValueError as error:
            raise StoreError(f"cannot be sent: {error}", code="BadRequest") from error
        signed = HttpRequest(
            method=request.method,
            url=url,
            headers=(*headers, *self._unsigned_headers(request)),
            body=request.body,
            patience_seconds=max(silence, SLOW_PATIENCE_SECONDS * request.is_slow),
            silence_seconds=silence,
        )
        return _SignedRequest(request, signed, credentials, endpoint.signing_region)

    def _unsigned_headers(self, request: S3Request) -> HeaderList:
        """What may be changed on its way: GCS does so with ``Accept-Encoding``.

        It is sent where it has to be: elsewhere it gives proxies, and GCS itself with its lists,
        leave to compress.
        """
        agent = ("User-Agent", USER_AGENT)
        if request.bucket in self.transcoded and request.operation in _TELL_OF_OBJECTS:
            return (agent, ("Accept-Encoding", "gzip"))
        return (agent,)

    def _refusal(self, request: _SignedRequest, reader: _ResponseReader) -> AttemptFailed:
        """What an answer that is not a 2xx says."""
        return refusal(
            reader.status,
            reader.headers,
            bytes(reader.document),
            is_head=request.plain.method == "HEAD",
            final_codes=request.plain.final_codes,
            region=request.region,
            now_seconds=self.signer.now_seconds(),
        )

    # Between attempts, and after the last.

    async def _remedied(
        self,
        again: TryAgain,
        failed: AttemptFailed,
        request: _SignedRequest,
        events: EventSink,
    ) -> bool:
        """Do what may help; whether another attempt makes sense."""
        if again.remedy is Remedy.REFRESH_CREDENTIALS:
            is_guess = failed.fault.code == UNEXPLAINED
            return await self.credentials.renew(request.credentials, is_guess=is_guess)
        if again.remedy is Remedy.ASK_FOR_STORED_BYTES:
            self.transcoded.add(request.plain.bucket)
        if again.remedy is Remedy.FOLLOW_REGION:
            bucket, region = request.plain.bucket, failed.fault.other_region
            # Others may have followed meanwhile: then there is nothing new to tell.
            if self.endpoints.move(bucket, region):
                events.tell("region-followed", bucket=bucket, region=region)
        if again.remedy is Remedy.CORRECT_CLOCK:
            if failed.store_seconds is None:
                return False
            self.signer.correct_clock(failed.store_seconds)
            events.tell("clock-corrected", offset_seconds=round(self.signer.offset_seconds, 1))
        return True

    def _final(
        self,
        request: S3Request,
        failed: AttemptFailed,
        events: EventSink,
        facts: dict[str, object],
    ) -> StoreError:
        kind = error_class(failed.fault, request.missing)
        if kind is StoreError and _cannot_be_there(request, failed.fault):
            kind = NoSuchObject
        if not issubclass(kind, _ROUTINE):
            event = "s3-gave-up" if issubclass(kind, StoreUnavailable) else "s3-request-failed"
            events.tell(event, **facts)
        return kind(
            f"{request.operation}: {failed.message}",
            code=failed.fault.code,
            status=failed.fault.status,
            request_id=failed.request_id,
        )


async def _reason(request: S3Request, fault: Fault, attempt: int) -> StoreError | None:
    """Why a store that fails will go on to do so, as far as that can be found out."""
    if request.doubt is None or fault.status != _DEFECT or attempt % DOUBT_ATTEMPTS:
        return None
    return await request.doubt()


def _cannot_be_there(request: S3Request, fault: Fault) -> bool:
    """Whether a look for an object was refused since the store can have none of that name.

    MinIO and versitygw answer 400 to a name of over 255 bytes, where S3 has 404.
    """
    is_look = request.method in ("HEAD", "GET") and bool(request.key)
    return is_look and fault.status == 400 and is_longer_than_files(request.key)


def _is_cancelled(cancel_token: Cancellation | None) -> bool:
    return cancel_token is not None and cancel_token.is_cancelled


def _demand_interest(request: S3Request, cancel_token: Cancellation | None) -> None:
    """:raises StoreUnavailable: nobody wants it any more"""
    if _is_cancelled(cancel_token):
        raise StoreUnavailable(f"{request.operation}: nobody waits for it", code=UNWANTED)


async def _while_wanted(waiting: Deferred[None], cancel_token: Cancellation | None) -> None:
    """Wait until `waiting` fires, or `cancel_token` is lost."""
    if cancel_token is None:
        await waiting
        return
    cancel_token.watch(waiting.cancel)
    try:
        await waiting
    except CancelledError:
        if not cancel_token.is_cancelled:
            raise
    finally:
        cancel_token.unwatch(waiting.cancel)


def _checked(headers: HeaderList) -> HeaderList:
    """:raises ValueError: a value that no header can carry"""
    for name, value in headers:
        if not (value.isascii() and value.isprintable()):
            raise ValueError(f"the header {name} is not printable ASCII")
    return headers


def _facts(
    request: S3Request, failed: AttemptFailed, attempt: int, seconds: float
) -> dict[str, object]:
    return {
        "operation": request.operation,
        "bucket": request.bucket,
        "key": request.key,
        "status": failed.fault.status,
        "code": failed.fault.code,
        "reason": failed.message[:LONGEST_REASON],
        "request_id": failed.request_id,
        "attempt": attempt,
        "seconds": round(seconds, 3),
    }
