"""Those who wait for the same thing.

Knows: who waits. Must not know: what for.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred


class Waiting:
    """Who gives up is cancelled, and leaves."""

    def __init__(self) -> None:
        self._waiting: list[Deferred[None]] = []

    def turn(self) -> Deferred[None]:
        """Fires with the next `let_go`."""
        turn: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(turn)
        return turn

    def let_go(self) -> None:
        """It has come, for all who wait by now."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)
