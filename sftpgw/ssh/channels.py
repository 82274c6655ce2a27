"""A session channel: the byte stream between one client and one subsystem.

Knows: windows, packets, EOF and CLOSE (RFC 4254, section 5), and when the subsystem has to pause.
Must not know: what the bytes mean.

Rules:

- The client may send as much as the window allows. The window is given back only when the subsystem
  calls `consumed`, as `windows` decides. Conch gives it back before it delivers the bytes
  (`SSHConnection.ssh_CHANNEL_DATA`), so that nothing ever stops a sender.
- Output waits in a queue until the client's window and the connection have room, and the channel is
  next (`channel_scheduler`). The subsystem is paused above `PAUSE_ABOVE_BYTES`, and resumed below
  `RESUME_BELOW_BYTES`. Conch's buffer has no bound (`SSHChannel.write`).
- The client's EOF ends the input only; replies to earlier requests are still sent. Conch closes the
  channel at once (`SSHSession.eofReceived`).
- Where the user has a rate, the window is given back and output is sent in turns (`channel_pace`).
- A command (``exec``) is a subsystem like others. Its standard error is sent before its other
  output, from a queue of its own; beyond `MAX_ERROR_BYTES` it is dropped.
- A subsystem that was started is told of the end exactly once: when CLOSE is sent or received, or
  when the connection is lost.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from twisted.conch.ssh.channel import SSHChannel
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from sftpgw.aio.user_counts import CountedOnce
from sftpgw.buffers.byte_queue import ByteQueue
from sftpgw.model.events.session_events import AnswersUnread
from sftpgw.model.subsystem import HeldBack, Subsystem, SubsystemTransport
from sftpgw.model.units import KIB, MIB, Body, Buffer
from sftpgw.ssh.channel_pace import InputPace, OutputPace, SessionLimits, largest_window_bytes
from sftpgw.ssh.conch_logger import quiet_logger
from sftpgw.ssh.fields import MalformedPacket, PacketFields
from sftpgw.ssh.outbound import OutboundBudget
from sftpgw.ssh.windows import ReceiveWindow

MAX_PACKET_BYTES = 256 * KIB
"""How many bytes one packet of the client may carry."""

MAX_SENT_BYTES = 256 * KIB
"""How many bytes one packet of ours carries at most, even if the client accepts more; and how many
are sent in a row, in smaller packets, while no other channel waits."""

PAUSE_ABOVE_BYTES = 1 * MIB
RESUME_BELOW_BYTES = 512 * KIB
MAX_ERROR_BYTES = 64 * KIB
"""How much standard error may wait for a client that does not read."""

_MAX_WINDOW_BYTES = 2**32 - 1


class SessionChannel(SSHChannel):
    """A ``session`` channel that runs one subsystem or command, and is its `SubsystemTransport`.

    :param remoteWindow: how many bytes the client accepts at first.
    :param remoteMaxPacket: how many bytes the client accepts in one packet.
    :param avatar: the `GatewayAvatar` that has subsystems, commands and memory budgets.
    :ivar session_count: counts the channel for its user.
    """

    name = b"session"
    _log = quiet_logger("sftpgw.ssh")
    id: Any
    conn: Any
    avatar: Any

    def __init__(self, remoteWindow: int, remoteMaxPacket: int, avatar: Any) -> None:
        self._window = ReceiveWindow(
            avatar.window_memory, largest_window_bytes(avatar.limits.upload)
        )
        super().__init__(
            localWindow=self._window.size_bytes,
            localMaxPacket=MAX_PACKET_BYTES,
            remoteWindow=remoteWindow,
            remoteMaxPacket=remoteMaxPacket,
            avatar=avatar,
        )
        self.session_count = CountedOnce(avatar.user_sessions)
        self._subsystem: Subsystem | None = None
        self._started = False
        self._outgoing = ByteQueue()
        self._errors = ByteQueue()
        self._outbound = OutboundBudget(avatar.output_memory, self._now_seconds, self._on_unread)
        self._input_pace: InputPace | None = None
        self._output_pace: OutputPace | None = None
        self._paused = False
        self._unconsumed_bytes = 0
        self._granted_bytes = 0  # and not told yet
        self._input_ended = False
        self._exit_status: int | None = None

    def count_window(self) -> bool:
        """Count the window that the client is about to get; returns False without memory for it."""
        return self._window.open()

    def open_paces(self) -> None:
        """The channel has a number: it takes turns with the user's others where rates say so."""
        limits: SessionLimits = self.avatar.limits
        path = (limits.session, str(self.id))
        if limits.upload is not None:
            self._input_pace = InputPace(limits.upload, path, self._grant, self._window.size_bytes)
        if limits.download is not None:
            self._output_pace = OutputPace(limits.download, path, self._send)

    # Channel requests.

    def requestReceived(self, requestType: bytes, data: bytes) -> bool:
        """Grant a subsystem or a command, once; refuse shells, ptys and all other requests."""
        if requestType == b"subsystem":
            return self._choose(data, lambda name: self.avatar.lookupSubsystem(name, b""))
        return requestType == b"exec" and self._choose(data, self.avatar.lookup_command)

    def start(self) -> None:
        """Connect the subsystem that was granted, once the request has been answered."""
        if self._subsystem is not None and not self._started:
            self._started = True
            self._subsystem.makeConnection(self)

    @property
    def is_busy(self) -> bool:
        """Whether a request to the subsystem is in progress."""
        return self._subsystem is not None and self._subsystem.is_busy

    def _choose(self, data: bytes, lookup: Callable[[bytes], Subsystem | None]) -> bool:
        fields = PacketFields(data)
        name = fields.string()
        fields.end()
        # A subsystem that is chosen later than this would not be told of the end.
        if self._subsystem is not None or self._started or self._input_ended or self.localClosed:
            return False
        self._subsystem = lookup(name)
        return self._subsystem is not None

    # Bytes from the client.

    def dataReceived(self, data: bytes | memoryview) -> None:
        """Pass `data` on, which has been counted against the window."""
        if self._input_ended:
            raise MalformedPacket("data after EOF")
        self._count_input(len(data))
        if self.localClosed or self._subsystem is None:
            self.consumed(len(data))
        else:
            self._subsystem.dataReceived(data)

    def extReceived(self, dataType: int, data: bytes) -> None:
        """Drop `data`: no subsystem reads a second stream."""
        self._count_input(len(data))
        self.consumed(len(data))

    def _count_input(self, size_bytes: int) -> None:
        self._unconsumed_bytes += size_bytes
        if self._input_pace is not None:
            self._input_pace.received(size_bytes)

    def eofReceived(self) -> None:
        if self._input_ended:
            return
        self._input_ended = True
        if self._subsystem is not None and not self.localClosed:
            self._subsystem.inputEnded()
        else:
            self.loseConnection()

    def consumed(self, size_bytes: int) -> None:
        """Give `size_bytes` of the window back to the client."""
        if not 0 <= size_bytes <= self._unconsumed_bytes:
            raise ValueError("more bytes consumed than received")
        self._unconsumed_bytes -= size_bytes
        granted_bytes = 0 if self.localClosed else self._window.consumed(size_bytes)
        if granted_bytes and self._input_pace is not None:
            self._input_pace.refill(granted_bytes)
        elif granted_bytes:
            self._grant(granted_bytes)

    def _grant(self, size_bytes: int) -> None:
        """Grant the client more, once for all that is consumed while packets are held back."""
        self._granted_bytes += size_bytes
        if not self.held_back.before_release(self._send_grant):
            self._send_grant()

    def _send_grant(self) -> None:
        size_bytes, self._granted_bytes = self._granted_bytes, 0
        if size_bytes and not self.localClosed:
            self.conn.adjustWindow(self, size_bytes)

    # Bytes to the client.

    @property
    def unsent_bytes(self) -> int:
        """How many bytes of output the client has not taken yet."""
        return self._outgoing.size_bytes

    def write(self, *fragments: Buffer) -> None:
        """Send `fragments` as soon as the client's window and the connection allow."""
        if self.localClosed or self._exit_status is not None:
            return
        for fragment in fragments:
            self._outgoing.append(fragment)
        self._send()

    @property
    def held_back(self) -> HeldBack:
        """What the connection sends together."""
        packet_writer: HeldBack = self.conn.transport.packet_writer
        return packet_writer

    def write_error(self, text: bytes) -> None:
        """Send `text` to the client's standard error."""
        if self.localClosed or self._exit_status is not None:
            return
        if self._errors.size_bytes + len(text) <= MAX_ERROR_BYTES:
            self._errors.append(text)
            self._send()

    def addWindowBytes(self, data: int) -> None:
        self.remoteWindowLeft += data
        if self.remoteWindowLeft > _MAX_WINDOW_BYTES:
            raise MalformedPacket("the window has grown over 2^32 - 1 bytes")
        self._send()

    def _send(self) -> None:
        """Send as much as may be sent, then pause, resume or end accordingly."""
        if self._sendable_bytes:
            self.conn.scheduler.schedule(self)
        self._after_sending()

    @property
    def _sendable_bytes(self) -> int:
        """How many of the waiting bytes may be sent: 0 after CLOSE, or until the user's turn."""
        fitting_bytes = min(self._waiting_bytes, self.remoteWindowLeft)
        if fitting_bytes and self._output_pace is not None:
            return min(fitting_bytes, self._output_pace.ask())
        return fitting_bytes

    @property
    def _waiting_bytes(self) -> int:
        return self._errors.size_bytes + self._outgoing.size_bytes

    def send_quantum(self, *, is_alone: bool) -> bool:
        """Send a packet, or several if no other channel waits; returns whether more can be sent."""
        packet_bytes = min(self.remoteMaxPacket, MAX_SENT_BYTES)
        size_bytes = min(self._sendable_bytes, MAX_SENT_BYTES if is_alone else packet_bytes)
        if size_bytes:
            if self._errors.size_bytes:
                size_bytes = min(size_bytes, packet_bytes, self._errors.size_bytes)
                self.conn.send_error_data(self, self._errors.take(size_bytes), size_bytes)
            else:
                self.conn.send_data(self, self._taken(size_bytes, packet_bytes), size_bytes)
            self.remoteWindowLeft -= size_bytes
            if self._output_pace is not None:
                self._output_pace.sent(size_bytes)
            self._after_sending()
        return self._sendable_bytes > 0

    def _taken(self, size_bytes: int, packet_bytes: int) -> Iterator[Body]:
        """Yield the next `size_bytes` of the output, one packet at a time."""
        while size_bytes:
            taken_bytes = min(size_bytes, packet_bytes)
            yield self._outgoing.take(taken_bytes)
            size_bytes -= taken_bytes

    def _after_sending(self) -> None:
        self._outbound.resize(self._outgoing.size_bytes)
        if self._exit_status is not None:
            self._finish_when_drained(self._exit_status)
        else:
            self._pace_subsystem()

    def _pace_subsystem(self) -> None:
        if not self._started or self._subsystem is None or self.localClosed:
            return
        if not self._paused and self._outgoing.size_bytes > PAUSE_ABOVE_BYTES:
            self._paused = True
            self._subsystem.pauseProducing()
        elif self._paused and self._outgoing.size_bytes < RESUME_BELOW_BYTES:
            self._paused = False
            self._subsystem.resumeProducing()

    # The end.

    def finish(self, exit_status: int) -> None:
        """Send the output that waits, then the exit status, EOF and CLOSE."""
        if self._exit_status is None and not self.localClosed:
            self._exit_status = exit_status
            self._finish_when_drained(exit_status)

    def _finish_when_drained(self, exit_status: int) -> None:
        if self._waiting_bytes or self.localClosed:
            return
        status = struct.pack(">L", exit_status)
        self.conn.sendRequest(self, b"exit-status", status)
        self.conn.sendEOF(self)
        self.loseConnection()

    def loseConnection(self) -> None:
        """Send CLOSE now and drop the output that waits. Conch's waits until its buffer is sent."""
        if self.localClosed:
            return
        self._send_what_was_held()
        self._drop_output()
        self.conn.sendClose(self)
        self._end_subsystem(ConnectionDone())

    def closeReceived(self) -> None:
        """Drop the output that waits: the client has sent CLOSE, and accepts nothing any more."""
        self._send_what_was_held()
        self._drop_output()
        self._end_subsystem(ConnectionDone())

    def _send_what_was_held(self) -> None:
        self.conn.transport.packet_writer.release()
        if self.unsent_bytes:
            self.conn.scheduler.run()

    def closed(self) -> None:
        """End: the channel is gone, together with the connection if neither side had sent CLOSE."""
        self.session_count.remove()
        self._drop_output()
        self._end_subsystem(ConnectionLost())
        self._outbound.end()

    def _now_seconds(self) -> float:
        return float(self.conn.transport.context.clock.seconds())

    def _on_unread(self) -> None:
        """Close: replies have been unread for too long, while other users wait for memory."""
        self.conn.transport.events.emit(AnswersUnread(size_bytes=self._outgoing.size_bytes))
        self.loseConnection()

    def _drop_output(self) -> None:
        self._outgoing.clear()
        self._errors.clear()
        self._outbound.resize(0)

    def _end_subsystem(self, reason: Exception) -> None:
        subsystem, self._subsystem = self._subsystem, None
        try:
            if subsystem is not None and self._started:
                subsystem.connectionLost(Failure(reason))
        except Exception:
            # The subsystems of other channels must be told of their end all the same.
            self._log.failure("a subsystem could not end")
        finally:
            # Last: whatever the memory is given to, this channel has ended before.
            self._window.close()
            for pace in (self._input_pace, self._output_pace):
                if pace is not None:
                    pace.end()


if TYPE_CHECKING:

    def _has_the_interface(channel: SessionChannel) -> SubsystemTransport:
        """Mypy proves here that the channel fits it."""
        return channel
