"""Which certificates and keys the whole gateway trusts, and which ones are revoked.

Knows: public keys by their encoding, and how a certificate is named in a revocation list.
Must not know: how the files are written.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from dataclasses import dataclass, field

ALL_AUTHORITIES = b""
"""In place of an authority's key: what is revoked for certificates of any authority."""


@dataclass(frozen=True, slots=True)
class SerialBitmap:
    """Revoked serial numbers, a bit for each.

    :ivar offset: the serial number of the lowest bit.
    :ivar bits: the bits, the highest ones first.
    """

    offset: int
    bits: bytes = field(repr=False)

    def __contains__(self, serial: int) -> bool:
        place, bit = divmod(serial - self.offset, 8)
        return 0 <= place < len(self.bits) and bool(self.bits[-1 - place] >> bit & 1)


@dataclass(frozen=True, slots=True)
class RevokedCertificates:
    """Certificates of one authority, or of all, that are revoked.

    :ivar serials: serial numbers.
    :ivar ranges: first and last serial number of ranges, in order, apart from each other.
    :ivar bitmaps: more serial numbers.
    :ivar key_ids: what the authority has written into certificates as their key id.
    """

    serials: frozenset[int] = frozenset()
    ranges: tuple[tuple[int, int], ...] = ()
    bitmaps: tuple[SerialBitmap, ...] = ()
    key_ids: frozenset[bytes] = frozenset()

    def cover(self, serial: int, key_id: bytes) -> bool:
        """Whether a certificate is revoked.

        :param serial: its serial number; 0 means that the authority does not number them.
        :param key_id: its key id.
        """
        if key_id in self.key_ids:
            return True
        return bool(serial) and (
            serial in self.serials
            or self._is_in_ranges(serial)
            or any(serial in each for each in self.bitmaps)
        )

    def _is_in_ranges(self, serial: int) -> bool:
        place = bisect_right(self.ranges, serial, key=lambda each: each[0]) - 1
        return place >= 0 and serial <= self.ranges[place][1]


@dataclass(frozen=True, slots=True)
class RevokedKeys:
    """What a revocation list has.

    :ivar blobs: public keys in their only encoding.
    :ivar sha1: SHA-1 digests of such keys.
    :ivar sha256: SHA-256 digests of such keys.
    :ivar certificates: certificates by the key of their authority, or by `ALL_AUTHORITIES`.
    """

    blobs: frozenset[bytes] = frozenset()
    sha1: frozenset[bytes] = frozenset()
    sha256: frozenset[bytes] = frozenset()
    certificates: dict[bytes, RevokedCertificates] = field(default_factory=dict, hash=False)

    def cover_key(self, blob: bytes) -> bool:
        """Whether a public key is revoked: a user's, a certificate's or an authority's.

        :param blob: the key in its only encoding.
        """
        return (
            blob in self.blobs
            or (bool(self.sha1) and hashlib.sha1(blob).digest() in self.sha1)
            or (bool(self.sha256) and hashlib.sha256(blob).digest() in self.sha256)
        )

    def cover_certificate(self, authority: bytes, serial: int, key_id: bytes) -> bool:
        """Whether a certificate is revoked by what it says; its keys are another question.

        :param authority: the key that has signed it.
        :param serial: its serial number.
        :param key_id: its key id.
        """
        found = (self.certificates.get(each) for each in (authority, ALL_AUTHORITIES))
        return any(each is not None and each.cover(serial, key_id) for each in found)


NOTHING_REVOKED = RevokedKeys()


@dataclass(frozen=True, slots=True)
class KeyTrust:
    """What is said of keys for all users.

    :ivar authorities: the keys that may sign certificates of any user (``[auth] ca_keys``).
    :ivar revoked: what may not log in (``[auth] revoked_keys``).
    """

    authorities: frozenset[bytes] = frozenset()
    revoked: RevokedKeys = NOTHING_REVOKED


NO_TRUST = KeyTrust()
"""Without authorities: certificates are for those who have one of their own."""
