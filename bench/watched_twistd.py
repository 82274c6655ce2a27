"""twistd on a reactor that tells its longest iteration, run by its path.

Knows: the reactor, the limit of descriptors, and the file that the bench reads. Must not know:
what twistd starts, which is of the tree that ``PYTHONPATH`` names and need not be this one.

``python bench/watched_twistd.py FILE DESCRIPTORS …``: what follows is for twistd. FILE holds one
number, the CPU seconds of the longest iteration since another process wrote 0 there.
"""

from __future__ import annotations

import mmap
import resource
import struct
import sys
from pathlib import Path
from typing import Any

from twisted.internet.main import installReactor

_THIS_TREE = str(Path(__file__).parent.parent)
sys.path[0] = _THIS_TREE  # instead of bench/, whose modules have common names
from tests.attacks.reactor import WatchedReactor  # noqa: E402 - of this tree, for every tree

del sys.path[0]


class SharedReactor(WatchedReactor):
    """Writes the longest iteration to memory that it shares with the bench."""

    def __init__(self, shared: mmap.mmap) -> None:
        self._shared = shared
        super().__init__()  # type: ignore[no-untyped-call]

    def doPoll(self, timeout: Any) -> None:
        self.worst_stretch_seconds = struct.unpack("d", self._shared[:8])[0]
        told_seconds = self.worst_stretch_seconds
        super().doPoll(timeout)
        if self.worst_stretch_seconds > told_seconds:
            self._shared[:8] = struct.pack("d", self.worst_stretch_seconds)

    doIteration = doPoll


def main(file: str, descriptors: int, arguments: list[str]) -> None:
    """Serve until twistd ends."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    with Path(file).open("r+b") as opened:
        installReactor(SharedReactor(mmap.mmap(opened.fileno(), 8)))
    from twisted.scripts.twistd import run  # noqa: PLC0415 - after the reactor

    sys.argv = ["twistd", *arguments]
    run()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
