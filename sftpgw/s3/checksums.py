"""Checksums of what is sent, in S3's words.

Knows: the algorithms, how sums of parts become the sum of all, and S3's headers.
Must not know: requests, or when to take a checksum.

Only checksums of whole objects are used (S3's type FULL_OBJECT): those of composites
depend on where parts were cut, and tell nothing of a copy. awscrt computes CRC64NVME
and CRC32C by the processor's own instructions: 6 GiB/s, 10 ms for 64 MiB.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from awscrt import checksums
from twisted.web.http_headers import Headers

from sftpgw.model.settings import ChecksumChoice
from sftpgw.model.store import Checksum, ChecksumAlgorithm, StoredPart
from sftpgw.model.units import MIB, Buffer
from sftpgw.s3.headers import header
from sftpgw.wire.s3xml import decode_checksum

FULL_OBJECT = "FULL_OBJECT"
COMPUTE_STEP_BYTES = 8 * MIB
"""So much is summed up at a time: little over a millisecond."""

MD5_STEP_BYTES = 2 * MIB
"""So much is hashed with MD5 at a time: three milliseconds."""


@dataclass(frozen=True, slots=True)
class _Functions:
    """`extend(buffer, previous)` and `join(first, second, length of the second)`."""

    extend: Callable[[Buffer, int], int]
    join: Callable[[int, int, int], int]


_FUNCTIONS = {
    ChecksumAlgorithm.CRC64NVME: _Functions(checksums.crc64nvme, checksums.combine_crc64nvme),
    ChecksumAlgorithm.CRC32C: _Functions(checksums.crc32c, checksums.combine_crc32c),
    ChecksumAlgorithm.CRC32: _Functions(checksums.crc32, checksums.combine_crc32),
}


def new_md5() -> Any:
    """hashlib's MD5; None where this Python has none (FIPS)."""
    try:
        return hashlib.md5(usedforsecurity=False)
    except ValueError:
        return None


def chosen_algorithm(choice: ChecksumChoice, *, is_able: bool) -> ChecksumAlgorithm | None:
    """The algorithm for a bucket.

    :param is_able: whether its store can do CRC64NVME; matters only if nobody has chosen.
    """
    if choice in (ChecksumChoice.NONE, ChecksumChoice.MD5):
        return None
    if choice is ChecksumChoice.AUTO:
        return ChecksumAlgorithm.CRC64NVME if is_able else None
    return ChecksumAlgorithm(choice.value)


class RunningChecksum:
    """A checksum that grows with every buffer."""

    def __init__(self, algorithm: ChecksumAlgorithm) -> None:
        self._algorithm = algorithm
        self._extend = _FUNCTIONS[algorithm].extend
        self._value = 0

    def update(self, buffer: Buffer) -> None:
        self._value = self._extend(buffer, self._value)

    @property
    def checksum(self) -> Checksum:
        """Of all that was given so far."""
        return Checksum(self._algorithm, self._value)


def joined(parts: Iterable[StoredPart], algorithm: ChecksumAlgorithm) -> Checksum | None:
    """The checksum of all parts in a row; None if one of them has none of this kind."""
    join = _FUNCTIONS[algorithm].join
    value = 0
    for part in parts:
        if part.checksum is None or part.checksum.algorithm is not algorithm:
            return None
        value = join(value, part.checksum.value, part.size_bytes)
    return Checksum(algorithm, value)


def header_name(algorithm: ChecksumAlgorithm) -> str:
    """The header that carries an algorithm's sum."""
    return f"x-amz-checksum-{algorithm.value}"


def told_checksum(headers: Headers, algorithm: ChecksumAlgorithm) -> Checksum | None:
    """The checksum of the whole object or part that an answer tells, None if it tells none."""
    if header(headers, "x-amz-checksum-type").upper() not in ("", FULL_OBJECT):
        return None
    return decode_checksum(header(headers, header_name(algorithm)), algorithm)


def any_checksum(headers: Headers) -> Checksum | None:
    """The checksum of the whole object in whichever algorithm it has one."""
    told = (told_checksum(headers, algorithm) for algorithm in ChecksumAlgorithm)
    return next(filter(None, told), None)
