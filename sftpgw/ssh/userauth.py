"""The ssh-userauth service: requests to log in, answered one at a time.

Knows: RFC 4252, the part of RFC 4256 that asks for a password, and how often a client may try.
Must not know: how a key or password is checked; the portal does that.

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
- keyboard-interactive asks for the same password, in one prompt. The request counts as the attempt,
  its response does not. The attempt is lost if another request comes before the response.
- The banner is sent once, before the reply to the first request.
- A user who has authenticated may still be refused for having too many connections.
- A result of the portal that comes after a success, or after the end of the connection, is ignored;
  its avatar is logged out.
- All failures look the same to the client.
- The transport limits the time for the login from accept on (`login_grace_seconds`). Conch's limit
  of ten hours from SERVICE_REQUEST on (`SSHUserAuthServer.loginTimeout`) is not used.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.conch.error import ValidPublicKey
from twisted.conch.interfaces import IConchUser
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
from twisted.cred.error import LoginFailed
from twisted.internet.defer import CancelledError, Deferred

from sftpgw.auth.login_credentials import PasswordCredentials
from sftpgw.ssh.conch_logger import quiet_logger
from sftpgw.ssh.fields import MalformedPacket
from sftpgw.ssh.login_reports import tell_failure, tell_success, tell_too_many
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
from sftpgw.ssh.prompts import (
    MSG_USERAUTH_INFO_REQUEST,
    MSG_USERAUTH_INFO_RESPONSE,
    PASSWORD_PROMPT,
    check_beginning,
    info_request,
    read_answer,
)

MAX_WAITING_REQUESTS = 8
"""How many requests and responses a client may send ahead of our replies."""

MAX_QUESTIONS = 20
"""How many questions about keys a client may ask for which the reply is PK_OK."""


@dataclass(frozen=True, slots=True)
class _Login:
    """What the portal returns for a user who has authenticated.

    :ivar avatar: what the connection may open.
    :ivar logout: must be called when the connection is gone.
    """

    avatar: Any
    logout: Callable[[], None]


class GatewayUserAuth(SSHUserAuthServer):
    """Logins by public key or password, as far as the portal has checkers for them.

    The password may also come by keyboard-interactive, which Conch has for clients only.
    """

    _log = quiet_logger("sftpgw.ssh")
    transport: Any

    def serviceStarted(self) -> None:
        """Prepare for the first request. Replaces Conch's, which uses the global reactor."""
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._prompted: LoginRequest | None = None
        self._has_shown_banner = False
        self._running: Deferred[None] | None = None
        self._busy = False
        self._failures = 0
        self._questions = 0
        self._has_asked_for_methods = False
        self._is_over = False
        self.portal = self.transport.context.portal
        self.supportedAuthentications = [
            self.interfaceToMethod[interface]
            for interface in self.portal.listCredentialsInterfaces()
            if interface in self.interfaceToMethod
        ]
        if PASSWORD in self.supportedAuthentications:
            self.supportedAuthentications.append(KEYBOARD_INTERACTIVE)

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
        self._prompted = None
        if self._has_no_attempt_left():
            return
        self._failures += self._counts(request)
        if self._is_interactive(request):
            self._prompt(request)
        else:
            await self._check(request, self._read_credentials(request))

    async def _check(self, request: LoginRequest, credentials: Any) -> None:
        """Ask the portal and send its verdict to the client."""
        outcome: Any = None
        if credentials is not None:
            outcome = fault_of(credentials, self.transport.context)
            outcome = outcome or await self._ask_portal(credentials)
        if self._is_over or self.transport.has_ended:
            if isinstance(outcome, _Login):
                outcome.logout()  # too late
        elif isinstance(outcome, _Login):
            self._admit(request, credentials, outcome)
        elif isinstance(outcome, ValidPublicKey):
            self._confirm(credentials)
        else:
            self._fail(request, credentials, outcome)

    def _show_banner(self) -> None:
        """Send the banner, once (RFC 4252, section 5.4)."""
        banner = self.transport.context.settings.banner
        if banner and not self._has_shown_banner:
            self.transport.sendPacket(MSG_USERAUTH_BANNER, NS(banner.encode()) + NS(b""))
        self._has_shown_banner = True

    # keyboard-interactive (RFC 4256).

    def _is_interactive(self, request: LoginRequest) -> bool:
        is_requested = request.method == KEYBOARD_INTERACTIVE
        return is_requested and KEYBOARD_INTERACTIVE in self.supportedAuthentications

    def _prompt(self, request: LoginRequest) -> None:
        """Ask for the password, of an unknown user as well."""
        check_beginning(request.details)
        self._prompted = request
        self.transport.sendPacket(MSG_USERAUTH_INFO_REQUEST, info_request(PASSWORD_PROMPT))

    async def _process_response(self, packet: bytes) -> None:
        request, self._prompted = self._prompted, None
        if request is None:
            raise MalformedPacket("a response without a prompt")
        answer = read_answer(packet)
        credentials = None
        if answer is not None:
            credentials = PasswordCredentials(attempt_of(request, self.transport), answer)
        await self._check(request, credentials)

    def _counts(self, request: LoginRequest) -> bool:
        """Whether the request counts as an attempt: all do but the first "none"."""
        is_first_none = request.method == b"none" and not self._has_asked_for_methods
        self._has_asked_for_methods |= is_first_none
        return not is_first_none

    # Credentials.

    def _read_credentials(self, request: LoginRequest) -> Any | None:
        """The credentials of the request; None for a method that is not offered."""
        if request.method not in self.supportedAuthentications:
            return None
        if request.method == PASSWORD:
            return read_password(request, self.transport)
        return read_public_key(request, self.transport)

    async def _ask_portal(self, credentials: Any) -> Any:
        """A `_Login`, or the exception that means a refusal.

        An unexpected exception is logged, and a refusal for the client.
        """
        try:
            _, avatar, logout = await self.portal.login(
                credentials, self.transport.labels, IConchUser
            )
            return _Login(avatar, logout)
        except (ValidPublicKey, LoginFailed) as refusal:
            return refusal.with_traceback(None)  # which would be a cycle
        except CancelledError:
            raise
        except Exception as problem:
            self._log.failure(
                "session {session}: a login could not be checked", session=self.transport.session
            )
            return problem

    # Outcomes.

    def _admit(self, request: LoginRequest, credentials: Any, login: _Login) -> None:
        if self.transport.client.ticket.count_for(request.name):
            self._succeed(request, credentials, login)
            return
        login.logout()
        tell_too_many(self.transport, request, credentials)
        self._disconnect(
            DISCONNECT_TOO_MANY_CONNECTIONS,
            "this user has too many connections ([ssh] connections_per_user)",
        )

    def _succeed(self, request: LoginRequest, credentials: Any, login: _Login) -> None:
        self._is_over = True
        transport = self.transport
        transport.avatar, transport.logoutFunction = login.avatar, login.logout
        tell_success(transport, request, credentials)
        transport.sendPacket(MSG_USERAUTH_SUCCESS, b"")
        transport.setService(transport.context.services[request.service]())
        transport.on_login()

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

    def _fail(self, request: LoginRequest, credentials: Any, outcome: Any) -> None:
        if request.method != b"none":
            self.transport.client.ticket.blame(Offence.FAILED_ATTEMPT)
            tell_failure(self.transport, request, credentials, outcome)
        if self._has_no_attempt_left():
            return
        methods = NS(b",".join(self.supportedAuthentications))
        self.transport.sendPacket(MSG_USERAUTH_FAILURE, methods + b"\0")

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
