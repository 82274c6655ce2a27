"""The LDAP servers, in their order, and the connections to them.

Knows: which server is tried next, how long, and which connections are used again.
Must not know: what is asked of a server.

Rules

1. The first server that answers is used. One that does not is passed over for `AWAY_SECONDS`,
   unless all are away: then each is tried again.
2. A server gets an equal part of ``ldap_timeout``, so that the last one is tried in time, too.
3. Connections on which the gateway reads, and those on which passwords are tried, are never
   mixed: the second ones are bound as a user for a moment.
4. Up to `MAX_IDLE` of each kind are kept for `IDLE_SECONDS`. One that the server has ended in the
   meantime is noticed at the next request, which is sent again on a new connection.
5. The service account binds once for each connection. If the server refuses it, it is not tried
   again for `REFUSED_SECONDS`, so that logins do not lock it.
6. Nothing but StartTLS is sent before TLS, where TLS is required.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ConnectError, DNSLookupError

from sftpgw.auth.sources.ldap_connection import ConnectionGone, LdapConnection
from sftpgw.errors import BadAnswer, SourceAway
from sftpgw.model.clock import Clock
from sftpgw.wire.ldap import ResultCode

MAX_IDLE = 4
IDLE_SECONDS = 60.0
AWAY_SECONDS = 30.0
REFUSED_SECONDS = 60.0

T = TypeVar("T")

Connect = Callable[[], Deferred[LdapConnection]]
"""Opens a connection, with TLS at once for ``ldaps``. Fails with an error of `twisted.internet`."""

AWAY_CODES = frozenset({ResultCode.BUSY, ResultCode.UNAVAILABLE})
"""What a server answers that cannot serve now."""


@dataclass(frozen=True, slots=True)
class LdapServer:
    """A server.

    :ivar name: what it is called in messages: its URL.
    :ivar connect: opens a connection.
    :ivar tls_creator: what StartTLS takes; None where it is not used.
    """

    name: str
    connect: Connect
    tls_creator: Callable[[], Any] | None = None


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """As whom the gateway reads.

    :ivar dn: the name of the entry; empty to read without a name.
    :ivar read_password: reads its password; raises ValueError, in words for the operator.
    """

    dn: str
    read_password: Callable[[], bytes]


class ServerConnections:
    """The connections to one server.

    :param server: the server.
    :param account: as whom the gateway reads.
    :param clock: tells how long something is ago.
    :ivar away_until_seconds: when it is tried again.
    """

    def __init__(self, server: LdapServer, account: ServiceAccount, clock: Clock) -> None:
        self.away_until_seconds = 0.0
        self._server = server
        self._account = account
        self._clock = clock
        self._refused_until_seconds = 0.0
        self._refused_why = ""
        self._readers: deque[LdapConnection] = deque()
        self._binders: deque[LdapConnection] = deque()

    @property
    def name(self) -> str:
        """What the server is called in messages."""
        return self._server.name

    async def reading(self, work: Callable[[LdapConnection], Awaitable[T]]) -> T:
        """What comes of work on a connection that may read entries.

        :param work: takes the connection.
        :raises ConnectionGone: the server does not answer, or refuses the service account.
        """
        return await self._on_connection(self._readers, self._new_reader, work)

    async def proving(self, work: Callable[[LdapConnection], Awaitable[T]]) -> T:
        """What comes of work on a connection that binds first.

        :param work: takes the connection.
        :raises ConnectionGone: the server does not answer.
        """
        return await self._on_connection(self._binders, self._open, work)

    def close(self) -> None:
        """End the connections that are not used."""
        for idle in (self._readers, self._binders):
            while idle:
                idle.popleft().close()

    async def _on_connection(
        self,
        idle: deque[LdapConnection],
        make: Callable[[], Awaitable[LdapConnection]],
        work: Callable[[LdapConnection], Awaitable[T]],
    ) -> T:
        connection = self._take(idle)
        if connection is not None:
            try:
                return await self._used(connection, idle, work)
            except ConnectionGone:
                pass  # rule 4
        return await self._used(await make(), idle, work)

    async def _used(
        self,
        connection: LdapConnection,
        idle: deque[LdapConnection],
        work: Callable[[LdapConnection], Awaitable[T]],
    ) -> T:
        try:
            return await work(connection)
        except BadAnswer:
            raise  # the answer makes no sense; whether the connection does, it knows itself
        except BaseException:
            connection.give_up()
            raise
        finally:
            self._put_aside(connection, idle)

    def _put_aside(self, connection: LdapConnection, idle: deque[LdapConnection]) -> None:
        if not connection.is_usable or len(idle) >= MAX_IDLE:
            connection.close()
        else:
            connection.idle_since_seconds = self._clock.seconds()
            idle.append(connection)

    def _take(self, idle: deque[LdapConnection]) -> LdapConnection | None:
        """The connection that was used last; those that are too old end."""
        since_seconds = self._clock.seconds() - IDLE_SECONDS
        while idle and idle[0].idle_since_seconds < since_seconds:
            idle.popleft().close()
        while idle:
            found = idle.pop()
            if found.is_usable:
                return found
        return None

    async def _open(self) -> LdapConnection:
        try:
            connection = await self._server.connect()
        except (ConnectError, DNSLookupError, OSError) as error:
            raise ConnectionGone(str(error) or type(error).__name__) from None
        if self._server.tls_creator is not None:
            try:
                await connection.start_tls(self._server.tls_creator())
            except BaseException:
                connection.give_up()
                raise
        return connection

    async def _new_reader(self) -> LdapConnection:
        if not self._account.dn:
            return await self._open()
        if self._clock.seconds() < self._refused_until_seconds:
            raise ConnectionGone(self._refused_why)
        try:
            password = self._account.read_password()
        except ValueError as error:
            raise ConnectionGone(str(error)) from None
        connection = await self._open()
        try:
            result = await connection.bind(self._account.dn, password)
        except BaseException:
            connection.give_up()
            raise
        if result.code != ResultCode.SUCCESS:
            connection.close()
            self._refuse(f"the server refuses [auth] ldap_service_dn ({result})")
        return connection

    def _refuse(self, why: str) -> None:
        self._refused_why = why
        self._refused_until_seconds = self._clock.seconds() + REFUSED_SECONDS
        raise ConnectionGone(why)


class LdapServers:
    """All servers.

    :param servers: the connections to each, in their order.
    :param clock: ends what takes too long.
    :param timeout_seconds: how long all servers together may take.
    """

    def __init__(
        self, servers: Sequence[ServerConnections], clock: Clock, timeout_seconds: float
    ) -> None:
        self._servers = tuple(servers)
        self._clock = clock
        self._each_seconds = timeout_seconds / len(self._servers)

    async def first_that(self, work: Callable[[ServerConnections], Coroutine[Any, Any, T]]) -> T:
        """What comes of work with the first server that answers.

        :param work: takes the connections to a server.
        :raises SourceAway: none answers.
        """
        now_seconds = self._clock.seconds()
        there = [each for each in self._servers if each.away_until_seconds <= now_seconds]
        reasons = []
        for server in there or self._servers:
            try:
                return await self._in_time(work(server))
            except ConnectionGone as error:
                server.away_until_seconds = self._clock.seconds() + AWAY_SECONDS
                reasons.append(f"{server.name}: {error}")
        raise SourceAway("; ".join(reasons))

    async def _in_time(self, work: Coroutine[Any, Any, T]) -> T:
        answered = Deferred.fromCoroutine(work)
        answered.addTimeout(self._each_seconds, self._clock)  # type: ignore[arg-type]
        try:
            return await answered
        except TimeoutError:
            text = f"no answer within {self._each_seconds:g} s ([auth] ldap_timeout)"
            raise ConnectionGone(text) from None
