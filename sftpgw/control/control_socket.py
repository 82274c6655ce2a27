"""The control socket as a file: made for its owner alone, and never in place of something else.

Knows: paths, modes, and what a gateway that was killed leaves behind.
Must not know: what is said on the socket.

Rules

1. The socket has the mode 0600 from the beginning. Only its owner and root can connect.
2. The folder must be one into which only its owner, who is root or the gateway's user, may write:
   there no other user can put something in the socket's place.
3. A socket to which nothing listens is left over from a gateway that was killed, and is removed.
   One to which something listens is left alone. Whatever else has the name, also a symbolic link,
   is left alone.
"""

# mypy: disallow-untyped-calls=False
# (what is inherited from Twisted has no types)

from __future__ import annotations

import os
import socket
import stat
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.tcp import Port as TcpPort
from twisted.internet.unix import Port

SOCKET_MODE = 0o600
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
_PROBE_SECONDS = 1.0


class SocketUnfit(Exception):
    """There can be no socket at the path. The text says why."""


def make_room(path: str) -> None:
    """Remove what a killed gateway has left at a path.

    :param path: where the socket will be.
    :raises SocketUnfit: there is something else, or the folder is not safe.
    """
    _judge_folder(os.path.dirname(os.path.abspath(path)))
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketUnfit("there is something else than a socket; remove it, or name another path")
    if _is_heard(path):
        raise SocketUnfit("a program listens there already; each gateway needs a socket of its own")
    os.unlink(path)


def _judge_folder(folder: str) -> None:
    found = os.stat(folder)
    if found.st_mode & _OTHERS_MAY_WRITE:
        raise SocketUnfit(f"others than its owner may write into {folder}; chmod go-w it")
    if found.st_uid not in (0, os.geteuid()):
        raise SocketUnfit(f"{folder} belongs neither to root nor to the gateway's user")


def _is_heard(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        except OSError:  # a full backlog, or a permission that we do not have
            return True
    return True


class _ControlPort(Port):
    """A port that removes its socket at its end, and no other one that has the path by then.

    Twisted's removes what has the path, and stays open if nothing has.
    """

    def startListening(self) -> None:
        """Listen, and remember which file is ours."""
        super().startListening()
        self._file = _file_at(self._bindPath)

    def connectionLost(self, reason: Any) -> None:
        """Remove the socket, and end."""
        if _file_at(self._bindPath) == self._file:
            os.unlink(self._bindPath)
        TcpPort.connectionLost(self, reason)


def _file_at(path: Any) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class ControlSocket:
    """A control socket that listens from `open` to `close`.

    :param path: where it is.
    :param reactor: Twisted's.
    """

    def __init__(self, path: str, reactor: Any) -> None:
        self._path = path
        self._reactor = reactor
        self._port: Any = None

    def open(self, factory: Any) -> None:
        """Listen.

        :param factory: makes the protocols of connections.
        :raises SocketUnfit: that is not possible; says why.
        """
        try:
            make_room(self._path)
            before = os.umask(0o777 & ~SOCKET_MODE)
            try:
                path = os.fsencode(self._path)
                port = _ControlPort(path, factory, mode=SOCKET_MODE, reactor=self._reactor)
                port.startListening()
            finally:
                os.umask(before)
            self._port = port
        except CannotListenError as error:
            raise SocketUnfit(str(error.socketError)) from None
        except OSError as error:
            raise SocketUnfit(error.strerror or str(error)) from None

    async def close(self) -> None:
        """Listen no more, and remove the socket."""
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)
