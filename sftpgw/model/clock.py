"""The clock: what the reactor offers of time."""

from __future__ import annotations

from typing import Any, Protocol


class DelayedCall(Protocol):
    """A call that has been put off."""

    def cancel(self) -> None: ...

    def active(self) -> bool: ...


class Clock(Protocol):
    """The time, and a way to wait for it: Twisted's reactor or ``task.Clock``."""

    def seconds(self) -> float: ...

    def callLater(self, delay: float, callable: Any, *args: Any) -> Any: ...
