"""What an upload does next.

Knows: the bytes that have come, the requests that are due, the failure that ended it.
Must not know: how a part is sent, which client writes, what the object is called.

It decides what a step of the upload leads to, and asks others for the rest: `uploads/plan/sealer`
makes parts of the bytes, `uploads/plan/write_bounds` refuses writes, `uploads/plan/multipart` says
which requests make an object of the parts, `uploads/plan/memory_need` how much memory that takes.

Rules

1. APPEND ignores offsets. Exception: if `may_skip` is False, the first WRITE must have offset 0 or
   the offset of the end.
2. An overlay that was neither written nor cut changes nothing.
3. The first failure ends the upload, and stays in `end_reason`. The only commands that follow clean
   up, and they come when nothing else is under way. Requests that are under way need not be
   retried (`is_given_up`).
4. A lost client ends the upload, too. If it may be *suspended* (`uploads/suspended/plan`), its
   whole parts are sent before, and a rest of at least `tail_bytes` as a part of its own; then its
   multipart upload stays open, with a record. The first part that cannot be sent any more ends
   that. Until `stop_sending`, requests under way are worth a retry.
5. A suspended upload that is resumed is suspended again, whatever fails, until it is clear that its
   parts stay, or that the file is sent anew.
6. Each command ends with one event, `succeeded` or `failed`.

Phases, and what leads on:

    BUFFERING     something is sealed        → STREAMING    (CreateUpload, SendPart …)
    BUFFERING     finish                     → PUBLISHING   (PutWhole)
    STREAMING     finish, all stored         → PUBLISHING   (CompleteUpload)
    PUBLISHING    succeeded                  → DONE
    BUFFERING     finish, unchanged          → DONE
    BUFFERING     finish, unchanged, resumed → RESUSPENDING (SuspendUpload)
    RESUSPENDING  succeeded                  → DONE
    any           fail                       → ENDED        (AbortUpload, DropStaging, once idle)
    any           fail, resumed, untouched   → SUSPENDING   (rule 5)
    any           client_lost, to suspend    → SUSPENDING   (SendPart …)
    SUSPENDING    nothing under way          → ENDED        (SuspendUpload, DropStaging)

ENDED means that nothing is published: the upload has failed, or is suspended as far as it may be.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable

from sftpgw.errors import FileError, GatewayError, UploadFailed, without_traces
from sftpgw.files.uploads.plan.boundaries import BaseObject, CutAfterFetch, CutCopy, CutPart
from sftpgw.files.uploads.plan.memory_need import MemoryNeed
from sftpgw.files.uploads.plan.read_sources import Source, first_sources
from sftpgw.files.uploads.plan.sealer import PartSealer
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
from sftpgw.files.uploads.plan.upload_limits import DEFAULT_LIMITS, UploadLimits
from sftpgw.files.uploads.plan.write_bounds import WriteBounds
from sftpgw.files.uploads.suspended.plan import ResumedParts
from sftpgw.model.store import ByteRange
from sftpgw.model.units import Body, Buffer


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
    :param limits: how much it may hold, skip and have under way.
    :param base: the object that is edited, or the parts of a suspended upload that goes on; None
        for a file that starts empty.
    :param appends: whether all bytes go to the end of the file.
    :param may_skip: whether the first write may leave a gap before it.
    :ivar grant: what it may take of quotas; None if no quota holds.
    :ivar memory_need: how much memory it needs, and whether its client has to wait.
    :ivar may_copy: whether parts may be copied: from the base object, or from staging objects.
    :ivar phase: how far the upload has come.
    :ivar end_reason: why nothing is published: a failure, or the loss of the client; None until
        then.
    :ivar is_given_up: requests under way are of use only if they succeed at once: they are not
        retried.
    """

    def __init__(
        self,
        layout: StagingLayout,
        limits: UploadLimits = DEFAULT_LIMITS,
        *,
        base: BaseObject | ResumedParts | None = None,
        appends: bool = False,
        may_skip: bool = True,
    ) -> None:
        self.phase = UploadPhase.BUFFERING
        self.end_reason: GatewayError | None = None
        self.is_given_up = False
        self._appends = appends
        self._resumed = base if isinstance(base, ResumedParts) else ResumedParts()
        edited = base if isinstance(base, BaseObject) else None
        self.may_copy = layout.stagings is not None or (edited is not None and edited.can_copy)
        self.grant = limits.grant
        self._tail_bytes = limits.tail_bytes if edited is None else None
        self._sealer = PartSealer(layout, limits, edited, self._resumed)
        self._overlay = self._sealer.overlay
        self._multipart = self._sealer.multipart
        self._bounds = WriteBounds(self._sealer, limits, may_skip=may_skip)
        self.memory_need = MemoryNeed(
            self._sealer,
            limits,
            may_cut=not self._resumed,
            resumed_parts=len(self._resumed.parts),
        )
        self._under_way = 0
        # How much more may come in order without completing a part; 0 when it does not.
        self._room_bytes = 0

    # Questions.

    @property
    def size_bytes(self) -> int:
        """The size that the file would have now."""
        return self._overlay.size_bytes

    @property
    def is_changed(self) -> bool:
        """Whether the end would publish something."""
        return self._overlay.is_changed

    @property
    def metadata_is_sent(self) -> bool:
        """Whether the properties of the object are fixed."""
        return self.phase is not UploadPhase.BUFFERING or bool(self._resumed)

    @property
    def is_suspending(self) -> bool:
        """Whether the client is lost, and the upload is being suspended."""
        return self.phase is UploadPhase.SUSPENDING

    def sources(self, wanted: ByteRange) -> tuple[Source, ...]:
        """Where the bytes of `wanted` are now, or at least the first of them.

        :param wanted: a range that ends within the file.
        :raises Unsupported: some were sent and are not here any more.
        """
        has_earlier = bool(self._resumed)
        return first_sources(wanted, self._overlay, self._multipart, has_earlier=has_earlier)

    def expect(self, size_bytes: int) -> None:
        """The client announces the size of the file.

        :raises LimitReached: they do not fit into an object.
        """
        self._bounds.require_room(size_bytes)

    # Events.

    def write(self, offset: int, *fragments: Buffer) -> Commands:
        """The client has written bytes, in fragments, at an offset."""
        size_bytes = sum(map(len, fragments))
        if self._appends:
            if offset and not self._overlay.written_stop:
                return self._unless_refused(lambda: self._put_first(offset, size_bytes, fragments))
            offset = self.size_bytes
        if offset == self._overlay.written_stop and size_bytes < self._room_bytes:
            # The usual case: the bytes continue a part, and do not complete it.
            self._overlay.append(size_bytes, fragments)
            self._room_bytes -= size_bytes
            return NOTHING
        return self._unless_refused(lambda: self._put(offset, size_bytes, fragments))

    def cut_early(self) -> Commands:
        """Memory is short: send what is here as a part, if the upload `can_cut`."""
        if not self.memory_need.can_cut:
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
            self._sealer.drop()
            left = self._multipart.leftovers() if isinstance(command, PutWhole) else ()
            return self._issued(left)
        if isinstance(command, SuspendUpload) and self.phase is UploadPhase.RESUSPENDING:
            self.phase = UploadPhase.DONE
        if self.phase is UploadPhase.DONE:
            return NOTHING
        if isinstance(command, FetchBase):
            assert isinstance(outcome, tuple), "fetched bytes are the outcome"
            self._sealer.fetched(command.wanted, outcome)
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
            self._sealer.fetch_failed()
        elif not isinstance(command, PutWhole):
            self._multipart.failed(command)
        return self._send_no_more() if self.is_suspending else self.fail(error)

    def fail(self, error: GatewayError) -> Commands:
        """Publish nothing any more. Only the first error counts.

        A resumed upload that still has all its bytes is suspended again (rule 5).
        """
        if self.phase is not UploadPhase.DONE and self.end_reason is None:
            if self._sealer.is_untouched:
                self._sealer.adopt()
                self._end(error, UploadPhase.SUSPENDING)
            else:
                self._end(error, UploadPhase.ENDED)
            self.is_given_up = True
            self._multipart.discard()
        return self._next_commands()

    def client_lost(self) -> Commands:
        """The client is gone. The upload is suspended, if that is wanted and it has whole parts."""
        lost = UploadFailed("the upload was abandoned")
        is_over = self._sealer.is_closing or self.end_reason is not None
        if is_over or self._tail_bytes is None or not self._sealer.seal_rest(self._tail_bytes):
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
        # A traceback leads to this plan, and to the bytes of a WRITE: they would be a cycle.
        self.end_reason = without_traces(error)
        self._sealer.drop()
        self._room_bytes = 0
        if self.grant is not None and phase is UploadPhase.ENDED:
            self.grant.close()  # removing its parts may take as long as the store is away

    def _unless_refused(self, step: Callable[[], Commands]) -> Commands:
        if self.end_reason is not None:
            return NOTHING
        if self._sealer.is_closing:
            return self.fail(UploadFailed("the file is closed"))
        return self._attempt(step)

    def _attempt(self, step: Callable[[], Commands]) -> Commands:
        try:
            return step()
        except FileError as error:
            return self.fail(error)

    # Steps that may be refused.

    def _put_first(self, offset: int, size_bytes: int, fragments: Body) -> Commands:
        """The first WRITE of an APPEND: its offset tells where the client believes the end is."""
        self._bounds.require_no_gap(offset)
        return self._put(self.size_bytes, size_bytes, fragments)

    def _put(self, offset: int, size_bytes: int, fragments: Body) -> Commands:
        """Put bytes at their offset."""
        stop = offset + size_bytes
        if not size_bytes:
            return NOTHING
        self._bounds.require_write(offset, stop)
        self._overlay.write(offset, stop, fragments)
        return self._advance()

    def _cut_early(self) -> Commands:
        self._sealer.seal_in_order()
        return self._advance()

    def _truncate(self, size_bytes: int) -> Commands:
        self._bounds.require_size(size_bytes)
        self._overlay.resize(size_bytes)
        return self._advance()

    def _finish(self) -> Commands:
        self._sealer.close()
        if self._overlay.is_changed:
            if len(extents := self._overlay.buffer.extents):
                self._bounds.require_no_gap(extents.start)
            return self._advance()
        if self._resumed:
            self.phase = UploadPhase.RESUSPENDING
            return self._issued((SuspendUpload(self._resumed.parts),))
        self.phase = UploadPhase.DONE
        return NOTHING

    def _advance(self) -> Commands:
        """Seal what may be sealed; returns the commands that may begin."""
        self._room_bytes = 0
        is_ending = self.phase in (UploadPhase.PUBLISHING, UploadPhase.RESUSPENDING)
        if self.end_reason is not None or is_ending:
            return self._next_commands()
        sealer = self._sealer
        while (cut := sealer.next_cut()) is not None:
            match cut:
                case CutAfterFetch():
                    return self._issued((sealer.fetch(cut.wanted),)) + self._next_commands()
                case CutCopy():
                    sealer.seal_copy(cut.stop)
                case CutPart():
                    sealer.fill(cut.stop)
                    if sealer.fits_whole(cut.stop):
                        self.phase = UploadPhase.PUBLISHING
                        return self._issued((PutWhole(self._overlay.buffer.body, cut.stop),))
                    sealer.seal(cut.stop)
        if sealer.is_complete:
            self._multipart.end()
        self._room_bytes = self._bounds.room_bytes()
        return self._next_commands()

    # Commands.

    def _next_commands(self) -> Commands:
        """The commands that are due: send, complete, or clean up."""
        if self.phase is UploadPhase.ENDED:
            return self._issued(() if self._under_way else self._multipart.leftovers())
        if self.phase is UploadPhase.SUSPENDING:
            return self._issued(self._multipart.next_steps()) or self._suspend()
        if self.phase is UploadPhase.BUFFERING and self._sealer.has_sealed:
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
        if not (parts := self._sealer.durable_parts):
            return self._next_commands()
        return self._issued((*self._multipart.leftovers(suspends=True), SuspendUpload(parts)))

    def _issued(self, commands: Iterable[Command]) -> Commands:
        issued = tuple(commands)
        self._under_way += len(issued)
        return issued
