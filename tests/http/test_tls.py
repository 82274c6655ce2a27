"""TLS records are passed on as many at a time as have arrived."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import ProtocolWrapper

from sftpgw.http.tls import GATHERED_BYTES, GatheringPolicy, RecordWriter, record_writer
from sftpgw.model.units import KIB

RECORD_BYTES = 16 * KIB


def server_context() -> SSL.Context:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "store.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    context = SSL.Context(SSL.TLS_METHOD)
    context.use_certificate(certificate)
    context.use_privatekey(key)
    return context


class Creator:
    """The connection creator of a policy; its connections trust every certificate."""

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        connection = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
        connection.set_connect_state()
        return connection


class Policy:
    def creatorForNetloc(self, hostname: bytes, port: int) -> Creator:
        assert (hostname, port) == (b"store.example", 443)
        return Creator()


def move(source: Any, target: Any) -> None:
    """All output of `source`."""
    while True:
        try:
            target.bio_write(source.bio_read(64 * KIB))
        except SSL.WantReadError:
            return


@pytest.fixture
def pair() -> tuple[Any, SSL.Connection]:
    """The connections of a client and a server after their handshake."""
    creator = GatheringPolicy(Policy()).creatorForNetloc(b"store.example", 443)  # type: ignore[arg-type]
    client, server = creator.clientConnectionForTLS(None), SSL.Connection(server_context(), None)
    server.set_accept_state()
    for _ in range(3):
        for one, other in ((client, server), (server, client)):
            with contextlib.suppress(SSL.WantReadError):
                one.do_handshake()
            move(one, other)
    return client, server


def test_all_records_that_are_there_come_at_once(pair: tuple[Any, SSL.Connection]) -> None:
    client, server = pair
    for number in range(10):
        server.send(bytes([number]) * RECORD_BYTES)
    move(server, client)
    expected = b"".join(bytes([number]) * RECORD_BYTES for number in range(10))
    assert client.recv(32 * KIB) == expected
    with pytest.raises(SSL.WantReadError):
        client.recv(32 * KIB)


def test_not_more_than_so_many_at_once(pair: tuple[Any, SSL.Connection]) -> None:
    client, server = pair
    count = 2 * GATHERED_BYTES // RECORD_BYTES
    for _ in range(count):
        server.send(bytes(RECORD_BYTES))
    move(server, client)
    assert [len(client.recv(32 * KIB)) for _ in range(2)] == [GATHERED_BYTES] * 2


def test_the_end_behind_data_is_told_after_it(pair: tuple[Any, SSL.Connection]) -> None:
    client, server = pair
    server.send(b"the last words")
    server.shutdown()
    move(server, client)
    assert client.recv(32 * KIB) == b"the last words"
    with pytest.raises(SSL.ZeroReturnError):
        client.recv(32 * KIB)


def test_damage_behind_data_is_told_after_it(pair: tuple[Any, SSL.Connection]) -> None:
    client, server = pair
    server.send(b"whole")
    move(server, client)
    server.send(b"damaged")
    record = bytearray(server.bio_read(64 * KIB))
    record[-1] ^= 1
    client.bio_write(bytes(record))
    assert client.recv(32 * KIB) == b"whole"
    with pytest.raises(SSL.Error):
        client.recv(32 * KIB)


class TlsTransport(ProtocolWrapper):
    """A TLS transport as a writer sees it; `asked` is what was written through Twisted."""

    def __init__(self, connection: Any) -> None:
        self.transport = StringTransport()
        self.asked = b""
        self._connection = connection

    def getHandle(self) -> Any:
        return self._connection

    def write(self, data: bytes) -> None:
        self.asked += data


def writer_on(transport: TlsTransport) -> RecordWriter:
    writer = record_writer(transport)
    assert writer is not None
    return writer


def received(transport: TlsTransport, server: SSL.Connection) -> bytes:
    """What the server decrypts from the bytes sent to TCP."""
    server.bio_write(transport.transport.value())
    transport.transport.clear()
    data = b""
    with contextlib.suppress(SSL.WantReadError):
        while True:
            data += server.recv(64 * KIB)
    return data


def test_buffers_become_records_without_twisted(pair: tuple[Any, SSL.Connection]) -> None:
    client, server = pair
    transport = TlsTransport(client)
    writer = writer_on(transport)
    buffers = (bytes(100 * KIB), bytearray(b"x" * 50), memoryview(b"y" * 40 * KIB)[3:])
    writer.write(buffers)
    writer.write((b"the end",))
    assert received(transport, server) == b"".join(buffers) + b"the end"
    assert transport.asked == b""


def test_before_the_handshake_twisted_is_asked_and_then_until_the_end() -> None:
    creator = GatheringPolicy(Policy()).creatorForNetloc(b"store.example", 443)  # type: ignore[arg-type]
    transport = TlsTransport(creator.clientConnectionForTLS(None))
    writer = writer_on(transport)
    writer.write((b"head", b"body"))
    writer.write((b"more",))
    assert transport.asked == b"headbodymore"
    assert transport.transport.value()[:1] == b"\x16"  # a record of the handshake, not data


def test_a_connection_that_has_failed_is_left_to_twisted(pair: tuple[Any, SSL.Connection]) -> None:
    client, _ = pair
    with contextlib.suppress(SSL.Error):
        client.shutdown()
    transport = TlsTransport(client)
    writer_on(transport).write((b"too late",))
    assert transport.asked == b"too late"


def test_whatever_else_has_a_handle_is_no_tls_of_ours() -> None:
    assert record_writer(TlsTransport(object())) is None
    assert record_writer(StringTransport()) is None
