"""Revocation lists: OpenSSH's KRL files, as ``ssh-keygen -k`` writes them, and public keys.

Knows: OpenSSH's PROTOCOL.krl.
Must not know: where a list comes from, or who asks.

A list that is not understood as a whole is refused: what could not be read might be what matters.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from sftpgw.auth.authorized_keys import raw_public_key
from sftpgw.auth.encoded_fields import EncodedFields
from sftpgw.model.key_trust import (
    ALL_AUTHORITIES,
    RevokedCertificates,
    RevokedKeys,
    SerialBitmap,
)
from sftpgw.model.messages import readable

MAGIC = b"SSHKRL\n\0"
FORMAT_VERSION = 1

CERTIFICATES, EXPLICIT_KEYS, SHA1_DIGESTS, SIGNATURE, SHA256_DIGESTS, EXTENSION = 1, 2, 3, 4, 5, 255
SERIAL_LIST, SERIAL_RANGE, SERIAL_BITMAP, KEY_IDS, CERT_EXTENSION = 0x20, 0x21, 0x22, 0x23, 0x39

MAX_SERIAL = 2**64 - 1


@dataclass
class _CertificateSections:
    """What was read so far of one authority."""

    serials: set[int] = field(default_factory=set)
    ranges: list[tuple[int, int]] = field(default_factory=list)
    bitmaps: list[SerialBitmap] = field(default_factory=list)
    key_ids: set[bytes] = field(default_factory=set)

    def done(self) -> RevokedCertificates:
        return RevokedCertificates(
            frozenset(self.serials),
            _merged(self.ranges),
            tuple(self.bitmaps),
            frozenset(self.key_ids),
        )


@dataclass
class _Sections:
    """What was read so far of a list."""

    blobs: set[bytes] = field(default_factory=set)
    sha1: set[bytes] = field(default_factory=set)
    sha256: set[bytes] = field(default_factory=set)
    certificates: defaultdict[bytes, _CertificateSections] = field(
        default_factory=lambda: defaultdict(_CertificateSections)
    )

    def done(self) -> RevokedKeys:
        return RevokedKeys(
            frozenset(self.blobs),
            frozenset(self.sha1),
            frozenset(self.sha256),
            {authority: each.done() for authority, each in self.certificates.items()},
        )


def read_revoked_keys(data: bytes) -> RevokedKeys:
    """The list in a file.

    :param data: what the file has: a KRL, or a public key or certificate on each line.
    :raises ValueError: it cannot be used; says why.
    """
    return _read_krl(data) if data.startswith(MAGIC) else _read_lines(data)


def _read_lines(data: bytes) -> RevokedKeys:
    blobs = set()
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            blobs.add(raw_public_key(text))
        except ValueError as problem:
            raise ValueError(f"line {number}: {problem}") from problem
    return RevokedKeys(frozenset(blobs))


def _read_krl(data: bytes) -> RevokedKeys:
    fields = EncodedFields(data, len(MAGIC))
    try:
        if fields.uint32() != FORMAT_VERSION:
            raise ValueError("it has another version of the format")
        fields.raw(24)  # its version, its date, its flags
        fields.string()  # reserved
        fields.string()  # comment
        found = _Sections()
        while fields.left_bytes:
            _read_section(found, fields.raw(1)[0], EncodedFields(fields.string()))
    except ValueError as problem:
        raise ValueError(f"the KRL cannot be used: {problem}") from problem
    return found.done()


def _read_section(found: _Sections, kind: int, fields: EncodedFields) -> None:
    if kind == CERTIFICATES:
        authority = fields.string() or ALL_AUTHORITIES
        fields.string()  # reserved
        while fields.left_bytes:
            part, data = fields.raw(1)[0], fields.string()
            _read_certificates(found.certificates[authority], part, EncodedFields(data))
    elif kind == EXPLICIT_KEYS:
        found.blobs.update(fields.strings())
    elif kind == SHA1_DIGESTS:
        found.sha1.update(_digests(fields, 20))
    elif kind == SHA256_DIGESTS:
        found.sha256.update(_digests(fields, 32))
    elif kind == EXTENSION:
        _skip_extension(fields)
    else:
        signed = kind == SIGNATURE
        raise ValueError("it is signed" if signed else f"it has an unknown section, {kind}")


def _read_certificates(found: _CertificateSections, kind: int, fields: EncodedFields) -> None:
    if kind == SERIAL_LIST:
        while fields.left_bytes:
            found.serials.add(fields.uint64())
    elif kind == SERIAL_RANGE:
        first, last = fields.uint64(), fields.uint64()
        if first > last:
            raise ValueError("a range of serial numbers ends before it begins")
        found.ranges.append((first, last))
    elif kind == SERIAL_BITMAP:
        found.bitmaps.append(_bitmap(fields.uint64(), fields.string()))
    elif kind == KEY_IDS:
        found.key_ids.update(fields.strings())
    elif kind == CERT_EXTENSION:
        _skip_extension(fields)
    else:
        raise ValueError(f"it has an unknown section for certificates, {kind}")
    fields.end()


def _bitmap(offset: int, bits: bytes) -> SerialBitmap:
    if bits[:1] >= b"\x80":
        raise ValueError("a bitmap of serial numbers is negative")
    bits = bits.lstrip(b"\0")
    if bits and offset + 8 * len(bits) - 9 + bits[0].bit_length() > MAX_SERIAL:
        raise ValueError("a bitmap has serial numbers of more than 64 bits")
    return SerialBitmap(offset, bits)


def _digests(fields: EncodedFields, size_bytes: int) -> list[bytes]:
    digests = list(fields.strings())
    if any(len(digest) != size_bytes for digest in digests):
        raise ValueError("a fingerprint has another length than it should")
    return digests


def _skip_extension(fields: EncodedFields) -> None:
    """Leave an extension aside, unless it says that this must not be done."""
    name, is_critical = fields.string(), fields.boolean()
    fields.string()
    fields.end()
    if is_critical:
        raise ValueError(f"its critical extension {readable(name[:64])} is not supported")


def _merged(ranges: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Ranges in order, without overlaps."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)
