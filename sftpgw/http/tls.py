"""TLS for bodies that are large.

Knows: what costs time between TCP and HTTP: what is done for each record of 16 KiB.
Must not know: HTTP, certificates, which stay with the policy that it wraps.

What arrives, Twisted passes on record by record, through ten layers of HTTP; here records are
passed on as many at a time as have come. What is sent, Twisted joins, slices, and moves on
record by record, too; here the records of many buffers are made from these as they are, and
moved on together. Both are done in the connection that `IOpenSSLClientConnectionCreator` makes
for Twisted's TLS transport, which stays as it is, and is asked wherever OpenSSL wants something
else first: a handshake above all, so that a connection's first request goes Twisted's way.
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
"""What is taken from OpenSSL at a time: a body's turn, with what TLS adds."""


def tcp_below(transport: Any) -> Any:
    """The transport below TLS and other wrappers, if there are any."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport


class RecordWriter:
    """Writes into a TLS transport, from the first bytes of a request to its last.

    No earlier bytes may wait in the transport, and no other code may write to it.
    """

    def __init__(self, transport: Any, connection: _GatheringConnection) -> None:
        self._transport = transport
        self._connection = connection
        self._tcp = tcp_below(transport)
        self._asks_twisted = False

    def write(self, buffers: Body) -> None:
        """Send all of `buffers`."""
        rest: Body = buffers if self._asks_twisted else self._sealed(buffers)
        if rest:
            # Its buffer is behind what OpenSSL waits for: all that follows has to go there.
            self._asks_twisted = True
            self._transport.write(b"".join(rest))

    def _sealed(self, buffers: Body) -> Body:
        """Send as many buffers as OpenSSL takes now; what is left."""
        left = deque(buffers)
        # What is more than WantReadError, Twisted meets again, and ends the connection.
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
    """What writes into `transport`, if that is TLS by a `GatheringPolicy`."""
    get_handle = getattr(transport, "getHandle", None)
    connection = get_handle() if get_handle is not None else None
    if isinstance(connection, _GatheringConnection):
        return RecordWriter(transport, connection)
    return None


class _GatheringConnection:
    """An `OpenSSL.SSL.Connection` whose `recv` returns all the records that are there, and
    `records` all that are to be sent.

    An error met behind some of them is raised by the next `recv`: OpenSSL repeats it.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        # Asked for all the time: __getattr__ would be asked first.
        self.send = connection.send
        self.bio_read = connection.bio_read
        self.bio_write = connection.bio_write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def recv(self, size_bytes: int) -> bytes:
        """At least one record's bytes.

        :raises WantReadError: there is none. :raises Error: and what else OpenSSL says.
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
        """All that OpenSSL has to send."""
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
    """Verifies as `policy` does."""

    def __init__(self, policy: IPolicyForHTTPS) -> None:
        self._policy: Any = policy

    def creatorForNetloc(self, hostname: bytes, port: int) -> _GatheringCreator:
        return _GatheringCreator(self._policy.creatorForNetloc(hostname, port))
