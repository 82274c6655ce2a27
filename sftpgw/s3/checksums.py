"""Checksums of bodies, as S3 defines them.

Knows: the algorithms, how the checksums of parts become that of the object, and S3's headers.
Must not know: requests, or when a checksum is computed.

Only checksums of whole objects are used (S3's type FULL_OBJECT). Composite ones depend on the
boundaries of parts and cannot be compared with those of a copy. awscrt computes CRC64NVME and
CRC32C with instructions of the processor: 6 GiB/s, 10 ms for 64 MiB.
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
"""How much is added to a checksum in one step: little over a millisecond."""

MD5_STEP_BYTES = 2 * MIB
"""How much is hashed with MD5 in one step: three milliseconds."""


@dataclass(frozen=True, slots=True)
class _Functions:
    """`extend(buffer, previous)` and `join(first, second, size of the second in bytes)`."""

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
    """The algorithm for a bucket; None: no checksum.

    :param choice: ``[s3] checksum``.
    :param is_able: whether the store supports CRC64NVME; matters only for AUTO.
    """
    if choice in (ChecksumChoice.NONE, ChecksumChoice.MD5):
        return None
    if choice is ChecksumChoice.AUTO:
        return ChecksumAlgorithm.CRC64NVME if is_able else None
    return ChecksumAlgorithm(choice.value)


class RunningChecksum:
    """The checksum of buffers that are added one by one."""

    def __init__(self, algorithm: ChecksumAlgorithm) -> None:
        self._algorithm = algorithm
        self._extend = _FUNCTIONS[algorithm].extend
        self._value = 0

    def update(self, buffer: Buffer) -> None:
        self._value = self._extend(buffer, self._value)

    @property
    def checksum(self) -> Checksum:
        """The checksum of all buffers so far."""
        return Checksum(self._algorithm, self._value)


def joined(parts: Iterable[StoredPart], algorithm: ChecksumAlgorithm) -> Checksum | None:
    """The checksum of all parts in a row; None if a part has none by this algorithm."""
    join = _FUNCTIONS[algorithm].join
    value = 0
    for part in parts:
        if part.checksum is None or part.checksum.algorithm is not algorithm:
            return None
        value = join(value, part.checksum.value, part.size_bytes)
    return Checksum(algorithm, value)


def header_name(algorithm: ChecksumAlgorithm) -> str:
    """The header that carries a checksum of this algorithm."""
    return f"x-amz-checksum-{algorithm.value}"


def checksum_in(headers: Headers, algorithm: ChecksumAlgorithm) -> Checksum | None:
    """The checksum of the whole object or part in a response's headers, None without one."""
    if header(headers, "x-amz-checksum-type").upper() not in ("", FULL_OBJECT):
        return None
    return decode_checksum(header(headers, header_name(algorithm)), algorithm)


def any_checksum(headers: Headers) -> Checksum | None:
    """The checksum of the whole object by any algorithm, None without one."""
    found = (checksum_in(headers, algorithm) for algorithm in ChecksumAlgorithm)
    return next(filter(None, found), None)
