"""Looks again at users of services and tables while they have sessions open.

Knows: when to look, and that a source which does not answer ends no session.
Must not know: how a source is asked, or what a connection is.

Rules

1. Each source is looked at every `every_seconds`. A user is asked about once for each address that
   has sessions, and not from the cache: so what has changed is known within that time.
2. Up to `MAX_AT_ONCE` questions of a source are under way, in their order among those of logins.
3. A user who is gone, or whose proofs, mounts or permissions have changed, has their sessions
   ended. Limits and the weight count from the next login on (`user_reload.plan`).
4. A source that is away, or answers nonsense, ends no session. If it is away, the round ends, and
   the next one begins anew.
5. A name that users.ini has by now belongs to that user: sessions of the other one end.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from sftpgw.aio.parallel import in_parallel
from sftpgw.aio.periodic import PeriodicTask
from sftpgw.errors import BadAnswer, SourceAway
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.events.gateway_events import Defect
from sftpgw.model.events.user_source_events import UserSessionsEnded
from sftpgw.model.users import User
from sftpgw.user_reload.open_sessions import OpenSession, OpenSessions
from sftpgw.user_reload.plan import may_stay

MAX_AT_ONCE = 4
SHORTEST_SECONDS = 5.0


class RecheckedSource(Protocol):
    """A source of users that can be asked again."""

    @property
    def name(self) -> str:
        """As ``[auth] sources`` has it."""

    @property
    def cache_seconds(self) -> float:
        """How long what it says counts."""

    def may_look_again(self, user: User) -> bool:
        """Whether it can tell of a user who is logged in, without a proof."""

    async def look_again(self, user: User, peer_host: str | None) -> User | None:
        """The user as they are now; None if they are gone.

        :param user: a user whom it has found.
        :param peer_host: the address of the session.
        :raises SourceAway: it does not answer. It has logged that.
        :raises BadAnswer: it answers nonsense. It has logged that.
        """


_Asked = tuple[str, str | None]
"""The name of a user, and the address of a session."""


class UserRechecker:
    """Looks again at the users of one source, from `start` to `stop`.

    :param source: the source.
    :param sessions: the sessions that are open.
    :param is_outdated: tells of a user whether the name belongs to a user of a file by now.
    :param clock: times the rounds.
    :param events: takes what was ended.
    """

    def __init__(
        self,
        source: RecheckedSource,
        sessions: OpenSessions,
        *,
        is_outdated: Callable[[User], bool],
        clock: Clock,
        events: EventSink,
    ) -> None:
        self._source = source
        self._sessions = sessions
        self._is_outdated = is_outdated
        self._events = events
        seconds = max(source.cache_seconds, SHORTEST_SECONDS)
        self._task = PeriodicTask(
            self.look,
            first_seconds=seconds,
            every_seconds=seconds,
            clock=clock,
            on_failure=lambda failure: events.emit(Defect(where="user-recheck", failure=failure)),
        )

    def start(self) -> None:
        """Begin to look."""
        self._task.start()

    def stop(self) -> None:
        """Look no more."""
        self._task.stop()

    async def look(self) -> None:
        """One round."""
        asked: dict[_Asked, User] = {}
        for session in self._sessions:
            user = session.user
            if user.source == self._source.name and self._source.may_look_again(user):
                asked[user.name, session.connection.peer_host] = user
        with suppress(SourceAway):
            await in_parallel(self._look, asked.items(), MAX_AT_ONCE)
        self._end(lambda session: self._is_outdated(session.user))

    async def _look(self, asked: tuple[_Asked, User]) -> None:
        (name, peer_host), user = asked
        try:
            found = await self._source.look_again(user, peer_host)
        except BadAnswer:
            return

        def has_changed(session: OpenSession) -> bool:
            if (session.user.name, session.connection.peer_host) != (name, peer_host):
                return False
            return found is None or not may_stay(session.user, found)

        self._end(has_changed, name, is_gone=found is None)

    def _end(
        self, is_meant: Callable[[OpenSession], bool], name: str = "", *, is_gone: bool = False
    ) -> None:
        def is_of_source(session: OpenSession) -> bool:
            return session.user.source == self._source.name and is_meant(session)

        ended = self._sessions.end(is_of_source, "the account has changed")
        if ended:
            self._events.emit(
                UserSessionsEnded(
                    source=self._source.name, user=name, gone=is_gone, disconnected=ended
                )
            )
