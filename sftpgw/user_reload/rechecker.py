"""Looks again at users of services and tables while they have sessions open.

Knows: when to look, and that a source which does not answer ends no session.
Must not know: how a source is asked, or what a connection is.

Rules

1. Each source is looked at every `every_seconds`. A user is asked about once for each address that
   has sessions, and not from the cache: so what has changed is known within that time, as long as
   the source answers.
2. Up to `MAX_AT_ONCE` questions of a source are under way, in their order among those of logins.
3. A user who is gone, or whose proofs, mounts or permissions have changed, has their sessions
   ended. Limits and the weight count from the next login on (`user_reload.plan`).
4. A source that is away, or answers nonsense, ends no session. If it is away, the round ends. The
   next one begins with those who were not reached: a source may fail for one user only.
5. A name that users.ini has by now belongs to that user: sessions of the other one end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Protocol

from sftpgw.aio.parallel import in_parallel
from sftpgw.aio.periodic import PeriodicTask
from sftpgw.errors import BadAnswer, SourceAway
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.events.gateway_events import Defect
from sftpgw.model.events.user_source_events import UserSessionsEnded
from sftpgw.model.users import User
from sftpgw.user_reload.account_sessions import CHANGED, AccountSession, AccountSessions
from sftpgw.user_reload.plan import may_stay

_Place = tuple[str, str | None]
"""A user's name, and the address of the sessions."""

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


class UserRechecker:
    """Looks again at the users of all sources, from `start` to `stop`.

    :param sources: the sources.
    :param sessions: the sessions that are open.
    :param is_outdated: tells of a user whether the name belongs to a user of a file by now.
    :param clock: times the rounds.
    :param events: takes what was ended.
    """

    def __init__(
        self,
        sources: Iterable[RecheckedSource],
        sessions: AccountSessions,
        *,
        is_outdated: Callable[[User], bool],
        clock: Clock,
        events: EventSink,
    ) -> None:
        self._sessions = sessions
        self._is_outdated = is_outdated
        self._clock = clock
        self._events = events
        self._reached: defaultdict[str, set[_Place]] = defaultdict(set)
        self._tasks = [self._task(source) for source in sources]

    def start(self) -> None:
        """Begin to look."""
        for task in self._tasks:
            task.start()

    def stop(self) -> None:
        """Look no more."""
        for task in self._tasks:
            task.stop()

    def _task(self, source: RecheckedSource) -> PeriodicTask:
        seconds = max(source.cache_seconds, SHORTEST_SECONDS)
        return PeriodicTask(
            lambda: self._look_at_all(source),
            first_seconds=seconds,
            every_seconds=seconds,
            clock=self._clock,
            on_failure=lambda failure: self._events.emit(
                Defect(where="user-recheck", failure=failure)
            ),
        )

    async def _look_at_all(self, source: RecheckedSource) -> None:
        """One round."""
        asked: defaultdict[_Place, list[AccountSession]] = defaultdict(list)
        for session in self._sessions.open():
            if session.user.source != source.name:
                continue
            if self._is_outdated(session.user):
                self._end([session], source, is_gone=True)
            elif source.may_look_again(session.user):
                asked[session.user.name, session.connection.peer_host].append(session)
        reached = self._reached[source.name]
        reached.intersection_update(asked)
        if len(reached) == len(asked):
            reached.clear()
        turns = sorted(asked.items(), key=lambda each: each[0] in reached)
        with suppress(SourceAway):
            await in_parallel(partial(self._look, source), turns, MAX_AT_ONCE)
            reached.clear()

    async def _look(
        self, source: RecheckedSource, turn: tuple[_Place, list[AccountSession]]
    ) -> None:
        """Look at the sessions of one user from one address."""
        place, sessions = turn
        first = sessions[0]
        self._reached[source.name].add(place)
        try:
            found = await source.look_again(first.user, first.connection.peer_host)
        except BadAnswer:
            return
        ended = [each for each in sessions if found is None or not may_stay(each.user, found)]
        self._end(ended, source, is_gone=found is None)

    def _end(
        self, sessions: list[AccountSession], source: RecheckedSource, *, is_gone: bool
    ) -> None:
        for session in sessions:
            session.end(CHANGED)
        if sessions:
            name, count = sessions[0].user.name, len(sessions)
            self._events.emit(
                UserSessionsEnded(source=source.name, user=name, gone=is_gone, disconnected=count)
            )
