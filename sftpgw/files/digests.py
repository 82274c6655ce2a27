"""Digests of stored files: SHA, MD5 and CRC-32, of whole files, ranges and blocks.

Knows: how a file is read and hashed without blocking the reactor or filling the memory.
Must not know: the protocols that ask for digests.

Rules

1. A file is read in steps of `STEP_BYTES` through its `FileReader`, whose memory the budget counts.
   The next step is read when this one is hashed.
2. Each step is hashed in a turn of its own (`aio/work`). A thread would compete with all other work
   for Python's global lock.
3. A range ends where the file ends. An empty range has one digest, that of no bytes; divided into
   blocks, it has none.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred

from sftpgw.aio.work.scheduler import WorkShare
from sftpgw.errors import LimitReached
from sftpgw.model.filesystem import FileReader
from sftpgw.model.units import KIB, Buffer

STEP_BYTES = 512 * KIB
"""About a millisecond of MD5, the slowest of them on most machines."""

MAX_BLOCKS = 4096
"""The most digests of one request; they fit into one reply."""


class Digest(Protocol):
    """A digest in progress, as `hashlib` makes it."""

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
"""Named as in draft-ietf-secsh-filexfer-extensions-00, section 3; the strongest first."""


class Digester:
    """Computes digests for one session.

    :param work: the session's turns.
    """

    def __init__(self, work: WorkShare) -> None:
        self._work = work

    async def digest_file(self, reader: FileReader, algorithm: str) -> bytes:
        """The digest of a whole file.

        :param reader: the open file.
        :param algorithm: a key of `ALGORITHMS`.
        :raises FileError, StoreError: reading failed.
        """
        (digest,) = await self.digest_blocks(reader, algorithm)
        return digest

    async def digest_blocks(
        self,
        reader: FileReader,
        algorithm: str,
        start: int = 0,
        stop: int = 0,
        block_bytes: int = 0,
    ) -> list[bytes]:
        """The digests of the blocks of ``[start, stop)``.

        :param reader: the open file.
        :param algorithm: a key of `ALGORITHMS`.
        :param start: the first byte.
        :param stop: behind the last byte; 0 for the end of the file.
        :param block_bytes: the size of a block; 0 for one digest of the whole range.
        :raises LimitReached: there are more than `MAX_BLOCKS` blocks.
        :raises FileError, StoreError: reading failed.
        """
        size_bytes = (await reader.attributes()).size_bytes
        stop = min(stop or size_bytes, size_bytes)
        if not block_bytes:
            return [await self._digest(reader, algorithm, start, stop)]
        if stop - start > MAX_BLOCKS * block_bytes:
            raise LimitReached(f"more than {MAX_BLOCKS} blocks; ask for larger ones, or for less")
        return [
            await self._digest(reader, algorithm, at, min(at + block_bytes, stop))
            for at in range(start, stop, block_bytes)
        ]

    async def _digest(self, reader: FileReader, algorithm: str, start: int, stop: int) -> bytes:
        digest = ALGORITHMS[algorithm]()
        while start < stop:
            data = reader.read(start, min(STEP_BYTES, stop - start))
            fragments = await data if isinstance(data, Deferred) else data
            reader.traffic.hashed(sum(map(len, fragments)))
            await self.next_step()
            for fragment in fragments:
                digest.update(fragment)
                start += len(fragment)
        return digest.digest()

    def next_step(self) -> Deferred[None]:
        """Wait for the turn to hash one step. Cancel the Deferred to leave the queue."""
        return self._work.next_step("digests")
