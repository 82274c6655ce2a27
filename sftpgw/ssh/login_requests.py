"""What a client sends in order to log in: requests, and the credentials in them.

Knows: the fields of MSG_USERAUTH_REQUEST (RFC 4252), and what a client signs.
Must not know: which methods are offered, how often a client may try, or who is let in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twisted.conch.ssh.common import NS
from twisted.conch.ssh.userauth import MSG_USERAUTH_REQUEST

from sftpgw.auth.authenticator import LoginAttempt
from sftpgw.auth.login_credentials import KeyCredentials, PasswordCredentials
from sftpgw.model.normalization import normalized_bytes
from sftpgw.ssh.context import ConnectionContext
from sftpgw.ssh.fields import PacketFields
from sftpgw.ssh.negotiation import login_remedy_for

PUBLIC_KEY, PASSWORD, KEYBOARD_INTERACTIVE = b"publickey", b"password", b"keyboard-interactive"
"""The methods of RFC 4252, sections 7 and 8, and of RFC 4256."""


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """The common part of MSG_USERAUTH_REQUEST (RFC 4252, section 5).

    :ivar user: the user's name as the client has sent it, which is part of what it signs.
    :ivar service: the service to start after the login.
    :ivar method: the authentication method.
    :ivar details: the fields of the method, which follow.
    """

    user: bytes
    service: bytes
    method: bytes
    details: PacketFields

    @classmethod
    def of(cls, packet: bytes) -> LoginRequest:
        """The request in a packet.

        :param packet: the payload of MSG_USERAUTH_REQUEST.
        :raises MalformedPacket: it is cut short.
        """
        fields = PacketFields(packet)
        return cls(fields.string(), fields.string(), fields.string(), fields)

    @property
    def name(self) -> bytes:
        """The user's name in its normal form."""
        return normalized_bytes(self.user)


class UnfitSignature(Exception):
    """A key signs, or would sign, with an algorithm that we do not offer.

    :param reason: why.
    :param lets_in: the setting that would let it in.
    """

    def __init__(self, reason: str, lets_in: str) -> None:
        super().__init__(reason)
        self.lets_in = lets_in


def attempt_of(request: LoginRequest, transport: Any) -> LoginAttempt:
    """Who wants to log in, and from where.

    :param request: what the client has asked for.
    :param transport: the connection.
    """
    return LoginAttempt(request.name, transport.peer_host)


def read_password(request: LoginRequest, transport: Any) -> PasswordCredentials | None:
    """The password; None for a request to change it, which is refused (RFC 4252, section 8).

    :param request: what the client has asked for.
    :param transport: the connection.
    :raises MalformedPacket: the request has too few fields, or too many.
    """
    wants_change, password = request.details.boolean(), request.details.string()
    if wants_change:
        return None
    request.details.end()
    return PasswordCredentials(attempt_of(request, transport), password)


def read_public_key(request: LoginRequest, transport: Any) -> KeyCredentials:
    """The key and the signature, if there is one (RFC 4252, section 7).

    The signed message is put together here, from the session's id and the fields of the request.

    :param request: what the client has asked for.
    :param transport: the connection.
    :raises MalformedPacket: the request has too few fields, or too many.
    """
    fields = request.details
    signed, algorithm, blob = fields.boolean(), fields.string(), fields.string()
    signature = fields.string() if signed else None
    fields.end()
    message = (
        NS(transport.sessionID)
        + bytes((MSG_USERAUTH_REQUEST,))
        + NS(request.user)
        + NS(request.service)
        + NS(PUBLIC_KEY)
        + b"\x01"
        + NS(algorithm)
        + NS(blob)
    )
    return KeyCredentials(
        attempt_of(request, transport),
        algorithm=algorithm,
        blob=blob,
        message=message,
        signature=signature,
    )


def fault_of(credentials: Any, context: ConnectionContext) -> UnfitSignature | None:
    """What is wrong with how a key signs; None if we offer its algorithm, or it is no key.

    :param credentials: what the client has sent.
    :param context: has the algorithms that we offer.
    """
    if not isinstance(credentials, KeyCredentials):
        return None
    algorithm = credentials.signature_algorithm
    if algorithm in context.offer.login_key_algorithms:
        return None
    return UnfitSignature(*login_remedy_for(algorithm, context.settings))
