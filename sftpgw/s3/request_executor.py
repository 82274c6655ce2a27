"""Sends a request until it succeeds or nothing helps any more.

Knows: slots, the remedies of `s3/retry/plan`, which events report failures.
Must not know: what an operation means, how an attempt is signed and sent (`s3/attempt`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from botocore.credentials import ReadOnlyCredentials
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from sftpgw.aws.credentials import CredentialSource
from sftpgw.errors import (
    AccessDenied,
    CredentialsUnavailable,
    NoSuchObject,
    NotSignedForSession,
    PreconditionFailed,
    RangeNotSatisfiable,
    RoleNotAssumed,
    StoreError,
    StoreUnavailable,
)
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.events.credential_events import OwnCredentialsWithheld
from sftpgw.model.events.store_events import (
    ClockCorrected,
    CredentialsUnavailableEvent,
    RegionFollowed,
    S3GaveUp,
    S3RequestDropped,
    S3RequestFacts,
    S3RequestFailed,
    S3RequestRetried,
)
from sftpgw.model.limits import is_longer_than_files
from sftpgw.model.measurements import FinishedRequest
from sftpgw.model.object_settings import ObjectSettings
from sftpgw.model.settings import StoreSettings
from sftpgw.model.store import Cancellation
from sftpgw.s3.attempt import Accept, AttemptSender, SignedRequest, Traffic
from sftpgw.s3.error_codes import CONNECT_FAILED, NOT_WANTED, UNEXPLAINED, Remedy
from sftpgw.s3.error_responses import AttemptError
from sftpgw.s3.page_reader import PageReader
from sftpgw.s3.request_budget.queue import RequestQueue
from sftpgw.s3.request_context import RequestContext
from sftpgw.s3.retry.plan import (
    Fault,
    RetryPlan,
    TryAgain,
    asks_for_fewer,
    error_class,
    may_have_happened,
)
from sftpgw.s3.s3_request import (
    AttemptLog,
    BodyStream,
    Response,
    S3Request,
)
from sftpgw.s3.session_scope import SessionScope, SessionScopes

MAX_REASON_CHARACTERS = 500
"""The longest text of a store that is put into an event."""

_INTERNAL_ERROR_STATUS = 500
ATTEMPTS_BEFORE_REASON = 4
"""After this many failures with status 500, the store is asked for a reason."""

ATTEMPTS_BEFORE_RETURN = 3
"""If so many attempts have found no one in the region that the store has named, the bucket is
looked for where the settings say: one wrong answer must not hide it until the next start."""

SHORT_DEADLINE_ATTEMPTS = 3
SHORT_DEADLINE_SECONDS = 5.0

_ROUTINE = (NoSuchObject, PreconditionFailed, RangeNotSatisfiable)
"""Errors that are normal results of a request: they are not logged as failures."""


@dataclass
class RequestExecutor:
    """Sends the requests of the process.

    :param attempts: signs and sends one attempt.
    :param credentials: the credentials to sign with.
    :param settings: how many attempts, and for how long.
    :param clock: times attempts and waits.
    :param random: returns a number in [0, 1), for the jitter of waits.
    :param queue: hands out slots: how many requests may be under way, and which one is next.
    :param pages: parses pages of lists.
    :param on_finished: is called once for each request when its last attempt is over, after a
        success and after a failure; None: nothing is called.
    :param scopes: gives sessions credentials of their own; None: they have none.
    """

    attempts: AttemptSender
    credentials: CredentialSource
    settings: StoreSettings
    clock: Clock
    random: Callable[[], float]
    queue: RequestQueue
    pages: PageReader
    on_finished: Callable[[FinishedRequest], None] | None = None
    scopes: SessionScopes | None = None

    @cached_property
    def objects(self) -> ObjectSettings:
        """How objects are stored where no session says it. Tags are of sessions."""
        return replace(self.settings.objects, tags=())

    @cached_property
    def own_objects(self) -> ObjectSettings:
        """How the gateway's own objects are stored."""
        return self.settings.objects.of_gateway

    @property
    def requests(self) -> Counter[str]:
        """Requests sent so far, retries included, by S3's names of the operations."""
        return self.attempts.requests

    def now_seconds(self) -> float:
        """The time by the store's clock, seconds since 1970."""
        return self.attempts.signer.now_seconds()

    def with_short_deadline(self) -> RequestExecutor:
        """The same executor with few attempts, for requests that others wait for and may fail."""
        settings = replace(
            self.settings,
            max_attempts=min(self.settings.max_attempts, SHORT_DEADLINE_ATTEMPTS),
            retry_time_seconds=min(self.settings.retry_time_seconds, SHORT_DEADLINE_SECONDS),
        )
        return replace(self, settings=settings)

    async def close(self) -> None:
        """Drop every connection; returns when they are gone."""
        await self.attempts.http.close()

    async def send(
        self,
        request: S3Request | Callable[[], S3Request],
        context: RequestContext,
        *,
        stream: BodyStream | None = None,
        accept: Accept | None = None,
        attempt_log: AttemptLog | None = None,
    ) -> Response:
        """Send until there is a 2xx.

        :param request: or a function that returns the request of each attempt: a download
            continues where it was.
        :param context: its events, user and cancel token.
        :param stream: takes the body of the 2xx.
        :param accept: checks the 2xx.
        :param attempt_log: records whether a failed attempt may have been carried out.
        :raises StoreError: no attempt succeeded, and another one would not help
        """
        plan, log, traffic = self._retry_plan(), attempt_log or AttemptLog(), Traffic()
        began_seconds, payload_hash = self.clock.seconds(), ""
        current = _next_request(request)
        try:
            while True:
                _require_wanted(current, context.cancel_token)
                if not payload_hash:
                    payload_hash = await self.attempts.payload_hash(current, context.user)
                had_bytes = stream.received_bytes if stream else 0
                attempt = _Attempt(current, stream, accept, traffic)
                result = await self._attempt_in_slot(attempt, payload_hash, context, plan)
                if isinstance(result, Response):
                    break
                if stream is not None and stream.received_bytes > had_bytes:
                    plan.progressed(self.clock.seconds())
                log.may_have_happened |= may_have_happened(result.fault)
                await self._prepare_next(result, context, plan, traffic.attempts)
                current = _next_request(request)
        except (StoreError, CancelledError) as error:
            self._report(current, context, traffic, began_seconds, error)
            raise
        self._report(current, context, traffic, began_seconds, result)
        return result

    def _retry_plan(self) -> RetryPlan:
        return RetryPlan(
            self.settings.max_attempts,
            self.random,
            self.clock.seconds(),
            self.settings.retry_time_seconds,
        )

    def _report(
        self,
        request: S3Request,
        context: RequestContext,
        traffic: Traffic,
        began_seconds: float,
        result: Response | StoreError | CancelledError,
    ) -> None:
        """Tell `on_finished` of a request that is over."""
        if self.on_finished is None:
            return
        status, code = 0, NOT_WANTED
        if isinstance(result, StoreError):
            status, code = result.status, result.code
        elif isinstance(result, Response):
            status, code = result.status, ""
        self.on_finished(
            FinishedRequest(
                operation=request.operation,
                bucket=request.bucket,
                user=context.user,
                status=status,
                code=code,
                seconds=self.clock.seconds() - began_seconds,
                attempts=traffic.attempts,
                sent_bytes=traffic.sent_bytes,
                received_bytes=traffic.received_bytes,
            )
        )

    # One attempt.

    async def _attempt_in_slot(
        self, attempt: _Attempt, payload_hash: str, context: RequestContext, plan: RetryPlan
    ) -> Response | _FailedAttempt:
        """Wait for a slot, sign and send."""
        request, scope, source = attempt.request, context.scope, self.credentials
        if scope is not None:
            source = await _scoped_source(scope, request, source, context)
        path = (context.user, context.session, context.upload or request.operation)
        with self.queue.slot(request.bucket, path, is_slow=request.is_slow) as slot:
            if slot.ready is not None:
                plan.queued(await self._wait_for(slot.ready, context.cancel_token))
            # Not before: credentials and signature may expire while the request is queued.
            credentials = await _current(source, context.events)
            _require_wanted(request, context.cancel_token)
            signed = self.attempts.signed(request, credentials, payload_hash, context.user)
            started_seconds = self.clock.seconds()
            try:
                response = await self.attempts.send(
                    signed, attempt.stream, attempt.accept, attempt.traffic
                )
            except AttemptError as error:
                if asks_for_fewer(error.fault):
                    slot.refused()
                took_seconds = self.clock.seconds() - started_seconds
                return _FailedAttempt(error, signed, took_seconds, source)
            slot.served()
            return response

    async def _wait_for(self, ready: Deferred[None], cancel_token: Cancellation | None) -> float:
        """Wait for the slot; returns how many seconds it took."""
        since_seconds = self.clock.seconds()
        await _wait_while_wanted(ready, cancel_token)
        return self.clock.seconds() - since_seconds

    # Between attempts, and after the last.

    async def _prepare_next(
        self, last: _FailedAttempt, context: RequestContext, plan: RetryPlan, attempt: int
    ) -> None:
        """Apply the remedy and wait before the next attempt.

        :raises StoreError: there is no next attempt
        """
        request, events = last.signed.plain, context.events
        if last.fault.code == CONNECT_FAILED and attempt >= ATTEMPTS_BEFORE_RETURN:
            self.attempts.endpoints.take_back(request.bucket)
        again = plan.after(last.fault, self.clock.seconds())
        facts = _facts(last, attempt)
        if again is None or not await self._remedied(again, last, events):
            raise _final_error(last, events, facts) from last.error
        if (reason := await _reason(request, last.fault, attempt)) is not None:
            events.emit(S3RequestFailed(**facts))
            raise reason from last.error
        if _is_cancelled(context.cancel_token):
            events.emit(S3RequestDropped(**facts))
            return
        events.emit(S3RequestRetried(wait_seconds=again.wait_seconds, **facts))
        if again.wait_seconds:
            pause: Deferred[None] = deferLater(self.clock, again.wait_seconds)  # type: ignore[arg-type]
            await _wait_while_wanted(pause, context.cancel_token)

    async def _remedied(self, again: TryAgain, last: _FailedAttempt, events: EventSink) -> bool:
        """Apply the remedy; returns whether another attempt makes sense."""
        bucket = last.signed.plain.bucket
        if again.remedy is Remedy.REFRESH_CREDENTIALS:
            is_guess = last.fault.code == UNEXPLAINED
            return await last.source.renew(last.signed.credentials, is_guess=is_guess)
        if again.remedy is Remedy.ASK_FOR_STORED_BYTES:
            self.attempts.ask_for_stored_bytes(bucket)
        if again.remedy is Remedy.FOLLOW_REGION:
            region = last.fault.other_region
            # Other requests may have followed meanwhile; then it is no news.
            if self.attempts.endpoints.move(bucket, region):
                events.emit(RegionFollowed(bucket=bucket, region=region))
        if again.remedy is Remedy.CORRECT_CLOCK:
            if last.error.store_seconds is None:
                return False
            signer = self.attempts.signer
            signer.correct_clock(last.error.store_seconds)
            events.emit(ClockCorrected(offset_seconds=round(signer.offset_seconds, 1)))
        return True


@dataclass(slots=True)
class _Attempt:
    """An attempt that is due: its request, what takes the response, and the counters."""

    request: S3Request
    stream: BodyStream | None
    accept: Accept | None
    traffic: Traffic


@dataclass(slots=True)
class _FailedAttempt:
    """An attempt that failed, how long it took, and where its credentials came from."""

    error: AttemptError
    signed: SignedRequest
    seconds: float
    source: CredentialSource

    @property
    def fault(self) -> Fault:
        return self.error.fault


async def _scoped_source(
    scope: SessionScope, request: S3Request, own: CredentialSource, context: RequestContext
) -> CredentialSource:
    """What signs a request of a session. It has credentials: a request must not hold a slot while
    it waits for some.

    :raises NotSignedForSession: own credentials were asked for, and must not sign it.
    :raises CredentialsUnavailable: there are none.
    """
    try:
        source = scope.source_for(request, own)
    except NotSignedForSession:
        context.events.emit(
            OwnCredentialsWithheld(
                operation=request.operation, bucket=request.bucket, key=request.key
            )
        )
        raise
    if source is not own:
        waiting = Deferred.fromCoroutine(source.current())
        await _wait_while_wanted(waiting, context.cancel_token)
    return source


async def _current(source: CredentialSource, events: EventSink) -> ReadOnlyCredentials:
    """The credentials of a source. :raises CredentialsUnavailable: there are none"""
    try:
        return await source.current()
    except RoleNotAssumed:
        raise
    except CredentialsUnavailable as error:
        events.emit(CredentialsUnavailableEvent(reason=error.message))
        raise


def _next_request(request: S3Request | Callable[[], S3Request]) -> S3Request:
    return request() if callable(request) else request


def _final_error(last: _FailedAttempt, events: EventSink, facts: S3RequestFacts) -> StoreError:
    """The error to raise after the last attempt; logs it unless it is a normal result."""
    request, error = last.signed.plain, last.error
    kind = error_class(last.fault, request.missing)
    if kind is StoreError and _cannot_exist(request, last.fault):
        kind = NoSuchObject
    is_routine = issubclass(kind, _ROUTINE) or (
        request.hides_missing and issubclass(kind, AccessDenied)
    )
    if not is_routine:
        event = S3GaveUp if issubclass(kind, StoreUnavailable) else S3RequestFailed
        events.emit(event(**facts))
    return kind(
        f"{request.operation}: {error.message}",
        code=last.fault.code,
        status=last.fault.status,
        request_id=error.request_id,
    )


async def _reason(request: S3Request, fault: Fault, attempt: int) -> StoreError | None:
    """Why a store that fails with status 500 will go on to fail; None: unknown, or not yet due."""
    is_due = fault.status == _INTERNAL_ERROR_STATUS and attempt % ATTEMPTS_BEFORE_REASON == 0
    if request.find_reason is None or not is_due:
        return None
    return await request.find_reason()


def _cannot_exist(request: S3Request, fault: Fault) -> bool:
    """Whether HEAD or GET was refused because the store can have no object of that name.

    MinIO and versitygw answer 400 to a name of over 255 bytes, where S3 answers 404.
    """
    is_read = request.method in ("HEAD", "GET") and bool(request.key)
    return is_read and fault.status == 400 and is_longer_than_files(request.key)


def _is_cancelled(cancel_token: Cancellation | None) -> bool:
    return cancel_token is not None and cancel_token.is_cancelled


def _require_wanted(request: S3Request, cancel_token: Cancellation | None) -> None:
    """:raises StoreUnavailable: the result is not wanted any more"""
    if _is_cancelled(cancel_token):
        message = f"{request.operation}: its result is not wanted any more"
        raise StoreUnavailable(message, code=NOT_WANTED)


async def _wait_while_wanted(waiting: Deferred[Any], cancel_token: Cancellation | None) -> None:
    """Wait until `waiting` fires, or `cancel_token` is cancelled."""
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


def _facts(last: _FailedAttempt, attempt: int) -> S3RequestFacts:
    """The fields of an event about an attempt that failed."""
    request, error = last.signed.plain, last.error
    return {
        "operation": request.operation,
        "bucket": request.bucket,
        "key": request.key,
        "status": last.fault.status,
        "code": last.fault.code,
        "reason": error.message[:MAX_REASON_CHARACTERS],
        "request_id": error.request_id,
        "attempt": attempt,
        "seconds": round(last.seconds, 3),
    }
