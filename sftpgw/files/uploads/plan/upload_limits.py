"""The sizes that bound one upload.

Knows: how much one upload may hold, skip and have under way.
Must not know: which bytes have come, or how large the parts are (`uploads/plan/part_sizes`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sftpgw.model.units import KIB, MIB

SMALL_BYTES = 256 * KIB
"""So few bytes cost less than a request: a file of this size need not wait for memory."""


class SizeGrant(Protocol):
    """What an upload may take of a quota."""

    def extend(self, size_bytes: int) -> int:
        """The file is to have at least this size. Returns up to which size it need not ask again.

        :param size_bytes: the size.
        :raises LimitReached: so much may not be stored.
        """

    def close(self) -> None:
        """The upload has ended."""


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """How much one upload may hold, skip and have under way.

    :param concurrency: how many requests of one kind are under way at the same time.
    :param allowance_bytes: how many bytes it may hold in parts before the client has to wait, and
        how large a base object may be that is fetched, since the store cannot copy it.
    :param reorder_bytes: how far behind the first missing byte writes may end.
    :param small_bytes: up to this size it reserves the bytes it holds, beyond that steps: of this
        size at first, and larger ones if the client is fast.
    :param early_part_bytes: from which size on a part may be sent when memory is short, though it
        could be larger; None if the store wants equal parts.
    :param file_bytes: how large the file may be; None if only the store limits it.
    :param tail_bytes: from this size on, a rest that is no whole part is sent when the client is
        lost; None if the upload is not suspended then.
    :param grant: what is asked for space before the file grows; None if no quota holds.
    """

    concurrency: int = 4
    allowance_bytes: int = 256 * MIB
    reorder_bytes: int = 32 * MIB
    small_bytes: int = SMALL_BYTES
    early_part_bytes: int | None = None
    tail_bytes: int | None = None
    file_bytes: int | None = None
    grant: SizeGrant | None = None


DEFAULT_LIMITS = UploadLimits()
