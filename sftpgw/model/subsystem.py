"""A subsystem on an SSH channel, and the transport that it writes to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from sftpgw.model.units import Buffer


class HeldBack(Protocol):
    """What is written and consumed while a connection holds it back."""

    def cork(self) -> AbstractContextManager[None]:
        """What is written and consumed inside of the block leaves together, at its end."""

    def before_release(self, call: Callable[[], None]) -> bool:
        """Call `call` once, before what is written now leaves.

        :param call: writes what the subsystem has kept until then.
        :returns: False if what is written leaves at once; then it is not called.
        """


class SubsystemTransport(Protocol):
    """The byte stream that a subsystem reads and writes: an SSH channel."""

    @property
    def unsent_bytes(self) -> int:
        """How many bytes were written that the client has not taken yet."""

    def write(self, *fragments: Buffer) -> None:
        """Send `fragments` in their order; what one call passes leaves together."""

    @property
    def held_back(self) -> HeldBack:
        """What leaves together."""

    def write_error(self, text: bytes) -> None:
        """Send `text` to the client's standard error; text that it never reads is dropped."""

    def consumed(self, size_bytes: int) -> None:
        """Let the client send this many bytes more: as many of its own have been dealt with."""

    def finish(self, exit_status: int) -> None:
        """Send what was written, then the exit status, EOF and CLOSE."""

    def loseConnection(self) -> None:
        """Close the channel at once; output that is not sent yet is dropped."""


class Subsystem(Protocol):
    """A protocol on an SSH channel.

    The channel calls `pauseProducing` when its client reads more slowly than the subsystem writes,
    and `resumeProducing` when that is over.
    """

    @property
    def is_busy(self) -> bool:
        """Whether a request is under way; one that waits for the client is not."""

    def makeConnection(self, transport: Any) -> None: ...

    def dataReceived(self, data: bytes | memoryview) -> None:
        """Take the next bytes; they do not change any more, so that they may be held."""

    def inputEnded(self) -> None:
        """Take the client's EOF: reply to what it has asked, then `SubsystemTransport.finish`."""

    def connectionLost(self, reason: Any) -> None:
        """The channel is gone, with or without a goodbye. Called once."""

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...


SubsystemFactory = Callable[[], Subsystem]


CommandFactory = Callable[[bytes], Subsystem]
"""Makes the subsystem that runs a command line; for an unknown command, one that says so."""
