"""The sessions of accounts: which ones end when an account changes or ends.

Knows: the account with which each session began, and how a connection is ended.
Must not know: how users are read, or what a session does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from twisted.conch.ssh.transport import DISCONNECT_BY_APPLICATION

from sftpgw.model.steps import Steps
from sftpgw.model.users import User
from sftpgw.user_reload.plan import has_expired

CHANGED = "the account has changed"
EXPIRED = "the account has expired"


class EndableConnection(Protocol):
    """A connection; its avatar is that of the session, None before the login."""

    def sendDisconnect(self, reason: int, desc: str, /) -> None: ...


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

    def end_of_users(self, names: Collection[str]) -> Steps[int]:
        """End the sessions of some users, one in a step. Returns how many there were.

        :param names: the users' names.
        """
        return self._end(lambda user: user.name in names, CHANGED)

    def end_expired(self, now_seconds: float) -> Steps[int]:
        """End the sessions whose account has ended, one in a step. Returns how many there were.

        A session has the account with which it began. It ends with that even if the user has got
        another one since (``on_change = keep``), and one that began with the new one goes on.

        :param now_seconds: the time, seconds since 1970.
        """
        return self._end(lambda user: has_expired(user, now_seconds), EXPIRED)

    def _end(self, is_over: Callable[[User], bool], text: str) -> Steps[int]:
        ended = 0
        for connection in list(self._connections()):
            avatar = getattr(connection, "avatar", None)
            user = None if avatar is None else self._accounts.get(avatar)
            if user is not None and is_over(user):
                connection.sendDisconnect(DISCONNECT_BY_APPLICATION, text)
                ended += 1
                yield
        return ended
