"""Certificates and revocation lists put together byte by byte, right and wrong ones."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.conch.ssh.common import NS
from twisted.conch.ssh.keys import Key

from sftpgw.auth.encoded_fields import EncodedFields

FOREVER = 2**64 - 1


class SecurityKey:
    """An sk-ssh-ed25519 device in software."""

    kind = b"sk-ssh-ed25519@openssh.com"

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.blob = NS(self.kind) + NS(public) + NS(b"ssh:")

    def sign(self, message: bytes, flags: int) -> bytes:
        trailer = struct.pack(">BL", flags, 7)
        signed = hashlib.sha256(b"ssh:").digest() + trailer + hashlib.sha256(message).digest()
        return NS(self.kind) + NS(self._key.sign(signed)) + trailer


def options_of(given: Mapping[bytes, bytes | None]) -> bytes:
    """Critical options or extensions; None is one without a value."""
    return b"".join(
        NS(name) + NS(b"" if value is None else NS(value)) for name, value in given.items()
    )


@dataclass
class Certificate:
    """What a certificate says; its defaults are those of a good one for alice."""

    blob: bytes
    serial: int = 7
    kind: int = 1
    key_id: bytes = b"alice@laptop"
    principals: tuple[bytes, ...] = (b"alice",)
    valid_from: int = 0
    valid_until: int = FOREVER
    options: Mapping[bytes, bytes | None] = field(default_factory=dict)
    extensions: Mapping[bytes, bytes | None] = field(default_factory=dict)
    raw_options: bytes | None = None

    def signed_by(self, authority: Key | SecurityKey, algorithm: bytes | None = None) -> bytes:
        """The certificate, with the signature of an authority."""
        if isinstance(authority, SecurityKey):
            body = self.body(authority.blob)
            return body + NS(authority.sign(body, 0))
        body = self.body(authority.public().blob())
        algorithm = algorithm or authority.supportedSignatureAlgorithms()[0]
        return body + NS(authority.sign(body, signatureType=algorithm))

    def body(self, authority: bytes) -> bytes:
        """All but the signature."""
        fields = EncodedFields(self.blob)
        name = fields.string().removesuffix(b"@openssh.com")
        key = fields.rest()
        options = options_of(self.options) if self.raw_options is None else self.raw_options
        return (
            NS(name + b"-cert-v01@openssh.com")
            + NS(b"nonce" * 6)
            + key
            + struct.pack(">QL", self.serial, self.kind)
            + NS(self.key_id)
            + NS(b"".join(map(NS, self.principals)))
            + struct.pack(">QQ", self.valid_from, self.valid_until)
            + NS(options)
            + NS(options_of(self.extensions))
            + NS(b"")
            + NS(authority)
        )


def krl(*sections: tuple[int, bytes], version: int = 1) -> bytes:
    """A revocation list of these sections."""
    header = b"SSHKRL\n\0" + struct.pack(">LQQQ", version, 1, 0, 0) + NS(b"") + NS(b"comment")
    return header + b"".join(bytes((kind,)) + NS(data) for kind, data in sections)


def certificates_section(authority: bytes, *parts: tuple[int, bytes]) -> tuple[int, bytes]:
    """The section that revokes certificates of an authority."""
    return 1, NS(authority) + NS(b"") + b"".join(bytes((kind,)) + NS(data) for kind, data in parts)


def serials(numbers: Iterable[int]) -> bytes:
    """Serial numbers of 64 bits."""
    return b"".join(struct.pack(">Q", number) for number in numbers)
