"""TLS servers with right and wrong certificates, and an HTTP proxy that leads to them.

Knows: how certificates are made; CONNECT.
Must not know: the protocol inside.

    authority = Authority.new()
    server = TlsServer(factory, authority.issue(["store.example"]))
    await server.listen(reactor)
    proxy = TunnelProxy(server.port)            # it leads there, whichever host is asked for
    await proxy.listen(reactor)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL
from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

DAY = timedelta(days=1)

Key: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Issued:
    """A certificate, its key, and the chain that a server sends with it.

    :param certificate: the certificate.
    :param key: its private key.
    :param chain: the authorities between this certificate and a trusted one.
    """

    certificate: x509.Certificate
    key: Key
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True)
class Authority:
    """Signs certificates.

    :param issued: its own certificate.
    :param chain: what servers send with the certificates that it signs.
    """

    issued: Issued
    chain: tuple[x509.Certificate, ...] = field(default=())

    @classmethod
    def new(cls, name: str = "test authority", **changes: Any) -> Authority:
        """A self-signed authority.

        :param name: the common name of the authority.
        :param changes: parameters of `make_certificate`.
        """
        return cls(
            make_certificate(None, names=None, common_name=name, is_authority=True, **changes)
        )

    def issue(self, names: Sequence[x509.GeneralName | str] | None, **changes: Any) -> Issued:
        """A certificate for a server.

        :param names: as for `make_certificate`.
        :param changes: parameters of `make_certificate`.
        """
        issued = make_certificate(self.issued, names=names, **changes)
        return Issued(issued.certificate, issued.key, self.chain)

    def delegate(self, **changes: Any) -> Authority:
        """An intermediate authority that this one has signed."""
        values: dict[str, Any] = {"common_name": "delegate", "is_authority": True} | changes
        issued = make_certificate(self.issued, names=None, **values)
        return Authority(issued, (issued.certificate, *self.chain))

    @property
    def pem(self) -> bytes:
        return self.issued.pem


def make_certificate(
    issuer: Issued | None,
    *,
    names: Sequence[x509.GeneralName | str] | None,
    common_name: str = "",
    since: timedelta = -DAY,
    until: timedelta = DAY,
    is_authority: bool = False,
    extensions: Iterable[x509.ExtensionType] = (),
    rsa_bits: int = 0,
) -> Issued:
    """A certificate and a new key.

    :param issuer: signs the certificate; None: it is self-signed.
    :param names: for subjectAltName, DNS names as text; None: the certificate has none.
    :param common_name: of the subject; "": it has none.
    :param since: when the certificate becomes valid, from now.
    :param until: when it expires, from now.
    :param is_authority: it may sign others.
    :param extensions: further extensions.
    :param rsa_bits: the size of an RSA key; 0: a key of P-256.
    """
    key: Key = ec.generate_private_key(ec.SECP256R1())
    if rsa_bits:
        key = rsa.generate_private_key(65537, rsa_bits)
    attributes = [x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)] if common_name else []
    subject = x509.Name(attributes)
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + since)
        .not_valid_after(now + until)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if names is not None:
        general = [x509.DNSName(name) if isinstance(name, str) else name for name in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return Issued(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


@implementer(IOpenSSLServerConnectionCreator)
class _ServerCreator:
    def __init__(self, issued: Issued, *, wants_certificate: bool) -> None:
        self._context = SSL.Context(SSL.TLS_SERVER_METHOD)
        if wants_certificate:
            self._context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
        self._context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")  # short keys are allowed
        self._context.use_certificate(issued.certificate)
        self._context.use_privatekey(issued.key)
        for certificate in issued.chain:
            self._context.add_extra_chain_cert(certificate)

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        return SSL.Connection(self._context, None)


class TlsServer:
    """Serves `factory` over TLS, on a free port of the loopback interface.

    :param factory: makes the protocol inside TLS.
    :param issued: the server's certificate.
    :param wants_certificate: clients must show a certificate, too.
    """

    def __init__(
        self, factory: Factory, issued: Issued, *, wants_certificate: bool = False
    ) -> None:
        creator = _ServerCreator(issued, wants_certificate=wants_certificate)
        self._factory = TLSMemoryBIOFactory(creator, False, factory)
        self._factory.noisy = False
        self._port: Any = None

    async def listen(self, reactor: Any) -> None:
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        self._port = await endpoint.listen(self._factory)

    @property
    def port(self) -> int:
        return int(self._port.getHost().port)

    async def close(self) -> None:
        """Stop listening; connections stay."""
        await maybeDeferred(self._port.stopListening)


class TunnelProxy(Factory):
    """An HTTP proxy that knows only CONNECT.

    :param target_port: the port of the loopback interface to which all tunnels lead.
    :param refusal: the status line of its responses; "": it makes tunnels.
    """

    noisy = False

    def __init__(self, target_port: int, refusal: str = "") -> None:
        self.heads: list[str] = []
        """The heads of the requests, as they arrived."""
        self.refusal = refusal
        self.target_port = target_port
        self.reactor: Any = None
        self._port: Any = None

    async def listen(self, reactor: Any) -> None:
        self.reactor = reactor
        self._port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(self)

    @property
    def port(self) -> int:
        return int(self._port.getHost().port)

    def buildProtocol(self, addr: object) -> _ProxyConnection:
        return _ProxyConnection(self)

    async def close(self) -> None:
        """Stop listening; a tunnel stays until one end is gone."""
        await maybeDeferred(self._port.stopListening)


class _ProxyConnection(Protocol):
    transport: Any

    def __init__(self, owner: TunnelProxy) -> None:
        self._owner = owner
        self._head = b""
        self._waiting = b""
        self._other: Any = None

    def dataReceived(self, data: bytes) -> None:
        if self._other is not None:
            self._other.write(data)
            return
        self._head += data
        head, end, self._waiting = self._head.partition(b"\r\n\r\n")
        if not end:
            return
        self._owner.heads.append(head.decode("ascii"))
        if self._owner.refusal:
            self.transport.write(f"{self._owner.refusal}\r\n\r\n".encode())
            self.transport.loseConnection()
            return
        endpoint = TCP4ClientEndpoint(self._owner.reactor, "127.0.0.1", self._owner.target_port)
        factory = Factory.forProtocol(lambda: _FarEnd(self))
        factory.noisy = False
        endpoint.connect(factory).addCallbacks(self._connected, self._not_connected)

    def _connected(self, far_end: Any) -> None:
        self._other = far_end.transport
        self.transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

    def _not_connected(self, failure: Failure) -> None:
        self.transport.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._other is not None:
            self._other.loseConnection()


class _FarEnd(Protocol):
    def __init__(self, near: _ProxyConnection) -> None:
        self._near = near

    def dataReceived(self, data: bytes) -> None:
        self._near.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._near.transport.loseConnection()
