"""Which files one session is about to open for writing.

Knows: names, and who waits for them. Must not know: what it takes to open a file.

Requests go on side by side, but a client that does not wait for an answer expects what
it would see if each were done before the next one is begun (section 3 of
draft-ietf-secsh-filexfer-02). sshfs sends OPEN and LSTAT of one path together: while OPEN
still asks the store whether the file exists, LSTAT would find nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from twisted.internet.defer import Deferred

from sftpgw.values import ObjectName


class Openings:
    """The OPENs of a session that are under way."""

    def __init__(self) -> None:
        self._waiting: dict[ObjectName, list[list[Deferred[None]]]] = {}

    @contextmanager
    def opening(self, name: ObjectName) -> Iterator[None]:
        """Until this is left, by a file or by an error, `settled` waits."""
        waiting: list[Deferred[None]] = []
        self._waiting.setdefault(name, []).append(waiting)
        try:
            yield
        finally:
            self._forget(name, waiting)
            for each in tuple(waiting):
                each.callback(None)

    def _forget(self, name: ObjectName, waiting: list[Deferred[None]]) -> None:
        openings = self._waiting[name]
        openings[:] = [each for each in openings if each is not waiting]
        if not openings:
            del self._waiting[name]

    async def settled(self, name: ObjectName) -> None:
        """Wait for the OPENs of `name` that have begun before."""
        for ended in [_end(waiting) for waiting in self._waiting.get(name, ())]:
            await ended


def _end(waiting: list[Deferred[None]]) -> Deferred[None]:
    """Fires when the OPEN has ended for which these wait."""
    ended: Deferred[None] = Deferred(waiting.remove)
    waiting.append(ended)
    return ended
