"""Which multipart upload each part belongs to: the layout of an object.

Knows: part numbers, and how large a copied part may be.
Must not know: which bytes are in the parts, or when they are sent.

A multipart upload has 10,000 part numbers, and a part that is sent from memory has at most 64 MiB;
a part that is *copied* from a stored object has up to 5 GiB. So:

1. The first `direct_parts` parts go directly into the object's own upload, number 0. Nearly all
   files end there, and cost nothing more.
2. The parts that follow are grouped into *staging uploads*. Each is a multipart upload of its own,
   to a *staging object* that clients do not see. Complete, it is copied as one part into the next
   free number of upload 0, and deleted. Bytes in an open upload can be neither copied nor read, so
   that direct parts stay where they are, and the object's own upload is created first: its metadata
   and class are there from the start.
3. Staging uploads grow as parts do, from 1 GiB to the largest copy: the last of them is copied
   while the client waits for its CLOSE, and that should suit the size of the file.
4. All parts in staging uploads have the ladder's largest size; a staging upload is a whole number
   of them.
5. There are no staging uploads where the store cannot copy parts, or accepts only equal ones: the
   copied parts would be larger than the direct ones. Where copied parts and checksums exclude each
   other, a new file has the checksums, unless it is announced to be too large for that.
6. Preserved bytes of an edited file are copied into upload 0 as well, where they come: between
   direct parts, or behind a staging upload that ends there.

Each direct part takes a number that could be a copied one of 5 GiB. With 500 of them, files up to
18 GiB need no copy, and the largest has 46.2 TiB of the 48.8 that S3 stores.
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
class PartAddress:
    """Where a part goes, as S3 numbers it.

    :param upload: the multipart upload: 0 is the object's own, 1 the first staging upload.
    :param number: the part number in that upload.
    """

    upload: int
    number: int


@dataclass(frozen=True, slots=True)
class StagingLayout:
    """The parts of an object in their order, numbered from 1 on across all uploads.

    :param ladder: the sizes of parts.
    :param direct_parts: how many parts go directly into the object's own upload.
    :param stagings: the sizes of staging uploads, multiples of the ladder's largest part; None if
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
        """The part with the byte at `offset`; it may lie behind the last."""
        behind = offset - self._direct_bytes
        if self.stagings is None or behind < 0:
            return self.ladder.number(offset)
        return self.direct_parts + 1 + behind // self.ladder.top_bytes

    def address(self, number: int) -> PartAddress:
        """Where part `number` goes."""
        if self.stagings is None or self._is_direct(number):
            return PartAddress(0, number)
        behind = (number - self.direct_parts - 1) * self.ladder.top_bytes
        staging = self.stagings.number(behind)
        return PartAddress(
            staging, 1 + (behind - self.stagings.start(staging)) // self.ladder.top_bytes
        )

    def fills(self, address: PartAddress) -> bool:
        """Whether this is the last part of a staging upload that is full then."""
        if self.stagings is None or address.upload == 0:
            return False
        return address.number * self.ladder.top_bytes == self.stagings.size_bytes(address.upload)

    def copy_number(self, staging: int) -> int:
        """The part number of upload 0 that a staging object is copied to."""
        return self.direct_parts + staging

    def after_copy(self, number: int) -> tuple[int, int]:
        """Preserved bytes come before part `number`.

        Returns the part number of upload 0 that they are copied to, and the number that the part
        has then. A staging upload that was begun ends.
        """
        address = self.address(number)
        if address.upload == 0:
            return number, number + 1
        assert self.stagings is not None, "without staging uploads, all parts are direct"
        copy_number = self.copy_number(address.upload) + (address.number > 1)
        return copy_number, self.number_after(copy_number)

    def number_after(self, taken: int) -> int:
        """The part that follows when the first `taken` part numbers of upload 0 are used."""
        if self.stagings is None or taken < self.direct_parts:
            return taken + 1
        return self.number(self._direct_bytes + self.stagings.start(taken - self.direct_parts + 1))

    def room_bytes(self, number: int) -> int:
        """How many bytes fit into part `number` and all that follow."""
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
    """The layout of a file.

    :param ladder: the sizes of parts.
    :param able: what the store can do.
    :param expected_bytes: the announced size of the file, if any.
    :param is_edit: whether preserved bytes may be copied into it.
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
    """The layout for a store that can or cannot copy parts, or accepts only equal ones.

    :param ladder: the sizes of parts.
    :param part_copy: whether the store copies parts.
    :param unequal_parts: whether the store accepts parts of different sizes.
    :param direct_parts: how many parts go directly into the object's own upload.
    :param copy_limit_bytes: the largest copied part.
    :param first_staging_bytes: the size of the first staging uploads.
    :param step_stagings: how many staging uploads have one size.
    """
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
