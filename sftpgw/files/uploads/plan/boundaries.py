"""Where the next part of an edited file ends, and where its bytes come from.

Knows: which bytes were written, which are the base object's, and S3's limits on parts.
Must not know: the bytes, part numbers, or when it is time to cut.

An edited file is made of the bytes that were written and, between them, of *preserved bytes* of
the base object. The store copies preserved bytes in parts of their own; runs that are too short
for that are fetched, and sent as if they had been written.

1. All parts but the last have 5 MiB at least, and up to 5 GiB if they are copied.
2. A preserved run is copied if at least 5 MiB are left of it. The bytes before it are a part that
   ends where the run begins; if that would be too short, the run gives it what it lacks.
3. All other bytes go into parts of the usual size.
4. Several short preserved runs in one part are fetched one after the other, but together if they
   lie close: a request costs more than some bytes that are not needed.
5. Where the base is a suspended upload (`uploads/suspended/plan`), its first parts are taken as
   they are, if a preserved run ends where a part does. Else the run would have to be fetched.

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
"""Preserved runs that are no farther apart are fetched together."""


@dataclass(frozen=True, slots=True)
class BaseObject:
    """The stored object that is edited.

    :param size_bytes: its size.
    :param can_copy: whether the store copies parts, and accepts parts of different sizes.
    :param min_part_bytes: the smallest part that is not the last.
    :param copy_limit_bytes: the largest part that is copied.
    :param part_stops: where its parts end, if it is a suspended upload that goes on.
    """

    size_bytes: int
    can_copy: bool = True
    min_part_bytes: int = MIN_PART_BYTES
    copy_limit_bytes: int = MAX_PART_BYTES
    part_stops: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class CutPart:
    """Send the bytes before `stop`: all of them are here, or zero."""

    stop: int


@dataclass(frozen=True, slots=True)
class CutCopy:
    """Copy the bytes before `stop`, or take their parts as they are: all of them are preserved."""

    stop: int


@dataclass(frozen=True, slots=True)
class CutAfterFetch:
    """Fetch these bytes first, then ask again."""

    wanted: ByteRange


Cut: TypeAlias = CutPart | CutCopy | CutAfterFetch


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
    """How the bytes from `cursor` on become a part; None if there are not enough for one.

    :param cursor: where the part begins.
    :param limit: up to here it is decided which bytes are preserved.
    :param part_bytes: the usual size of the part.
    :param is_last: whether the file ends at `limit`.
    :param written: the bytes that were written.
    :param base: the object that is edited.
    :param base_stop: bytes before it that were not written are preserved; behind it are zeros.
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
    return CutAfterFetch(missing) if missing else CutPart(stop)


def _first_together(gaps: Iterator[ByteRange]) -> ByteRange | None:
    """The first gap, joined with those that follow closely."""
    found: ByteRange | None = None
    for gap in gaps:
        if found is None:
            found = gap
        elif gap.start - found.stop <= CLOSE_BYTES:
            found = ByteRange(found.start, gap.stop)
        else:
            break
    return found


def even_ranges(whole: ByteRange, limit_bytes: int) -> Iterator[ByteRange]:
    """`whole` in as few ranges of nearly equal size as the limit allows."""
    count = -(-whole.size_bytes // limit_bytes)
    at = whole.start
    for index in range(1, count + 1):
        stop = whole.start + whole.size_bytes * index // count
        yield ByteRange(at, stop)
        at = stop
