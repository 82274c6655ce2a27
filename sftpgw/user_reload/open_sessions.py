"""The sessions of users who are logged in, and how some of them are ended.

Knows: which user each connection has logged in as, as they were at the login.
Must not know: why a session does not fit any more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from sftpgw.model.users import User

DISCONNECT_BY_APPLICATION = 11
"""RFC 4253, section 11.1."""


class Connection(Protocol):
    """A connection, logged in or not."""

    @property
    def peer_host(self) -> str | None:
        """The client's address; None if it has none."""

    def sendDisconnect(self, reason: int, desc: Any) -> None:
        """End it."""


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A connection of a user who is logged in.

    :ivar user: the user as the login has found them.
    :ivar connection: the connection.
    """

    user: User
    connection: Connection


class OpenSessions:
    """Knows the sessions that are open.

    :param connections: returns all connections that there are.
    """

    def __init__(self, connections: Callable[[], Collection[Connection]]) -> None:
        self._connections = connections
        self._users: WeakKeyDictionary[object, User] = WeakKeyDictionary()

    def add(self, avatar: object, user: User) -> None:
        """Note who has logged in.

        :param avatar: what the login has made; its connection has it as ``avatar``.
        :param user: the user.
        """
        self._users[avatar] = user

    def __iter__(self) -> Iterator[OpenSession]:
        """The sessions that are open now, with those of connections that end meanwhile."""
        for connection in tuple(self._connections()):
            avatar = getattr(connection, "avatar", None)
            user = None if avatar is None else self._users.get(avatar)
            if user is not None:
                yield OpenSession(user, connection)

    def end(self, is_meant: Callable[[OpenSession], bool], text: str) -> int:
        """Disconnect some sessions. Returns how many.

        :param is_meant: tells of a session whether it ends.
        :param text: what the clients are told.
        """
        meant = [session for session in self if is_meant(session)]
        for session in meant:
            session.connection.sendDisconnect(DISCONNECT_BY_APPLICATION, text)
        return len(meant)
