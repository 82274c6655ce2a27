"""The ssh-userauth service: requests to log in, answered one at a time.

Knows: RFC 4252, RFC 4256, and how often a client may try.
Must not know: how a key, password or code is checked; the portal does that.

Rules:

- One request is checked at a time. Conch checks all pipelined requests at once, and counts their
  failures a second later (`SSHUserAuthServer.ssh_USERAUTH_REQUEST`, `_ebBadAuth`): 5,001 passwords
  were checked in 0.42 s.
- An attempt counts as failed before the portal is asked. Only success and PK_OK take that back. The
  last allowed failure disconnects the client.
- The first "none", with which clients ask for the methods, does not count. Neither do questions
  about authorised keys, up to `MAX_QUESTIONS`.
- A key that no account can have, or that signs with an algorithm that we do not offer, is a failed
  attempt like others, and has an event that says so.
- A question about another key counts as an attempt, but is not logged as a failed login: an agent
  with several keys asks about each before it signs. It has an event of its own.
- keyboard-interactive asks for the password, then for a one-time code if the user needs one, one
  prompt at a time. The request counts as the attempt, its responses do not. The attempt is lost,
  and so is what its earlier responses have proven, if a response is wrong or another request comes
  before it.
- A login may take several steps (`auth.plan`). One that is right and not the last is answered with
  FAILURE and partial success, and does not count as an attempt. What may follow is what the user
  needs. Before the first step all names are offered the same.
- Another user name starts over, and what was proven counts as attempts then. sshd disconnects. All
  steps are one user's; the source of users is asked in each step but for the code.
- A user who has changed between two steps starts over, too. Keys of earlier steps are judged again
  at the end: one may have been revoked since.
- The banner is sent once, before the reply to the first request.
- A user who is disabled, has expired or comes from elsewhere is refused like a wrong proof.
- A user who has authenticated may still be refused for having too many connections.
- A result of the portal that comes after a success, or after the end of the connection, is ignored;
  its avatar is logged out.
- All failures look the same to the client.
- A password or a code may have to wait, or be refused without a look, for failures before it
  (`login_guard`). A client that is banned gets no reply: its connection is closed.
- The transport limits the time for the login from accept on (`login_grace_seconds`). Conch's limit
  of ten hours from SERVICE_REQUEST on (`SSHUserAuthServer.loginTimeout`) is not used.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from twisted.conch.ssh.common import NS
from twisted.conch.ssh.transport import (
    DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE,
    DISCONNECT_PROTOCOL_ERROR,
    DISCONNECT_SERVICE_NOT_AVAILABLE,
    DISCONNECT_TOO_MANY_CONNECTIONS,
)
from twisted.conch.ssh.userauth import (
    MSG_USERAUTH_BANNER,
    MSG_USERAUTH_FAILURE,
    MSG_USERAUTH_PK_OK,
    MSG_USERAUTH_REQUEST,
    MSG_USERAUTH_SUCCESS,
    SSHUserAuthServer,
)
from twisted.internet.defer import CancelledError, Deferred

from sftpgw.auth.checkers import KeyAuthorised, RefusedProof, UndecidedProof
from sftpgw.auth.login_credentials import CodeCredentials, KeyCredentials, PasswordCredentials
from sftpgw.model.users import LoginMethod, User
from sftpgw.ssh.conch_logger import quiet_logger
from sftpgw.ssh.fields import MalformedPacket
from sftpgw.ssh.login_guard import LoginGuard
from sftpgw.ssh.login_progress import LoginProgress, LoginStep, method_of, ways_of
from sftpgw.ssh.login_reports import (
    tell_failure,
    tell_step,
    tell_success,
    tell_too_many,
    too_many_setting,
)
from sftpgw.ssh.login_requests import (
    KEYBOARD_INTERACTIVE,
    PASSWORD,
    LoginRequest,
    attempt_of,
    fault_of,
    read_password,
    read_public_key,
)
from sftpgw.ssh.penalties import Offence
from sftpgw.ssh.portal_verdicts import OpenedLogin, PortalVerdicts
from sftpgw.ssh.prompts import (
    MSG_USERAUTH_INFO_REQUEST,
    MSG_USERAUTH_INFO_RESPONSE,
    PROMPTS,
    check_beginning,
    info_request,
    read_answer,
)

NOT_PROVEN = "a key of an earlier step does not count any more"
NOT_NEXT = "the proof is right, but `require` of the user asks for another one first"

MAX_WAITING_REQUESTS = 8
"""How many requests and responses a client may send ahead of our replies."""

MAX_QUESTIONS = 20
"""How many questions about keys a client may ask for which the reply is PK_OK."""


@dataclass(frozen=True, slots=True)
class _Conversation:
    """A prompt of keyboard-interactive that the client has not answered.

    :ivar request: what the client has asked for.
    :ivar progress: the login's progress, with what this conversation has proven so far.
    """

    request: LoginRequest
    progress: LoginProgress


class GatewayUserAuth(SSHUserAuthServer):
    """Logins by public key, password and one-time code.

    keyboard-interactive is ours; Conch has it for clients only.
    """

    _log = quiet_logger("sftpgw.ssh")
    transport: Any

    def serviceStarted(self) -> None:
        """Prepare for the first request. Replaces Conch's, which uses the global reactor."""
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._progress = LoginProgress(b"")
        self._conversation: _Conversation | None = None
        self._has_shown_banner = False
        self._running: Deferred[None] | None = None
        self._busy = False
        self._failures = 0
        self._questions = 0
        self._has_asked_for_methods = False
        self._is_over = False
        self.portal = self.transport.context.portal
        self._verdicts = PortalVerdicts(self.portal, self.transport.labels)
        self._guard = LoginGuard(self.transport, self.portal.lockout)

    def serviceStopped(self) -> None:
        """Stop: the login is done, or the connection is gone."""
        self._waiting.clear()
        if not self._is_over:
            self._is_over = True
            if self._running is not None and self._busy:
                self._running.cancel()

    @property
    def is_checking(self) -> bool:
        """Whether the client waits for a verdict about credentials that it has sent."""
        return self._busy

    def packetReceived(self, messageNum: int, packet: bytes) -> None:
        """Queue a request, or a response to our prompt.

        Replaces `SSHService.packetReceived`, which logs unexpected packets with their passwords.
        """
        if messageNum not in (MSG_USERAUTH_REQUEST, MSG_USERAUTH_INFO_RESPONSE):
            self.transport.sendUnimplemented()
            return
        if len(self._waiting) >= MAX_WAITING_REQUESTS:
            raise MalformedPacket("too many login requests at once")
        self._waiting.append((messageNum, packet))
        if not self._busy:
            self._busy = True
            self._running = Deferred.fromCoroutine(self._process_all())
            self._running.addErrback(self._on_failure)

    async def _process_all(self) -> None:
        try:
            while self._waiting and not (self._is_over or self.transport.has_ended):
                message, packet = self._waiting.popleft()
                if message == MSG_USERAUTH_REQUEST:
                    await self._process_request(packet)
                else:
                    await self._process_response(packet)
        finally:
            self._busy = False

    def _on_failure(self, failure: Any) -> None:
        """End the connection: an exception has ended the loop."""
        if failure.check(CancelledError) or self._is_over:
            return
        if failure.check(MalformedPacket):
            self.transport.refuse(failure.getErrorMessage())
            return
        self._log.failure("session {session}: login", failure, session=self.transport.session)
        self.transport.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, "internal error")

    async def _process_request(self, packet: bytes) -> None:
        request = LoginRequest.of(packet)
        if request.service != b"ssh-connection":
            self._disconnect(DISCONNECT_SERVICE_NOT_AVAILABLE, "no such service")
            return
        self._show_banner()
        self._conversation = None
        self._start_over_for(request.name)
        if self._has_no_attempt_left():
            return
        self._failures += self._counts(request)
        if request.method not in self._offered_ways():
            self._fail(request, None, None)
        elif request.method == KEYBOARD_INTERACTIVE:
            check_beginning(request.details)
            self._prompt(_Conversation(request, self._progress))
        else:
            read = read_password if request.method == PASSWORD else read_public_key
            await self._check(request, read(request, self.transport), self._progress)

    def _start_over_for(self, name: bytes) -> None:
        """Forget what was proven for another user (RFC 4252, section 5)."""
        if name != self._progress.name:
            self._start_over(name)

    def _start_over(self, name: bytes) -> None:
        """Forget what was proven; it counts as attempts."""
        self._failures += len(self._progress.steps)
        self._progress = LoginProgress(name)

    def _offered_ways(self) -> list[bytes]:
        """The methods that can continue."""
        is_begun = bool(self._progress.steps)
        return ways_of(self._progress.needs if is_begun else self.portal.first_methods())

    def _counts(self, request: LoginRequest) -> bool:
        """Whether the request counts as an attempt: all do but the first "none"."""
        is_first_none = request.method == b"none" and not self._has_asked_for_methods
        self._has_asked_for_methods |= is_first_none
        return not is_first_none

    def _show_banner(self) -> None:
        """Send the banner, once (RFC 4252, section 5.4)."""
        banner = self.transport.context.settings.banner
        if banner and not self._has_shown_banner:
            self.transport.sendPacket(MSG_USERAUTH_BANNER, NS(banner.encode()) + NS(b""))
        self._has_shown_banner = True

    # keyboard-interactive (RFC 4256).

    def _prompt(self, conversation: _Conversation) -> None:
        """Ask for what is next; of an unknown user for the password, as of all others."""
        self._conversation = conversation
        prompt = PROMPTS[conversation.progress.asks_for]
        self.transport.sendPacket(MSG_USERAUTH_INFO_REQUEST, info_request(prompt))

    async def _process_response(self, packet: bytes) -> None:
        conversation, self._conversation = self._conversation, None
        if conversation is None:
            raise MalformedPacket("a response without a prompt")
        request, progress = conversation.request, conversation.progress
        answer = read_answer(packet)
        credentials: Any = None
        if answer is not None and progress.asks_for is LoginMethod.TOTP:
            assert progress.user is not None
            credentials = CodeCredentials(progress.user, answer)
        elif answer is not None:
            credentials = PasswordCredentials(attempt_of(request, self.transport), answer)
        await self._check(request, credentials, progress)

    # Verdicts.

    async def _check(
        self, request: LoginRequest, credentials: Any, progress: LoginProgress
    ) -> None:
        """Ask the portal about a proof, and act on its verdict."""
        outcome: Any = None
        if credentials is not None:
            outcome = fault_of(credentials, self.transport.context)
            if outcome is None and await self._guard.lets_try(request.name, credentials):
                outcome = await self._verdicts.on_proof(credentials)
        if self._is_over or self.transport.has_ended:
            return
        user = outcome.user if isinstance(outcome, KeyAuthorised) else outcome
        if not isinstance(user, User):
            self._refuse(request, credentials, outcome)
            return
        if progress.is_of_another(user):
            self._start_over(request.name)
            progress = self._progress
        key = credentials if isinstance(credentials, KeyCredentials) else None
        reached = progress.after(user, LoginStep(method_of(credentials), request.method, key))
        fault = self.portal.account_fault(user, self.transport.peer_host)
        if fault is not None or reached is None:
            self._refuse(request, credentials, RefusedProof(fault or NOT_NEXT))
        elif isinstance(outcome, KeyAuthorised):
            self._confirm(credentials)
        else:
            await self._advance(request, credentials, reached)

    async def _advance(
        self, request: LoginRequest, credentials: Any, reached: LoginProgress
    ) -> None:
        """Go on after a proof that was right and needed."""
        is_interactive = request.method == KEYBOARD_INTERACTIVE
        if reached.is_complete:
            await self._open(request, credentials, reached)
            return
        tell_step(self.transport, request, credentials, reached.needs)
        if is_interactive and KEYBOARD_INTERACTIVE in ways_of(reached.needs):
            self._prompt(_Conversation(request, reached))
        else:
            self._continue(reached)

    async def _open(self, request: LoginRequest, credentials: Any, reached: LoginProgress) -> None:
        """Make the avatar of a user who has proven enough, and let the user in."""
        assert reached.user is not None
        outcome: Any = RefusedProof(NOT_PROVEN)
        if await self._is_still_proven(reached):
            outcome = await self._verdicts.on_user(reached.user)
        else:
            self._start_over(request.name)
        if self._is_over or self.transport.has_ended:
            if isinstance(outcome, OpenedLogin):
                outcome.logout()  # too late
        elif isinstance(outcome, OpenedLogin):
            self._admit(request, reached, outcome)
        else:
            self._fail(request, credentials, outcome)

    async def _is_still_proven(self, reached: LoginProgress) -> bool:
        """Whether keys of earlier steps count still: one may be revoked, or gone, by now."""
        for step in reached.steps[:-1]:
            if step.key is not None and await self._verdicts.on_proof(step.key) != reached.user:
                return False
        return True

    # Outcomes.

    def _admit(self, request: LoginRequest, reached: LoginProgress, login: OpenedLogin) -> None:
        most = login.avatar.limits.connections
        if self.transport.client.ticket.count_for(request.name, most):
            self._succeed(request, reached, login)
            return
        login.logout()
        setting = too_many_setting(most, self.transport.context.settings.connections_per_user)
        tell_too_many(self.transport, reached, setting)
        text = f"this user has too many connections ({setting})"
        self._disconnect(DISCONNECT_TOO_MANY_CONNECTIONS, text)

    def _succeed(self, request: LoginRequest, reached: LoginProgress, login: OpenedLogin) -> None:
        self._is_over = True
        transport = self.transport
        self._guard.on_login(request.name)
        transport.avatar, transport.logoutFunction = login.avatar, login.logout
        transport.login_keys = tuple(step.key.blob for step in reached.steps if step.key)
        tell_success(transport, reached)
        transport.sendPacket(MSG_USERAUTH_SUCCESS, b"")
        transport.setService(transport.context.services[request.service]())
        transport.on_login()

    def _continue(self, reached: LoginProgress) -> None:
        """Tell the client that it has succeeded in part, and what can continue."""
        self._failures -= 1
        self._progress = reached
        self._send_failure(is_partial_success=True)

    def _confirm(self, credentials: Any) -> None:
        """Send PK_OK: the key of the question is authorised."""
        self._failures -= 1
        self._questions += 1
        if self._questions > MAX_QUESTIONS:
            self._disconnect(
                DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE, "too many questions about keys"
            )
            return
        payload = NS(credentials.algName) + NS(credentials.blob)
        self.transport.sendPacket(MSG_USERAUTH_PK_OK, payload)

    def _refuse(self, request: LoginRequest, credentials: Any, outcome: Any) -> None:
        """Fail for a proof that does not help, which may be a guess."""
        self._tell_failure(request, credentials, outcome)
        self._guard.on_failure(request.name, credentials, outcome)
        self._reply_with_failure()

    def _fail(self, request: LoginRequest, credentials: Any, outcome: Any) -> None:
        if request.method != b"none":
            self._tell_failure(request, credentials, outcome)
        self._reply_with_failure()

    def _tell_failure(self, request: LoginRequest, credentials: Any, outcome: Any) -> None:
        if not isinstance(outcome, UndecidedProof):
            self.transport.client.ticket.blame(Offence.FAILED_ATTEMPT)
        tell_failure(self.transport, request, credentials, outcome)

    def _reply_with_failure(self) -> None:
        if not self.transport.has_ended and not self._has_no_attempt_left():
            self._send_failure(is_partial_success=False)

    def _send_failure(self, *, is_partial_success: bool) -> None:
        """Tell the client which methods can continue (RFC 4252, section 5.1)."""
        methods = NS(b",".join(self._offered_ways()))
        self.transport.sendPacket(MSG_USERAUTH_FAILURE, methods + bytes([is_partial_success]))

    def _has_no_attempt_left(self) -> bool:
        """Whether all attempts are used up; if so, disconnects the client."""
        if self._failures < self.transport.context.settings.auth_tries:
            return False
        self._disconnect(
            DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE,
            "too many authentication failures ([ssh] auth_tries)",
        )
        return True

    def _disconnect(self, reason: int, text: str) -> None:
        self._is_over = True
        self._waiting.clear()
        self.transport.sendDisconnect(reason, text)
