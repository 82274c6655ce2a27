"""What an upload does next.

Knows: the bytes that have come, the requests that are due, the failure that ended it.
Must not know: how a part is sent, which client writes, what the object is called.

Rules

1. Bytes stay in a write buffer (`uploads/plan/overlay`) until they are *sealed*: sent, or left to
   the store to copy. Sealed parts go on to `uploads/plan/multipart`, which holds their bytes until
   the store confirms them.
2. A part is sealed as soon as each of its bytes is there, but part 1 only when bytes follow it: a
   file that fits into one part is one PutObject, and nothing else.
   When memory is short, it is sealed sooner, from S3's least size on (`cut_early`).
3. Writes may come in any order as long as they end within `reorder_bytes` behind the first byte
   that is missing. Farther away they fail at once.
4. Sealed bytes cannot be changed any more: a write into them fails.
5. In an *overlay* on a base object, bytes that were not written are preserved, and not missing.
   `uploads/plan/boundaries` says which of them are copied and which are fetched into the buffer.
   They are sealed in two cases: a whole part of new bytes lies behind them and nothing else was
   written (a resume); or more than `reorder_bytes` wait behind them. Until then, writes may go
   back. The preserved bytes behind the last write wait for the end, since the file may
   be cut.
6. At the end gaps are zeros, or preserved bytes. But where the client may believe that the file has
   more bytes than are here (`may_skip` is False), a gap before the first write is a mistake: it
   would go on with an upload that is gone.
7. APPEND ignores offsets. Exception: if `may_skip` is False, the first WRITE must have offset 0 or
   the offset of the end.
8. An overlay that was neither written nor cut changes nothing.
9. The first failure ends the upload, and stays in `end_reason`. The only commands that follow clean
   up, and they come when nothing else is under way. Requests that are under way need not be
   retried (`is_given_up`).
10. A lost client ends the upload, too. If it may be *suspended* (`uploads/suspended/plan`), its
    whole parts are sent before, and a rest of at least `tail_bytes` as a part of its own; then its
    multipart upload stays open, with a record. The first part that cannot be sent any more ends
    that. Until `stop_sending`, requests under way are worth a retry.
11. A suspended upload that is resumed is an overlay on itself: its parts are taken as they are once
    it is clear that they stay. Written anew from the start, the file is sent anew, into the same
    multipart upload. Until one of these has happened, the upload is suspended again, whatever
    fails.
12. Each command ends with one event, `succeeded` or `failed`.

Phases, and what leads on:

    BUFFERING     something is sealed        → STREAMING    (CreateUpload, SendPart …)
    BUFFERING     finish                     → PUBLISHING   (PutWhole)
    STREAMING     finish, all stored         → PUBLISHING   (CompleteUpload)
    PUBLISHING    succeeded                  → DONE
    BUFFERING     finish, unchanged          → DONE
    BUFFERING     finish, unchanged, resumed → RESUSPENDING (SuspendUpload)
    RESUSPENDING  succeeded                  → DONE
    any           fail                       → ENDED        (AbortUpload, DropStaging, once idle)
    any           fail, resumed, untouched   → SUSPENDING   (rule 11)
    any           client_lost, to suspend    → SUSPENDING   (SendPart …)
    SUSPENDING    nothing under way          → ENDED        (SuspendUpload, DropStaging)

ENDED means that nothing is published: the upload has failed, or is suspended as far as it may be.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from itertools import islice

from sftpgw.errors import FileError, GatewayError, LimitReached, Unsupported, UploadFailed
from sftpgw.files.uploads.plan.boundaries import (
    BaseObject,
    Cut,
    CutAfterFetch,
    CutCopy,
    CutPart,
    even_ranges,
)
from sftpgw.files.uploads.plan.multipart import MultipartPlan
from sftpgw.files.uploads.plan.overlay import OverlayFile
from sftpgw.files.uploads.plan.read_sources import Source, sources
from sftpgw.files.uploads.plan.staging_layout import StagingLayout
from sftpgw.files.uploads.plan.upload_commands import (
    NOTHING,
    AbortUpload,
    Command,
    CommandResult,
    Commands,
    CompleteUpload,
    DropStaging,
    FetchBase,
    PutWhole,
    SuspendUpload,
)
from sftpgw.files.uploads.suspended.plan import ResumedParts
from sftpgw.model.store import ByteRange, StoredPart
from sftpgw.model.units import KIB, MIB, Body, Buffer

SMALL_BYTES = 256 * KIB
"""So few bytes cost less than a request: a file of this size need not wait for memory."""

EARLY_PARTS = 1000
"""Parts with a higher number are not cut early: the file might not fit into all numbers then."""

MAX_SOURCES = 256
"""A READ of bytes more scattered than this gets the first of them, as SFTP allows."""


class UploadPhase(enum.Enum):
    BUFFERING = "buffering"
    STREAMING = "streaming"
    PUBLISHING = "publishing"
    RESUSPENDING = "resuspending"
    SUSPENDING = "suspending"
    DONE = "done"
    ENDED = "ended"


class UploadPlan:
    """The state of one upload. Each event returns the commands to carry out now.

    Only `sources` and `expect` raise: a write or a size that is refused ends up in `end_reason`.

    :param layout: how large each part is, and which multipart upload it belongs to.
    :param concurrency: how many requests of one kind are under way at the same time.
    :param allowance_bytes: how many bytes it may hold in parts before the client has to wait, and
        how large a base object may be that is fetched, since the store cannot copy it.
    :param reorder_bytes: how far behind the first missing byte writes may end.
    :param small_bytes: up to this size it reserves the bytes it holds, beyond that steps of
        `step_bytes`, which is the same at first.
    :param early_part_bytes: from which size on a part may be sent when memory is short, though it
        could be larger; None if the store wants equal parts.
    :param base: the object that is edited, or the parts of a suspended upload that goes on; None
        for a file that starts empty.
    :param appends: whether all bytes go to the end of the file.
    :param tail_bytes: from this size on, a rest that is no whole part is sent when the client is
        lost; None if the upload is not suspended then.
    :param may_skip: whether the first write may leave a gap before it.
    :ivar phase: how far the upload has come.
    :ivar end_reason: why nothing is published: a failure, or the loss of the client; None until
        then.
    """

    def __init__(
        self,
        layout: StagingLayout,
        *,
        concurrency: int = 4,
        allowance_bytes: int = 256 * MIB,
        reorder_bytes: int = 32 * MIB,
        small_bytes: int = SMALL_BYTES,
        early_part_bytes: int | None = None,
        base: BaseObject | ResumedParts | None = None,
        appends: bool = False,
        tail_bytes: int | None = None,
        may_skip: bool = True,
    ) -> None:
        self.small_bytes = small_bytes
        self.step_bytes = small_bytes
        """How many bytes it reserves at once: the one who knows its rate sets this."""
        self.phase = UploadPhase.BUFFERING
        self.end_reason: GatewayError | None = None
        self.is_given_up = False
        """Requests under way are of use only if they succeed at once: they are not retried."""
        self._layout = layout
        self._concurrency = concurrency
        self._allowance_bytes = allowance_bytes
        self._reorder_bytes = reorder_bytes
        self._early_part_bytes = early_part_bytes
        self._appends = appends
        self._may_skip = may_skip
        self._resumed = base if isinstance(base, ResumedParts) else ResumedParts()
        edited = base if isinstance(base, BaseObject) else None
        self._copies_base = edited is not None and edited.can_copy
        self._tail_bytes = tail_bytes if edited is None else None
        self._overlay = OverlayFile(self._resumed.base if self._resumed else edited)
        self._number = 1
        self._part_bytes = layout.size_bytes(1)
        self._multipart = MultipartPlan(layout, concurrency, is_open=bool(self._resumed))
        self._fetching_bytes = 0
        self._is_closing = False
        self._under_way = 0
        # How much more may come in order without completing a part; 0 when it does not.
        self._room_bytes = 0

    # Questions.

    @property
    def size_bytes(self) -> int:
        """The size that the file would have now."""
        return self._overlay.size_bytes

    @property
    def is_congested(self) -> bool:
        """Whether more is sealed than may be under way or held: the client waits."""
        multipart = self._multipart
        return (
            multipart.parts_at_hand > self._concurrency
            or self._fetching_bytes > 0
            or (
                multipart.parts_at_hand > 0
                and multipart.held_bytes + self._part_bytes > self._allowance_bytes
            )
        )

    @property
    def is_changed(self) -> bool:
        """Whether the end would publish something."""
        return self._overlay.is_changed

    @property
    def may_copy(self) -> bool:
        """Whether parts may be copied: from the base object, or from staging objects."""
        return self._copies_base or self._layout.stagings is not None

    @property
    def metadata_is_sent(self) -> bool:
        """Whether the properties of the object are fixed."""
        return self.phase is not UploadPhase.BUFFERING or bool(self._resumed)

    @property
    def is_suspending(self) -> bool:
        """Whether the client is lost, and the upload is being suspended."""
        return self.phase is UploadPhase.SUSPENDING

    @property
    def waits_for_gap(self) -> bool:
        """Whether bytes are held that only a later write, or the end, releases."""
        return self._overlay.is_scattered

    @property
    def sent_bytes(self) -> int:
        """How many bytes are held until the store confirms them."""
        return self._multipart.held_bytes

    @property
    def filling_bytes(self) -> int:
        """How many bytes else to reserve: those of a small upload, steps of a large one.

        A step is less than is left of the part. While the client has to wait, and at the end, only
        the bytes count that are here.
        """
        bytes_here = self._overlay.buffer.size_bytes + self._fetching_bytes
        small_bytes = self.small_bytes
        if self.sent_bytes + bytes_here <= small_bytes or self._is_closing or self.is_congested:
            return bytes_here
        stepped_bytes = -(-bytes_here // self.step_bytes) * self.step_bytes
        return max(bytes_here, min(stepped_bytes, self._part_bytes))

    @property
    def part_filling_bytes(self) -> int:
        """How many bytes are here when the next part, or the last one, can be sent.

        Preserved bytes before it have to be fetched first, and writes go on meanwhile.
        """
        bytes_here = self._overlay.buffer.size_bytes + self._fetching_bytes
        part_bytes, has_base = self._part_bytes, self._overlay.base_stop > self._overlay.cursor
        if self._may_cut_early and self._early_part_bytes is not None:
            return max(bytes_here, min(self._early_part_bytes, part_bytes))
        if self._is_closing and not has_base:
            return bytes_here
        return max(1, -(-bytes_here // part_bytes) + has_base) * part_bytes

    @property
    def progress_bytes(self) -> int:
        """How many bytes of the file have come, or are sealed without them, each counted once."""
        return self._overlay.cursor + self._overlay.buffer.size_bytes

    @property
    def can_cut(self) -> bool:
        """Whether the bytes that are here could be sent as a part, though it could be larger."""
        early_part_bytes = self._early_part_bytes
        return (
            early_part_bytes is not None
            and self._may_cut_early
            and self._overlay.in_order_bytes() >= early_part_bytes
        )

    @property
    def _may_cut_early(self) -> bool:
        """Early cuts use up part numbers, so that only the first ones may be cut early."""
        overlay, number = self._overlay, self._number
        return (
            number <= EARLY_PARTS
            and self.phase in (UploadPhase.BUFFERING, UploadPhase.STREAMING)
            and self.end_reason is None
            and not (self._is_closing or self._resumed or self.is_congested)
            and overlay.base_stop <= overlay.cursor
            and self._layout.address(number).upload == 0
        )

    def sources(self, wanted: ByteRange) -> tuple[Source, ...]:
        """Where the bytes of `wanted` are now, or at least the first of them.

        :param wanted: a range that ends within the file.
        :raises Unsupported: some were sent and are not here any more.
        """
        found = tuple(islice(sources(wanted, self._overlay, self._multipart), MAX_SOURCES))
        if self._resumed and any(isinstance(source, ByteRange) for source in found):
            raise Unsupported(
                "the beginning of this file was sent over an earlier connection, and cannot be "
                "read before the file is closed"
            )
        return found

    # Events.

    def write(self, offset: int, *fragments: Buffer) -> Commands:
        """The client has written bytes, in fragments, at an offset."""
        size_bytes = sum(map(len, fragments))
        if self._appends:
            if offset and not self._overlay.written_stop:
                refused = self._unless_refused(lambda: self._require_no_gap(offset))
                if self.end_reason is not None:
                    return refused
            offset = self.size_bytes
        if offset == self._overlay.written_stop and size_bytes < self._room_bytes:
            # The usual case: the bytes continue a part, and do not complete it.
            self._overlay.append(size_bytes, fragments)
            self._room_bytes -= size_bytes
            return NOTHING
        return self._unless_refused(lambda: self._put(offset, size_bytes, fragments))

    def cut_early(self) -> Commands:
        """Memory is short: send what is here as a part, if it `can_cut`."""
        if not self.can_cut:
            return NOTHING
        return self._unless_refused(self._cut_early)

    def truncate(self, size_bytes: int) -> Commands:
        """The client has set the size of the file."""
        if not self._overlay.is_changed and size_bytes == self.size_bytes:
            return NOTHING
        return self._unless_refused(lambda: self._truncate(size_bytes))

    def finish(self) -> Commands:
        """The client has closed the file: publish."""
        return self._unless_refused(self._finish)

    def succeeded(self, command: Command, outcome: CommandResult = None) -> Commands:
        """The store has done what `command` asks."""
        self._under_way -= 1
        if isinstance(command, PutWhole | CompleteUpload):
            self.phase = UploadPhase.DONE
            self._overlay.buffer.clear()
            left = self._multipart.leftovers() if isinstance(command, PutWhole) else ()
            return self._issued(left)
        if isinstance(command, SuspendUpload) and self.phase is UploadPhase.RESUSPENDING:
            self.phase = UploadPhase.DONE
        if self.phase is UploadPhase.DONE:
            return NOTHING
        if isinstance(command, FetchBase):
            self._fetching_bytes = 0
            assert isinstance(outcome, tuple), "fetched bytes are the outcome"
            if self.end_reason is None:
                self._overlay.add_fetched(command.wanted, outcome)
        else:
            assert not isinstance(outcome, tuple), "nothing else has bytes"
            self._multipart.succeeded(command, outcome)
        return self._attempt(self._advance)

    def failed(self, command: Command, error: GatewayError) -> Commands:
        """The store has refused `command` for good. If it was to clean up, the upload goes on."""
        self._under_way -= 1
        if isinstance(command, AbortUpload | DropStaging):
            return self._next_commands()
        if isinstance(command, FetchBase):
            self._fetching_bytes = 0
        elif not isinstance(command, PutWhole):
            self._multipart.failed(command)
        return self._send_no_more() if self.is_suspending else self.fail(error)

    def fail(self, error: GatewayError) -> Commands:
        """Publish nothing any more. Only the first error counts.

        A resumed upload that still has all its bytes is suspended again (rule 11).
        """
        if self.phase is not UploadPhase.DONE and self.end_reason is None:
            if self._is_untouched:
                self._adopt(self._resumed.parts)
                self._end(error, UploadPhase.SUSPENDING)
            else:
                self._end(error, UploadPhase.ENDED)
            self.is_given_up = True
            self._multipart.discard()
        return self._next_commands()

    def client_lost(self) -> Commands:
        """The client is gone. The upload is suspended, if that is wanted and it has whole parts."""
        lost = UploadFailed("the upload was abandoned")
        is_over = self._is_closing or self.end_reason is not None
        if is_over or self._tail_bytes is None or not self._seal_rest(self._tail_bytes):
            return self.fail(lost)
        self._end(lost, UploadPhase.SUSPENDING)
        self._multipart.wind_up()
        return self._next_commands()

    def stop_sending(self) -> Commands:
        """Suspend with the parts that are stored, and those under way that succeed at once."""
        self.is_given_up = True
        return self._send_no_more()

    def _send_no_more(self) -> Commands:
        self._multipart.discard()
        return self._next_commands()

    def _end(self, error: GatewayError, phase: UploadPhase) -> None:
        self.phase = phase
        self.end_reason = error
        self._overlay.buffer.clear()
        self._room_bytes = 0

    def _unless_refused(self, step: Callable[[], Commands]) -> Commands:
        if self.end_reason is not None:
            return NOTHING
        if self._is_closing:
            return self.fail(UploadFailed("the file is closed"))
        return self._attempt(step)

    def _attempt(self, step: Callable[[], Commands]) -> Commands:
        try:
            return step()
        except FileError as error:
            return self.fail(error)

    # Writes and sizes.

    def _put(self, offset: int, size_bytes: int, fragments: Body) -> Commands:
        """Put bytes at their offset."""
        stop = offset + size_bytes
        if not size_bytes:
            return NOTHING
        if offset < self._overlay.cursor:
            raise UploadFailed(
                f"a write at offset {offset} would change bytes that have been sent already; "
                "an upload cannot go back"
            )
        self._require_reach(offset, stop)
        self._require_capacity(stop)
        self._overlay.write(offset, stop, fragments)
        return self._advance()

    def _truncate(self, size_bytes: int) -> Commands:
        if size_bytes < self._overlay.cursor:
            raise UploadFailed(
                f"the file cannot be cut to {size_bytes} bytes: more has been sent already"
            )
        if size_bytes > self.size_bytes:
            self._require_reach(size_bytes, size_bytes)
            self._require_capacity(size_bytes)
        self._overlay.resize(size_bytes)
        return self._advance()

    def _require_reach(self, offset: int, stop: int) -> None:
        missing = self._overlay.first_missing
        if offset > missing and stop > missing + self._reorder_bytes:
            raise LimitReached(
                f"nothing has been written from {missing} on, and at most {self._reorder_bytes} "
                f"bytes may be skipped or arrive out of order ([limits] reorder_allowance): {stop} "
                "is too far ahead"
            )

    def _require_no_gap(self, offset: int) -> Commands:
        here = max(self._overlay.cursor, self._overlay.base_stop)
        if offset > here and not self._may_skip:
            raise UploadFailed(
                f"this upload begins at {offset}, but only {here} bytes of the file are here: what "
                "was there before is gone, or another session has it; look at its size again"
            )
        return NOTHING

    def expect(self, size_bytes: int) -> None:
        """The client announces the size of the file.

        :raises LimitReached: they do not fit into an object.
        """
        self._require_capacity(size_bytes)

    def _require_capacity(self, stop: int) -> None:
        capacity_bytes = self._overlay.cursor + self._layout.room_bytes(self._number)
        if stop > capacity_bytes:
            why = "S3 takes no more"
            if self._layout.stagings is None:
                why = "they fill all parts, and this store cannot join more; see [s3] part_size"
            raise LimitReached(f"the file is too large: {capacity_bytes} bytes fit, {why}")

    def _finish(self) -> Commands:
        self._is_closing = True
        if self._overlay.is_changed:
            if len(extents := self._overlay.buffer.extents):
                self._require_no_gap(extents.start)
            return self._advance()
        if self._resumed:
            self.phase = UploadPhase.RESUSPENDING
            return self._issued((SuspendUpload(self._resumed.parts),))
        self.phase = UploadPhase.DONE
        return NOTHING

    # Suspending.

    @property
    def _is_untouched(self) -> bool:
        """Whether a resumed upload has all its bytes still, as they were."""
        overlay, resumed_bytes = self._overlay, self._resumed.size_bytes
        extents = overlay.buffer.extents
        is_written = len(extents) > 0 and extents.start < resumed_bytes
        is_whole = overlay.cursor == 0 and overlay.base_stop == resumed_bytes
        return bool(self._resumed) and is_whole and not is_written

    def _adopt(self, parts: tuple[StoredPart, ...]) -> None:
        self._overlay.seal(ResumedParts(parts).size_bytes)
        self._multipart.adopt(parts)
        self._go_on_at(self._layout.number_after(len(parts)))

    def _seal_rest(self, tail_bytes: int) -> bool:
        """Seal the rest of the file, but for its last byte; whether any part is sealed."""
        if self._is_untouched:
            self._adopt(self._resumed.parts)
        overlay = self._overlay
        # The last byte is left out: with it the file might be whole.
        stop = overlay.buffer.extents.run_stop(overlay.cursor) - 1
        stop = min(stop, overlay.cursor + self._part_bytes)
        is_direct = self._layout.address(self._number).upload == 0
        room_bytes = self._layout.room_bytes(self._number)
        if is_direct and tail_bytes <= stop - overlay.cursor <= room_bytes:
            self._seal_part(stop)
        return self._has_sealed

    @property
    def _durable(self) -> tuple[StoredPart, ...]:
        limit_bytes = self._overlay.written_stop or self._resumed.size_bytes + 1
        return self._multipart.durable(limit_bytes)

    # Sealing.

    @property
    def _has_sealed(self) -> bool:
        return self._number > 1

    def _advance(self) -> Commands:
        """Seal what may be sealed; returns the commands that may begin."""
        self._room_bytes = 0
        is_ending = self.phase in (UploadPhase.PUBLISHING, UploadPhase.RESUSPENDING)
        if self.end_reason is not None or is_ending:
            return self._next_commands()
        while not self._fetching_bytes and (cut := self._next_cut()) is not None:
            match cut:
                case CutAfterFetch():
                    return self._fetch(cut.wanted) + self._next_commands()
                case CutCopy():
                    self._seal_copy(cut.stop)
                case CutPart():
                    self._overlay.fill_with_zeros(cut.stop)
                    if self._is_closing and not self._has_sealed and cut.stop == self.size_bytes:
                        self.phase = UploadPhase.PUBLISHING
                        return self._issued((PutWhole(self._overlay.buffer.body, cut.stop),))
                    self._seal_part(cut.stop)
        if self._is_closing and self._overlay.cursor == self.size_bytes:
            self._multipart.end()
        self._note_room()
        return self._next_commands()

    def _next_cut(self) -> Cut | None:
        """The bytes that are sealed next, None if it is too early."""
        overlay, size_bytes = self._overlay, self.size_bytes
        if self._is_closing:
            is_done = overlay.cursor == size_bytes and self._has_sealed
            return None if is_done else self._cut_up_to(size_bytes)
        if not self._has_sealed and size_bytes <= self._part_bytes:
            return None
        part_stop = overlay.cursor + self._part_bytes
        if overlay.buffer.extents.run_stop(overlay.cursor) >= part_stop:
            return CutPart(part_stop)
        limit = overlay.buffer.extents.last_stop(overlay.base_stop)
        if limit >= part_stop and self._must_go_on():
            return self._cut_up_to(limit)
        return None

    def _must_go_on(self) -> bool:
        """Whether skipped bytes are preserved now, though they might have been written yet."""
        buffer = self._overlay.buffer
        return buffer.size_bytes > self._reorder_bytes or (
            len(buffer.extents) == 1 and buffer.size_bytes >= self._part_bytes
        )

    def _cut_up_to(self, limit: int) -> Cut | None:
        if self._multipart.parts_at_hand > self._concurrency:
            return None  # the client waits already, or has closed the file
        return self._overlay.next_cut(limit, self._part_bytes, is_last=self._is_closing)

    def _seal_part(self, stop: int) -> None:
        self._require_capacity(stop)
        start = self._overlay.cursor
        self._multipart.add(self._number, self._overlay.seal(stop), stop - start, start)
        self._go_on_at(self._number + 1)

    def _cut_early(self) -> Commands:
        self._seal_part(self._overlay.cursor + self._overlay.in_order_bytes())
        return self._advance()

    def _seal_copy(self, stop: int) -> None:
        if self._resumed:
            self._adopt(self._resumed.before(stop))
            return
        copied = ByteRange(self._overlay.cursor, stop)
        self._overlay.seal(stop)
        number = self._number
        for wanted in even_ranges(copied, self._overlay.base.copy_limit_bytes):
            copy_number, number = self._layout.after_copy(number)
            if copy_number > self._layout.ladder.max_parts:
                raise LimitReached("the changes are too scattered: they fill all parts")
            self._multipart.copy_base(copy_number, wanted)
        self._go_on_at(number)

    def _go_on_at(self, number: int) -> None:
        self._number = number
        self._part_bytes = self._layout.size_bytes(number)

    def _note_room(self) -> None:
        bytes_here = self._overlay.in_order_bytes()
        self._room_bytes = self._part_bytes - bytes_here if bytes_here else 0

    def _fetch(self, wanted: ByteRange) -> Commands:
        base = self._overlay.base
        if self._resumed:
            raise UploadFailed(
                f"of the {base.size_bytes} bytes that were sent over an earlier connection some "
                "were written again, but not all: send the whole file, or go on behind them"
            )
        if not base.can_copy and base.size_bytes > self._allowance_bytes:
            raise Unsupported(
                "this store cannot copy parts of a stored file into a new one, or wants all "
                f"parts equal, and no file over {self._allowance_bytes} bytes is fetched to "
                "be sent again; send the whole file"
            )
        self._fetching_bytes = wanted.size_bytes
        return self._issued((FetchBase(wanted),))

    # Commands.

    def _next_commands(self) -> Commands:
        """The commands that are due: send, complete, or clean up."""
        if self.phase is UploadPhase.ENDED:
            return self._issued(() if self._under_way else self._multipart.leftovers())
        if self.phase is UploadPhase.SUSPENDING:
            return self._issued(self._multipart.next_steps()) or self._suspend()
        if self.phase is UploadPhase.BUFFERING and self._has_sealed:
            self.phase = UploadPhase.STREAMING
        if self.phase is not UploadPhase.STREAMING:
            return NOTHING
        commands = self._issued(self._multipart.next_steps())
        if commands and isinstance(commands[-1], CompleteUpload):
            self.phase = UploadPhase.PUBLISHING
        return commands

    def _suspend(self) -> Commands:
        if self._under_way:
            return NOTHING
        self.phase = UploadPhase.ENDED
        if not (parts := self._durable):
            return self._next_commands()
        return self._issued((*self._multipart.leftovers(suspends=True), SuspendUpload(parts)))

    def _issued(self, commands: Iterable[Command]) -> Commands:
        issued = tuple(commands)
        self._under_way += len(issued)
        return issued
