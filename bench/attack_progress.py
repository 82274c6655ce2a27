"""What an attacker tells of itself while it goes on, in memory that it shares with the bench.

Knows: the counts, and the file that both sides map. Must not know: what an attack sends, or how
the gateway is measured.
"""

from __future__ import annotations

import mmap
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

REASON_BYTES = 120
_COUNTS = struct.Struct("<7q")
SHARED_BYTES = _COUNTS.size + REASON_BYTES


@dataclass(frozen=True, slots=True)
class Progress:
    """What an attacker has done up to now.

    :param sent_bytes: to the gateway, as the sockets have them.
    :param received_bytes: of messages from the gateway.
    :param connections: how many are open now.
    :param most_connections: how many were open at once.
    :param refusals: errors for answers, and strikes that failed.
    :param ended: how many connections the gateway has refused or ended.
    :param broken: how many threads have ended by a mistake of the attacker itself.
    :param reason: what the gateway said, or did, when it ended the last one.
    """

    sent_bytes: int = 0
    received_bytes: int = 0
    connections: int = 0
    most_connections: int = 0
    refusals: int = 0
    ended: int = 0
    broken: int = 0
    reason: str = ""


_NAMES = tuple(each.name for each in fields(Progress) if each.name != "reason")
_PLACES = {name: 8 * place for place, name in enumerate(_NAMES)}
_NUMBER = struct.Struct("<q")


class ProgressCounter:
    """Counts, from any thread.

    :param shared: where the bench reads.
    """

    def __init__(self, shared: mmap.mmap | bytearray) -> None:
        self._shared = shared
        self._lock = threading.Lock()

    def count(self, name: str, more: int = 1) -> None:
        """Add to the count of this name."""
        with self._lock:
            now = self._add(name, more)
            if name == "connections":
                (most,) = _NUMBER.unpack_from(self._shared, _PLACES["most_connections"])
                self._add("most_connections", max(0, now - most))

    def _add(self, name: str, more: int) -> int:
        place = _PLACES[name]
        now: int = _NUMBER.unpack_from(self._shared, place)[0] + more
        _NUMBER.pack_into(self._shared, place, now)
        return now

    def count_end(self, reason: str) -> None:
        """The gateway has refused or ended a connection.

        :param reason: what it said, or did.
        """
        self.count("ended")
        text = reason.encode()[:REASON_BYTES].ljust(REASON_BYTES, b"\0")
        with self._lock:
            self._shared[_COUNTS.size : SHARED_BYTES] = text


def unpacked(shared: bytes) -> Progress:
    """What an attacker has written."""
    counts = dict(zip(_NAMES, _COUNTS.unpack_from(shared), strict=True))
    reason = shared[_COUNTS.size : SHARED_BYTES].rstrip(b"\0").decode(errors="replace")
    return Progress(**counts, reason=reason)


@contextmanager
def shared_memory(file: Path) -> Iterator[mmap.mmap]:
    """The memory of a file that exists, for both sides."""
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), SHARED_BYTES) as shared:
        yield shared


def create_shared(file: Path) -> None:
    """Make the file: an attacker that has done nothing."""
    file.write_bytes(bytes(SHARED_BYTES))
