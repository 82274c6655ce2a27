"""Reads the files of users again: when told to, and when one of them has changed.

Knows: when to read, and that a set of users at fault is none.
Must not know: how files are read, what users are made of, or what a session is.

Rules

1. Files are read in a thread. All else is done in steps, in turns with the work for clients: what
   a thread did would hold Python's lock. The exchange itself is one assignment.
2. A fault in any file leaves all users as they were. Each fault is an event.
3. Files are looked at every `EVERY_SECONDS`. Where inotify tells of changes, they are looked at
   `SETTLE_SECONDS` after each of these, and every `SELDOM_SECONDS` all the same. What has changed
   since it was read is read once it has stayed the same for two looks, so that a file that is being
   written is not read in the middle.
4. One reload runs at a time. One that is asked for meanwhile follows it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from sftpgw.aio.periodic import PeriodicTask
from sftpgw.errors import ConfigError
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.events.gateway_events import Defect, UsersReloaded, UsersReloadFailed
from sftpgw.model.settings import FileUsers, ReadableUsers
from sftpgw.model.steps import Steps
from sftpgw.model.users import User
from sftpgw.user_reload.plan import UserChanges, changes_between, released
from sftpgw.user_reload.watched_places import Places, places_of, tell_all_changes

EVERY_SECONDS = 2.0
SETTLE_SECONDS = 0.5
SELDOM_SECONDS = 60.0
MAX_TOLD = 100
"""How many faults of one reload are events of their own."""

T = TypeVar("T")


class Exchangeable(Protocol):
    """Where the users are exchanged."""

    @property
    def users(self) -> Mapping[str, User]: ...

    def prepare(self, read: FileUsers) -> Steps[Any]: ...

    def exchange(self, prepared: Any) -> None: ...


class ChangeWatch(Protocol):
    """Tells at once that something has changed, where that can be had."""

    def follow(self, places: Places) -> bool: ...

    def stop(self) -> None: ...


InThread = Callable[..., Awaitable[Any]]
"""Runs a function in a thread, as `deferToThread`."""


class InTurns(Protocol):
    """Does steps in turns with other work."""

    def __call__(self, steps: Steps[T]) -> Awaitable[T]: ...


class UserReloader:
    """Reloads users, from `start` to `stop`.

    :param files: the files.
    :param live: where the users are exchanged.
    :param in_thread: runs a function in a thread.
    :param in_turns: does steps in turns with other work.
    :param clock: times the looks.
    :param events: takes what came of each reload.
    :param watch: makes what calls its argument when something has changed.
    :param follow: called with what has changed, right after the exchange; ends sessions in steps,
        and returns how many.
    """

    def __init__(
        self,
        files: ReadableUsers,
        live: Exchangeable,
        *,
        in_thread: InThread,
        in_turns: InTurns,
        clock: Clock,
        events: EventSink,
        watch: Callable[[Callable[[], None]], ChangeWatch],
        follow: Callable[[UserChanges], Steps[int]],
    ) -> None:
        self._files = files
        self._live = live
        self._in_thread = in_thread
        self._in_turns = in_turns
        self._events = events
        self._follow = follow
        self._is_running = False
        self._is_wanted = False
        self._asked: Deferred[None] | None = None
        self._last: Hashable = None
        self._task = PeriodicTask(
            self.look,
            first_seconds=0.0,
            every_seconds=SELDOM_SECONDS,
            clock=clock,
            on_failure=self._on_failure,
        )
        self._watch = watch(lambda: self._task.hasten(SETTLE_SECONDS))

    def start(self) -> None:
        """Begin to look at the files."""
        self._task.start()

    def stop(self) -> None:
        """Look no more."""
        self._is_wanted = False
        self._task.stop()
        self._watch.stop()
        if self._asked is not None:
            self._asked.cancel()

    def ask(self) -> None:
        """Reload now, or once the reload under way has ended."""
        if self._is_running:
            self._is_wanted = True
            return
        self._asked = Deferred.fromCoroutine(self.reload())
        self._asked.addErrback(self._on_failure)

    def _on_failure(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._events.emit(Defect(where="user-reload", failure=failure))

    async def look(self) -> None:
        """Reload if the files have changed since they were read, and do not change any more."""
        pause_seconds = EVERY_SECONDS
        try:
            state, places = await self._in_thread(self._state_and_places)
            if places is not None and self._watch.follow(places):
                pause_seconds = SELDOM_SECONDS
            last, self._last = self._last, state
            if state == last != self._files.read_state:
                await self.reload()
            elif state != self._files.read_state and pause_seconds > EVERY_SECONDS:
                pause_seconds = SETTLE_SECONDS
        finally:
            self._task.hasten(pause_seconds)

    def _state_and_places(self) -> tuple[Hashable, Places | None]:
        """The state of the files, and what to watch; None where not all changes show."""
        places = places_of(self._files.paths(), self._files.folder())
        return self._files.state(), places if tell_all_changes(places) else None

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
        loaded = await self._in_thread(self._files.load)
        try:
            read = await self._in_turns(self._files.steps(loaded))
        except ConfigError as error:
            for fault in error.faults[:MAX_TOLD]:
                self._events.emit(UsersReloadFailed(fault=fault, faults=len(error.faults)))
            return
        prepared = await self._in_turns(self._live.prepare(read))
        changes = await self._in_turns(changes_between(self._live.users, read.users))
        self._live.exchange(prepared)
        ended = await self._in_turns(self._follow(changes))
        self._events.emit(
            UsersReloaded(
                users=len(read.users),
                added=changes.added,
                removed=changes.removed,
                changed=changes.changed,
                disconnected=ended,
            )
        )
        left = list(changes.left)
        del changes
        await self._in_turns(released(left))
