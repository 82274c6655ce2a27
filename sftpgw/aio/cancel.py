"""A cancel token: whether the result of a request is still wanted.

Knows: that, and what is to be woken when it ends. Must not know: what was asked for.
"""

from __future__ import annotations

from collections.abc import Callable


class CancelToken:
    """Implements `model.store.Cancellation`. Once cancelled it stays so."""

    def __init__(self) -> None:
        self.is_cancelled = False
        self._watchers: list[Callable[[], None]] = []

    def cancel(self) -> None:
        """The result is no longer wanted. Each watcher is called before this returns."""
        self.is_cancelled = True
        while self._watchers:
            self._watchers.pop(0)()

    def watch(self, on_cancel: Callable[[], None]) -> None:
        """Call `on_cancel`, once, when the token is cancelled; now if it is already."""
        if self.is_cancelled:
            on_cancel()
        else:
            self._watchers.append(on_cancel)

    def unwatch(self, on_cancel: Callable[[], None]) -> None:
        """Do not call it any more."""
        if on_cancel in self._watchers:
            self._watchers.remove(on_cancel)
