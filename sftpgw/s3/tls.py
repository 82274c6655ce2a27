"""TLS for bodies that are large.

Knows: what costs time between TCP and the HTTP parser: the size of what is passed on.
Must not know: HTTP, certificates, which stay with the policy that it wraps.

TLS comes in records of 16 KiB. Twisted passes each of them on by itself, through ten
layers of HTTP; here they are passed on as many at a time as have arrived. That is done
where Twisted lets one do it, in the connection that `IOpenSSLClientConnectionCreator`
makes: Twisted's TLS transport stays as it is.
"""

from __future__ import annotations

from typing import Any

from OpenSSL.SSL import Error, WantReadError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from sftpgw.values import KIB

GATHERED_BYTES = 256 * KIB


class _GatheringConnection:
    """An `OpenSSL.SSL.Connection` whose `recv` returns all the records that are there.

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
