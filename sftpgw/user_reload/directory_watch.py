"""Tells at once that something has changed in some directories, where inotify(7) can be had.

Knows: Twisted's inotify. Must not know: which files matter, or what becomes of a change.

It does not say what has changed, and may miss something: the queue of the kernel may overflow, or
a directory above may be exchanged. So the files are looked at all the same, less often.
"""

# mypy: disallow-untyped-calls=False
# (Twisted's inotify has no types)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.python.filepath import FilePath

from sftpgw.user_reload.watched_places import MAX_DIRECTORIES, Places


def open_inotify(reactor: Any) -> Any:
    """Twisted's `INotify`, which reads.

    :param reactor: Twisted's.
    :raises Exception: it cannot be had here; each reason has a class of its own.
    """
    from twisted.internet import inotify  # noqa: PLC0415 - importing it looks for the C library

    opened = inotify.INotify(reactor)
    opened.startReading()
    return opened


def _mask() -> int:
    from twisted.internet import inotify  # noqa: PLC0415 - as above

    # IN_CLOSE_WRITE, and not IN_MODIFY: a file that is being written is not read yet.
    return int(
        inotify.IN_CLOSE_WRITE
        | inotify.IN_CREATE
        | inotify.IN_DELETE
        | inotify.IN_MOVED
        | inotify.IN_ATTRIB
        | inotify.IN_MOVE_SELF
    )


class DirectoryWatch:
    """Watches directories, from `follow` to `stop`.

    :param reactor: Twisted's.
    :param on_event: is called for each event that matters.
    :param opened: opens what reads events.
    """

    def __init__(
        self,
        reactor: Any,
        on_event: Callable[[], None],
        opened: Callable[[Any], Any] = open_inotify,
    ) -> None:
        self._reactor = reactor
        self._on_event = on_event
        self._opened = opened
        self._inotify: Any = None
        self._places: Places = {}
        self._is_stale = False

    def follow(self, places: Places) -> bool:
        """Watch these directories, and no others.

        :param places: the directories, and which names count there.
        :returns: whether all of them are watched.
        """
        if self._inotify is not None and places == self._places and not self._is_stale:
            return True
        self.stop()
        if len(places) > MAX_DIRECTORIES:
            return False
        try:
            self._inotify = self._opened(self._reactor)
            for directory in places:
                self._inotify.watch(FilePath(directory), _mask(), callbacks=[self._on_notify])
        except Exception:  # no inotify, no such directory, too many watches: each its own class
            self.stop()
            return False
        self._places, self._is_stale = places, False
        self._on_event()  # for what has happened since `places` were found
        return True

    def stop(self) -> None:
        """Watch nothing."""
        inotify, self._inotify, self._places = self._inotify, None, {}
        if inotify is not None:
            inotify.loseConnection()

    def _on_notify(self, _: Any, path: FilePath[bytes], mask: int) -> None:
        """An event. Nothing is closed in here: Twisted goes on with what it has read."""
        directory, name = _text(path.parent().path), _text(path.basename())
        names = self._places.get(directory, frozenset())
        if _text(path.path) in self._places:
            self._is_stale = True  # Twisted does not read any more once a directory is removed
        elif names is not None and name not in names:
            return
        self._on_event()


def _text(path: bytes | str) -> str:
    return path if isinstance(path, str) else path.decode("utf-8", "surrogateescape")
