"""The seam between logins and sources of users: an `Authenticator` decides about each attempt.

Knows: the questions to a source of users, and their answers.
Must not know: where users come from, cred's portal, or SSH packets.

A source that hands out records of users, with their keys and password hashes, is a `UserDirectory`
behind `RecordAuthenticator`. A source that verifies keys or passwords itself, such as an LDAP
server or a web service, implements `Authenticator`. Both have their modules in `auth.sources`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

from sftpgw.auth.login_keys import USER_PRESENT
from sftpgw.auth.offered_keys import OfferedKey
from sftpgw.model.users import LoginMethod, User


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """A user who wants to log in, and the client's address.

    :ivar user_name: the user's name as the client has sent it, in the normal form of Unicode; UTF-8
        as a rule, but any bytes are possible.
    :ivar peer_host: the client's address without its port; None if it has none, as on UNIX sockets.
    """

    user_name: bytes
    peer_host: str | None

    @property
    def name(self) -> str | None:
        """The user's name; None if it is not UTF-8, which no user's name is."""
        try:
            return self.user_name.decode("utf-8")
        except UnicodeDecodeError:
            return None


@dataclass(frozen=True, slots=True)
class KeyGrant:
    """A user who may log in with a key, once its signature is verified.

    :ivar user: the user.
    :ivar required_flags: what the signature of a security key must tell
        (`login_keys.verify_signature`).
    """

    user: User
    required_flags: int = USER_PRESENT


@dataclass(frozen=True, slots=True)
class KeyRefusal:
    """A key does not open the account.

    :ivar reason: why, for the log; empty where there is nothing to say but that.
    :ivar is_undecided: a source of users does not answer, or answers nonsense: it could not be
        judged, and the client has not failed.
    """

    reason: str
    is_undecided: bool = False


class PasswordRefusal(enum.Enum):
    """Why a password does not open an account; the client does not learn it."""

    WRONG = "the password is wrong, or the source does not tell whether it knows the name"
    UNKNOWN_NAME = "no user has the name"
    UNDECIDED = "a source of users does not answer, or answers nonsense"


class Authenticator(Protocol):
    """Decides whether a key or a password opens an account.

    `PasswordRefusal` and `KeyRefusal` mean a refusal. A client must not learn from it whether the
    user is unknown or the key or password is wrong; so both must take the same time. What else the
    user must prove is in `LoginRules.require`; the login service sees to that.
    """

    def first_methods(self) -> tuple[LoginMethod, ...]:
        """The methods with which a login may begin; the same for every name, known or not.

        A method that is not among them is refused before a source is asked.
        """

    async def user_of_key(self, attempt: LoginAttempt, key: OfferedKey) -> KeyGrant | KeyRefusal:
        """The user who may log in with this key or certificate.

        The caller verifies the signature. Clients also ask without one, to find out which of their
        keys would do (RFC 4252, section 7). A source that has records of users has
        `key_rules.KeyRules` judge the key: it knows options, certificates and revocation lists.

        :param attempt: the user name that the client gives, and where it connects from.
        :param key: what the client offers.
        """

    async def user_of_password(
        self, attempt: LoginAttempt, password: bytes
    ) -> User | PasswordRefusal:
        """The user who may log in with this password, or why it does not open the account.

        :param attempt: as for `user_of_key`.
        :param password: as the client has sent it; see `normalization.spellings`.
        """
