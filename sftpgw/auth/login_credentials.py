"""Cred's credentials with the `LoginAttempt` that they belong to, for an `Authenticator`.

Knows: cred's classes and `LoginAttempt`. Must not know: how a key or a password is verified.
"""

# mypy: disallow-untyped-calls=False
# (cred's classes have no types)

from __future__ import annotations

from twisted.cred.credentials import ICredentials, SSHPrivateKey, UsernamePassword
from zope.interface import implementer

from sftpgw.auth.authenticator import LoginAttempt
from sftpgw.auth.user_certificates import plain_algorithm
from sftpgw.model.users import User


class KeyCredentials(SSHPrivateKey):
    """A public key, and as a rule a signature made with it (RFC 4252, section 7).

    :param attempt: the user and the address of the client.
    :param algorithm: the algorithm that the client has announced.
    :param blob: the public key (RFC 4253, section 6.6) or certificate.
    :param message: what was signed.
    :param signature: the signature; None for the question whether the key is authorised.
    """

    def __init__(
        self,
        attempt: LoginAttempt,
        *,
        algorithm: bytes,
        blob: bytes,
        message: bytes | None,
        signature: bytes | None,
    ) -> None:
        super().__init__(attempt.user_name, algorithm, blob, message, signature)
        self.attempt = attempt

    @property
    def signature_algorithm(self) -> bytes:
        """The algorithm of the signature; with a certificate, the request names another one."""
        return plain_algorithm(self.algName)


class PasswordCredentials(UsernamePassword):
    """A password (RFC 4252, section 8, or RFC 4256).

    :param attempt: the user and the address of the client.
    :param password: as the client has sent it.
    """

    def __init__(self, attempt: LoginAttempt, password: bytes) -> None:
        super().__init__(attempt.user_name, password)
        self.attempt = attempt


class IOneTimeCode(ICredentials):
    """A one-time code of a user who has proven something else already."""


@implementer(IOneTimeCode)
class CodeCredentials:
    """A one-time code (RFC 6238), by keyboard-interactive (RFC 4256).

    :param user: who has proven something else already.
    :param code: as the client has sent it.
    """

    def __init__(self, user: User, code: bytes) -> None:
        self.user = user
        self.code = code
