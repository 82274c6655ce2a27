"""Listening, and ending in good order.

Knows: Twisted's services and endpoints.
Must not know: what is served. How to wind down is handed in.
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
from twisted.logger import Logger
from twisted.python.failure import Failure

ADOPTED = "systemd:"
"""How an endpoint begins whose socket systemd has opened and hands over at the start."""

LAST_PORT = 65535
_ONE_CLIENT = frozenset({"stdio"})
"""Endpoints that are one client's, and no server's."""

Announce = Callable[[Any], None]
"""Takes the address of a port that listens."""


class GatewayService(Service):
    """Listens on every endpoint; on the way out winds down before it lets twistd go on.

    Takes the place of Twisted's StreamServerEndpointService, which goes on without a port
    that is taken, or ends in a traceback.

    :param endpoints: by their text in the configuration.
    :param wind_down: called once nothing listens any more.
    :param announce: called for each port that listens.
    :param prepare: called before anything listens, once twistd has set up logs and signals.
    """

    def __init__(
        self,
        factory: Factory,
        endpoints: Mapping[str, IStreamServerEndpoint],
        *,
        wind_down: Callable[[], Awaitable[None]],
        log: Logger,
        announce: Announce = lambda address: None,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        self._factory = factory
        self._endpoints = endpoints
        self._wind_down = wind_down
        self._log = log
        self._announce = announce
        self._prepare = prepare
        self._ports: list[IListeningPort] = []

    def privilegedStartService(self) -> None:
        """Listen, while twistd may still be root. :raises SystemExit: a port is taken."""
        self._prepare()
        for text, endpoint in self._endpoints.items():
            refused: list[Failure] = []
            endpoint.listen(self._factory).addCallbacks(self._listening, refused.append)
            if refused:
                reason = refused[0].getErrorMessage()
                self._log.critical("cannot listen on {text}: {reason}", text=text, reason=reason)
                raise SystemExit(1)

    def _listening(self, port: IListeningPort) -> None:
        self._ports.append(port)
        address = port.getHost()
        self._log.info("listening on {address}", address=address_text(address))
        self._announce(address)

    def stopService(self) -> Deferred[None]:
        """Stop listening, then wind down."""
        self.running = False
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        ports, self._ports = self._ports, []
        await gatherResults([maybeDeferred(port.stopListening) for port in ports])
        try:
            await self._wind_down()
        except Exception:
            self._log.failure("the gateway did not end in good order")


def parse_endpoint(reactor: Any, text: str) -> IStreamServerEndpoint:
    """The endpoint that `text` describes, in Twisted's words.

    :raises ValueError: it describes none; in words for who wrote it.
    """
    if text.partition(":")[0] in _ONE_CLIENT:
        raise ValueError("it serves one client, on its own input and output")
    port = re.match(r"(?:tcp[46]?|ssl):(?:port=)?(\d+)(?::|$)", text)
    if port and int(port[1]) > LAST_PORT:
        raise ValueError(f"ports go up to {LAST_PORT}")
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, text)
    except Exception as error:  # whatever Twisted's parsers run into, each in its own way
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
    """An endpoint's words become the arguments of a function: what Python says of these."""
    missing = re.search(r"missing \d+ required .* arguments?: (.+)", text)
    if missing:
        return f"without {missing[1].replace(chr(39), '')}"
    unknown = re.search(r"unexpected keyword argument '(.+?)'", text)
    if unknown:
        return f"{unknown[1]}= is not known there"
    return r"a colon too many; an IPv6 address is written tcp6:2022:interface=\:\:1"


def address_text(address: Any) -> str:
    """A Twisted address as people write it: ``tcp:127.0.0.1:2022``."""
    if hasattr(address, "port"):
        return f"tcp:{address.host}:{address.port}"
    return f"unix:{getattr(address, 'name', address)}"
