"""How large the parts of an upload are.

Knows: S3's limits on parts. Must not know: which bytes are in them.

Part numbers end at 10,000, and the size of a file is mostly not announced. So part sizes grow like
a ladder: `STEP_PARTS` parts of the first size, as many of twice that size, and so on up to the
largest. Small files still go out in small parts, and memory stays within a few of the largest.
Files that need more part numbers go on in staging uploads (`uploads/plan/staging_layout`).
https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
"""

from __future__ import annotations

from dataclasses import dataclass

from sftpgw.model.limits import MAX_PARTS
from sftpgw.model.units import MIB

LARGEST_PART_BYTES = 64 * MIB
STEP_PARTS = 100
UPLOAD_SHARE = 2
"""One upload holds at most half of the memory of all transfers."""

SPARED_SHARE = 3
"""`choose_ladder` lets parts grow until two thirds of `concurrency` fit into memory. Large parts
need less concurrency: waiting for the store is a small share of their time."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """Sizes of parts by number; part 1 begins at offset 0.

    :param first_bytes: the size of the first parts.
    :param largest_bytes: where growth ends; equal to `first_bytes` for stores that accept only
        equal parts.
    :param max_parts: how many part numbers there are.
    :param step_parts: how many parts have one size.
    """

    first_bytes: int
    largest_bytes: int
    max_parts: int = MAX_PARTS
    step_parts: int = STEP_PARTS

    def size_bytes(self, number: int) -> int:
        """The size of part `number`, from 1."""
        doublings = (number - 1) // self.step_parts
        return max(self.first_bytes, min(self.first_bytes << doublings, self.largest_bytes))

    def start(self, number: int) -> int:
        """The offset of the first byte of part `number`."""
        full_steps, rest = divmod(number - 1, self.step_parts)
        capped = min(full_steps, self._growing_steps)
        grown = self.step_parts * self.first_bytes * ((1 << capped) - 1)
        flat = (full_steps - capped) * self.step_parts * self.top_bytes
        return grown + flat + rest * self.size_bytes(number)

    def number(self, offset: int) -> int:
        """The part with the byte at `offset`; the number may be over `max_parts`."""
        low, high = 1, 2
        while self.start(high) <= offset:
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.start(middle) <= offset else (low, middle)
        return low

    @property
    def top_bytes(self) -> int:
        """The size of the largest parts."""
        return max(self.first_bytes, self.largest_bytes)

    @property
    def capacity_bytes(self) -> int:
        """The largest file that fits."""
        return self.start(self.max_parts + 1)

    @property
    def _growing_steps(self) -> int:
        """How many steps have a size below the largest."""
        steps = 0
        while self.first_bytes << steps < self.largest_bytes:
            steps += 1
        return steps


def allowance_bytes(memory_bytes: int) -> int:
    """How many bytes one upload may hold in parts, of the `memory_bytes` of all transfers."""
    return memory_bytes // UPLOAD_SHARE


def choose_ladder(
    first_bytes: int,
    memory_bytes: int,
    *,
    concurrency: int,
    unequal_parts: bool,
    expected_bytes: int | None = None,
) -> Ladder:
    """The part sizes for a store and a memory budget.

    Parts grow while two thirds of `concurrency` of them fit into the memory that one upload may
    hold, and up to 64 MiB. Where `first_bytes` itself is more than that, fewer parts are under way
    at once. Parts that must be equal are as large, within the same bounds, as a file of
    `expected_bytes` needs.

    :param first_bytes: the size of the first parts, ``[s3] part_size``.
    :param memory_bytes: the memory of all transfers, ``[limits] memory``.
    :param concurrency: how many parts of one upload are sent at the same time.
    :param unequal_parts: whether the store accepts parts of different sizes.
    :param expected_bytes: the announced size of the file, if any.
    """
    large_parts = concurrency - concurrency // SPARED_SHARE
    affordable_bytes = allowance_bytes(memory_bytes) // large_parts
    largest_bytes = max(first_bytes, min(LARGEST_PART_BYTES, affordable_bytes))
    if unequal_parts:
        return Ladder(first_bytes, largest_bytes)
    needed_bytes = -(-(expected_bytes or 0) // (MAX_PARTS * MIB)) * MIB
    equal_bytes = max(first_bytes, min(needed_bytes, largest_bytes))
    return Ladder(equal_bytes, equal_bytes)
