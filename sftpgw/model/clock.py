"""The clock: the part of the reactor that has to do with time."""

from __future__ import annotations

from typing import Any, Protocol


class DelayedCall(Protocol):
    """A call that is scheduled (Twisted's `IDelayedCall`)."""

    def cancel(self) -> None: ...

    def active(self) -> bool: ...


class Clock(Protocol):
    """Tells the time and schedules calls: Twisted's reactor, or ``task.Clock`` in tests."""

    def seconds(self) -> float: ...

    def callLater(self, delay: float, callable: Any, *args: Any) -> Any: ...
