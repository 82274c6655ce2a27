"""HTTP/1.1 exchanges on Twisted's connection pool, one at a time for each connection.

Knows: HTTP/1.1 over TCP and TLS, timeouts, bodies that stream both ways.
Must not know: S3, signatures, retries.

Twisted's connection pool and HTTP parser do the work; `Agent` and treq stay out. treq's client
decodes ``Content-Encoding: gzip`` and follows redirects, which would corrupt objects and break
signatures. `Agent` takes a URL apart and puts it together again, which loses characters that a key
may contain, and it reads the response only after the whole body is sent: a store that refuses an
8 MiB part early would look like a lost connection. Nothing is added to a request, above all no
``Accept-Encoding``, so that no proxy may compress.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias
from urllib.parse import urlsplit

from OpenSSL.SSL import Error as SslError
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.client import HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IClientRequest, IResponse
from zope.interface import implementer

from sftpgw.aio.work.scheduler import WorkScheduler
from sftpgw.http.body_producers import DirectBody, WrittenBody, body_on
from sftpgw.http.certificates import (
    Authorities,
    AuthoritiesUnusable,
    CertificateRefused,
    TlsFailed,
    VerifyingPolicy,
    demands_client_certificate,
)
from sftpgw.http.connect_attempts import BoundedHostEndpoint, MoreAttempts
from sftpgw.http.connections import Connections, CountedEndpoint
from sftpgw.http.drained_connections import DrainedConnections
from sftpgw.http.proxies import DEFAULT_PORTS, Proxies, Proxy, ProxyUnusable
from sftpgw.http.tls import GatheringPolicy
from sftpgw.http.tunnels import ProxyRefused, TunnelEndpoint
from sftpgw.model.clock import Clock
from sftpgw.model.units import KIB, Body

IDLE_SECONDS = 20

SMALL_PIECE_BYTES = 64
MAX_SMALL_PIECES = 10_000
"""How many chunks of fewer bytes than that a body may have. Each costs as much as a large one."""

LEAST_BYTES = 16 * KIB
"""A body that goes on after the timeout for silence must have moved by so much meanwhile. A byte
now and then would otherwise keep a request, its place and its memory for ever."""

MAX_LENGTH_BYTES = 2**63 - 1
FINAL_STATUSES = range(200, 600)

LOOKUP_SECONDS = 10.0
"""The time for the lookup of a store's address, on top of the timeout of the connection. Twisted
uses the system's resolver, which needs five seconds where its first server is away."""

_Origin: TypeAlias = tuple[str, str, int]
"""Scheme, host and port; there is one for each store, or for each bucket."""

FOR_GOOD = (
    AuthoritiesUnusable,
    CertificateRefused,
    TlsFailed,
    ProxyRefused,
    ProxyUnusable,
)
"""Reasons for which there is no connection, nor one for the next request: nothing was sent."""


NO_HTTP = "twisted.web._newclient.ParseError"
"""The name of a private exception of Twisted: no public one stands for it."""


class ConnectFailed(Exception):
    """No connection could be made: the request was not sent."""


class ConnectionBroken(Exception):
    """The connection or the response broke off; the request may have been carried out.

    A success that arrives before the whole body was sent counts as broken off, too.
    """


class NoHttp(Exception):
    """The response is not HTTP; the request may have been carried out."""


class ExchangeTimedOut(Exception):
    """Nothing moved for too long; the request may have been carried out."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as it is sent; only ``Content-Length`` is added, and ``Proxy-Authorization`` for a
    proxy.

    :param method: the HTTP method.
    :param url: percent-encoded; the path is sent byte for byte.
    :param headers: names and values, ``Host`` among them.
    :param body: its buffers, in order.
    :param response_timeout_seconds: how long the first byte of the response may take.
    :param silence_timeout_seconds: how long less than `LEAST_BYTES` may move while a body is sent
        or received. Where the response may take longer than that, one byte is enough.
    :param user: whose CPU time the response takes.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: Body
    response_timeout_seconds: float
    silence_timeout_seconds: float
    user: str = ""


class ResponseSink(Protocol):
    """Takes a response as it arrives. An exception that it raises ends the exchange."""

    def began(self, status: int, headers: Headers) -> None: ...

    def received(self, data: bytes) -> None: ...


class ConnectionPlaces:
    """How many connections there may be, of all clients of the process together.

    :param work: hands out CPU time to what arrives on them.
    :param most: as many are in use at once, idle ones included. An idle one is kept for the next
        request to its origin, and closed where another origin needs its place.
    :ivar under_way: how many exchanges are under way.
    """

    def __init__(self, work: WorkScheduler, most: int) -> None:
        self.most = most
        self.connections = Connections(work)
        self._routes: list[_Route] = []
        self.under_way = 0

    def add_route(self, route: _Route) -> None:
        """There is one more origin."""
        self._routes.append(route)

    def take(self, route: _Route) -> None:
        """An exchange begins: it needs a place.

        Idle connections to another origin are closed if one to this origin would be one too many.
        """
        if len(self._routes) > 1 and self.connections.count + self.under_way >= self.most:
            self._make_place(route)
        self.under_way += 1
        route.in_use += 1

    def _make_place(self, route: _Route) -> None:
        if route.idle_count > 0 or sum(each.taken_count for each in self._routes) < self.most:
            return
        most_idle = max(self._routes, key=lambda each: each.idle_count)
        if most_idle.idle_count > 0:
            most_idle.pool.closeCachedConnections()


class HttpClient:
    """The process's connections to one store, or to several with the same authorities and proxies.

    :param reactor: makes connections and times them.
    :param places: how many connections there may be, those of other clients included.
    :param connect_timeout_seconds: for each address of a store; all addresses and their lookup
        together may take `LOOKUP_SECONDS` more.
    :param find_authorities: returns the authorities that may sign a store's certificate; called
        when https first needs them.
    :param proxies: knows which hosts are reached through a proxy; None: no host is.
    :ivar places: the same.
    :ivar drained: connections whose responses are not wanted any more.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        places: ConnectionPlaces,
        connect_timeout_seconds: float,
        find_authorities: Callable[[], Authorities] = Authorities,
        proxies: Proxies | None = None,
    ) -> None:
        self._reactor = reactor
        self._connect_timeout_seconds = connect_timeout_seconds
        self._tls_policy = GatheringPolicy(VerifyingPolicy(find_authorities))
        self._proxies = proxies or Proxies("", {})
        self.places = places
        self._connections = Connections(places.connections.work, places.connections)
        self._more_attempts = MoreAttempts()
        # A route costs as much as a signature to make, and most requests find an idle connection.
        self._routes: dict[_Origin, _Route] = {}
        self._exchanges: set[_Exchange] = set()
        self.drained = DrainedConnections(reactor)
        self._is_closed = False

    def exchange(
        self,
        request: HttpRequest,
        sink: ResponseSink,
        on_sent: Callable[[int], None] | None = None,
    ) -> Deferred[None]:
        """Send `request` and pass its response, of any status, to `sink`.

        Cancelling the Deferred drops the connection, unless only a short rest of the response is
        to come (`http/drained_connections`).

        :param request: the request; its body is not copied.
        :param sink: takes status, headers and body of the response.
        :param on_sent: is called with the number of bytes each time some went into the connection,
            the head included.
        :raises ConnectFailed, ConnectionBroken, ExchangeTimedOut, NoHttp: and those in `FOR_GOOD`,
            and what `sink` raises
        """
        if self._is_closed:
            return fail(ConnectFailed("the gateway has closed its connections"))
        url = urlsplit(request.url)
        origin = (url.scheme, url.hostname or "", url.port or DEFAULT_PORTS[url.scheme])
        try:
            route = self._route(origin)
        except (AuthoritiesUnusable, ProxyUnusable):
            return fail()
        exchange = _Exchange(
            self._reactor,
            request,
            sink,
            route,
            drained=self.drained,
            on_end=self._ended,
            on_sent=on_sent,
        )
        self._exchanges.add(exchange)
        self.places.take(route)
        connecting = route.pool.getConnection(origin, route.endpoint)
        finished = exchange.finished  # which the exchange forgets when it ends
        exchange.start(connecting, self._connect_timeout_seconds + LOOKUP_SECONDS)
        return finished

    def _ended(self, exchange: _Exchange) -> None:
        self._exchanges.discard(exchange)
        self.places.under_way -= 1
        exchange.route.in_use -= 1

    async def close(self) -> None:
        """Drop every connection, in use or idle, and make no more; returns when they are gone."""
        self._is_closed = True  # first: a cancelled exchange may let the next one begin
        self.drained.abort_all()  # before: none of these may go back to the pool
        for exchange in tuple(self._exchanges):
            if exchange in self._exchanges:  # the end of another one may have ended it
                exchange.finished.cancel()
        for route in self._routes.values():
            await route.pool.closeCachedConnections()
        await self._connections.all_gone()

    def _route(self, origin: _Origin) -> _Route:
        """:raises AuthoritiesUnusable, ProxyUnusable: the settings allow no connection"""
        route = self._routes.get(origin)
        if route is None:
            route = self._routes[origin] = self._new_route(*origin)
            self.places.add_route(route)
        return route

    def _new_route(self, scheme: str, host: str, port: int) -> _Route:
        proxy = self._proxies.of(scheme, host, port)
        first_hop = f"{host}:{port}" if proxy is None else f"the proxy {proxy}"
        endpoint: IStreamClientEndpoint = BoundedHostEndpoint(
            self._reactor,
            host if proxy is None else proxy.host,
            port if proxy is None else proxy.port,
            self._connect_timeout_seconds,
            self._more_attempts,
        )
        if scheme == "https":
            if proxy is not None:
                endpoint = TunnelEndpoint(endpoint, proxy, host, port, self._connections)
                proxy = None  # only the tunnel knows of it, not the requests inside
            creator = self._tls_policy.creatorForNetloc(host.encode("ascii"), port)
            endpoint = wrapClientTLS(creator, endpoint)
        connections = Connections(self._connections.work, self._connections)
        endpoint = CountedEndpoint(endpoint, connections)
        return _Route(endpoint, self._new_pool(), connections, proxy, first_hop)

    def _new_pool(self) -> HTTPConnectionPool:
        pool = HTTPConnectionPool(self._reactor)
        pool.maxPersistentPerHost = self.places.most
        pool.cachedConnectionTimeout = IDLE_SECONDS
        pool.retryAutomatically = False  # hidden requests cannot be counted
        return pool


@dataclass(eq=False, slots=True)
class _Route:
    """How a store is reached.

    :param endpoint: makes connections.
    :param pool: its connections that are idle.
    :param connections: counts all of them.
    :param proxy: gets each request with the whole URL; None: the store gets it.
    :param first_hop: the other end of the connection, for messages.
    """

    endpoint: IStreamClientEndpoint
    pool: HTTPConnectionPool
    connections: Connections
    proxy: Proxy | None
    first_hop: str
    in_use: int = 0
    """How many exchanges have a connection of this route, or wait for one."""

    @property
    def idle_count(self) -> int:
        """How many connections are in no exchange; those that are closing count until they are
        gone."""
        return self.connections.count - self.in_use

    @property
    def taken_count(self) -> int:
        """How many connections there are, those that are being made included."""
        return max(self.connections.count, self.in_use)


class _Exchange(TwistedProtocol):
    """A request and its response on one connection; the protocol of the response's body.

    :param clock: times the exchange.
    :param request: what is sent.
    :param sink: takes the response.
    :param route: how the store is reached.
    :param drained: takes the connection if the response is given up shortly before its end.
    :param on_end: is called with this exchange when it ends.
    :param on_sent: is called with the number of bytes that went into the connection.
    """

    def __init__(
        self,
        clock: Clock,
        request: HttpRequest,
        sink: ResponseSink,
        route: _Route,
        *,
        drained: DrainedConnections,
        on_end: Callable[[_Exchange], object],
        on_sent: Callable[[int], None] | None,
    ) -> None:
        self.finished: Deferred[None] = Deferred(self._cancelled)
        self._clock = clock
        # Not the request itself: its body would live until this cycle is collected.
        self._user = request.user
        self._silence_timeout_seconds = request.silence_timeout_seconds
        self._response_timeout_seconds = request.response_timeout_seconds
        self._sink = sink
        self._drained = drained
        self._on_end = on_end
        self._on_sent = on_sent
        self.route = route
        self._peer_name = (
            f"the proxy {route.proxy}" if route.proxy else urlsplit(request.url).netloc
        )
        self._outgoing = _OutgoingRequest(request, route.proxy, self._sent)
        self._connecting: Deferred[Any] | None = None
        self._connection: Any = None
        self._timer: Any = None
        self._is_success = self._was_sent = False
        self._left_bytes: int | None = None  # of the response; None: unknown
        self._small_pieces = 0
        self._moved_bytes = 0  # since the timer was set
        self._is_over = False

    def start(self, connecting: Deferred[Any], limit_seconds: float) -> None:
        """Send the request when there is a connection.

        :param connecting: fires with the connection.
        :param limit_seconds: how long it may take to get one.
        """
        self._connecting = connecting
        connecting.addCallbacks(self._connected, self._not_connected)
        connecting.addErrback(self._broken)
        if self._connecting is not None:  # else an idle one was used, or none could be made
            self._timer = self._clock.callLater(limit_seconds, self._not_in_time, limit_seconds)

    # From connection to the end of the body.

    def _connected(self, connection: Any) -> None:
        self._connecting = None
        self._connection = connection
        connection.transport.serve(self._user)
        self._stop_timer()
        self._timer = self._clock.callLater(self._silence_timeout_seconds, self._timed_out)
        connection.transport.expect_head(self._on_excess)
        response = connection.request(self._outgoing)
        response.addCallback(self._responded)
        response.addErrback(self._broken)

    def _not_connected(self, failure: Failure) -> None:
        self._connecting = None
        if failure.check(*FOR_GOOD):
            self._finish(failure)
            return
        self._finish(Failure(ConnectFailed(f"{self.route.first_hop}: {failure.getErrorMessage()}")))

    def _not_in_time(self, limit_seconds: float) -> None:
        self._timer = None
        text = f"no connection within {limit_seconds:g} seconds, the lookup of the name included"
        self._finish(Failure(ConnectFailed(f"{self.route.first_hop}: {text}")))

    def _sent(self, size_bytes: int, is_all: bool) -> None:
        """Some bytes went into the connection, perhaps the last ones."""
        if self._on_sent is not None:
            self._on_sent(size_bytes)
        if self._timer is not None and is_all:
            self._set_timer(self._response_timeout_seconds)
        elif self._timer is not None:
            self._moved(size_bytes)

    def _moved(self, size_bytes: int) -> None:
        """A part of a body has moved: it may go on, if it is enough."""
        self._moved_bytes += size_bytes
        is_slow = self._response_timeout_seconds > self._silence_timeout_seconds
        if self._moved_bytes >= LEAST_BYTES or is_slow:  # S3 sends spaces while it copies
            self._set_timer(self._silence_timeout_seconds)

    def _set_timer(self, seconds: float) -> None:
        self._moved_bytes = 0
        self._timer.reset(seconds)

    def _responded(self, response: IResponse) -> None:
        self._connection.transport.end_head()
        if not _makes_sense(response):
            self._on_excess(f"the status {response.code} and the length {response.length}")
        if not self._is_over:
            self._set_timer(self._silence_timeout_seconds)
            self._is_success = 200 <= response.code < 300
            self._was_sent = self._outgoing.is_sent
            if response.length is not UNKNOWN_LENGTH:
                self._left_bytes = response.length
            self._call_sink(self._sink.began, response.code, _all_headers(response))
        response.deliverBody(self)

    def dataReceived(self, data: bytes) -> None:
        if len(data) < SMALL_PIECE_BYTES:
            self._count_small_piece()
        if not self._is_over:
            self._moved(len(data))
            if self._left_bytes is not None:
                self._left_bytes -= len(data)
            self._call_sink(self._sink.received, data)

    def _count_small_piece(self) -> None:
        """:raises NoHttp: there are too many; Twisted would go on with those that have come"""
        self._small_pieces += 1
        if self._small_pieces > MAX_SMALL_PIECES:
            excess = f"over {MAX_SMALL_PIECES} chunks of a few bytes"
            self._on_excess(excess)
            raise NoHttp(excess)

    def _on_excess(self, excess: str) -> None:
        self._finish(Failure(NoHttp(f"{self._peer_name} sends {excess}")))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        # A body without a length ends with its connection (PotentialDataLoss): a sink that
        # expects a size must count.
        self._drained.end(self._connection.transport)
        if not reason.check(ResponseDone, PotentialDataLoss):
            self._broken(reason)
        elif self._is_success and not self._is_sent_for(reason):
            # An error may come before the whole body was sent. A success may not: it is about a
            # part of the body.
            self._broken(Failure(ConnectionBroken("a success before the body was sent")))
        else:
            self._finish(None)

    def _is_sent_for(self, reason: Failure) -> bool:
        """Whether the body was sent, judged by how the response ended.

        A response without a length ends with the TLS connection, which silently drops later writes.
        """
        return self._was_sent if reason.check(PotentialDataLoss) else self._outgoing.is_sent

    # Ends.

    def _call_sink(self, method: Callable[..., None], *arguments: object) -> None:
        try:
            method(*arguments)
        except Exception:
            self._finish(Failure())

    def _broken(self, failure: Failure) -> None:
        tls_failure = _among_reasons(failure, SslError)
        if for_good := _among_reasons(failure, *FOR_GOOD):
            self._finish(for_good)
        elif tls_failure is not None and demands_client_certificate(tls_failure.value):
            text = f"{self._peer_name} wants a certificate of the gateway, which has none"
            self._finish(Failure(TlsFailed(text)))
        elif _among_reasons(failure, NO_HTTP):
            text = f"{self._peer_name} answers, but not in HTTP: {_reasons(failure)}"
            self._finish(Failure(NoHttp(text)))
        else:
            self._finish(Failure(ConnectionBroken(_reasons(failure))))

    def _timed_out(self) -> None:
        self._timer = None
        self._finish(Failure(ExchangeTimedOut("nothing moved for too long")))

    def _cancelled(self, finished: Deferred[None]) -> None:
        # Deferred.cancel fails `finished` itself with CancelledError.
        is_drained = self._outgoing.is_sent and self._drained.begin(
            self._connection.transport, self._left_bytes
        )
        self._stop(drop=not is_drained)

    def _finish(self, result: Failure | None) -> None:
        if self._is_over:
            return
        finished = self.finished
        self._stop(drop=result is not None or not self._outgoing.is_sent)
        if result is None:
            finished.callback(None)
        else:
            finished.errback(result)

    def _stop(self, *, drop: bool) -> None:
        self._is_over = True
        self._on_end(self)
        self._stop_timer()
        self._outgoing.stop(drop=drop)
        if self._connecting is not None:
            self._connecting.cancel()
        elif drop and self._connection is not None:
            self._connection.transport.abortConnection()
        if self._connection is not None:
            self._connection.transport.rest()
        # They lead back here: no cycle is left for the garbage collector.
        del self.finished
        self._connecting = None

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _makes_sense(response: IResponse) -> bool:
    is_known = response.length is not UNKNOWN_LENGTH
    return response.code in FINAL_STATUSES and not (is_known and response.length > MAX_LENGTH_BYTES)


def _all_headers(response: IResponse) -> Headers:
    """The response's headers with its ``Content-Length``, which Twisted stores apart."""
    headers: Headers = response.headers
    if response.length is not UNKNOWN_LENGTH and not headers.hasHeader(b"content-length"):
        headers.setRawHeaders(b"content-length", [b"%d" % response.length])
    return headers


def _among_reasons(failure: Failure, *kinds: type[Exception] | str) -> Failure | None:
    """This failure, or one that Twisted's HTTP client has wrapped in it, if it is of `kinds`."""
    if failure.check(*kinds):
        return failure
    inner: Iterable[Failure] = getattr(failure.value, "reasons", ())
    found = (_among_reasons(each, *kinds) for each in inner if isinstance(each, Failure))
    return next(filter(None, found), None)


def _reasons(failure: Failure) -> str:
    """The text of a failure, and of those that Twisted's HTTP client wraps in it."""
    inner: Iterable[Failure] = getattr(failure.value, "reasons", ())
    texts = [_reasons(each) for each in inner if isinstance(each, Failure)]
    if failure.check(ConnectionDone, ConnectionLost):
        return "the connection was closed"
    return "; ".join(dict.fromkeys(filter(None, texts))) or failure.getErrorMessage()


@implementer(IClientRequest)
class _OutgoingRequest:
    """A request as Twisted's HTTP client protocol sends it.

    `writeTo` returns at once, so that the protocol reads the response while the body is sent. The
    connection can take another request (`persistent`) only if the whole body is sent and the
    connection was not dropped: Twisted asks at the end of the response.

    :param request: what is sent.
    :param proxy: gets the request with the whole URL; None: the store gets it.
    :param on_progress: is called with the number of bytes that went out, and whether they were the
        last ones.
    """

    def __init__(
        self,
        request: HttpRequest,
        proxy: Proxy | None,
        on_progress: Callable[[int, bool], None],
    ) -> None:
        self.method = request.method.encode("ascii")
        self.absoluteURI = request.url.encode("ascii")
        self.headers = Headers()
        self.is_sent = False
        self._head = _head(request, proxy)
        self._body = request.body
        self._producer: DirectBody | WrittenBody | None = None
        self._on_progress = on_progress
        self._is_dropped = False

    @property
    def persistent(self) -> bool:
        return self.is_sent and not self._is_dropped

    def writeTo(self, transport: Any) -> Deferred[None]:
        body, self._body = self._body, ()
        self._producer = body_on(transport, (self._head, *body), self._progressed)
        self._producer.start()
        written: Deferred[None] = Deferred()
        written.callback(None)
        return written

    def stopWriting(self) -> None:
        """Nothing to stop: for the protocol, the request is already written."""

    def stop(self, *, drop: bool = False) -> None:
        """Send nothing more, and free the body."""
        self._is_dropped |= drop
        self._body = ()
        self._on_progress = _ignore_progress  # which led back to the exchange
        if self._producer is not None:
            self._producer.stop()
            self._producer = None

    def _progressed(self, size_bytes: int, is_all: bool) -> None:
        self.is_sent |= is_all
        self._on_progress(size_bytes, is_all)


def _ignore_progress(size_bytes: int, is_all: bool) -> None:
    """What goes out of a request that is over."""


def _head(request: HttpRequest, proxy: Proxy | None) -> bytes:
    """The request line and headers.

    :param proxy: gets the whole URL (RFC 9112, section 3.2.2); None: the store gets the path.
    :raises ValueError: a header contains a line break
    """
    _, _, after_scheme = request.url.partition("://")
    _, _, target = after_scheme.partition("/")
    lines = [f"{request.method} {request.url if proxy else f'/{target}'} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request.headers]
    if proxy is not None and proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    length_bytes = sum(memoryview(buffer).nbytes for buffer in request.body)
    if length_bytes or request.method in ("PUT", "POST"):
        lines.append(f"Content-Length: {length_bytes}")
    if any("\r" in line or "\n" in line or "\0" in line for line in lines):
        raise ValueError("a header may not contain a line break")
    return "\r\n".join([*lines, "", ""]).encode("ascii")
