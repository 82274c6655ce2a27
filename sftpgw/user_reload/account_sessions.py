"""The sessions of accounts: which ones end when an account changes or ends.

Knows: the account with which each session began, and how a connection is ended.
Must not know: how users are read, or what a session does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from twisted.conch.ssh.transport import DISCONNECT_BY_APPLICATION

from sftpgw.model.steps import Steps
from sftpgw.model.users import User
from sftpgw.user_reload.plan import has_expired

CHANGED = "the account has changed"
EXPIRED = "the account has expired"
REVOKED = "the key is revoked"
STEP_CONNECTIONS = 16
"""After so many sessions something else may be done: to read a key takes 50 us."""


class EndableConnection(Protocol):
    """A connection; it has an avatar once it has logged in.

    :ivar login_keys: the keys and certificates that have opened the session.
    """

    login_keys: tuple[bytes, ...]

    @property
    def peer_host(self) -> str | None: ...

    def sendDisconnect(self, reason: int, desc: str, /) -> None: ...


@dataclass(frozen=True, slots=True)
class AccountSession:
    """The session of a user who is logged in.

    :ivar user: the user as the login has found them.
    :ivar connection: the session's connection.
    """

    user: User
    connection: EndableConnection

    def end(self, text: str) -> None:
        """Disconnect.

        :param text: what the client is told.
        """
        self.connection.sendDisconnect(DISCONNECT_BY_APPLICATION, text)


class AccountSessions:
    """The sessions of all users who are logged in.

    :param connections: returns all connections, also those without a login.
    """

    def __init__(self, connections: Callable[[], Iterable[EndableConnection]]) -> None:
        self._connections = connections
        self._accounts: WeakKeyDictionary[Any, User] = WeakKeyDictionary()

    def began(self, avatar: Any, user: User) -> None:
        """Note the account of a session.

        :param avatar: what the session has.
        :param user: the user as the login has found them.
        """
        self._accounts[avatar] = user

    def open(self) -> Iterator[AccountSession]:
        """The sessions that are open, with those that end meanwhile."""
        for connection in list(self._connections()):
            avatar = getattr(connection, "avatar", None)
            user = None if avatar is None else self._accounts.get(avatar)
            if user is not None:
                yield AccountSession(user, connection)

    def end_of_users(self, names: Collection[str]) -> Steps[int]:
        """End the sessions of some users, one in a step. Returns how many there were.

        :param names: the users' names.
        """
        return self._end(lambda session: session.user.name in names, CHANGED)

    def end_expired(self, now_seconds: float) -> Steps[int]:
        """End the sessions whose account has ended, one in a step. Returns how many there were.

        A session has the account with which it began. It ends with that even if the user has got
        another one since (``on_change = keep``), and one that began with the new one goes on.

        :param now_seconds: the time, seconds since 1970.
        """
        return self._end(lambda session: has_expired(session.user, now_seconds), EXPIRED)

    def end_revoked(self, is_revoked: Callable[[bytes, User], bool]) -> Steps[int]:
        """End the sessions that a revoked key has opened. Returns how many there were.

        :param is_revoked: judges a key or certificate of a user.
        """
        return self._end(
            lambda session: any(
                is_revoked(key, session.user) for key in session.connection.login_keys
            ),
            REVOKED,
        )

    def _end(self, is_over: Callable[[AccountSession], bool], text: str) -> Steps[int]:
        ended = 0
        for number, session in enumerate(self.open(), start=1):
            if number % STEP_CONNECTIONS == 0:
                yield
            if is_over(session):
                session.end(text)
                ended += 1
                yield
        return ended
