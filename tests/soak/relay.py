"""A process between the gateway and its store. Killing it is how a store goes away.

The store behind it keeps what it has: a store that dies has carried out a request or not, and
no side is told which. ``python -m tests.soak.relay STORE_PORT PORT``; with 0 it chooses one, and
prints it.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.protocols.portforward import ProxyFactory

from tests.interop.spawning import REPOSITORY, this_code


@dataclass
class Relay:
    """The process, as its tests see it."""

    process: subprocess.Popen[str]
    store_port: int
    port: int

    @classmethod
    def start(cls, store_port: int, port: int = 0) -> Relay:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.relay", str(store_port), str(port)],
            cwd=REPOSITORY,
            env=this_code(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        return cls(process, store_port, int(process.stdout.readline()))

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def restarted(self) -> Relay:
        """Another one in its place."""
        self.kill()
        return Relay.start(self.store_port, self.port)


def main(store_port: int, port: int) -> None:
    def serve(reactor: Any) -> Deferred[None]:
        factory = ProxyFactory("127.0.0.1", store_port)
        listening = reactor.listenTCP(port, factory, interface="127.0.0.1")
        print(listening.getHost().port, flush=True)  # noqa: T201
        return Deferred()

    task.react(serve)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
