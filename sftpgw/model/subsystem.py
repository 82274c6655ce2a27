"""A subsystem on an SSH channel, and the transport that it writes to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from sftpgw.model.units import Buffer


class SubsystemTransport(Protocol):
    """The byte stream below a subsystem: an SSH channel, seen from above."""

    @property
    def unsent_bytes(self) -> int:
        """What was written, and the client has not taken yet."""

    def write(self, *pieces: Buffer) -> None:
        """Send `pieces`, one behind the other; what is given together leaves together."""

    def write_error(self, text: bytes) -> None:
        """Send `text` to the client's standard error; what nobody reads is dropped in the end."""

    def consumed(self, size_bytes: int) -> None:
        """The peer may send this many bytes more: theirs have been dealt with."""

    def finish(self, exit_status: int) -> None:
        """Send what was written, then the exit status, EOF and CLOSE."""

    def loseConnection(self) -> None:
        """Close the channel at once, an answer to nobody."""


class Subsystem(Protocol):
    """A protocol on an SSH channel.

    The channel calls `pauseProducing` when its peer reads more slowly than we
    answer, and `resumeProducing` when that is over.
    """

    @property
    def is_busy(self) -> bool:
        """Whether something that was asked for is under way. Waiting for the peer is not."""

    def makeConnection(self, transport: Any) -> None: ...

    def dataReceived(self, data: bytes | memoryview) -> None:
        """The next bytes; they may be kept, since nobody changes them any more."""

    def inputEnded(self) -> None:
        """The client's EOF: answer what was asked, then `SubsystemTransport.finish`."""

    def connectionLost(self, reason: Any) -> None:
        """The channel is gone, with or without a goodbye. Called once."""

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...


SubsystemFactory = Callable[[], Subsystem]


CommandFactory = Callable[[bytes], Subsystem]


"""Makes what runs a command line, whatever it says: an unknown command says so itself."""
