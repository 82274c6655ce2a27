"""The quotas of a user: what they are about, and what still fits.

Knows: which mounts a quota is about, and how much is stored at their places.
Must not know: requests, where figures come from.

Rules

1. A mount whose path has ``quota_bytes`` or ``quota_files`` has a quota of its own. The quota of
   the user is about all other mounts together.
2. A place inside of another place of the same quota is counted once.
3. A quota is about everything that is stored at its places, by whichever user or program.
4. What replaces a file needs the difference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sftpgw.errors import QuotaExceeded
from sftpgw.files.quotas.plan.account import PlaceAccount
from sftpgw.files.quotas.plan.usage import NOTHING_STORED, Place, Usage, outermost
from sftpgw.model.store import ObjectName
from sftpgw.model.units import MIB
from sftpgw.model.users import QuotaLimits, User

NEVER_BYTES = 1 << 62
"""More than any file has."""

STEP_BYTES = MIB
"""How much an upload reserves ahead, at most, and no more than its size so far: else each WRITE
would have to ask."""

STEP_SHARE = 16
"""Nor more than this fraction of what is left."""

TIGHT_SHARE = 4
"""A quota of which less than this fraction is left is looked at more closely."""


@dataclass(frozen=True, slots=True)
class Quota:
    """How much may be stored at some places together.

    :ivar limits: the limits.
    :ivar places: the places, none inside another one.
    """

    limits: QuotaLimits
    places: tuple[Place, ...]

    def holds(self, name: ObjectName) -> bool:
        """Whether an object counts.

        :param name: the object.
        """
        return any(place.holds(name) for place in self.places)


def quotas_of(user: User, state_prefix_of: Callable[[str], str]) -> tuple[Quota, ...]:
    """The quotas of a user; none for most users.

    :param user: the user.
    :param state_prefix_of: returns the prefix of the gateway's own keys in a bucket.
    """
    limits = user.limits.quotas
    own_paths = {each.path for each in limits if each.path}
    found: list[Quota] = []
    for each in limits:
        mounts = [
            mount
            for mount in user.mounts
            if (mount.path == each.path if each.path else mount.path not in own_paths)
        ]
        places = tuple(
            Place(mount.bucket, mount.key_prefix, state_prefix_of(mount.bucket)) for mount in mounts
        )
        if places and not each.is_off:
            found.append(Quota(each, outermost(places)))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class QuotaState:
    """A quota, with how much is stored at its places.

    :ivar quota: the quota.
    :ivar accounts: those of its places.
    :ivar hides: whether a refusal must not tell how much is stored: where the user sees nothing.
    """

    quota: Quota
    accounts: tuple[PlaceAccount, ...]
    hides: bool = False

    @property
    def taken(self) -> Usage:
        """What is stored, and what uploads under way will add."""
        total = NOTHING_STORED
        for each in self.accounts:
            total += each.taken
        return total

    @property
    def left(self) -> Usage:
        """What still fits; less than nothing if too much is stored."""
        limits, taken = self.quota.limits, self.taken
        return Usage(
            NEVER_BYTES if limits.max_bytes is None else limits.max_bytes - taken.size_bytes,
            NEVER_BYTES if limits.max_files is None else limits.max_files - taken.files,
        )

    @property
    def is_tight(self) -> bool:
        """Whether little is left."""
        limits, left = self.quota.limits, self.left
        return left.size_bytes < (limits.max_bytes or 0) // TIGHT_SHARE or left.files < (
            (limits.max_files or 0) // TIGHT_SHARE
        )

    def require(self, more: Usage) -> None:
        """Check that so much more may be stored.

        :param more: the bytes and files.
        :raises QuotaExceeded: it may not.
        """
        left, taken, limits = self.left, self.taken, self.quota.limits
        has_bytes = more.size_bytes <= max(0, left.size_bytes)
        has_files = more.files <= max(0, left.files)
        if not (has_bytes and has_files):
            for each in self.accounts:
                each.is_questioned = True
        path = f" /{'/'.join(limits.path)}" if limits.path else ""
        if not has_bytes:
            figures = self._figures(taken.size_bytes, limits.max_bytes, "bytes")
            raise QuotaExceeded(
                f"no space is left in the quota{figures} (users.ini quota_bytes{path}); "
                "remove files first"
            )
        if not has_files:
            figures = self._figures(taken.files, limits.max_files, "files")
            raise QuotaExceeded(
                f"no space is left in the quota{figures} (users.ini quota_files{path}); "
                "remove files first"
            )

    def _figures(self, taken: int, most: int | None, unit: str) -> str:
        return "" if self.hides else f": {taken} of {most} {unit} are stored or being sent"


class UploadGrant:
    """What one upload has reserved of the quotas that it counts in.

    :param states: the quotas.
    :param accounts: those of the places at which the file is, each once.
    :param before: what the file replaces.
    :param resumed: a suspended upload that goes on: its bytes are there already, and never refused.
    :raises QuotaExceeded: no file may be added.
    """

    __slots__ = ("_accounts", "_before", "_is_closed", "_reserved", "_states")

    def __init__(
        self,
        states: tuple[QuotaState, ...],
        accounts: tuple[PlaceAccount, ...],
        before: Usage,
        resumed: Usage = NOTHING_STORED,
    ) -> None:
        self._states = states
        self._accounts = accounts
        self._before = before
        self._reserved = NOTHING_STORED
        self._is_closed = False
        if not (resumed or before.files):
            self._require(Usage(0, 1))
            resumed = Usage(0, 1)
        self._reserve(resumed)
        for account in accounts:
            account.grants += 1

    def extend(self, size_bytes: int) -> int:
        """The file is to have at least this size. Returns up to which size it need not ask again.

        :param size_bytes: the size.
        :raises QuotaExceeded: so much does not fit.
        """
        lacking_bytes = size_bytes - self._before.size_bytes - self._reserved.size_bytes
        if lacking_bytes > 0:
            self._require(Usage(lacking_bytes))
            left_bytes = min(state.left.size_bytes for state in self._states) - lacking_bytes
            ahead_bytes = min(STEP_BYTES, left_bytes // STEP_SHARE, size_bytes)
            self._reserve(Usage(lacking_bytes + ahead_bytes))
        return self._before.size_bytes + self._reserved.size_bytes

    def close(self) -> None:
        """The upload has ended: what it has reserved is given back."""
        if self._is_closed:
            return
        self._is_closed = True
        self._reserve(NOTHING_STORED - self._reserved)
        for account in self._accounts:
            account.grants -= 1

    def _require(self, more: Usage) -> None:
        for state in self._states:
            state.require(more)

    def _reserve(self, more: Usage) -> None:
        self._reserved += more
        for account in self._accounts:
            account.reserved += more
