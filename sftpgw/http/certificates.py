"""Verifies that the other end of a TLS connection is the store.

Knows: certificates, host names, trusted authorities, and how to explain what is wrong.
Must not know: HTTP, or how records are moved (`http/tls`).

Rules

1. OpenSSL verifies the chain: signatures, dates, purpose. `service_identity` compares the names one
   by one: a name that makes no sense is ignored, and the other names still count.
2. The handshake goes on only if everything is right. Anything else refuses the certificate, any
   exception included. Twisted's own check accepts a certificate whose names it cannot read (no
   names, ``*``), because it treats only one kind of exception as a refusal.
3. The check happens within the handshake, in OpenSSL's callback. So no part of a request, which
   carries a signature, is sent before it.
4. Only subjectAltName counts: a DNS name for a host name, an IP address for an address. The common
   name has not counted for ten years (RFC 9525, section 2).

https://www.rfc-editor.org/rfc/rfc9525
https://docs.openssl.org/3.5/man3/SSL_CTX_set_verify/
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from cryptography import x509
from OpenSSL import SSL, crypto
from OpenSSL.SSL import Error, SysCallError, WantReadError, WantWriteError
from service_identity.exceptions import CertificateError
from service_identity.hazmat import (
    DNS_ID,
    CertificatePattern,
    DNSPattern,
    IPAddress_ID,
    IPAddressPattern,
    verify_service_identity,
)
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from sftpgw.http.hosts import is_address

CIPHERS = (
    b"ECDH+AESGCM:ECDH+CHACHA20:DH+AESGCM:DH+CHACHA20:ECDH+AES256:DH+AES256:"
    b"ECDH+AES128:DH+AES:RSA+AESGCM:RSA+AES:!aNULL:!MD5:!DSS"
)
"""For TLS 1.2, the same as Twisted's. TLS 1.3 uses OpenSSL's default."""

MAX_NAMES_CHARACTERS = 300
"""How many characters of the certificate's names are put into a message."""

_EXPIRED, _NOT_YET_VALID = 10, 9
_CHAIN_FAULTS = {
    2: "its issuer is not among the trusted authorities",
    7: "its signature is wrong",
    18: "it is signed by itself, and is not among the trusted authorities",
    19: "it comes with an authority that is not among the trusted ones",
    20: "its issuer is not among the trusted authorities",
    21: "its issuer is not among the trusted authorities",
    23: "it has been revoked",
    24: "its issuer is no authority",
    25: "its chain of authorities is longer than one of them allows",
    26: "it is not made for a server (extendedKeyUsage)",
    47: "one of its authorities is not made for this name",
    48: "one of its authorities is not made for this name",
    66: "its key is too short",
    67: "the key of its authority is too short",
    68: "its hash function is too weak",
    79: "its issuer is no authority",
}
"""By OpenSSL's numbers (``X509_V_ERR_…`` in x509_vfy.h)."""

_UNKNOWN_ISSUER = frozenset({2, 18, 19, 20, 21})

_PASSING_REASONS = (
    "bad record mac",
    "decryption failed",
    "internal error",
    "unexpected eof",
    "user cancel",
)
"""OpenSSL's reasons for a failed handshake that may succeed the next time."""

_NO_TLS_REASONS = (
    "http request",
    "packet length too long",
    "record layer failure",
    "wrong version number",
)
"""OpenSSL's reasons where the other end speaks no TLS at all."""


_CLIENT_CERTIFICATE_REASONS = ("certificate required", "alert bad certificate", "alert unknown ca")
"""OpenSSL's reasons where the other end demands a client certificate; in TLS 1.3 they come after
the handshake."""


class _HandshakeFailed(Error):
    """An error with the arguments of OpenSSL's own errors, which Twisted expects."""

    def __init__(self, message: str) -> None:
        super().__init__([("sftpgw", "", message)])
        self.message = message

    def __str__(self) -> str:
        return self.message


class CertificateRefused(_HandshakeFailed):
    """The other end has not proved that it is the store."""


class TlsFailed(_HandshakeFailed):
    """The other end speaks no TLS, or no version that the gateway speaks; a retry rarely helps."""


class AuthoritiesUnusable(Exception):
    """The file with the trusted authorities cannot be read."""


def demands_client_certificate(error: BaseException | None) -> bool:
    """Whether the store ended a connection because it demands a client certificate."""
    return isinstance(error, Error) and any(
        reason in _reason(error) for reason in _CLIENT_CERTIFICATE_REASONS
    )


@dataclass(frozen=True, slots=True)
class Authorities:
    """The authorities that may sign the store's certificate.

    :param ca_file: a file of PEM certificates; "": the authorities of the system.
    :param named_by: the setting that names the file, for messages.
    :param setting: the setting that may name another file, for messages.
    :param host_setting: the settings that say which host is asked for, for messages.
    """

    ca_file: str = ""
    named_by: str = "[s3] ca_file"
    setting: str = "[s3] ca_file"
    host_setting: str = "[s3] endpoint and addressing"


def check_ca_file(path: str) -> None:
    """Check a value of `[s3] ca_file`. :raises ValueError: it is not a file of PEM certificates"""
    try:
        _add_authorities(SSL.Context(SSL.TLS_CLIENT_METHOD), path)
    except (Error, OSError) as error:
        raise ValueError(f"{path}: {_file_fault(error)}") from error


def _file_fault(error: Error | OSError) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "there is no certificate in it that can be read; PEM is needed (-----BEGIN CERTIFICATE)"


def _add_authorities(context: SSL.Context, path: str) -> None:
    with open(path, "rb"):  # OpenSSL does not say why it cannot read a file
        context.load_verify_locations(path)
    store = context.get_cert_store()
    if store is not None:
        # As in curl: an intermediate authority, or the store's own certificate, is enough.
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)


@implementer(IPolicyForHTTPS)
class VerifyingPolicy:
    """Makes connections that end unless the other end proves to be the requested host.

    A file of authorities is read again when it has changed: private authorities are renewed while
    the gateway runs. If it cannot be read then, the old authorities stay.

    :param find_authorities: called when the first connection is made: loading the authorities
        takes time and memory that plain http never needs.
    """

    def __init__(self, find_authorities: Callable[[], Authorities]) -> None:
        self._find_authorities = find_authorities
        self._trust: _Trust | None = None

    def creatorForNetloc(self, hostname: bytes, port: int) -> _VerifyingCreator:
        """:raises AuthoritiesUnusable: the file with the authorities cannot be read"""
        self.trust()
        return _VerifyingCreator(self, hostname.decode("ascii"))

    def trust(self) -> _Trust:
        """The authorities for a connection that is made now.

        :raises AuthoritiesUnusable: they could never be read so far
        """
        if self._trust is None:
            self._trust = _Trust.load(self._find_authorities())
        elif self._trust.version != _version(self._trust.authorities.ca_file):
            try:
                self._trust = _Trust.load(self._trust.authorities)
            except AuthoritiesUnusable:
                self._trust = replace(
                    self._trust, version=_version(self._trust.authorities.ca_file)
                )
        return self._trust


@dataclass(frozen=True, slots=True)
class _Trust:
    """Authorities, loaded into OpenSSL.

    :param version: the version of their file, None without a file.
    """

    context: SSL.Context
    authorities: Authorities
    version: tuple[int, ...] | None

    @classmethod
    def load(cls, authorities: Authorities) -> _Trust:
        """:raises AuthoritiesUnusable: they cannot be read"""
        # Before the file is read, since it may change meanwhile.
        version = _version(authorities.ca_file)
        return cls(_client_context(authorities), authorities, version)


def _version(path: str) -> tuple[int, ...] | None:
    """A value that changes when the file does, None without a file."""
    if not path:
        return None
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _client_context(authorities: Authorities) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_TICKET)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_cipher_list(CIPHERS)
    context.set_verify(SSL.VERIFY_PEER, _verify)
    if not authorities.ca_file:
        context.set_default_verify_paths()
        return context
    try:
        _add_authorities(context, authorities.ca_file)
    except (Error, OSError) as error:
        text = f"{authorities.named_by} = {authorities.ca_file}: {_file_fault(error)}"
        raise AuthoritiesUnusable(text) from error
    return context


@implementer(IOpenSSLClientConnectionCreator)
class _VerifyingCreator:
    def __init__(self, policy: VerifyingPolicy, host: str) -> None:
        self._policy = policy
        self._host = host.rstrip(".")

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        return _VerifyingConnection(self._policy.trust(), self._host)


class _VerifyingConnection(SSL.Connection):
    """A connection that knows the host it should reach, and why a certificate was refused."""

    def __init__(self, trust: _Trust, host: str) -> None:
        super().__init__(trust.context, None)
        self.host = host
        self.authorities = trust.authorities
        self.problem = ""
        if not is_address(host):  # RFC 6066, section 3: a server name is never an address
            self.set_tlsext_host_name(host.encode("ascii"))
        self.set_connect_state()

    def do_handshake(self) -> None:
        """:raises CertificateRefused, TlsFailed, Error: the handshake failed"""
        try:
            super().do_handshake()
        except (WantReadError, WantWriteError, SysCallError):
            raise
        except Error as error:
            if self.problem:
                raise CertificateRefused(self.problem) from error
            reason = _reason(error)
            if reason and not any(passing in reason for passing in _PASSING_REASONS):
                hint = (
                    "; is it https there?"
                    if any(other in reason for other in _NO_TLS_REASONS)
                    else ""
                )
                raise TlsFailed(f"TLS with {self.host} fails: {reason}{hint}") from error
            raise


def _verify(
    connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, is_ok: int
) -> bool:
    """OpenSSL's verify callback; returns whether the handshake may go on."""
    try:
        problem = _problem(connection, certificate, error, depth, is_ok)
    except Exception as unexpected:  # rule 2
        problem = f"it cannot be read ({type(unexpected).__name__}: {unexpected})"
    if problem and isinstance(connection, _VerifyingConnection) and not connection.problem:
        host = connection.host
        connection.problem = f"the certificate of {host} is refused: {problem}"
    return not problem


def _problem(
    connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, is_ok: int
) -> str:
    """What is wrong with a certificate of the chain, and what to do; "": nothing."""
    if not isinstance(connection, _VerifyingConnection):
        return "the host of the connection is not known"
    if not is_ok:
        return _chain_fault(certificate.to_cryptography(), error, depth, connection.authorities)
    if depth > 0:
        return ""
    fault = name_fault(certificate.to_cryptography(), connection.host)
    if not fault:
        return ""
    return f"{fault}; {connection.authorities.host_setting}: this says which host is asked for"


def _chain_fault(
    certificate: x509.Certificate, error: int, depth: int, authorities: Authorities
) -> str:
    whose = "" if depth == 0 else f"its authority ({_short(certificate.subject)}): "
    if error == _EXPIRED:
        return f"{whose}it was valid until {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    if error == _NOT_YET_VALID:
        since = f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        return f"{whose}it is valid from {since} on; is the clock here right?"
    fault = whose + _CHAIN_FAULTS.get(error, f"OpenSSL's reason is number {error}")
    if error not in _UNKNOWN_ISSUER:
        return fault
    trusted = f"{authorities.named_by} = {authorities.ca_file}" if authorities.ca_file else ""
    where = f"trusted are those of {trusted}" if trusted else "trusted are those of the system"
    return (
        f"{fault}. It was issued by {_short(certificate.issuer)}; {where}: "
        f"{authorities.setting} names a file with others"
    )


def name_fault(certificate: x509.Certificate, host: str) -> str:
    """What is wrong with a certificate's names for `host`; "": one of them is the host's.

    :param certificate: the server's.
    :param host: a DNS name in ASCII, or an IP address.
    """
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return "it names no host (no subjectAltName; the common name does not count)"
    names = extension.value.get_values_for_type(x509.DNSName)
    addresses = [
        address
        for address in extension.value.get_values_for_type(x509.IPAddress)
        if isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address)
    ]
    patterns: list[CertificatePattern] = [*_dns_patterns(names)]
    patterns += map(IPAddressPattern, addresses)
    identity = IPAddress_ID(host) if is_address(host) else DNS_ID(host)
    if patterns:
        # Raises if no pattern matches, else returns the patterns that match.
        with suppress(Exception):
            if verify_service_identity(patterns, [identity], []):
                return ""
    listed = ", ".join([*names, *map(str, addresses)])[:MAX_NAMES_CHARACTERS] or "nothing of use"
    return f"it is for {listed}"


def _dns_patterns(names: Iterable[str]) -> Iterable[DNSPattern]:
    for name in names:
        with suppress(CertificateError):  # not a possible name, so not the name of this host
            yield DNSPattern.from_bytes(name.encode("utf-8"))


def _short(name: x509.Name) -> str:
    return name.rfc4514_string()[:MAX_NAMES_CHARACTERS] or "an issuer without a name"


def _reason(error: Error) -> str:
    """OpenSSL's reason as text, "" without one."""
    queue = error.args[0] if error.args else ()
    return "; ".join(str(entry[-1]) for entry in queue).lower()
