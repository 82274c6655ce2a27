"""What an upload does next.

Knows: the bytes that have come, what is still owed, what has failed.
Must not know: how a part is sent, which client writes, what the object is called.

Rules

1. Bytes are kept in a draft (`uploads/plan/overlay`) until they are *sealed*: sent, or left to the
   store to copy. Sealed parts go on to `uploads/plan/multipart`, which keeps their bytes until
   the store confirms them.
2. A part is sealed as soon as each of its bytes is there, but part 1 only when something
   follows it: a file that fits into one part is one PutObject, and nothing else.
3. Writes may come in any order as long as they end within `reorder_bytes` behind
   the first byte that is missing. Farther away they fail at once.
4. What is sealed cannot be changed any more: a write into it fails.
5. Over an object that stays below (an *overlay*), what was not written is *kept*: it is
   not missing. `uploads/plan/boundaries` says what of it is copied and what is fetched into the
   draft.
   It is sealed only when a whole part of new bytes lies behind it, and nothing else was
   written (a resume), or when more than `reorder_bytes` wait behind it: until then, writes
   may go back. What follows the last write waits for the end, since the file may be cut.
6. At the end gaps are zeros, or kept. But where the client may believe that there is more
   than there is (`may_skip` is False), a gap before the first write is a mistake: it would
   go on with an upload that is gone.
7. Appended bytes go to the end of the file, whatever offset they come with; where rule 6
   has its exception, with the offset of the end, or none.
8. An overlay that was neither written nor cut changes nothing.
9. The first failure ends it: it stays in `failure`. No command follows but those that
   clear up, and they only when nothing else is under way. Nothing that is under way need
   be tried again (`is_given_up`).
10. A lost client ends it, too. If it may be *kept* (`uploads/suspended/plan`), what is whole of it
is
    sent before, and a tail of at least `min_part_bytes` as a part of its own; then its upload
    stays open, with a record. The first part that cannot be sent any more ends that. Until
    it is told to hurry, what is under way is worth trying again.
11. An upload that was kept goes on as an overlay on itself: its parts are taken as they are
    once it is clear that they stay. Written anew from the start, it is sent anew, into the
    same upload. As long as nothing of that has happened, it is kept again whatever fails.
12. Each command ends with one event, `succeeded` or `failed`.

Phases, and what leads on:

    BUFFERING   something is sealed   → STREAMING   (OpenUpload, SendPart …)
    BUFFERING   finish                → PUBLISHING  (PutWhole)
    STREAMING   finish, all stored    → PUBLISHING  (CompleteUpload)
    PUBLISHING  succeeded             → DONE
    BUFFERING   finish, unchanged     → DONE
    any         fail                  → FAILED      (AbortUpload, DropPiece, once idle)
    any         lose, to be kept      → KEEPING     (SendPart …)
    KEEPING     nothing under way     → FAILED      (KeepUpload, DropPiece)
    BUFFERING   finish, unchanged     → PUBLISHING  (KeepUpload), if it had been kept before
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from itertools import islice

from sftpgw.errors import FileError, GatewayError, LimitReached, Unsupported, UploadFailed
from sftpgw.files.uploads.plan.boundaries import BaseObject, Cut, CutAfter, CutCopy, CutPart, evenly
from sftpgw.files.uploads.plan.multipart import MultipartPlan
from sftpgw.files.uploads.plan.overlay import OverlayFile
from sftpgw.files.uploads.plan.read_sources import Source, sources
from sftpgw.files.uploads.plan.staging_layout import StagingLayout
from sftpgw.files.uploads.plan.upload_commands import (
    NOTHING,
    AbortUpload,
    Command,
    Commands,
    CompleteUpload,
    DropStaging,
    FetchBase,
    Outcome,
    PutWhole,
    SuspendUpload,
)
from sftpgw.files.uploads.suspended.plan import KeptParts
from sftpgw.model.store import ByteRange, StoredPart
from sftpgw.model.units import KIB, MIB, Body, Buffer

SMALL_BYTES = 256 * KIB
"""What costs less than a request does: a file of this size need not wait for memory."""

MAX_SOURCES = 256
"""A READ of bytes more scattered than this gets the first of them, as SFTP allows."""


class UploadPhase(enum.Enum):
    BUFFERING = "buffering"
    STREAMING = "streaming"
    PUBLISHING = "publishing"
    KEEPING = "keeping"
    DONE = "done"
    FAILED = "failed"


class UploadPlan:
    """The state of one upload. Each event returns the commands to carry out now.

    Nothing here raises but `sources`: what is refused ends up in `failure`.

    :param allowance_bytes: what it may hold in parts before the client has to wait, and how
        much it may fetch of an object that the store cannot copy.
    :param small_bytes: up to here it counts the bytes it holds, from here on whole parts.
    :param below: the object that stays below what is written, None for a file that
        starts empty.
    :param appends: whatever is written goes to the end.
    :param kept: the parts of an upload that was kept, and goes on now.
    :param tail_bytes: from this size on, what is not a whole part is sent when the client is
        lost, to be kept; None if nothing is.
    :param may_skip: the first write may leave a gap before it.
    """

    def __init__(
        self,
        layout: StagingLayout,
        *,
        concurrency: int = 4,
        allowance_bytes: int = 256 * MIB,
        reorder_bytes: int = 32 * MIB,
        small_bytes: int = SMALL_BYTES,
        below: BaseObject | None = None,
        appends: bool = False,
        kept: tuple[StoredPart, ...] = (),
        tail_bytes: int | None = None,
        may_skip: bool = True,
    ) -> None:
        self.small_bytes = small_bytes
        self.phase = UploadPhase.BUFFERING
        self.failure: GatewayError | None = None
        self.is_given_up = False
        """What is under way is of use only if it succeeds at once: nobody waits for more."""
        self._layout = layout
        self._concurrency = concurrency
        self._allowance_bytes = allowance_bytes
        self._reorder_bytes = reorder_bytes
        self._appends = appends
        self._may_skip = may_skip
        self._kept = KeptParts(kept)
        self._copies_below = below is not None and below.can_copy
        self._tail_bytes = tail_bytes if below is None else None
        self._edited = OverlayFile(self._kept.below if kept else below)
        self._number = 1
        self._part_bytes = layout.size_bytes(1)
        self._assembly = MultipartPlan(layout, concurrency, is_open=bool(kept))
        self._fetching_bytes = 0
        self._completer = False
        self._under_way = 0
        # How much more may come in order without completing a part; 0 when it does not.
        self._room_bytes = 0

    # What the engine may ask.

    @property
    def size_bytes(self) -> int:
        """The size that the file would have now."""
        return self._edited.size_bytes

    @property
    def is_congested(self) -> bool:
        """More is sealed than may be under way, or than may be held: the client waits."""
        assembly = self._assembly
        return (
            assembly.parts_at_hand > self._concurrency
            or self._fetching_bytes > 0
            or (
                assembly.parts_at_hand > 0
                and assembly.held_bytes + self._part_bytes > self._allowance_bytes
            )
        )

    @property
    def is_changed(self) -> bool:
        """Something would be published."""
        return self._edited.is_changed

    @property
    def may_copy(self) -> bool:
        """Some of its parts may be copied: of the object below, or pieces."""
        return self._copies_below or self._layout.pieces is not None

    @property
    def metadata_is_sent(self) -> bool:
        """Too late to say anything about the object but its bytes."""
        return self.phase is not UploadPhase.BUFFERING or bool(self._kept)

    @property
    def is_keeping(self) -> bool:
        """The client is lost, and what there is of its file is being kept."""
        return self.phase is UploadPhase.KEEPING

    @property
    def waits_for_gap(self) -> bool:
        """Bytes are held that only a later write, or the end, lets go."""
        return self._edited.is_scattered

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
        bytes_here = self._edited.draft.size_bytes + self._fetching_bytes
        is_small = self.sent_bytes + bytes_here <= self.small_bytes
        if is_small or self._completer or self.is_congested:
            return bytes_here
        return -(-bytes_here // self._part_bytes) * self._part_bytes

    def sources(self, wanted: ByteRange) -> tuple[Source, ...]:
        """Where the bytes of `wanted`, which end within the file, are now; at least the first.

        :raises Unsupported: some were sent and are not here any more.
        """
        found = tuple(islice(sources(wanted, self._edited, self._assembly), MAX_SOURCES))
        if self._kept and any(isinstance(source, ByteRange) for source in found):
            raise Unsupported(
                "the beginning of this file is kept from an earlier connection, and cannot be "
                "read before the file is closed"
            )
        return found

    # What happens to an upload.

    def write(self, offset: int, *pieces: Buffer) -> Commands:
        """The client has sent bytes, in pieces."""
        size_bytes = sum(map(len, pieces))
        if self._appends:
            if offset and not self._edited.written_stop:
                refused = self._unless_refused(lambda: self._demand_no_gap(offset))
                if self.failure is not None:
                    return refused
            offset = self.size_bytes
        if offset == self._edited.written_stop and size_bytes < self._room_bytes:
            # The usual case: the bytes continue a part, and do not complete it.
            self._edited.append(size_bytes, pieces)
            self._room_bytes -= size_bytes
            return NOTHING
        return self._unless_refused(lambda: self._place(offset, size_bytes, pieces))

    def truncate(self, size_bytes: int) -> Commands:
        """The client has set the size of the file."""
        if not self._edited.is_changed and size_bytes == self.size_bytes:
            return NOTHING
        return self._unless_refused(lambda: self._cut(size_bytes))

    def finish(self) -> Commands:
        """The client has closed the file: publish."""
        return self._unless_refused(self._finish)

    def succeeded(self, command: Command, outcome: Outcome = None) -> Commands:
        """The store has done what `command` asks."""
        self._under_way -= 1
        if isinstance(command, PutWhole | CompleteUpload):
            self.phase = UploadPhase.DONE
            self._edited.draft.clear()
            left = self._assembly.leftovers() if isinstance(command, PutWhole) else ()
            return self._issued(left)
        if isinstance(command, SuspendUpload) and self.phase is UploadPhase.PUBLISHING:
            self.phase = UploadPhase.DONE
        if self.phase is UploadPhase.DONE:
            return NOTHING
        if isinstance(command, FetchBase):
            self._fetching_bytes = 0
            assert isinstance(outcome, tuple), "what was fetched has bytes"
            if self.failure is None:
                self._edited.add_fetched(command.wanted, outcome)
        else:
            assert not isinstance(outcome, tuple), "nothing else has bytes"
            self._assembly.succeeded(command, outcome)
        return self._attempt(self._advance)

    def failed(self, command: Command, error: GatewayError) -> Commands:
        """The store has refused `command` for good. Where it was to clear up, nothing is lost."""
        self._under_way -= 1
        if isinstance(command, AbortUpload | DropStaging):
            return self._next_commands()
        if isinstance(command, FetchBase):
            self._fetching_bytes = 0
        elif not isinstance(command, PutWhole):
            self._assembly.failed(command)
        return self._send_no_more() if self.is_keeping else self.fail(error)

    def fail(self, error: GatewayError) -> Commands:
        """Publish nothing any more. Only the first reason counts."""
        if self.phase is not UploadPhase.DONE and self.failure is None:
            if self._is_untouched:
                self._adopt(self._kept.parts)
                self._end(error, UploadPhase.KEEPING)
            else:
                self._end(error, UploadPhase.FAILED)
            self.is_given_up = True
            self._assembly.discard()
        return self._next_commands()

    def lose(self) -> Commands:
        """The client is gone. What can be gone on with is kept, if that is wanted."""
        lost = UploadFailed("the upload was abandoned")
        is_over = self._completer or self.failure is not None
        if is_over or self._tail_bytes is None or not self._seal_rest(self._tail_bytes):
            return self.fail(lost)
        self._end(lost, UploadPhase.KEEPING)
        self._assembly.wind_up()
        return self._next_commands()

    def hurry(self) -> Commands:
        """Keep what is stored by now, and what is under way if that succeeds at once."""
        self.is_given_up = True
        return self._send_no_more()

    def _send_no_more(self) -> Commands:
        self._assembly.discard()
        return self._next_commands()

    def _end(self, error: GatewayError, phase: UploadPhase) -> None:
        self.phase = phase
        self.failure = error
        self._edited.draft.clear()
        self._room_bytes = 0

    def _unless_refused(self, step: Callable[[], Commands]) -> Commands:
        if self.failure is not None:
            return NOTHING
        if self._completer:
            return self.fail(UploadFailed("the file is closed"))
        return self._attempt(step)

    def _attempt(self, step: Callable[[], Commands]) -> Commands:
        try:
            return step()
        except FileError as error:
            return self.fail(error)

    # Writes and sizes.

    def _place(self, offset: int, size_bytes: int, pieces: Body) -> Commands:
        """Put bytes where they belong."""
        stop = offset + size_bytes
        if not size_bytes:
            return NOTHING
        if offset < self._edited.cursor:
            raise UploadFailed(
                f"a write at offset {offset} would change bytes that have been sent already; "
                "an upload cannot go back"
            )
        self._demand_reach(offset, stop)
        self._demand_capacity(stop)
        self._edited.write(offset, stop, pieces)
        return self._advance()

    def _cut(self, size_bytes: int) -> Commands:
        if size_bytes < self._edited.cursor:
            raise UploadFailed(
                f"the file cannot be cut to {size_bytes} bytes: more has been sent already"
            )
        if size_bytes > self.size_bytes:
            self._demand_reach(size_bytes, size_bytes)
            self._demand_capacity(size_bytes)
        self._edited.resize(size_bytes)
        return self._advance()

    def _demand_reach(self, offset: int, stop: int) -> None:
        missing = self._edited.first_missing
        if offset > missing and stop > missing + self._reorder_bytes:
            raise LimitReached(
                f"nothing has been written from {missing} on, and at most {self._reorder_bytes} "
                f"bytes may be skipped or arrive out of order: {stop} is too far ahead"
            )

    def _demand_no_gap(self, offset: int) -> Commands:
        here = max(self._edited.cursor, self._edited.kept_stop)
        if offset > here and not self._may_skip:
            raise UploadFailed(
                f"this upload begins at {offset}, but only {here} bytes of the file are here: what "
                "was there before is gone, or somebody else goes on with it; look at its size again"
            )
        return NOTHING

    def expect(self, size_bytes: int) -> None:
        """So long will the file be. :raises LimitReached: it cannot."""
        self._demand_capacity(size_bytes)

    def _demand_capacity(self, stop: int) -> None:
        capacity_bytes = self._edited.cursor + self._layout.room_bytes(self._number)
        if stop > capacity_bytes:
            why = "S3 takes no more"
            if self._layout.pieces is None:
                why = "they fill all parts, and this store cannot join more; see part_size"
            raise LimitReached(f"the file is too large: {capacity_bytes} bytes fit, {why}")

    def _finish(self) -> Commands:
        self._completer = True
        if self._edited.is_changed:
            if len(extents := self._edited.draft.extents):
                self._demand_no_gap(extents.start)
            return self._advance()
        if self._kept:
            self.phase = UploadPhase.PUBLISHING
            return self._issued((SuspendUpload(self._kept.parts),))
        self.phase = UploadPhase.DONE
        return NOTHING

    # Keeping.

    @property
    def _is_untouched(self) -> bool:
        """An upload that was kept has all its bytes still, as they were."""
        edited, kept_bytes = self._edited, self._kept.size_bytes
        extents = edited.draft.extents
        is_written = len(extents) > 0 and extents.start < kept_bytes
        is_whole = edited.cursor == 0 and edited.kept_stop == kept_bytes
        return bool(self._kept) and is_whole and not is_written

    def _adopt(self, parts: tuple[StoredPart, ...]) -> None:
        self._edited.seal(KeptParts(parts).size_bytes)
        self._assembly.adopt(parts)
        self._go_on_at(self._layout.number_after(len(parts)))

    def _seal_rest(self, tail_bytes: int) -> bool:
        """Seal what is worth being kept; whether there is anything."""
        if self._is_untouched:
            self._adopt(self._kept.parts)
        edited = self._edited
        # The last byte is left out, or the file might be whole.
        stop = edited.draft.extents.run_stop(edited.cursor) - 1
        stop = min(stop, edited.cursor + self._part_bytes)
        is_direct = self._layout.home(self._number).upload == 0
        room_bytes = self._layout.room_bytes(self._number)
        if is_direct and tail_bytes <= stop - edited.cursor <= room_bytes:
            self._seal_part(stop)
        return self._has_sealed

    @property
    def _durable(self) -> tuple[StoredPart, ...]:
        below_bytes = self._edited.written_stop or self._kept.size_bytes + 1
        return self._assembly.durable(below_bytes)

    # Sealing.

    @property
    def _has_sealed(self) -> bool:
        return self._number > 1

    def _advance(self) -> Commands:
        """Seal what may be sealed; returns what may be begun."""
        self._room_bytes = 0
        if self.failure is not None or self.phase is UploadPhase.PUBLISHING:
            return self._next_commands()
        while not self._fetching_bytes and (cut := self._next_cut()) is not None:
            match cut:
                case CutAfter():
                    return self._fetch(cut.wanted) + self._next_commands()
                case CutCopy():
                    self._seal_copy(cut.stop)
                case CutPart():
                    self._edited.fill_with_zeros(cut.stop)
                    if self._completer and not self._has_sealed and cut.stop == self.size_bytes:
                        self.phase = UploadPhase.PUBLISHING
                        return self._issued((PutWhole(self._edited.draft.body, cut.stop),))
                    self._seal_part(cut.stop)
        if self._completer and self._edited.cursor == self.size_bytes:
            self._assembly.end()
        self._note_room()
        return self._next_commands()

    def _next_cut(self) -> Cut | None:
        """What is sealed next, None if it is too early."""
        edited, size_bytes = self._edited, self.size_bytes
        if self._completer:
            is_done = edited.cursor == size_bytes and self._has_sealed
            return None if is_done else self._cut_up_to(size_bytes)
        if not self._has_sealed and size_bytes <= self._part_bytes:
            return None
        part_stop = edited.cursor + self._part_bytes
        if edited.draft.extents.run_stop(edited.cursor) >= part_stop:
            return CutPart(part_stop)
        limit = edited.draft.extents.last_stop(edited.kept_stop)
        if limit >= part_stop and self._must_go_on():
            return self._cut_up_to(limit)
        return None

    def _must_go_on(self) -> bool:
        """What was skipped counts as kept now, though it might have been written yet."""
        draft = self._edited.draft
        return draft.size_bytes > self._reorder_bytes or (
            len(draft.extents) == 1 and draft.size_bytes >= self._part_bytes
        )

    def _cut_up_to(self, limit: int) -> Cut | None:
        if self._assembly.parts_at_hand > self._concurrency:
            return None  # the client waits already, or has closed the file
        return self._edited.next_cut(limit, self._part_bytes, is_last=self._completer)

    def _seal_part(self, stop: int) -> None:
        self._demand_capacity(stop)
        start = self._edited.cursor
        self._assembly.add(self._number, self._edited.seal(stop), stop - start, start)
        self._go_on_at(self._number + 1)

    def _seal_copy(self, stop: int) -> None:
        if self._kept:
            self._adopt(self._kept.before(stop))
            return
        copied = ByteRange(self._edited.cursor, stop)
        self._edited.seal(stop)
        number = self._number
        for wanted in evenly(copied, self._edited.below.copy_limit_bytes):
            slot, number = self._layout.after_copy(number)
            if slot > self._layout.ladder.max_parts:
                raise LimitReached("the changes are too scattered: they fill all parts")
            self._assembly.copy_below(slot, wanted)
        self._go_on_at(number)

    def _go_on_at(self, number: int) -> None:
        self._number = number
        self._part_bytes = self._layout.size_bytes(number)

    def _note_room(self) -> None:
        bytes_here = self._edited.in_order_bytes()
        self._room_bytes = self._part_bytes - bytes_here if bytes_here else 0

    def _fetch(self, wanted: ByteRange) -> Commands:
        below = self._edited.below
        if self._kept:
            raise UploadFailed(
                f"of the {below.size_bytes} bytes that were kept from an earlier connection some "
                "were written again, but not all: send the whole file, or go on behind them"
            )
        if not below.can_copy and below.size_bytes > self._allowance_bytes:
            raise Unsupported(
                "this store cannot copy parts of a stored file into a new one, or wants all "
                f"parts equal, and no file over {self._allowance_bytes} bytes is fetched to "
                "be sent again; send the whole file"
            )
        self._fetching_bytes = wanted.size_bytes
        return self._issued((FetchBase(wanted),))

    # Commands.

    def _next_commands(self) -> Commands:
        """Send what may be sent, complete what is whole, or clear up: whatever is due."""
        if self.phase is UploadPhase.FAILED:
            return self._issued(() if self._under_way else self._assembly.leftovers())
        if self.phase is UploadPhase.KEEPING:
            return self._issued(self._assembly.next_steps()) or self._keep()
        if self.phase is UploadPhase.BUFFERING and self._has_sealed:
            self.phase = UploadPhase.STREAMING
        if self.phase is not UploadPhase.STREAMING:
            return NOTHING
        commands = self._issued(self._assembly.next_steps())
        if commands and isinstance(commands[-1], CompleteUpload):
            self.phase = UploadPhase.PUBLISHING
        return commands

    def _keep(self) -> Commands:
        if self._under_way:
            return NOTHING
        self.phase = UploadPhase.FAILED
        if not (parts := self._durable):
            return self._next_commands()
        return self._issued((*self._assembly.leftovers(keep=True), SuspendUpload(parts)))

    def _issued(self, commands: Iterable[Command]) -> Commands:
        issued = tuple(commands)
        self._under_way += len(issued)
        return issued
