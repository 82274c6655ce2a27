"""Where the next part of an edited file ends, and where its bytes come from.

Knows: which bytes were written, which are the old object's, and S3's limits on parts.
Must not know: the bytes, part numbers, or when it is time to cut.

An edited file is made of what was written and, between that, of what is *kept* of the
object below. Kept bytes are copied by the store, in parts of their own; what is too little
for that is fetched, and sent as if it had been written.

1. All parts but the last have 5 MiB at least, up to 5 GiB if they are copied.
2. A kept run is copied if that much is left of it. What comes before it is a part that
   ends where the run begins; if that would be too short, the run gives it what it lacks.
3. Everything else goes into parts of the usual size.
4. Several small kept runs in one part are fetched one after the other, but together if
   they lie close: a request costs more than some bytes too many.
5. Where the file below is an upload that was cut off (`uploads/suspended/plan`), its first parts
   are
   taken as they are, if a kept run ends where a part does. Else it would have to be fetched.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from sftpgw.files.uploads.plan.extents import Extents
from sftpgw.model.limits import MAX_PART_BYTES, MIN_PART_BYTES
from sftpgw.model.store import ByteRange
from sftpgw.model.units import MIB

CLOSE_BYTES = MIB


@dataclass(frozen=True, slots=True)
class BaseObject:
    """The object that stays below what is written.

    :param can_copy: the store copies parts, and takes parts of different sizes.
    :param part_stops: where its parts end, if they are of the same upload that goes on.
    """

    size_bytes: int
    can_copy: bool = True
    min_part_bytes: int = MIN_PART_BYTES
    copy_limit_bytes: int = MAX_PART_BYTES
    part_stops: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class CutPart:
    """Send what lies before `stop`: all of it is there, or zero."""

    stop: int


@dataclass(frozen=True, slots=True)
class CutCopy:
    """Copy what lies before `stop`, or take its parts as they are: all of it is kept."""

    stop: int


@dataclass(frozen=True, slots=True)
class CutAfter:
    """Fetch this first, then ask again."""

    wanted: ByteRange


Cut: TypeAlias = CutPart | CutCopy | CutAfter


def next_cut(
    cursor: int,
    limit: int,
    *,
    part_bytes: int,
    is_last: bool,
    written: Extents,
    base: BaseObject,
    base_stop: int,
) -> Cut | None:
    """What becomes of the bytes from `cursor` on; None if a part needs more than there is.

    :param limit: up to here it is decided what is kept.
    :param is_last: the file ends at `limit`.
    :param kept_stop: what lies before it and was not written is kept; behind it are zeros.
    """
    stop = min(cursor + part_bytes, limit)
    is_whole = is_last or stop == cursor + part_bytes
    for run in written.gaps(cursor, min(limit, base_stop)):
        if run.start == 0 and run.stop in base.part_stops:
            return CutCopy(run.stop)
        before_bytes = run.start - cursor
        if before_bytes >= part_bytes:
            break
        lacking_bytes = max(0, base.min_part_bytes - before_bytes) if before_bytes else 0
        if base.can_copy and run.size_bytes - lacking_bytes >= base.min_part_bytes:
            if not before_bytes:
                return CutCopy(run.stop)
            stop, is_whole = run.start + lacking_bytes, True
            break
    if not is_whole:
        return None
    missing = _first_together(written.gaps(cursor, min(stop, base_stop)))
    return CutAfter(missing) if missing else CutPart(stop)


def _first_together(gaps: Iterator[ByteRange]) -> ByteRange | None:
    """The first gap, with those that follow closely."""
    found: ByteRange | None = None
    for gap in gaps:
        if found is None:
            found = gap
        elif gap.start - found.stop <= CLOSE_BYTES:
            found = ByteRange(found.start, gap.stop)
        else:
            break
    return found


def evenly(whole: ByteRange, limit_bytes: int) -> Iterator[ByteRange]:
    """`whole` in as few ranges of nearly one size as the limit allows."""
    count = -(-whole.size_bytes // limit_bytes)
    at = whole.start
    for index in range(1, count + 1):
        stop = whole.start + whole.size_bytes * index // count
        yield ByteRange(at, stop)
        at = stop
