"""The ssh-userauth service: requests to log in, answered one at a time.

Knows: RFC 4252, what of RFC 4256 asks for a password, and how often a client may try.
Must not know: how a key or password is checked; the portal does.

Rules:

- One request at a time. Conch checks all that are pipelined at once, and counts
  their failures a second later (182, 255, 383): 5,001 passwords in 0.42 s.
- An attempt counts as failed before the portal is asked. Only success and PK_OK take
  that back. The last failure is answered by hanging up.
- The first "none", with which clients ask which methods there are, is free. Questions
  about keys that are authorised are, too, up to `MAX_QUESTIONS`.
- A question about another key is a try, but no failed login: an agent with several keys
  asks about each before it signs. It is an event of its own.
- keyboard-interactive is another way to ask for the same password, in one prompt: the request is
  the try, which its answer does not count again, and which is lost if another request comes first.
- A banner, if there is one, comes before the answer to the first request, once.
- A user who has proven an identity may still have too many connections.
- Whatever the portal says after the connection has ended, or after a success,
  is not heard; an avatar that comes too late is logged out again.
- Every failure looks the same from outside.
- Time is limited by the transport's grace from accept; Conch's own ten hours
  from SERVICE_REQUEST (79) never start.
"""

from __future__ import annotations

import struct
from collections import deque
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
from twisted.cred.credentials import SSHPrivateKey, UsernamePassword
from twisted.cred.error import LoginFailed
from twisted.internet.defer import CancelledError, Deferred

from sftpgw.auth.login_keys import fingerprint
from sftpgw.model.events.session_events import (
    KeyNotAuthorised,
    LoginFacts,
    LoginFailedEvent,
    LoginRefused,
    LoginSucceeded,
)
from sftpgw.model.normalization import normalized_bytes
from sftpgw.ssh.conch_logger import quiet_logger
from sftpgw.ssh.fields import MalformedPacket, PacketFields, printable

MSG_USERAUTH_INFO_REQUEST, MSG_USERAUTH_INFO_RESPONSE = 60, 61
"""RFC 4256, section 5."""

KEYBOARD_INTERACTIVE = b"keyboard-interactive"

PROMPT = b"Password: "
"""As sshd asks with PAM: clients that have been given a password know that this asks for it."""

MAX_WAITING_REQUESTS = 8
"""Requests, and answers to our question, that a client may send ahead of our answers."""

MAX_QUESTIONS = 20
"""How often a client may ask whether a key would do, and hear that it would."""


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """The common part of MSG_USERAUTH_REQUEST (RFC 4252, section 5)."""

    user: bytes
    """As the client has sent it: that is what it signs."""
    service: bytes
    method: bytes
    details: PacketFields

    @property
    def name(self) -> bytes:
        """The user, whatever the spelling."""
        return normalized_bytes(self.user)


class GatewayUserAuth(SSHUserAuthServer):
    """Login by public key or password, as far as the portal has checkers for them.

    The password may come by keyboard-interactive, too, which Conch has for clients only.
    """

    _log = quiet_logger("sftpgw.ssh")
    transport: Any

    def serviceStarted(self) -> None:
        """Replaces Conch's, which starts a timer on the global reactor."""
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._prompted: LoginRequest | None = None
        self._has_shown_banner = False
        self._running: Deferred[None] | None = None
        self._busy = False
        self._failures = 0
        self._questions = 0
        self._has_asked_for_methods = False
        self._over = False
        self.portal = self.transport.context.portal
        self.supportedAuthentications = [
            self.interfaceToMethod[interface]
            for interface in self.portal.listCredentialsInterfaces()
            if interface in self.interfaceToMethod
        ]
        if b"password" in self.supportedAuthentications:
            self.supportedAuthentications.append(KEYBOARD_INTERACTIVE)

    def serviceStopped(self) -> None:
        """The connection is gone, or login is done."""
        self._waiting.clear()
        if not self._over:
            self._over = True
            if self._running is not None and self._busy:
                self._running.cancel()

    def packetReceived(self, messageNum: int, packet: bytes) -> None:
        """Queue a request, or an answer to our question, behind those that came before it.

        Replaces the dispatch by name, which logs passwords it cannot place.
        """
        if messageNum not in (MSG_USERAUTH_REQUEST, MSG_USERAUTH_INFO_RESPONSE):
            self.transport.sendUnimplemented()
            return
        if len(self._waiting) >= MAX_WAITING_REQUESTS:
            raise MalformedPacket("too many login requests at once")
        self._waiting.append((messageNum, packet))
        if not self._busy:
            self._busy = True
            self._running = Deferred.fromCoroutine(self._answer_all())
            self._running.addErrback(self._broken)

    async def _answer_all(self) -> None:
        try:
            while self._waiting and not (self._over or self.transport.has_ended):
                message, packet = self._waiting.popleft()
                if message == MSG_USERAUTH_REQUEST:
                    await self._answer(packet)
                else:
                    await self._hear_answer(packet)
        finally:
            self._busy = False

    def _broken(self, failure: Any) -> None:
        """The loop has ended by an exception: so must the connection."""
        if failure.check(CancelledError) or self._over:
            return
        if failure.check(MalformedPacket):
            self.transport.refuse(failure.getErrorMessage())
            return
        self._log.failure("session {session}: login", failure, session=self.transport.session)
        self.transport.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, "internal error")

    async def _answer(self, packet: bytes) -> None:
        fields = PacketFields(packet)
        request = LoginRequest(fields.string(), fields.string(), fields.string(), fields)
        if request.service != b"ssh-connection":
            self._give_up(DISCONNECT_SERVICE_NOT_AVAILABLE, "no such service")
            return
        self._show_banner()
        self._prompted = None
        if self._has_no_try_left():
            return
        self._failures += self._is_try(request)
        if self._is_interactive(request):
            self._prompt(request)
        else:
            await self._judge(request, self._read_credentials(request))

    async def _judge(self, request: LoginRequest, credentials: Any) -> None:
        """Ask the portal, and tell the client what it says."""
        may_ask = credentials is not None and self._is_allowed(credentials)
        outcome: Any = await self._ask_portal(credentials) if may_ask else None
        if self._over or self.transport.has_ended:
            if isinstance(outcome, tuple):
                outcome[2]()  # logged in too late: log out
        elif isinstance(outcome, tuple):
            self._admit(request, credentials, outcome)
        elif isinstance(outcome, ValidPublicKey):
            self._confirm(credentials)
        else:
            self._fail(request, credentials)

    def _show_banner(self) -> None:
        """RFC 4252, section 5.4."""
        banner = self.transport.context.settings.banner
        if banner and not self._has_shown_banner:
            self.transport.sendPacket(MSG_USERAUTH_BANNER, NS(banner.encode()) + NS(b""))
        self._has_shown_banner = True

    # keyboard-interactive (RFC 4256).

    def _is_interactive(self, request: LoginRequest) -> bool:
        is_asked_for = request.method == KEYBOARD_INTERACTIVE
        return is_asked_for and KEYBOARD_INTERACTIVE in self.supportedAuthentications

    def _prompt(self, request: LoginRequest) -> None:
        """Ask for the password of any user: an unknown one is asked, too."""
        request.details.string()  # a language
        request.details.string()  # submethods, as a hint
        request.details.end()
        self._prompted = request
        name, instruction, language = NS(b""), NS(b""), NS(b"")
        question = struct.pack(">L", 1) + NS(PROMPT) + b"\0"  # without an echo
        self.transport.sendPacket(
            MSG_USERAUTH_INFO_REQUEST, name + instruction + language + question
        )

    async def _hear_answer(self, packet: bytes) -> None:
        request, self._prompted = self._prompted, None
        if request is None:
            raise MalformedPacket("an answer without a question")
        fields = PacketFields(packet)
        credentials = None
        if fields.uint32() == 1:  # or else it "MUST" fail (section 3.4)
            credentials = UsernamePassword(request.name, fields.string())
            fields.end()
        await self._judge(request, credentials)

    def _is_try(self, request: LoginRequest) -> bool:
        is_first_none = request.method == b"none" and not self._has_asked_for_methods
        self._has_asked_for_methods |= is_first_none
        return not is_first_none

    # Credentials.

    def _read_credentials(self, request: LoginRequest) -> Any | None:
        """What the request claims; None for a method that we do not have."""
        if request.method not in self.supportedAuthentications:
            return None
        if request.method == b"password":
            return self._read_password(request)
        return self._read_public_key(request)

    def _read_password(self, request: LoginRequest) -> Any | None:
        """RFC 4252, section 8. Passwords cannot be changed here."""
        wants_change, password = request.details.boolean(), request.details.string()
        if wants_change:
            return None
        request.details.end()
        return UsernamePassword(request.name, password)

    def _read_public_key(self, request: LoginRequest) -> Any:
        """RFC 4252, section 7. What was signed is built from what we know, not echoed."""
        fields = request.details
        signed, algorithm, blob = fields.boolean(), fields.string(), fields.string()
        signature = fields.string() if signed else None
        fields.end()
        message = (
            NS(self.transport.sessionID)
            + bytes((MSG_USERAUTH_REQUEST,))
            + NS(request.user)
            + NS(request.service)
            + NS(b"publickey")
            + b"\x01"
            + NS(algorithm)
            + NS(blob)
        )
        return SSHPrivateKey(request.name, algorithm, blob, message, signature)

    def _is_allowed(self, credentials: Any) -> bool:
        """Whether [ssh] lets keys sign with this algorithm."""
        if not isinstance(credentials, SSHPrivateKey):
            return True
        return credentials.algName in self.transport.context.offer.login_key_algorithms

    async def _ask_portal(self, credentials: Any) -> Any:
        """``(interface, avatar, logout)``, or the exception that stands for a refusal.

        A portal that breaks is a refusal, too: the user can do nothing else about it.
        """
        try:
            return await self.portal.login(credentials, self.transport.session, IConchUser)
        except (ValidPublicKey, LoginFailed) as refusal:
            return refusal
        except CancelledError:
            raise
        except Exception as problem:
            self._log.failure(
                "session {session}: a login could not be checked", session=self.transport.session
            )
            return problem

    # Outcomes.

    def _admit(self, request: LoginRequest, credentials: Any, outcome: Any) -> None:
        if self.transport.client.ticket.claim(request.name):
            self._succeed(request, credentials, outcome)
            return
        outcome[2]()
        self.transport.events.emit(
            LoginRefused(**_facts(request, credentials), reason="too many connections")
        )
        self._give_up(DISCONNECT_TOO_MANY_CONNECTIONS, "this user has too many connections")

    def _succeed(self, request: LoginRequest, credentials: Any, outcome: Any) -> None:
        _, avatar, logout = outcome
        self._over = True
        transport = self.transport
        transport.avatar, transport.logoutFunction = avatar, logout
        transport.events.emit(LoginSucceeded(**_facts(request, credentials)))
        transport.sendPacket(MSG_USERAUTH_SUCCESS, b"")
        transport.setService(transport.context.services[request.service]())
        transport.on_login()

    def _confirm(self, credentials: Any) -> None:
        """The key that was asked about would do."""
        self._failures -= 1
        self._questions += 1
        if self._questions > MAX_QUESTIONS:
            self._give_up(
                DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE, "too many questions about keys"
            )
            return
        payload = NS(credentials.algName) + NS(credentials.blob)
        self.transport.sendPacket(MSG_USERAUTH_PK_OK, payload)

    def _fail(self, request: LoginRequest, credentials: Any) -> None:
        if request.method != b"none":
            is_question = isinstance(credentials, SSHPrivateKey) and credentials.signature is None
            kind = KeyNotAuthorised if is_question else LoginFailedEvent
            self.transport.events.emit(kind(**_facts(request, credentials)))
        if self._has_no_try_left():
            return
        methods = NS(b",".join(self.supportedAuthentications))
        self.transport.sendPacket(MSG_USERAUTH_FAILURE, methods + b"\0")

    def _has_no_try_left(self) -> bool:
        """Whether all are used up: then the client has been hung up on."""
        if self._failures < self.transport.context.settings.auth_tries:
            return False
        self._give_up(DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE, "too many authentication failures")
        return True

    def _give_up(self, reason: int, text: str) -> None:
        self._over = True
        self._waiting.clear()
        self.transport.sendDisconnect(reason, text)


def _facts(request: LoginRequest, credentials: Any) -> LoginFacts:
    """What the log tells of a login: who sent a wrong key can be helped if it is named."""
    is_key = isinstance(credentials, SSHPrivateKey)
    return {
        "user": printable(request.name),
        "method": printable(request.method),
        "fingerprint": fingerprint(credentials.blob) if is_key else None,
    }
