"""Whether anybody still wants what is asked of the store.

Knows: that, and who is to be woken when it ends.
Must not know: what was asked for.
"""

from __future__ import annotations

from collections.abc import Callable


class CancelToken:
    """Implements `interfaces.Interest`."""

    def __init__(self) -> None:
        self.is_lost = False
        self._watchers: list[Callable[[], None]] = []

    def lose(self) -> None:
        """Nobody does. Whoever watches hears it before this returns."""
        self.is_lost = True
        while self._watchers:
            self._watchers.pop(0)()

    def watch(self, wake: Callable[[], None]) -> None:
        """Call `wake`, once, when the interest is lost; now if it is already."""
        if self.is_lost:
            wake()
        else:
            self._watchers.append(wake)

    def unwatch(self, wake: Callable[[], None]) -> None:
        """Do not call it any more."""
        if wake in self._watchers:
            self._watchers.remove(wake)
