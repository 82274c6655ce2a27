"""Which bytes of an upload become its next part, and when.

Knows: the bytes that are not sealed, the number and the size of the next part, which bytes are
preserved.
Must not know: which writes are accepted, when requests are sent, how the upload ends.

Rules

1. Bytes stay in a write buffer (`uploads/plan/overlay`) until they are *sealed*: sent, or left to
   the store to copy. Sealed parts go on to `uploads/plan/multipart`, which holds their bytes until
   the store confirms them.
2. A part is sealed as soon as each of its bytes is there, but part 1 only when bytes follow it: a
   file that fits into one part is one PutObject, and nothing else.
   When memory is short, it is sealed sooner, from S3's least size on (`seal_in_order`).
3. In an *overlay* on a base object, bytes that were not written are preserved, and not missing.
   `uploads/plan/boundaries` says which of them are copied and which are fetched into the buffer.
   They are sealed in two cases: a whole part of new bytes lies behind them and nothing else was
   written (a resume); or more than `reorder_bytes` wait behind them. Until then, writes may go
   back. The preserved bytes behind the last write wait for the end, since the file may
   be cut.
4. At the end gaps are zeros, or preserved bytes.
5. A suspended upload that is resumed is an overlay on itself: its parts are taken as they are once
   it is clear that they stay. Written anew from the start, the file is sent anew, into the same
   multipart upload.
"""

from __future__ import annotations

from sftpgw.errors import LimitReached, Unsupported, UploadFailed
from sftpgw.files.uploads.plan.boundaries import BaseObject, Cut, CutPart, even_ranges
from sftpgw.files.uploads.plan.multipart import MultipartPlan
from sftpgw.files.uploads.plan.overlay import OverlayFile
from sftpgw.files.uploads.plan.staging_layout import StagingLayout
from sftpgw.files.uploads.plan.upload_commands import FetchBase
from sftpgw.files.uploads.plan.upload_limits import UploadLimits
from sftpgw.files.uploads.suspended.plan import ResumedParts
from sftpgw.model.store import ByteRange, StoredPart
from sftpgw.model.units import Body


class PartSealer:
    """Seals the bytes of one file, part by part, in their order.

    :param layout: how large each part is, and which multipart upload it belongs to.
    :param limits: how much may be skipped and fetched.
    :param edited: the object that is edited; None for a file that starts empty.
    :param resumed: the parts of a suspended upload that goes on; none for another one.
    :ivar overlay: the file, with the bytes that are not sealed.
    :ivar multipart: takes the sealed parts.
    :ivar number: the number of the next part.
    :ivar part_bytes: the size of the next part.
    :ivar fetching_bytes: how many preserved bytes are being fetched.
    :ivar is_closing: the client has closed the file.
    :ivar is_dropped: nothing is sealed any more.
    """

    __slots__ = (  # one for each open file
        "_layout",
        "_limits",
        "_resumed",
        "fetching_bytes",
        "is_closing",
        "is_dropped",
        "multipart",
        "number",
        "overlay",
        "part_bytes",
    )

    def __init__(
        self,
        layout: StagingLayout,
        limits: UploadLimits,
        edited: BaseObject | None,
        resumed: ResumedParts,
    ) -> None:
        self.overlay = OverlayFile(resumed.base if resumed else edited)
        self.multipart = MultipartPlan(layout, limits.concurrency, is_open=bool(resumed))
        self.number = 1
        self.part_bytes = layout.size_bytes(1)
        self.fetching_bytes = 0
        self.is_closing = False
        self.is_dropped = False
        self._layout = layout
        self._limits = limits
        self._resumed = resumed

    # Questions.

    @property
    def has_sealed(self) -> bool:
        """Whether the object has parts: it is not published by one PutObject."""
        return self.number > 1

    @property
    def is_direct(self) -> bool:
        """Whether the next part goes into the object's own multipart upload."""
        return self._layout.address(self.number).upload == 0

    @property
    def is_complete(self) -> bool:
        """Whether the file is closed, and all of it is sealed."""
        return self.is_closing and self.overlay.cursor == self.overlay.size_bytes

    @property
    def is_untouched(self) -> bool:
        """Whether a resumed upload has all its bytes still, as they were."""
        overlay, resumed_bytes = self.overlay, self._resumed.size_bytes
        extents = overlay.buffer.extents
        is_written = len(extents) > 0 and extents.start < resumed_bytes
        is_whole = overlay.cursor == 0 and overlay.base_stop == resumed_bytes
        return bool(self._resumed) and is_whole and not is_written

    @property
    def durable_parts(self) -> tuple[StoredPart, ...]:
        """The stored parts that can be resumed."""
        limit_bytes = self.overlay.written_stop or self._resumed.size_bytes + 1
        return self.multipart.durable(limit_bytes)

    def fits_whole(self, stop: int) -> bool:
        """Whether a part that ends at `stop` is the whole file."""
        return self.is_closing and not self.has_sealed and stop == self.overlay.size_bytes

    def part_room_bytes(self) -> int:
        """How many bytes complete the part; 0 if those that are here are none, or not in order."""
        bytes_here = self.overlay.in_order_bytes()
        return self.part_bytes - bytes_here if bytes_here else 0

    def require_capacity(self, stop: int) -> None:
        """A file that ends at `stop` fits into the parts that are left.

        :raises LimitReached: it does not.
        """
        capacity_bytes = self.overlay.cursor + self._layout.room_bytes(self.number)
        if stop > capacity_bytes:
            why = "S3 takes no more"
            if self._layout.stagings is None:
                why = "they fill all parts, and this store cannot join more; see [s3] part_size"
            raise LimitReached(f"the file is too large: {capacity_bytes} bytes fit, {why}")

    # What is sealed next.

    def next_cut(self) -> Cut | None:
        """The bytes that are sealed next; None if it is too early, or some are being fetched."""
        if self.fetching_bytes:
            return None
        overlay, size_bytes = self.overlay, self.overlay.size_bytes
        if self.is_closing:
            is_done = overlay.cursor == size_bytes and self.has_sealed
            return None if is_done else self._cut_up_to(size_bytes)
        if not self.has_sealed and size_bytes <= self.part_bytes:
            return None
        part_stop = overlay.cursor + self.part_bytes
        if overlay.buffer.extents.run_stop(overlay.cursor) >= part_stop:
            return CutPart(part_stop)
        limit = overlay.buffer.extents.last_stop(overlay.base_stop)
        if limit >= part_stop and self._must_go_on():
            return self._cut_up_to(limit)
        return None

    def _must_go_on(self) -> bool:
        """Whether skipped bytes are preserved now, though they might have been written yet."""
        buffer = self.overlay.buffer
        return buffer.size_bytes > self._limits.reorder_bytes or (
            len(buffer.extents) == 1 and buffer.size_bytes >= self.part_bytes
        )

    def _cut_up_to(self, limit: int) -> Cut | None:
        if self.multipart.parts_at_hand > self._limits.concurrency:
            return None  # the client waits already, or has closed the file
        return self.overlay.next_cut(limit, self.part_bytes, is_last=self.is_closing)

    # How it is sealed.

    def fill(self, stop: int) -> None:
        """Bytes before `stop` that are not here are zeros."""
        self.overlay.fill_with_zeros(stop)

    def seal(self, stop: int) -> None:
        """The bytes before `stop` are the next part: all of them are here.

        :raises LimitReached: no part is left for them.
        """
        self.require_capacity(stop)
        start = self.overlay.cursor
        self.multipart.add(self.number, self.overlay.seal(stop), stop - start, start)
        self._go_on_at(self.number + 1)

    def seal_in_order(self) -> None:
        """Seal what is here in order, though the part could be larger."""
        self.seal(self.overlay.cursor + self.overlay.in_order_bytes())

    def seal_rest(self, tail_bytes: int) -> bool:
        """Seal the rest of the file, but for its last byte; whether any part is sealed.

        :param tail_bytes: a smaller rest is left out.
        """
        if self.is_untouched:
            self.adopt()
        overlay = self.overlay
        # The last byte is left out: with it the file might be whole.
        stop = overlay.buffer.extents.run_stop(overlay.cursor) - 1
        stop = min(stop, overlay.cursor + self.part_bytes)
        room_bytes = self._layout.room_bytes(self.number)
        if self.is_direct and tail_bytes <= stop - overlay.cursor <= room_bytes:
            self.seal(stop)
        return self.has_sealed

    def seal_copy(self, stop: int) -> None:
        """The store copies the bytes before `stop`, or has them already as parts of the upload.

        :raises LimitReached: no part is left for them.
        """
        if self._resumed:
            self._adopt(self._resumed.before(stop))
            return
        copied = ByteRange(self.overlay.cursor, stop)
        self.overlay.seal(stop)
        number = self.number
        for wanted in even_ranges(copied, self.overlay.base.copy_limit_bytes):
            copy_number, number = self._layout.after_copy(number)
            if copy_number > self._layout.ladder.max_parts:
                raise LimitReached("the changes are too scattered: they fill all parts")
            self.multipart.copy_base(copy_number, wanted)
        self._go_on_at(number)

    def adopt(self) -> None:
        """All parts of the resumed upload stay as they are."""
        self._adopt(self._resumed.parts)

    def _adopt(self, parts: tuple[StoredPart, ...]) -> None:
        self.overlay.seal(ResumedParts(parts).size_bytes)
        self.multipart.adopt(parts)
        self._go_on_at(self._layout.number_after(len(parts)))

    def _go_on_at(self, number: int) -> None:
        self.number = number
        self.part_bytes = self._layout.size_bytes(number)

    # Fetched bytes.

    def fetch(self, wanted: ByteRange) -> FetchBase:
        """Preserved bytes are fetched into the buffer before anything else is sealed.

        :param wanted: where they are in the base object.
        :raises UploadFailed: they are in parts of a suspended upload, which cannot be read.
        :raises Unsupported: the base object is too large for that.
        """
        base = self.overlay.base
        if self._resumed:
            raise UploadFailed(
                f"of the {base.size_bytes} bytes that were sent over an earlier connection some "
                "were written again, but not all: send the whole file, or go on behind them"
            )
        allowance_bytes = self._limits.allowance_bytes
        if not base.can_copy and base.size_bytes > allowance_bytes:
            raise Unsupported(
                "this store cannot copy parts of a stored file into a new one, or wants all "
                f"parts equal, and no file over {allowance_bytes} bytes is fetched to "
                "be sent again; send the whole file"
            )
        self.fetching_bytes = wanted.size_bytes
        return FetchBase(wanted)

    def fetched(self, wanted: ByteRange, body: Body) -> None:
        """The bytes have come; an upload that has ended drops them.

        :param wanted: where they are in the base object.
        :param body: the bytes.
        """
        self.fetching_bytes = 0
        if not self.is_dropped:
            self.overlay.add_fetched(wanted, body)

    def fetch_failed(self) -> None:
        """The bytes do not come."""
        self.fetching_bytes = 0

    # The end.

    def close(self) -> None:
        """No byte follows."""
        self.is_closing = True

    def drop(self) -> None:
        """Seal nothing any more, and drop what is not sealed."""
        self.is_dropped = True
        self.overlay.buffer.clear()
