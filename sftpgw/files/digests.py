"""Digests of stored files: SHA, MD5 and CRC-32 over ranges and blocks.

Knows: how a file is read and hashed without holding up the reactor or filling memory.
Must not know: who asks, and how the digests are told.

Rules

1. A file is read in steps of `STEP_BYTES` through its reader, whose memory the budget counts;
   no step is asked for before the last one is hashed.
2. In each iteration of the reactor one step is hashed, however many files wait for theirs: they
   take turns (`aio/cooperate`). A thread would fight for Python's lock with all that is under way.
3. A range ends where the file does. A range of nothing has the digest of nothing, once; in
   blocks it has none.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred

from sftpgw.aio.cooperate import StepQueue
from sftpgw.errors import LimitReached
from sftpgw.model.clock import Clock
from sftpgw.model.filesystem import FileReader
from sftpgw.model.units import KIB, Buffer

STEP_BYTES = 512 * KIB
"""About a millisecond of MD5, the slowest of them on most machines."""

MAX_BLOCKS = 4096
"""So many digests of one range fit into any reply."""


class Digest(Protocol):
    """What `hashlib` makes."""

    def update(self, data: Buffer, /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc32:
    """CRC-32 as in zip files (ISO 3309), big-endian."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: Buffer, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


def _of_hashlib(name: str) -> Callable[[], Digest]:
    return lambda: hashlib.new(name, usedforsecurity=False)


ALGORITHMS: dict[str, Callable[[], Digest]] = {
    "sha256": _of_hashlib("sha256"),
    "sha384": _of_hashlib("sha384"),
    "sha512": _of_hashlib("sha512"),
    "sha224": _of_hashlib("sha224"),
    "sha1": _of_hashlib("sha1"),
    "md5": _of_hashlib("md5"),
    "crc32": _Crc32,
}
"""By the names of draft-ietf-secsh-filexfer-extensions-00, section 3; the best ones first."""


class Digester:
    """Makes digests for the whole process, a step in each iteration of the reactor.

    :param clock: whose iterations are meant; nothing is timed.
    """

    def __init__(self, clock: Clock) -> None:
        self._steps = StepQueue(clock)

    async def whole(self, reader: FileReader, algorithm: str) -> bytes:
        """The digest of a whole file. :raises FileError, StoreError: as reading it does."""
        (found,) = await self.ranges(reader, algorithm)
        return found

    async def ranges(
        self,
        reader: FileReader,
        algorithm: str,
        start: int = 0,
        stop: int = 0,
        block_bytes: int = 0,
    ) -> list[bytes]:
        """The digests of ``[start, stop)``, one for each block; 0 as `stop` is the file's end.

        :param block_bytes: 0 for one digest of all.
        :raises LimitReached: more than `MAX_BLOCKS` blocks.
        """
        size_bytes = (await reader.attributes()).size_bytes
        stop = min(stop or size_bytes, size_bytes)
        if not block_bytes:
            return [await self._one(reader, algorithm, start, stop)]
        if stop - start > MAX_BLOCKS * block_bytes:
            raise LimitReached(f"more than {MAX_BLOCKS} blocks; ask for larger ones, or for less")
        return [
            await self._one(reader, algorithm, at, min(at + block_bytes, stop))
            for at in range(start, stop, block_bytes)
        ]

    async def _one(self, reader: FileReader, algorithm: str, start: int, stop: int) -> bytes:
        digest = ALGORITHMS[algorithm]()
        while start < stop:
            data = reader.read(start, min(STEP_BYTES, stop - start))
            pieces = await data if isinstance(data, Deferred) else data
            reader.traffic.hashed(sum(map(len, pieces)))
            await self.next_step()
            for piece in pieces:
                digest.update(piece)
                start += len(piece)
        return digest.digest()

    def next_step(self) -> Deferred[None]:
        """Fires when a step may be hashed. Cancel it to leave the queue."""
        return self._steps.next_step()
