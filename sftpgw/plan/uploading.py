"""What an upload does next.

Knows: the bytes that have come, the parts that are under way, what is still owed.
Must not know: how a part is sent, which client writes, what the object is called.

Rules

1. Bytes are buffered in the part they belong to (`plan/partsizes`). A part is
   *sealed* when each of its bytes is there; sealed parts are sent, at most
   `concurrency` at once, and their bytes are kept until the store confirms them.
2. Part 1 is sealed only when something follows it: a file that fits into one
   part is one PutObject, and nothing else.
3. Writes may come in any order as long as they end within `reorder_bytes` behind
   the first byte that is missing. Farther away they fail at once.
4. A sealed part cannot be read back or changed: a write into it fails.
5. At the end, gaps are zeros. Over an object that stays below (an *overlay*)
   they would be that object's bytes, which an upload cannot get at: then the
   upload fails, unless the client has cut the file where its writes end.
6. An overlay that was neither written nor cut changes nothing.
7. The first failure ends it: it stays in `failure`, no command follows but
   `AbortUpload`, and that only when nothing else is under way.

Phases, and what leads on:

    BUFFERING   a part is sealed     → OPENING     (OpenUpload)
    BUFFERING   finish               → PUBLISHING  (PutWhole)
    OPENING     upload_opened        → STREAMING   (SendPart …)
    STREAMING   finish, all stored   → PUBLISHING  (CompleteUpload)
    PUBLISHING  published            → DONE
    any         fail                 → FAILED      (AbortUpload, if one is open and idle)
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from sftpgw.errors import FileError, GatewayError, LimitReached, Unsupported, UploadFailed
from sftpgw.plan.partbuffer import PartBuffer
from sftpgw.plan.partsizes import Ladder
from sftpgw.values import MIB, Body, Buffer, StoredPart

SMALL_BYTES = 256 * 1024
"""Up to here an upload counts the bytes it holds, from here on whole parts."""


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """Ask the store for a multipart upload."""


@dataclass(frozen=True, slots=True)
class SendPart:
    number: int
    body: Body
    size_bytes: int


@dataclass(frozen=True, slots=True)
class PutWhole:
    """Send everything as one object."""

    body: Body
    size_bytes: int


@dataclass(frozen=True, slots=True)
class CompleteUpload:
    parts: tuple[StoredPart, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class AbortUpload:
    """Tell the store to forget the multipart upload; nothing else is under way."""


@dataclass(frozen=True, slots=True)
class Finish:
    """There is nothing to publish."""


Command: TypeAlias = OpenUpload | SendPart | PutWhole | CompleteUpload | AbortUpload | Finish
Commands: TypeAlias = tuple[Command, ...]
NOTHING: Commands = ()


class Phase(enum.Enum):
    BUFFERING = "buffering"
    OPENING = "opening"
    STREAMING = "streaming"
    PUBLISHING = "publishing"
    DONE = "done"
    FAILED = "failed"


class UploadPlan:
    """The state of one upload. Each event returns the commands to carry out now.

    Nothing here raises: what is refused ends up in `failure`.

    :param overlaid_bytes: the size of the object that stays below what is
        written, None for a file that starts empty.
    """

    def __init__(
        self,
        ladder: Ladder,
        *,
        concurrency: int = 4,
        reorder_bytes: int = 32 * MIB,
        overlaid_bytes: int | None = None,
    ) -> None:
        self.phase = Phase.BUFFERING
        self.failure: GatewayError | None = None
        self._ladder = ladder
        self._concurrency = concurrency
        self._reorder_bytes = reorder_bytes
        self._below_bytes = overlaid_bytes or 0
        self._changed = overlaid_bytes is None
        self._written_bytes = 0
        self._buffers: dict[int, PartBuffer] = {}
        self._sealed = 0
        self._ready: deque[SendPart] = deque()
        self._in_flight: dict[int, SendPart] = {}
        self._stored: list[StoredPart] = []
        self._finishing = False
        self._upload_is_open = False
        # The part that in-order writes go on filling; None when they do not.
        self._tail: PartBuffer | None = None

    # What the engine may ask.

    @property
    def size_bytes(self) -> int:
        """The size that the file would have now."""
        return max(self._written_bytes, self._below_bytes)

    @property
    def is_congested(self) -> bool:
        """More parts are sealed than may be under way: the client should wait."""
        return len(self._ready) + len(self._in_flight) > self._concurrency

    @property
    def metadata_is_sent(self) -> bool:
        """Too late to say anything about the object but its bytes."""
        return self.phase is not Phase.BUFFERING

    @property
    def waits_for_gap(self) -> bool:
        """Bytes are held behind a gap, which only a later write can fill."""
        return self._tail is None and self._first_missing() < self._written_bytes

    @property
    def memory_bytes(self) -> int:
        """What to reserve: the bytes of a small upload, the whole parts of a large one."""
        sealed = sum(part.size_bytes for part in self._ready)
        sealed += sum(part.size_bytes for part in self._in_flight.values())
        filling = sum(len(buffer) for buffer in self._buffers.values())
        if sealed + filling <= SMALL_BYTES:
            return sealed + filling
        return sealed + sum(buffer.capacity_bytes for buffer in self._buffers.values())

    # What happens to an upload.

    def write(self, offset: int, *pieces: Buffer) -> Commands:
        """The client has sent bytes, in pieces."""
        tail = self._tail
        if tail is not None and offset == self._written_bytes and self.failure is None:
            # The usual case: the bytes continue a part, and do not complete it.
            size_bytes = sum(map(len, pieces))
            if size_bytes < tail.capacity_bytes - len(tail):
                for piece in pieces:
                    tail.append(piece)
                self._written_bytes += size_bytes
                return NOTHING
        return self._unless_refused(lambda: self._place(offset, b"".join(pieces)))

    def truncate(self, size_bytes: int) -> Commands:
        """The client has set the size of the file."""
        if not self._changed and size_bytes == self._below_bytes:
            return NOTHING
        self._changed = True
        return self._unless_refused(lambda: self._cut(size_bytes))

    def finish(self) -> Commands:
        """The client has closed the file: publish."""
        return self._unless_refused(self._finish)

    def upload_opened(self) -> Commands:
        """The store has opened the multipart upload."""
        self._upload_is_open = True
        if self.phase is Phase.FAILED:
            return self._abort_when_idle()
        self.phase = Phase.STREAMING
        return self._next_commands()

    def part_stored(self, part: StoredPart) -> Commands:
        """The store has confirmed a part: its bytes are free."""
        del self._in_flight[part.number]
        self._stored.append(part)
        return self._next_commands()

    def part_failed(self, number: int, error: GatewayError) -> Commands:
        """The store has refused a part for good."""
        del self._in_flight[number]
        return self.fail(error)

    def published(self) -> Commands:
        """The store has confirmed the whole object."""
        self.phase = Phase.DONE
        self._buffers.clear()
        return NOTHING

    def fail(self, error: GatewayError) -> Commands:
        """Publish nothing any more. Only the first reason counts."""
        if self.phase is not Phase.DONE and self.failure is None:
            self.phase = Phase.FAILED
            self.failure = error
            self._buffers.clear()
            self._ready.clear()
            self._tail = None
        return self._abort_when_idle()

    # Writes.

    def _unless_refused(self, step: Callable[[], Commands]) -> Commands:
        if self.failure is not None:
            return NOTHING
        if self._finishing:
            return self.fail(UploadFailed("the file is closed"))
        try:
            return step()
        except FileError as error:
            return self.fail(error)

    def _place(self, offset: int, data: bytes) -> Commands:
        """Put bytes into the parts that they belong to."""
        stop = offset + len(data)
        if not data:
            return NOTHING
        self._demand_room(offset, stop)
        self._changed = True
        view, at, number = memoryview(data), offset, self._ladder.number(offset)
        while at < stop:
            start, buffer = self._ladder.start(number), self._buffer(number)
            taken = min(stop, start + buffer.capacity_bytes) - at
            buffer.write(at - start, view[at - offset : at - offset + taken])
            at, number = at + taken, number + 1
        self._written_bytes = max(self._written_bytes, stop)
        commands = self._seal_complete()
        in_order = self._first_missing() == self._written_bytes
        self._tail = (
            self._buffers.get(number - 1) if in_order and stop == self._written_bytes else None
        )
        return commands

    def _buffer(self, number: int) -> PartBuffer:
        if number not in self._buffers:
            self._buffers[number] = PartBuffer(self._ladder.size_bytes(number))
        return self._buffers[number]

    def _demand_room(self, offset: int, stop: int) -> None:
        if offset < self._ladder.start(self._sealed + 1):
            raise UploadFailed(
                f"a write at offset {offset} would change bytes that have been sent already; "
                "an upload cannot go back"
            )
        self._demand_reach(offset, stop)
        if stop > self._ladder.capacity_bytes:
            raise LimitReached(
                f"the file is too large: {self._ladder.capacity_bytes} bytes fit into "
                f"{self._ladder.max_parts} parts; a larger part_size allows more"
            )

    def _demand_reach(self, offset: int, stop: int) -> None:
        missing = self._first_missing()
        if offset > missing and stop > missing + self._reorder_bytes:
            self._demand_nothing_below(missing)
            raise LimitReached(
                f"nothing has been written from {missing} on, and at most {self._reorder_bytes} "
                f"bytes may be skipped or arrive out of order: {stop} is too far ahead"
            )

    def _demand_nothing_below(self, missing: int) -> None:
        """What was not written of an overlay would have to come from the object below."""
        if missing < self._below_bytes:
            raise Unsupported(
                "only a part of an existing file was written, and keeping the rest of it is not "
                "supported; send the whole file"
            )

    def _first_missing(self) -> int:
        """The first offset that nobody has written."""
        number = self._sealed + 1
        while (buffer := self._buffers.get(number)) and buffer.is_complete:
            number += 1
        return self._ladder.start(number) + (buffer.first_missing if buffer else 0)

    # Parts.

    def _seal_complete(self) -> Commands:
        sealed_before = self._sealed
        while (buffer := self._buffers.get(self._sealed + 1)) and buffer.is_complete:
            if self._sealed == 0 and self._written_bytes <= buffer.capacity_bytes:
                break
            self._seal_next()
        return NOTHING if self._sealed == sealed_before else self._next_commands()

    def _seal_next(self) -> None:
        self._sealed += 1
        buffer = self._buffers.pop(self._sealed)
        self._ready.append(SendPart(self._sealed, buffer.body, len(buffer)))

    def _next_commands(self) -> Commands:
        """Open the upload, send what may be sent, complete it, or clear up: whatever is due."""
        if self.phase is Phase.FAILED:
            return self._abort_when_idle()
        if self.phase is Phase.BUFFERING:
            self.phase = Phase.OPENING
            return (OpenUpload(),)
        if self.phase is not Phase.STREAMING:
            return NOTHING
        commands: list[Command] = []
        while self._ready and len(self._in_flight) < self._concurrency:
            part = self._ready.popleft()
            self._in_flight[part.number] = part
            commands.append(part)
        if self._finishing and not self._in_flight:
            self.phase = Phase.PUBLISHING
            ordered = tuple(sorted(self._stored, key=lambda stored: stored.number))
            commands.append(CompleteUpload(ordered, self._written_bytes))
        return tuple(commands)

    def _abort_when_idle(self) -> Commands:
        if self._in_flight or not self._upload_is_open or self.phase is not Phase.FAILED:
            return NOTHING
        self._upload_is_open = False
        return (AbortUpload(),)

    # Sizes and the end.

    def _cut(self, size_bytes: int) -> Commands:
        if size_bytes < self._ladder.start(self._sealed + 1):
            raise UploadFailed(
                f"the file cannot be cut to {size_bytes} bytes: more has been sent already"
            )
        self._tail = None
        self._below_bytes = min(self._below_bytes, size_bytes)
        if size_bytes > self._written_bytes:
            self._demand_reach(self._written_bytes + 1, size_bytes)
            self._written_bytes = size_bytes
            return self._seal_complete()
        for number in tuple(self._buffers):
            start = self._ladder.start(number)
            if start >= size_bytes:
                del self._buffers[number]
            elif start + len(self._buffers[number]) > size_bytes:
                self._buffers[number].truncate(size_bytes - start)
        self._written_bytes = size_bytes
        return NOTHING

    def _finish(self) -> Commands:
        self._finishing = True
        if not self._changed:
            self.phase = Phase.DONE
            return (Finish(),)
        self._demand_nothing_below(self._first_missing())
        if self._sealed == 0 and self._written_bytes <= self._ladder.size_bytes(1):
            self._fill_up(1)
            self.phase = Phase.PUBLISHING
            return (PutWhole(self._buffers[1].body, self._written_bytes),)
        while self._ladder.start(self._sealed + 1) < self._written_bytes:
            self._fill_up(self._sealed + 1)
            self._seal_next()
        return self._next_commands()

    def _fill_up(self, number: int) -> None:
        """Whatever was not written of a part, up to the end of the file, is zeros."""
        buffer = self._buffer(number)
        behind = self._written_bytes - self._ladder.start(number)
        buffer.fill_gaps(min(buffer.capacity_bytes, behind))
