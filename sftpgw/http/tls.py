"""TLS for large bodies: fewer steps for each record of 16 KiB.

Knows: how Twisted's TLS transport uses an OpenSSL connection.
Must not know: HTTP; certificates, which are the wrapped policy's part.

Twisted passes received records on one by one, each through ten layers of HTTP. Here all records
that have arrived are passed on together. Twisted joins the buffers to be sent, cuts them into
records and moves each record by itself. Here OpenSSL makes the records directly from the buffers,
and all records are moved together.

Both happen in the connection that `IOpenSSLClientConnectionCreator` makes for Twisted's TLS
transport. The transport itself is unchanged, and it is used whenever OpenSSL must do something
else first, as in a handshake; so the first request of a connection goes through Twisted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from OpenSSL.SSL import Error, WantReadError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.protocols.policies import ProtocolWrapper
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from sftpgw.model.units import KIB, Body

GATHERED_BYTES = 256 * KIB
RECORDS_BYTES = 288 * KIB
"""How much output of OpenSSL is moved at a time: one batch of a body, with the overhead of TLS."""


def tcp_under(transport: Any) -> Any:
    """The TCP transport under TLS and other wrappers, if there are any."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport


class RecordWriter:
    """Writes one request into a TLS transport.

    The transport's buffer must be empty at the start, and nothing else may write meanwhile.

    :param transport: Twisted's TLS transport.
    :param connection: its OpenSSL connection.
    """

    def __init__(self, transport: Any, connection: _GatheringConnection) -> None:
        self._transport = transport
        self._connection = connection
        self._tcp = tcp_under(transport)
        self._uses_twisted = False

    def write(self, buffers: Body) -> None:
        """Send all of `buffers`."""
        rest: Body = buffers if self._uses_twisted else self._sealed(buffers)
        if rest:
            # OpenSSL must do something else first: the rest must queue in Twisted's buffer.
            self._uses_twisted = True
            self._transport.write(b"".join(rest))

    def _sealed(self, buffers: Body) -> Body:
        """Send as many buffers as OpenSSL takes now; returns the rest."""
        left = deque(buffers)
        # Twisted meets any error but WantReadError again, and ends the connection.
        with suppress(Error):
            while left:
                taken_bytes = self._connection.send(left[0])
                if taken_bytes < len(left[0]):
                    left[0] = memoryview(left[0])[taken_bytes:]
                else:
                    left.popleft()
        for records in self._connection.records():
            self._tcp.write(records)
        return tuple(left)


def record_writer(transport: Any) -> RecordWriter | None:
    """A writer into `transport`, if it is TLS made by a `GatheringPolicy`; else None."""
    get_handle = getattr(transport, "getHandle", None)
    connection = get_handle() if get_handle is not None else None
    if isinstance(connection, _GatheringConnection):
        return RecordWriter(transport, connection)
    return None


class _GatheringConnection:
    """An `OpenSSL.SSL.Connection` that handles many records at a time.

    `recv` returns all records that have arrived, `records` all that are to be sent. An error that
    follows some records is raised by the next `recv`: OpenSSL repeats it.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        # Used all the time: __getattr__ would cost too much.
        self.send = connection.send
        self.bio_read = connection.bio_read
        self.bio_write = connection.bio_write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def recv(self, size_bytes: int) -> bytes:
        """The bytes of at least one record.

        :raises WantReadError: no record is complete
        :raises Error: OpenSSL reports an error
        """
        first: bytes = self._connection.recv(size_bytes)
        records, gathered_bytes = [first], len(first)
        while gathered_bytes < GATHERED_BYTES:
            try:
                record = self._connection.recv(size_bytes)
            except (Error, WantReadError):
                break
            records.append(record)
            gathered_bytes += len(record)
        return b"".join(records)

    def records(self) -> Iterator[bytes]:
        """All output of OpenSSL that is to be sent."""
        with suppress(WantReadError):
            while True:
                yield self._connection.bio_read(RECORDS_BYTES)


@implementer(IOpenSSLClientConnectionCreator)
class _GatheringCreator:
    def __init__(self, creator: Any) -> None:
        self._creator = creator

    def clientConnectionForTLS(self, tlsProtocol: Any) -> Any:
        return _GatheringConnection(self._creator.clientConnectionForTLS(tlsProtocol))


@implementer(IPolicyForHTTPS)
class GatheringPolicy:
    """Makes connections that handle many records at a time.

    :param policy: verifies certificates.
    """

    def __init__(self, policy: IPolicyForHTTPS) -> None:
        self._policy: Any = policy

    def creatorForNetloc(self, hostname: bytes, port: int) -> _GatheringCreator:
        return _GatheringCreator(self._policy.creatorForNetloc(hostname, port))
