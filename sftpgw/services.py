"""The service that twistd runs: listens, and shuts down in order.

Knows: Twisted's services and endpoints.
Must not know: what is served. How to shut that down is an argument.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.tcp import Port
from twisted.logger import Logger
from twisted.python.failure import Failure

from sftpgw.model.clock import Clock
from sftpgw.pausing_ports import PausingPort

ADOPTED = "systemd:"
"""The beginning of an endpoint whose socket systemd has opened and passes on at the start."""

LAST_PORT = 65535
_PORT_DIGITS = 5
_ONE_CLIENT = frozenset({"stdio"})
"""Endpoints that serve one client only."""

OnListening = Callable[[Any], None]
"""Takes the address of a port that listens."""


class GatewayService(Service):
    """Listens on every endpoint, and winds down before twistd ends the process.

    Takes the place of Twisted's `StreamServerEndpointService`, which goes on if a port is in use,
    or ends with a traceback.

    :param factory: makes the protocols of connections.
    :param endpoints: where to listen, by their texts in the configuration.
    :param wind_down: called once no port listens any more; twistd waits for it.
    :param log: where addresses and faults are logged.
    :param on_listening: called for each port that listens.
    :param on_starting: called before a port listens, once twistd has set up logs and signals.
    :param clock: times pauses of accepting; None: a port never pauses.
    :param on_paused: called for each pause, with the name of the fault of accept(2).
    """

    def __init__(
        self,
        factory: Factory,
        endpoints: Mapping[str, IStreamServerEndpoint],
        *,
        wind_down: Callable[[], Awaitable[None]],
        log: Logger,
        on_listening: OnListening = lambda address: None,
        on_starting: Callable[[], None] = lambda: None,
        clock: Clock | None = None,
        on_paused: Callable[[str], None] = lambda fault: None,
    ) -> None:
        self._factory = factory
        self._endpoints = endpoints
        self._wind_down = wind_down
        self._log = log
        self._on_listening = on_listening
        self._on_starting = on_starting
        self._clock = clock
        self._on_paused = on_paused
        self._ports: list[IListeningPort] = []
        self._pausing: list[PausingPort] = []

    def privilegedStartService(self) -> None:
        """Listen, while twistd may still be root.

        :raises SystemExit: an endpoint cannot be used, with status 1.
        """
        self._on_starting()
        for text, endpoint in self._endpoints.items():
            refused: list[Failure] = []
            endpoint.listen(self._factory).addCallbacks(self._add_port, refused.append)
            if refused:
                reason = refused[0].getErrorMessage()
                self._log.critical("cannot listen on {text}: {reason}", text=text, reason=reason)
                raise SystemExit(1)

    def _add_port(self, port: IListeningPort) -> None:
        self._ports.append(port)
        if self._clock is not None and isinstance(port, Port):
            self._pausing.append(PausingPort(port, self._clock, self._on_paused))
        address = port.getHost()
        self._log.info("listening on {address}", address=address_text(address))
        self._on_listening(address)

    def stopService(self) -> Deferred[None]:
        """Stop listening, then wind down."""
        self.running = False
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        ports, self._ports = self._ports, []
        for pausing in self._pausing:
            pausing.stop()
        await gatherResults([maybeDeferred(port.stopListening) for port in ports])
        try:
            await self._wind_down()
        except Exception:
            self._log.failure("the gateway did not end in good order")


def parse_endpoint(reactor: Any, text: str) -> IStreamServerEndpoint:
    """The endpoint for a text in Twisted's format (`serverFromString`).

    :raises ValueError: there is none; says why, in words for the author of the configuration.
    """
    if text.partition(":")[0] in _ONE_CLIENT:
        raise ValueError("it serves one client, on its own input and output")
    port = re.match(r"(?:tcp[46]?|ssl):(?:port=)?(\d+)(?::|$)", text)
    if port and (len(port[1]) > _PORT_DIGITS or int(port[1]) > LAST_PORT):
        raise ValueError(f"ports go up to {LAST_PORT}")
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, text)
    except Exception as error:  # each of Twisted's parsers raises exceptions of its own
        raise ValueError(_why_no_endpoint(text, error)) from error
    return endpoint


def _why_no_endpoint(text: str, error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, TypeError):
        return _why_no_call(str(error))
    if text.startswith(ADOPTED) and isinstance(error, LookupError):
        return "systemd has handed over no such socket; start the service by its .socket unit"
    if "invalid literal for int()" in str(error):
        return "its port is no number; endpoints have a line each"
    return str(error) or type(error).__name__


def _why_no_call(text: str) -> str:
    """A fault of an endpoint's arguments, from the text of Python's `TypeError` for the call."""
    missing = re.search(r"missing \d+ required .* arguments?: (.+)", text)
    if missing:
        return f"without {missing[1].replace(chr(39), '')}"
    unknown = re.search(r"unexpected keyword argument '(.+?)'", text)
    if unknown:
        return f"{unknown[1]}= is not known there"
    return r"a colon too many; an IPv6 address is written tcp6:2022:interface=\:\:1"


def address_text(address: Any) -> str:
    """A Twisted address in the format of an endpoint: ``tcp:127.0.0.1:2022``."""
    if hasattr(address, "port"):
        return f"tcp:{address.host}:{address.port}"
    return f"unix:{getattr(address, 'name', address)}"
