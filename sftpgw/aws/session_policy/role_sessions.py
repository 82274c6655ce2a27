"""The credentials of users' sessions: a role, assumed for each user with a policy of its own.

Knows: when credentials are fetched and renewed, and what happens if STS gives none.
Must not know: policies (`plan`), STS itself (`sts_client`), requests to S3.

Rules

1. All sessions of a user share credentials, as long as role, policy and tags are the same. Another
   user never gets them.
2. They are fetched when the user logs in. A login does not wait for that: its first request does.
3. They are renewed while requests use them, and before they expire: none waits for that. What fails
   then is told and tried again, and the old ones count until they end.
4. A failure that passes is tried again some times. After that, and after another failure, all that
   wait are refused, and for some seconds all that come: STS is not asked for each request.
5. Some of these questions run at once, in the fair order of users; the others wait.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Never

from botocore.credentials import ReadOnlyCredentials
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from sftpgw.aio.fair_slots import FairSlots
from sftpgw.aio.lru import LRUDict
from sftpgw.aio.notifier import Notifier
from sftpgw.aws.credentials import InThread
from sftpgw.aws.session_policy.plan.role_requests import RoleRequest
from sftpgw.aws.session_policy.sts_client import AssumeRole, IssuedCredentials, RoleRefused
from sftpgw.errors import RoleNotAssumed
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.events.credential_events import (
    SessionCredentialsFailed,
    SessionCredentialsIssued,
)
from sftpgw.model.events.gateway_events import Defect

AT_ONCE = 6
"""How many questions to STS run at the same time; each takes one of the reactor's ten threads."""

MAX_REMEMBERED = 4096
"""How many credentials are remembered, at up to 8 KiB each. A session keeps its own, whatever is
forgotten."""

AHEAD_SECONDS = 900.0
"""So long before they expire, credentials are renewed; after half of their life at the earliest."""

WAIT_FROM_SECONDS = 30.0
"""Credentials that are valid for longer than this are used while new ones are fetched."""

LAST_SECONDS = 5.0
"""Credentials that expire within this time are not used, even if there are no others."""

PAUSES_SECONDS = (0.5, 1.0, 2.0)
"""How long to wait before each further attempt after a failure that passes."""

PAUSE_SECONDS = 10.0
"""For so long STS is not asked again for the same user, after a success and after a failure."""

MAX_WAIT_SECONDS = 60.0
"""How long a request waits for credentials."""

Fetch = Callable[[RoleRequest], Coroutine[Any, Any, IssuedCredentials]]


class RoleSessions:
    """The credentials of all users' sessions in one store.

    :param assume: asks STS; blocks.
    :param in_thread: runs a blocking function in a thread.
    :param clock: times renewals.
    :param events: told of credentials, and of what STS refuses.
    """

    def __init__(
        self, assume: AssumeRole, in_thread: InThread, clock: Clock, events: EventSink
    ) -> None:
        self._assume = assume
        self._in_thread = in_thread
        self._clock = clock
        self._events = events
        self._slots = FairSlots(AT_ONCE)
        self._known: LRUDict[RoleRequest, RoleCredentials] = LRUDict(MAX_REMEMBERED)

    def credentials_for(self, request: RoleRequest) -> RoleCredentials:
        """The credentials for a request, which are being fetched, unless they are at hand.

        :param request: what is asked for.
        """
        found = self._known.get(request)
        if found is None:
            found = RoleCredentials(request, self._fetch, self._clock, self._events)
        self._known.put(request, found)
        found.begin()
        return found

    async def _fetch(self, request: RoleRequest) -> IssuedCredentials:
        """Ask STS (rule 4). :raises RoleRefused: it gives none."""
        for pause_seconds in PAUSES_SECONDS:
            try:
                return await self._ask(request)
            except RoleRefused as error:
                if not error.is_passing:
                    raise
            await deferLater(self._clock, pause_seconds)  # type: ignore[arg-type]
        return await self._ask(request)

    async def _ask(self, request: RoleRequest) -> IssuedCredentials:
        async with self._slots.slot((request.user, "", "")):
            issued: IssuedCredentials = await self._in_thread(self._assume, request)
        if issued.life_seconds <= LAST_SECONDS:
            text = "STS gives credentials that have expired"
            raise RoleRefused(text, code="Expired", is_passing=True)
        return issued


class RoleCredentials:
    """A `CredentialSource`: the credentials of one user.

    :param request: what they are asked for with.
    :param fetch: asks STS.
    :param clock: times renewals.
    :param events: told of credentials, and of failures.
    """

    def __init__(self, request: RoleRequest, fetch: Fetch, clock: Clock, events: EventSink) -> None:
        self._request = request
        self._fetch = fetch
        self._clock = clock
        self._events = events
        self._issued: ReadOnlyCredentials | None = None
        self._due_seconds = self._ends_seconds = self._ask_from_seconds = float("-inf")
        self._failure = ""
        self._is_fetching = False
        self._fetched = Notifier()

    def begin(self) -> None:
        """Fetch credentials, unless there are some that need not be renewed yet."""
        now_seconds = self._clock.seconds()
        if self._issued is None or now_seconds >= self._due_seconds:
            self._begin_fetch(now_seconds)

    async def current(self) -> ReadOnlyCredentials:
        now_seconds = self._clock.seconds()
        if self._issued is None or now_seconds >= self._ends_seconds - WAIT_FROM_SECONDS:
            return await self._awaited()
        if now_seconds >= self._due_seconds:
            self._begin_fetch(now_seconds)
        return self._issued

    async def renew(self, refused: ReadOnlyCredentials, *, is_guess: bool = False) -> bool:
        """As `CredentialSource.renew`. A guess renews nothing.

        A policy refuses much on purpose, and a missing object is a bare 403.
        """
        if is_guess:
            return False
        if refused == self._issued:
            if self._clock.seconds() < self._ask_from_seconds:
                return False  # new ones have just been refused as well: they would be again
            self._issued = None
        return bool(await self.current() != refused)

    async def _awaited(self) -> ReadOnlyCredentials:
        """Wait for new credentials. The old ones count if there are no new ones."""
        try:
            fetched = self._fetched.wait()
            self._begin_fetch(self._clock.seconds())
            await fetched.addTimeout(MAX_WAIT_SECONDS, self._clock, _give_up)  # type: ignore[arg-type]
        except RoleNotAssumed:
            if self._clock.seconds() >= self._ends_seconds - LAST_SECONDS:
                raise
        if self._issued is None:
            raise RoleNotAssumed("the credentials of this user were refused just now")
        return self._issued

    def _begin_fetch(self, now_seconds: float) -> None:
        """Fetch, unless that is under way. Not awaited: who asked may leave, and others stay."""
        if self._is_fetching:
            return
        if now_seconds < self._ask_from_seconds:
            self._tell()
            return
        self._is_fetching = True
        fetching = Deferred.fromCoroutine(self._fetch(self._request))
        fetching.addCallbacks(self._on_issued, self._on_refused)
        fetching.addErrback(self._on_defect)

    def _on_issued(self, issued: IssuedCredentials) -> None:
        now_seconds, life_seconds = self._clock.seconds(), issued.life_seconds
        self._issued, self._failure = issued.credentials, ""
        self._ends_seconds = now_seconds + life_seconds
        self._due_seconds = self._ends_seconds - min(AHEAD_SECONDS, life_seconds / 2)
        request = self._request
        self._events.bind(user=request.user).emit(
            SessionCredentialsIssued(
                role=request.role_arn,
                session_name=request.session_name,
                access_key=issued.credentials.access_key,
                valid_seconds=round(life_seconds),
            )
        )
        self._end_fetch()

    def _on_refused(self, failure: Failure) -> None:
        failure.trap(RoleRefused)
        error, request = failure.value, self._request
        assert isinstance(error, RoleRefused)
        self._events.bind(user=request.user).emit(
            SessionCredentialsFailed(role=request.role_arn, code=error.code, reason=error.reason)
        )
        self._failure = f"{request.role_arn}: {error.code}: {error.reason}"
        self._end_fetch()

    def _on_defect(self, failure: Failure) -> None:
        self._events.emit(Defect(where="role-session", failure=failure))
        self._failure = f"{self._request.role_arn}: internal error"
        self._end_fetch()

    def _end_fetch(self) -> None:
        self._is_fetching = False
        self._ask_from_seconds = self._clock.seconds() + PAUSE_SECONDS
        self._tell()

    def _tell(self) -> None:
        """Wake all that wait: with the last failure, if there was one since the last success."""
        self._fetched.notify_all(Failure(RoleNotAssumed(self._failure)) if self._failure else None)


def _give_up(_: object, __: float) -> Never:
    raise RoleNotAssumed("STS takes too long")
