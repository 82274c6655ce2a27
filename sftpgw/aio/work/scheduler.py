"""Hands out the time of the reactor's thread: a bounded amount in each iteration.

Knows: when an iteration ends, and how long work has taken. Must not know: what the work is. Who is
next is decided in `plan`.

All work that clients and stores cause asks here: packets, requests, responses of stores, pages of
directories, digests. While little is to do, asking costs two looks at the clock and nothing waits.

The reactor does not announce an iteration. So the time for what arrives is renewed when it is used
up, by a call in the next iteration, which also serves those that wait. Until then nothing is
scheduled, and an idle process sleeps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from sftpgw.aio.fair_order import Path, Ticket
from sftpgw.aio.work.plan import WorkPlan
from sftpgw.model.clock import Clock, DelayedCall

Seconds = Callable[[], float]
"""A clock: returns the seconds since some moment.

For work the gateway takes ``time.perf_counter``: on virtual machines a look at the thread's own CPU
time is a system call, of 0.6 us, six times as dear. What other processes take of the core counts
then, too; a turn that they interrupt ends early."""


@dataclass(frozen=True, slots=True)
class Quantum:
    """Work that was done in a row.

    :ivar seconds: how long it took, by the clock of the work.
    :ivar kind: what it was.
    :ivar path: whose it was.
    """

    seconds: float = 0.0
    kind: str = ""
    path: Path = ()


NO_WORK = Quantum()

MOST_SECONDS = 0.1
"""What one quantum is charged at most. No work takes longer: then the whole process has stood still
(SIGSTOP, a migration), which no user shall make up for."""


def _do_nothing() -> None:
    """What follows a failure by default."""


class Turns:
    """The work of one channel, or of something else that works by itself: one kind, one owner.

    :param scheduler: hands out the turns.
    :param path: whose work it is; it may change while nothing waits. Different work of a session
        must have different last names.
    :param kind: what is done, for the event of a long iteration.
    :param work: does some of it, as long as `has_time`; then it calls `wait`.
    :param on_failure: ends what the work is for, after `work` has raised when its turn came. When
        it works at once, the caller of `ask` gets the exception.
    :ivar is_waiting: whether `work` will be called when it is its turn.
    :ivar has_time: returns whether this turn is not over yet. Looks at the clock: not for each
        byte.
    """

    __slots__ = (
        "_scheduler",
        "_ticket",
        "has_time",
        "is_waiting",
        "kind",
        "on_failure",
        "path",
        "work",
    )

    def __init__(
        self,
        scheduler: WorkScheduler,
        path: Path,
        kind: str,
        work: Callable[[], None],
        on_failure: Callable[[], None] = _do_nothing,
    ) -> None:
        self.path = path
        self.kind = kind
        self.work = work
        self.on_failure = on_failure
        self.is_waiting = False
        self.has_time = scheduler.has_time
        self._scheduler = scheduler
        self._ticket: Ticket[Turns] | None = None

    def ask(self) -> None:
        """Work now if the iteration allows it and nothing waits; otherwise wait for the turn.

        What happens within another one's turn is done there, and is charged to that.
        """
        scheduler = self._scheduler
        if self.is_waiting:
            return
        if scheduler.is_working:
            self.work()
        elif self.may_work():
            scheduler.run(self, self.work)
        else:
            self.wait()

    def begin_with(self, first: Callable[[], None]) -> None:
        """Work now. Only if `may_work`.

        :param first: what is done in this turn; what it asks for is done there, too.
        """
        if self._scheduler.is_working:
            first()
        else:
            self._scheduler.run(self, first)

    def may_work(self) -> bool:
        """Whether `ask` would work now, if these turns do not wait."""
        plan = self._scheduler.plan
        if plan.is_empty and plan.left_seconds > 0.0:
            return True
        return self._scheduler.is_working or plan.may_begin(self.path[0])

    def wait(self) -> None:
        """Wait for the next turn."""
        if not self.is_waiting:
            self.is_waiting = True
            self._ticket = self._scheduler.put(self)

    def leave(self) -> None:
        """Do not wait any more."""
        ticket, self._ticket = self._ticket, None
        self.is_waiting = False
        if ticket is not None:
            self._scheduler.remove(ticket)

    def end(self) -> None:
        """Do not work any more. What would work goes, so that no cycle is left."""
        self.leave()
        self.work = self.on_failure = _do_nothing

    def begin(self) -> None:
        """The turn has come. Called by the scheduler."""
        self._ticket = None
        self.is_waiting = False


class WorkScheduler:
    """The turns of the whole process.

    :param clock: the reactor, whose iterations are meant.
    :param work_clock: measures how long work takes.
    :param plan: what one iteration takes, and in which order.
    :param most_seconds: what one quantum is charged at most.
    :ivar plan: the same.
    :ivar is_working: whether a turn is in progress.
    :ivar longest: the quantum that has taken longest since this was set to `NO_WORK`.
    """

    _log = Logger()

    def __init__(
        self,
        clock: Clock,
        work_clock: Seconds,
        plan: WorkPlan[Turns] | None = None,
        most_seconds: float = MOST_SECONDS,
    ) -> None:
        self._clock = clock
        self._work_clock = work_clock
        self.plan: WorkPlan[Turns] = plan or WorkPlan()
        self._most_seconds = most_seconds
        self._call: DelayedCall | None = None
        self._ends_seconds = 0.0
        self._is_in_round = False
        self.is_working = False
        self.longest = NO_WORK

    def turns(
        self,
        path: Path,
        kind: str,
        work: Callable[[], None],
        on_failure: Callable[[], None] = _do_nothing,
    ) -> Turns:
        """Turns for one kind of work of one owner; see `Turns`.

        :param path: whose work it is.
        :param kind: what is done.
        :param work: does it.
        :param on_failure: is called after `work` has raised in a round.
        """
        return Turns(self, path, kind, work, on_failure)

    def share(self, user: str, session: str = "") -> WorkShare:
        """The turns of one session.

        :param user: the user's name.
        :param session: the session's label; empty for what the user's sessions have in common.
        """
        return WorkShare(self, user, session)

    def has_time(self) -> bool:
        """Whether a turn is in progress and not over yet."""
        return self.is_working and self._work_clock() < self._ends_seconds

    def put(self, turns: Turns) -> Ticket[Turns]:
        """Let `turns` wait."""
        ticket = self.plan.put(turns.path, turns)
        self.schedule()
        return ticket

    def remove(self, ticket: Ticket[Turns]) -> None:
        """Let no turn come of one that has left."""
        self.plan.remove(ticket)
        self._unschedule()

    def next_step(self, path: Path, kind: str) -> Deferred[None]:
        """Fires when a coroutine may do its next step. Cancel it to leave.

        :param path: whose work it is.
        :param kind: what is done.
        """
        turns = Turns(self, path, kind, lambda: waiter.callback(None))
        waiter: Deferred[None] = Deferred(lambda _: turns.leave())
        turns.wait()
        return waiter

    def is_late(self) -> bool:
        """Whether a turn is in progress, and over."""
        return self.is_working and self._work_clock() >= self._ends_seconds

    def run(self, turns: Turns, work: Callable[[], None]) -> None:
        """Work now, and charge what it takes to the owner of `turns`, up to `MOST_SECONDS`.

        :param turns: whose work it is.
        :param work: does it.
        """
        plan, path = self.plan, turns.path  # a login changes the path
        began_seconds = self._work_clock()
        may_seconds = plan.left_seconds if plan.is_empty else plan.quantum_seconds
        self._ends_seconds = began_seconds + may_seconds
        self.is_working = True
        try:
            work()
        finally:
            self.is_working = False
            seconds = self._work_clock() - began_seconds
            if seconds > self.longest.seconds:
                self.longest = Quantum(seconds, turns.kind, path)
            if plan.charge(path, min(seconds, self._most_seconds)):
                self.schedule()

    def schedule(self) -> None:
        """Hold a round in the next iteration."""
        if self._call is None and not self._is_in_round:
            self._call = self._clock.callLater(0, self._on_iteration)

    def _unschedule(self) -> None:
        if self._call is not None and self.plan.is_quiet:
            self._call.cancel()
            self._call = None

    def _on_iteration(self) -> None:
        self._call, self._is_in_round = None, True
        self.plan.renew()
        while (ticket := self.plan.take_next()) is not None:
            ticket.item.begin()
            self._run_in_round(ticket.item)
        self.plan.renew()
        self._is_in_round = False
        if not self.plan.is_quiet:
            self.schedule()

    def _run_in_round(self, turns: Turns) -> None:
        """Let `turns` work; whatever it raises, the turns of others must come all the same.

        Twisted's reactor goes on after any error, too: a panic of `cryptography` is no `Exception`.
        """
        try:
            self.run(turns, turns.work)
        except BaseException:
            self._log.failure("work of the kind {kind} has failed", kind=turns.kind)
            try:
                turns.on_failure()
            except BaseException:
                self._log.failure("failed work of the kind {kind} has no end", kind=turns.kind)


class WorkShare:
    """The turns of one session: its channels, and coroutines that work for it.

    :param scheduler: hands out the turns of the process.
    :param user: the user's name.
    :param session: the session's label.
    """

    __slots__ = ("_names", "_scheduler", "_session", "_user", "has_time", "is_late")

    def __init__(self, scheduler: WorkScheduler, user: str, session: str) -> None:
        self._scheduler = scheduler
        self._user = user
        self._session = session
        self._names = count(1)
        self.has_time = scheduler.has_time
        self.is_late = scheduler.is_late

    def turns(
        self, kind: str, work: Callable[[], None], on_failure: Callable[[], None] = _do_nothing
    ) -> Turns:
        """Turns for a channel of the session.

        :param kind: what is done.
        :param work: does it; see `Turns`.
        :param on_failure: is called after `work` has raised in a round.
        """
        path = (self._user, self._session, f"{kind} {next(self._names)}")
        return Turns(self._scheduler, path, kind, work, on_failure)

    def next_step(self, kind: str) -> Deferred[None]:
        """Fires when a coroutine of the session may do its next step. Cancel it to leave.

        :param kind: what is done; coroutines of the same kind take turns.
        """
        return self._scheduler.next_step((self._user, self._session, kind), kind)
