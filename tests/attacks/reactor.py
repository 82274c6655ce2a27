"""A reactor that measures its iterations: ``python -m tests.attacks.reactor SETTINGS``.

Knows: how to measure itself, and what to start once it is installed, which must happen
before any import of the default reactor. Must not know: what runs on it.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import installReactor


class WatchedReactor(EPollReactor):
    """Records the longest CPU time of one reactor iteration in its thread.

    An iteration lies between two polls of the sockets; until it ends, no client is served.
    Time for which other processes have the core is not counted.
    """

    worst_stretch_seconds = 0.0
    _began_seconds = 0.0

    def doPoll(self, timeout: Any) -> None:
        now = time.thread_time()
        stretch = now - self._began_seconds
        self.worst_stretch_seconds = max(self.worst_stretch_seconds, stretch)
        self._began_seconds = now
        super().doPoll(timeout)

    doIteration = doPoll

    def forget_stretches(self) -> None:
        self.worst_stretch_seconds = 0.0
        self._began_seconds = time.thread_time()


def main(settings: str) -> None:
    """Serve with these [ssh] settings, in JSON."""
    reactor = WatchedReactor()
    installReactor(reactor)
    from tests.attacks.gateway import serve  # noqa: PLC0415 - after the reactor

    serve(reactor, json.loads(settings))


if __name__ == "__main__":
    main(sys.argv[1])
