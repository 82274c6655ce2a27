"""Files that a session is about to open for writing.

Knows: that an OPEN is under way, and who wait until it has been decided.
Must not know: what it decides, or what it asks the store.

sshfs sends OPEN and, without waiting for the answer, LSTAT of the same name; if that finds
nothing, it closes the file that it has just created, and its user is told that there is none.
Where OPEN has to ask the store, LSTAT must not be quicker.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sftpgw.files.waiting import Waiting
from sftpgw.values import ObjectName


class Openings:
    """The OPENs of one session that are not answered yet."""

    def __init__(self) -> None:
        self._under_way: dict[ObjectName, list[Waiting]] = {}

    @contextmanager
    def opening(self, name: ObjectName) -> Iterator[None]:
        """An OPEN for writing is under way for so long."""
        opening = Waiting()
        self._under_way.setdefault(name, []).append(opening)
        try:
            yield
        finally:
            self._under_way[name].remove(opening)
            if not self._under_way[name]:
                del self._under_way[name]
            opening.let_go()

    async def settled(self, name: ObjectName) -> None:
        """Wait for those of `name` that are under way now."""
        for end in [opening.turn() for opening in self._under_way.get(name, ())]:
            await end
