"""What an upload does next.

Knows: the bytes that have come, what is still owed, what has failed.
Must not know: how a part is sent, which client writes, what the object is called.

Rules

1. Bytes are buffered in the part they belong to (`plan/pieces`). A part is
   *sealed* when each of its bytes is there; sealed parts go on to `plan/assembling`,
   which sends them, and keeps their bytes until the store confirms them.
2. Part 1 is sealed only when something follows it: a file that fits into one
   part is one PutObject, and nothing else.
3. Writes may come in any order as long as they end within `reorder_bytes` behind
   the first byte that is missing. Farther away they fail at once.
4. A sealed part cannot be read back or changed: a write into it fails.
5. At the end, gaps are zeros. Over an object that stays below (an *overlay*)
   they would be that object's bytes, which an upload cannot get at: then the
   upload fails, unless the client has cut the file where its writes end.
6. An overlay that was neither written nor cut changes nothing.
7. The first failure ends it: it stays in `failure`. No command follows but those that
   clear up, and they only when nothing else is under way.
8. Each command ends with one event, `succeeded` or `failed`.

Phases, and what leads on:

    BUFFERING   a part is sealed      → STREAMING   (OpenUpload, SendPart …)
    BUFFERING   finish                → PUBLISHING  (PutWhole)
    STREAMING   finish, all stored    → PUBLISHING  (CompleteUpload)
    PUBLISHING  succeeded             → DONE
    BUFFERING   finish, unchanged     → DONE
    any         fail                  → FAILED      (AbortUpload, DropPiece, once idle)
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from sftpgw.errors import FileError, GatewayError, LimitReached, Unsupported, UploadFailed
from sftpgw.plan.assembling import AbortUpload, Assembly, CompleteUpload, DropPiece, Step
from sftpgw.plan.partbuffer import PartBuffer
from sftpgw.plan.pieces import Layout
from sftpgw.values import KIB, MIB, Body, Buffer, StoredPart

SMALL_BYTES = 256 * KIB
"""What costs less than a request does: a file of this size need not wait for memory."""


@dataclass(frozen=True, slots=True)
class PutWhole:
    """Send everything as one object."""

    body: Body
    size_bytes: int


Command: TypeAlias = Step | PutWhole
Commands: TypeAlias = tuple[Command, ...]
NOTHING: Commands = ()


class Phase(enum.Enum):
    BUFFERING = "buffering"
    STREAMING = "streaming"
    PUBLISHING = "publishing"
    DONE = "done"
    FAILED = "failed"


class UploadPlan:
    """The state of one upload. Each event returns the commands to carry out now.

    Nothing here raises: what is refused ends up in `failure`.

    :param allowance_bytes: what it may hold in parts before the client has to wait.
    :param small_bytes: up to here it counts the bytes it holds, from here on whole parts.
    :param overlaid_bytes: the size of the object that stays below what is
        written, None for a file that starts empty.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        concurrency: int = 4,
        allowance_bytes: int = 256 * MIB,
        reorder_bytes: int = 32 * MIB,
        small_bytes: int = SMALL_BYTES,
        overlaid_bytes: int | None = None,
    ) -> None:
        self.small_bytes = small_bytes
        self.phase = Phase.BUFFERING
        self.failure: GatewayError | None = None
        self._layout = layout
        self._concurrency = concurrency
        self._allowance_bytes = allowance_bytes
        self._reorder_bytes = reorder_bytes
        self._below_bytes = overlaid_bytes or 0
        self._changed = overlaid_bytes is None
        self._written_bytes = 0
        self._buffers: dict[int, PartBuffer] = {}
        self._sealed = 0
        self._next_bytes = layout.size_bytes(1)
        self._assembly = Assembly(layout, concurrency)
        self._finishing = False
        self._under_way = 0
        # The part that in-order writes go on filling; None when they do not.
        self._tail: PartBuffer | None = None

    # What the engine may ask.

    @property
    def size_bytes(self) -> int:
        """The size that the file would have now."""
        return max(self._written_bytes, self._below_bytes)

    @property
    def is_congested(self) -> bool:
        """More parts are sealed than may be under way, or than may be held: the client waits."""
        assembly = self._assembly
        return assembly.parts_at_hand > self._concurrency or (
            assembly.parts_at_hand > 0
            and assembly.held_bytes + self._next_bytes > self._allowance_bytes
        )

    @property
    def metadata_is_sent(self) -> bool:
        """Too late to say anything about the object but its bytes."""
        return self.phase is not Phase.BUFFERING

    @property
    def waits_for_gap(self) -> bool:
        """Bytes are held behind a gap, which only a later write can fill."""
        return self._tail is None and self._first_missing() < self._written_bytes

    @property
    def sent_bytes(self) -> int:
        """What is held until the store confirms it."""
        return self._assembly.held_bytes

    @property
    def filling_bytes(self) -> int:
        """What else to reserve: the bytes of a small upload, the whole parts of a large one.

        What comes while the client is made to wait is the rest of its window. It counts
        as bytes: with parts under way the upload goes on without a whole one more. So does
        what is there at the end.
        """
        bytes_here = sum(map(len, self._buffers.values()))
        is_small = self.sent_bytes + bytes_here <= self.small_bytes
        if is_small or self._finishing or self.is_congested:
            return bytes_here
        return sum(buffer.capacity_bytes for buffer in self._buffers.values())

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

    def succeeded(self, command: Command, part: StoredPart | None = None) -> Commands:
        """The store has done what `command` asks; `part` is what it has become, if it has."""
        self._under_way -= 1
        if isinstance(command, PutWhole | CompleteUpload):
            self.phase = Phase.DONE
            self._buffers.clear()
            return NOTHING
        self._assembly.succeeded(command, part)
        return self._next_commands()

    def failed(self, command: Command, error: GatewayError) -> Commands:
        """The store has refused `command` for good. Where it was to clear up, nothing is lost."""
        self._under_way -= 1
        if isinstance(command, AbortUpload | DropPiece):
            return self._next_commands()
        if not isinstance(command, PutWhole):
            self._assembly.failed(command)
        return self.fail(error)

    def fail(self, error: GatewayError) -> Commands:
        """Publish nothing any more. Only the first reason counts."""
        if self.phase is not Phase.DONE and self.failure is None:
            self.phase = Phase.FAILED
            self.failure = error
            self._buffers.clear()
            self._assembly.discard()
            self._tail = None
        return self._next_commands()

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
        view, at, number = memoryview(data), offset, self._layout.number(offset)
        while at < stop:
            start, buffer = self._layout.start(number), self._buffer(number)
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
            self._buffers[number] = PartBuffer(self._layout.size_bytes(number))
        return self._buffers[number]

    def _demand_room(self, offset: int, stop: int) -> None:
        if offset < self._layout.start(self._sealed + 1):
            raise UploadFailed(
                f"a write at offset {offset} would change bytes that have been sent already; "
                "an upload cannot go back"
            )
        self._demand_reach(offset, stop)
        self._demand_capacity(stop)

    def expect(self, size_bytes: int) -> None:
        """So long will the file be. :raises LimitReached: it cannot."""
        self._demand_capacity(size_bytes)

    def _demand_capacity(self, stop: int) -> None:
        capacity_bytes = self._layout.capacity_bytes
        if stop > capacity_bytes:
            why = "S3 takes no more"
            if self._layout.pieces is None:
                why = "they fill all parts, and this store cannot join more; see part_size"
            raise LimitReached(f"the file is too large: {capacity_bytes} bytes fit, {why}")

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
        return self._layout.start(number) + (buffer.first_missing if buffer else 0)

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
        self._assembly.add(self._sealed, buffer.body, len(buffer))
        self._next_bytes = self._layout.size_bytes(self._sealed + 1)

    def _next_commands(self) -> Commands:
        """Send what may be sent, complete what is whole, or clear up: whatever is due."""
        if self.phase is Phase.FAILED:
            return self._issued(() if self._under_way else self._assembly.leftovers())
        if self.phase is Phase.BUFFERING and self._sealed:
            self.phase = Phase.STREAMING
        if self.phase is not Phase.STREAMING:
            return NOTHING
        commands = self._issued(self._assembly.next_steps())
        if commands and isinstance(commands[-1], CompleteUpload):
            self.phase = Phase.PUBLISHING
        return commands

    def _issued(self, commands: Iterable[Command]) -> Commands:
        issued = tuple(commands)
        self._under_way += len(issued)
        return issued

    # Sizes and the end.

    def _cut(self, size_bytes: int) -> Commands:
        if size_bytes < self._layout.start(self._sealed + 1):
            raise UploadFailed(
                f"the file cannot be cut to {size_bytes} bytes: more has been sent already"
            )
        self._tail = None
        self._below_bytes = min(self._below_bytes, size_bytes)
        if size_bytes > self._written_bytes:
            self._demand_reach(self._written_bytes + 1, size_bytes)
            self._demand_capacity(size_bytes)
            self._written_bytes = size_bytes
            return self._seal_complete()
        for number in tuple(self._buffers):
            start = self._layout.start(number)
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
            return NOTHING
        self._demand_nothing_below(self._first_missing())
        if self._sealed == 0 and self._written_bytes <= self._layout.size_bytes(1):
            self._fill_up(1)
            self.phase = Phase.PUBLISHING
            return self._issued((PutWhole(self._buffers[1].body, self._written_bytes),))
        while self._layout.start(self._sealed + 1) < self._written_bytes:
            self._fill_up(self._sealed + 1)
            self._seal_next()
        self._assembly.end()
        return self._next_commands()

    def _fill_up(self, number: int) -> None:
        """Whatever was not written of a part, up to the end of the file, is zeros."""
        buffer = self._buffer(number)
        behind = self._written_bytes - self._layout.start(number)
        buffer.fill_gaps(min(buffer.capacity_bytes, behind))
