"""The control socket of one gateway, from its start to its end.

Knows: that a gateway serves its users also if it has no control socket.
Must not know: which requests there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sftpgw.control.control_server import ControlFactory, Handler
from sftpgw.control.control_socket import ControlSocket, SocketUnfit
from sftpgw.model.events import EventSink
from sftpgw.model.events.gateway_events import ControlSocketFailed


class ControlService:
    """Listens, and ends.

    :param path: ``[gateway] control``; empty for no control socket.
    :param handlers: what answers each request, by the request's name.
    :param reactor: Twisted's.
    :param events: is told if there can be no socket.
    """

    def __init__(
        self, path: str, handlers: Mapping[str, Handler], reactor: Any, events: EventSink
    ) -> None:
        self._path = path
        self._events = events
        self._socket = ControlSocket(path, reactor)
        self._factory = ControlFactory(handlers, reactor, events)

    def start(self) -> None:
        """Listen, if a path is configured. The process has given up root's rights by now."""
        if not self._path:
            return
        try:
            self._socket.open(self._factory)
        except SocketUnfit as problem:
            self._events.emit(ControlSocketFailed(path=self._path, reason=str(problem)))

    async def stop(self) -> None:
        """Listen no more, and close all connections."""
        await self._socket.close()
        await self._factory.disconnect_all()
