"""Reads the files of users again: when told to, and when one of them has changed.

Knows: when to read, and that a set of users at fault is none.
Must not know: how files are read, what users are made of, or what a session is.

Rules

1. Reading, judging and comparing run in a thread. What is left for the reactor is one exchange.
2. A fault in any file leaves all users as they were. Each fault is an event.
3. Files are looked at every `EVERY_SECONDS`. What has changed is read once it has stayed the same
   for two looks, so that a file that is being written is not read in the middle.
4. One reload runs at a time. One that is asked for meanwhile follows it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from sftpgw.aio.periodic import PeriodicTask
from sftpgw.errors import ConfigError
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.events.gateway_events import Defect, UsersReloaded, UsersReloadFailed
from sftpgw.model.users import User
from sftpgw.user_reload.plan import UserChanges, changes_between

EVERY_SECONDS = 2.0
MAX_TOLD = 100
"""How many faults of one reload are events of their own."""


class UserFiles(Protocol):
    """The files of users. Both methods block, and are called in a thread."""

    def read(self) -> Mapping[str, User]:
        """The users by name. :raises ConfigError: with every fault."""

    def state(self) -> Hashable:
        """What changes whenever a file does: names, sizes, times."""


class Exchangeable(Protocol):
    """Where the users are exchanged."""

    @property
    def users(self) -> Mapping[str, User]: ...

    def prepare(self, users: Mapping[str, User]) -> Any: ...

    def exchange(self, prepared: Any) -> None: ...


InThread = Callable[..., Awaitable[Any]]
"""Runs a function in a thread, as `deferToThread`."""


@dataclass(frozen=True, slots=True)
class _Read:
    prepared: Any
    users: Mapping[str, User]
    changes: UserChanges


class UserReloader:
    """Reloads users, from `start` to `stop`.

    :param files: the files of users.
    :param live: where the users are exchanged.
    :param in_thread: runs a function in a thread.
    :param clock: times the looks.
    :param events: takes what came of each reload.
    :param on_changes: called with what has changed, right after the exchange; returns how many
        sessions it has ended.
    """

    def __init__(
        self,
        files: UserFiles,
        live: Exchangeable,
        *,
        in_thread: InThread,
        clock: Clock,
        events: EventSink,
        on_changes: Callable[[UserChanges, Mapping[str, User]], int],
    ) -> None:
        self._files = files
        self._live = live
        self._in_thread = in_thread
        self._events = events
        self._on_changes = on_changes
        self._is_running = False
        self._is_wanted = False
        self._known: Hashable = None
        self._last: Hashable = None
        self._task = PeriodicTask(
            self.look,
            first_seconds=0.0,
            every_seconds=EVERY_SECONDS,
            clock=clock,
            on_failure=lambda failure: events.emit(Defect(where="user-reload", failure=failure)),
        )

    def start(self) -> None:
        """Begin to look at the files."""
        self._task.start()

    def stop(self) -> None:
        """Look no more."""
        self._is_wanted = False
        self._task.stop()

    def ask(self) -> None:
        """Reload now, or once the reload under way has ended."""
        Deferred.fromCoroutine(self.reload()).addErrback(
            lambda failure: self._events.emit(Defect(where="user-reload", failure=failure))
        )

    async def look(self) -> None:
        """Reload if the files have changed, and do not change any more."""
        state = await self._in_thread(self._files.state)
        if self._known is None:
            self._known = state
        elif state != self._known and state == self._last:
            await self.reload()
        self._last = state

    async def reload(self) -> None:
        """Read the files. Faults become events."""
        self._is_wanted = True
        if self._is_running:
            return
        self._is_running = True
        try:
            while self._is_wanted:
                self._is_wanted = False
                await self._reload_once()
        finally:
            self._is_running = False

    async def _reload_once(self) -> None:
        self._known = await self._in_thread(self._files.state)
        try:
            read: _Read = await self._in_thread(self._read, self._live.users)
        except ConfigError as error:
            for fault in error.faults[:MAX_TOLD]:
                self._events.emit(UsersReloadFailed(fault=fault, faults=len(error.faults)))
            return
        self._live.exchange(read.prepared)
        ended = self._on_changes(read.changes, read.users)
        self._events.emit(
            UsersReloaded(
                users=len(read.users),
                added=read.changes.added,
                removed=read.changes.removed,
                changed=read.changes.changed,
                disconnected=ended,
            )
        )

    def _read(self, before: Mapping[str, User]) -> _Read:
        """In a thread. :raises ConfigError:"""
        users = self._files.read()
        return _Read(self._live.prepare(users), users, changes_between(before, users))
