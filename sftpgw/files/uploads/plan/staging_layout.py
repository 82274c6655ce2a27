"""Which multipart upload each part belongs to: the layout of an object.

Knows: part numbers, and how far a copied part reaches.
Must not know: what is in the parts, or when they are sent.

A multipart upload has 10,000 part numbers, and what is sent from memory is at most
64 MiB a number; a part that is *copied* from a stored object is up to 5 GiB. So:

1. The first `direct_parts` parts go straight into the object's own upload, number 0.
   Nearly all files end there, and cost nothing more.
2. What follows is cut into *pieces*. A piece is a multipart upload of its own, to a
   hidden object; complete, it is copied as one part into the next free number of
   upload 0, and deleted. Bytes that are in an open upload can be neither copied nor
   read, so the direct parts stay where they are, and the object's own upload is the
   first one that is opened: its metadata and class are there from the start.
3. Pieces grow as parts do, from 1 GiB to what one copy takes: the last of them is
   copied while the client waits for its CLOSE, and that should suit the file.
4. All parts in pieces have the ladder's largest size; a piece is a whole number of them.
5. No pieces where the store cannot copy parts, or wants equal ones: the copied parts
   would be larger than the direct ones. Where copied parts and checksums exclude each other, a
   new file has the checksums, unless it is known to be too large for that.
6. What an edited file keeps of the old object is copied into upload 0 as well, where it
   comes: between direct parts, or behind a piece that ends there.

Each direct part is one that could have been a copied one of 5 GiB. With 500 of them,
files up to 18 GiB need no copy, and the largest has 46.2 TiB of the 48.8 that S3 takes.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html
"""

from __future__ import annotations

from dataclasses import dataclass

from sftpgw.files.uploads.plan.part_sizes import Ladder
from sftpgw.model.limits import MAX_PART_BYTES
from sftpgw.model.store import Capabilities
from sftpgw.model.units import GIB

DIRECT_PARTS = 500
FIRST_STAGING_BYTES = GIB
STEP_STAGINGS = 20


@dataclass(frozen=True, slots=True)
class Home:
    """Where a part goes: as `number` into multipart upload `upload`, both from S3's view.

    Upload 0 is the object's own, 1 the first piece.
    """

    upload: int
    number: int


@dataclass(frozen=True, slots=True)
class StagingLayout:
    """The parts of an object in their order, numbered from 1 on across all uploads.

    :param direct_parts: how many go straight into the object's own upload.
    :param pieces: the sizes of pieces, multiples of the ladder's largest part; None if
        there are none.
    """

    ladder: Ladder
    direct_parts: int
    stagings: Ladder | None = None

    def size_bytes(self, number: int) -> int:
        """The size of part `number`."""
        return self.ladder.size_bytes(number) if self._is_direct(number) else self.ladder.top_bytes

    def start(self, number: int) -> int:
        """The offset of the first byte of part `number`."""
        if self._is_direct(number):
            return self.ladder.start(number)
        return self._direct_bytes + (number - self.direct_parts - 1) * self.ladder.top_bytes

    def number(self, offset: int) -> int:
        """The part that the byte at `offset` belongs to; it may lie behind the last."""
        behind = offset - self._direct_bytes
        if self.stagings is None or behind < 0:
            return self.ladder.number(offset)
        return self.direct_parts + 1 + behind // self.ladder.top_bytes

    def home(self, number: int) -> Home:
        """Where part `number` goes."""
        if self.stagings is None or self._is_direct(number):
            return Home(0, number)
        behind = (number - self.direct_parts - 1) * self.ladder.top_bytes
        staging = self.stagings.number(behind)
        return Home(staging, 1 + (behind - self.stagings.start(staging)) // self.ladder.top_bytes)

    def fills(self, home: Home) -> bool:
        """Whether this is the last part of a piece that is full."""
        if self.stagings is None or home.upload == 0:
            return False
        return home.number * self.ladder.top_bytes == self.stagings.size_bytes(home.upload)

    def copy_number(self, staging: int) -> int:
        """The part number of upload 0 that a piece is copied to."""
        return self.direct_parts + staging

    def after_copy(self, number: int) -> tuple[int, int]:
        """Bytes of the old object come before part `number`.

        Returns the part number of upload 0 that they are copied to, and the number that
        the part has then. A piece that was begun ends.
        """
        home = self.home(number)
        if home.upload == 0:
            return number, number + 1
        assert self.stagings is not None, "no pieces, no home in one"
        copy_number = self.copy_number(home.upload) + (home.number > 1)
        return copy_number, self.number_after(copy_number)

    def number_after(self, slots: int) -> int:
        """The part that comes when the first `slots` part numbers of upload 0 are taken."""
        if self.stagings is None or slots < self.direct_parts:
            return slots + 1
        return self.number(self._direct_bytes + self.stagings.start(slots - self.direct_parts + 1))

    def room_bytes(self, number: int) -> int:
        """What fits into part `number` and all that follow."""
        return self.capacity_bytes - self.start(number)

    @property
    def capacity_bytes(self) -> int:
        """The largest object that fits."""
        if self.stagings is None:
            return self.ladder.capacity_bytes
        return self._direct_bytes + self.stagings.capacity_bytes

    def _is_direct(self, number: int) -> bool:
        return self.stagings is None or number <= self.direct_parts

    @property
    def _direct_bytes(self) -> int:
        return self.ladder.start(self.direct_parts + 1)


def layout_for(
    ladder: Ladder, able: Capabilities, expected_bytes: int | None, *, is_edit: bool
) -> StagingLayout:
    """The layout of a file for a store that is `able` to do this.

    :param expected_bytes: how large it will be, where that was announced.
    :param is_edit: parts are copied into it anyway.
    """
    direct = StagingLayout(ladder, ladder.max_parts)
    is_too_large = (expected_bytes or 0) > direct.capacity_bytes
    if not able.copied_checksums and not is_edit and not is_too_large:
        return direct
    return choose_layout(ladder, part_copy=able.part_copy, unequal_parts=able.unequal_parts)


def choose_layout(
    ladder: Ladder,
    *,
    part_copy: bool,
    unequal_parts: bool,
    direct_parts: int = DIRECT_PARTS,
    copy_limit_bytes: int = MAX_PART_BYTES,
    first_staging_bytes: int = FIRST_STAGING_BYTES,
    step_stagings: int = STEP_STAGINGS,
) -> StagingLayout:
    """The layout for a store that can or cannot copy parts, or wants equal ones."""
    part_bytes = ladder.top_bytes
    most_parts = min(copy_limit_bytes // part_bytes, ladder.max_parts)
    if not part_copy or not unequal_parts or most_parts == 0 or direct_parts >= ladder.max_parts:
        return StagingLayout(ladder, ladder.max_parts)
    first_parts = max(1, min(first_staging_bytes // part_bytes, most_parts))
    stagings = Ladder(
        first_bytes=first_parts * part_bytes,
        largest_bytes=most_parts * part_bytes,
        max_parts=ladder.max_parts - direct_parts,
        step_parts=step_stagings,
    )
    return StagingLayout(ladder, direct_parts, stagings)
