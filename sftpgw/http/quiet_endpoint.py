"""Connections of which Twisted does not log a line each."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.web.client import HTTPConnectionPool
from zope.interface import implementer


@implementer(IStreamClientEndpoint)
class QuietEndpoint:
    """An endpoint whose factories do not tell that they start and stop.

    :param endpoint: makes the connections.
    """

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        quiet: Any = protocolFactory
        quiet.noisy = False
        connecting: Deferred[Any] = self._endpoint.connect(quiet)
        return connecting


class _QuietPool(HTTPConnectionPool):
    """Twisted's pool of connections to web services, without its lines in the log."""

    def getConnection(self, key: object, endpoint: IStreamClientEndpoint) -> Deferred[Any]:
        """A connection, of those that are idle or a new one.

        :param key: what connections are told apart by.
        :param endpoint: makes a new one.
        """
        got: Deferred[Any] = super().getConnection(key, QuietEndpoint(endpoint))
        return got


def quiet_pool(reactor: Any) -> HTTPConnectionPool:
    """A pool of connections to web services that logs nothing.

    :param reactor: Twisted's.
    """
    return _QuietPool(reactor)  # type: ignore[no-untyped-call]
