"""A clock that counts iterations as the reactor does."""

from __future__ import annotations

from twisted.internet import task


class IterationClock(task.Clock):
    """A call that is scheduled in an iteration comes in the next one, whatever its delay."""

    def iterate(self) -> None:
        due, self.calls = self.calls, []
        for call in due:
            call.called = 1
            call.func(*call.args, **call.kw)
