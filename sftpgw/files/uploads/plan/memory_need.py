"""How much memory an upload needs, and whether its client has to wait for the store.

Knows: how many bytes are here, being sent and being fetched, and how large the next part is.
Must not know: the bytes, how memory is shared (`files/memory`), how the upload ends.

Rules

1. Up to `small_bytes` an upload needs the bytes that are here, beyond that steps of `step_bytes`:
   so most WRITEs need nothing more. A step ends at the latest with the part.
2. The client waits while more parts are here than may be under way, while bytes are fetched, and
   while the parts with the next one are more than the allowance.
3. When memory is short, a part may be *cut early*: from `early_part_bytes` on, though it could be
   larger. So slow uploads give memory back. Early cuts use up part numbers, so that only the first
   parts are cut early; parts of a staging upload, of an edit and of a resumed upload never are.
"""

from __future__ import annotations

from sftpgw.files.uploads.plan.sealer import PartSealer
from sftpgw.files.uploads.plan.upload_limits import UploadLimits

EARLY_PARTS = 1000
"""Parts with a higher number are not cut early: the file might not fit into all numbers then."""

LEAST_STEPS = 8
"""The least step is this fraction of `small_bytes`: 32 KiB, which is what most clients write at
once."""

LISTED_PARTS = 16
LISTED_PART_BYTES = 320
"""What a stored part takes in the list that completes the upload: 300 bytes with its checksum. It
counts in steps of `LISTED_PARTS`."""


class MemoryNeed:
    """What one upload needs. Implements `memory.reservation.BufferedUpload`.

    :param sealer: has the bytes, and the next part.
    :param limits: the sizes of steps, of parts that are cut early, and of all parts.
    :param may_cut: whether parts may be cut early, if `limits` has a size for them.
    :param resumed_parts: how many parts of a suspended upload go on.
    :ivar small_bytes: as in `limits`.
    :ivar step_bytes: how much it needs at once, `small_bytes` at first. The one who knows how fast
        it is sets a multiple of that, or `least_step_bytes`.
    """

    __slots__ = (  # one for each open file
        "_early_part_bytes",
        "_limits",
        "_multipart",
        "_overlay",
        "_resumed_parts",
        "_sealer",
        "small_bytes",
        "step_bytes",
    )

    def __init__(
        self,
        sealer: PartSealer,
        limits: UploadLimits,
        *,
        may_cut: bool,
        resumed_parts: int = 0,
    ) -> None:
        self._resumed_parts = resumed_parts
        self.small_bytes = self.step_bytes = limits.small_bytes
        self._sealer = sealer
        self._overlay = sealer.overlay
        self._multipart = sealer.multipart
        self._limits = limits
        self._early_part_bytes = limits.early_part_bytes if may_cut else None

    @property
    def is_congested(self) -> bool:
        """Whether more is sealed than may be under way or held: the client waits."""
        multipart, sealer, limits = self._multipart, self._sealer, self._limits
        return (
            multipart.parts_at_hand > limits.concurrency
            or sealer.fetching_bytes > 0
            or (
                multipart.parts_at_hand > 0
                and multipart.held_bytes + sealer.part_bytes > limits.allowance_bytes
            )
        )

    @property
    def sent_bytes(self) -> int:
        """How many bytes are held until the store confirms them."""
        return self._multipart.held_bytes

    @property
    def least_step_bytes(self) -> int:
        """How much a slow one needs at once."""
        return max(1, self.small_bytes // LEAST_STEPS)

    @property
    def listed_bytes(self) -> int:
        """How many bytes the list of the parts takes that are stored."""
        parts = max(self._resumed_parts, self._multipart.stored_parts)
        return parts // LISTED_PARTS * LISTED_PARTS * LISTED_PART_BYTES

    @property
    def filling_bytes(self) -> int:
        """How many bytes else to reserve: those of a small upload, steps of a large one.

        A step is less than is left of the part. While the client has to wait, and at the end, only
        the bytes count that are here.
        """
        bytes_here = self._overlay.buffer.size_bytes + self._sealer.fetching_bytes
        if (
            self._multipart.held_bytes + bytes_here <= self.small_bytes
            or self._sealer.is_closing
            or self.is_congested
        ):
            return bytes_here
        stepped_bytes = -(-bytes_here // self.step_bytes) * self.step_bytes
        return max(bytes_here, min(stepped_bytes, self._sealer.part_bytes))

    @property
    def slow_filling_bytes(self) -> int:
        """How many it would reserve in the least steps, which are enough for a slow one."""
        bytes_here = self._overlay.buffer.size_bytes + self._sealer.fetching_bytes
        least_step_bytes = self.least_step_bytes
        return min(self.filling_bytes, -(-bytes_here // least_step_bytes) * least_step_bytes)

    @property
    def part_filling_bytes(self) -> int:
        """How many bytes are here when the next part, or the last one, can be sent.

        Preserved bytes before it have to be fetched first, and writes go on meanwhile.
        """
        sealer, overlay = self._sealer, self._overlay
        bytes_here = overlay.buffer.size_bytes + sealer.fetching_bytes
        part_bytes, has_base = sealer.part_bytes, overlay.base_stop > overlay.cursor
        if self._early_part_bytes is not None and self._may_cut_early:
            return max(bytes_here, min(self._early_part_bytes, part_bytes))
        if sealer.is_closing and not has_base:
            return bytes_here
        return max(1, -(-bytes_here // part_bytes) + has_base) * part_bytes

    @property
    def progress_bytes(self) -> int:
        """How many bytes of the file have come, or are sealed without them, each counted once."""
        return self._overlay.cursor + self._overlay.buffer.size_bytes

    @property
    def waits_for_gap(self) -> bool:
        """Whether bytes are held that only a later write, or the end, releases."""
        return self._overlay.is_scattered

    @property
    def can_cut(self) -> bool:
        """Whether the bytes that are here could be sent as a part, though it could be larger."""
        return (
            self._early_part_bytes is not None
            and self._may_cut_early
            and self._overlay.in_order_bytes() >= self._early_part_bytes
        )

    @property
    def _may_cut_early(self) -> bool:
        sealer, overlay = self._sealer, self._overlay
        return (
            sealer.number <= EARLY_PARTS
            and not (sealer.is_closing or sealer.is_dropped or self.is_congested)
            and overlay.base_stop <= overlay.cursor
            and sealer.is_direct
        )
