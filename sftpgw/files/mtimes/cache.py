"""The mtimes of stored objects that this process knows.

Knows: which version of which object has which mtime, and how long an entry may be used.
Must not know: requests, listings.

A list of keys shows when each object was stored (Last-Modified), but not the mtime in its metadata,
which takes a HEAD for each. An mtime is true as long as the object is the same version, which its
size, ETag and date tell. So entries need not expire; the least recently used ones are dropped.

Rules

1. Setting an mtime changes neither size nor ETag, and many stores have dates in whole seconds. So
   an mtime that was looked up is not cached if the object is younger than `RACY_SECONDS`.
2. A list of a directory shows the prefixes of its directories, but nothing that identifies the
   version of their markers. The mtime of a directory, or that it has no marker, is used for
   `DIRECTORY_SECONDS`. If this process changes the directory, the entry is dropped at once.
3. An object that this process has stored is cached before any list shows its date. A date matches
   it if it differs by at most `SLACK_SECONDS`, since clocks differ.
4. With `[files] late_times = defer`, an mtime is *deferred*: it is shown, but not stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sftpgw.aio.fair_slots import FairSlots
from sftpgw.aio.lru import SharedLRU
from sftpgw.aio.shared_work import SharedWork
from sftpgw.files.listing.plan import attributes_of, modified_seconds
from sftpgw.model.filesystem import FileAttributes
from sftpgw.model.store import ObjectInfo, ObjectName

MAX_FILES = 65_536
"""At 0.3 KiB each, however long their keys are: 20 MiB. Deferred mtimes have as many entries."""

MAX_HEADS_TOGETHER = 64
"""How many HEADs the listings of a session wait for. Which of them are sent, and when, is up to the
one budget of requests."""

MAX_DIRECTORIES = 16_384
"""At 0.22 KiB each: 4 MiB."""

DIRECTORY_SECONDS = 60.0

RACY_SECONDS = 5.0
SLACK_SECONDS = 60.0


@dataclass(slots=True)
class _Known:
    """The mtime of one version.

    :param seconds: the mtime; None if it is the object's own date.
    :param date: that date in whole seconds; None if no list has shown it yet.
    :param earliest: the earliest date that may be that of this version.
    :param latest: the latest.
    """

    seconds: float | None
    date: int | None
    earliest: float = 0.0
    latest: float = 0.0

    def is_of(self, listed: ObjectInfo) -> bool:
        """Whether the listed object is this version; the first date that matches is adopted."""
        if self.date is None and self.earliest <= listed.modified_seconds <= self.latest:
            self.date = int(listed.modified_seconds)
        return self.date == int(listed.modified_seconds)


class SharedMtimes:
    """The mtimes that the sessions of the process know together, each user a fair share of them.

    :param weight_of: returns the weight of a user.
    :ivar heads: the HEADs of all listings that are under way, by user and name.
    """

    def __init__(self, weight_of: Callable[[str], float] = lambda user: 1.0) -> None:
        self.heads: SharedWork[tuple[str, ObjectName], ObjectInfo | None] = SharedWork()
        self.known: SharedLRU[int, _Known] = SharedLRU(MAX_FILES, weight_of)
        self.deferred: SharedLRU[int, float] = SharedLRU(MAX_FILES, weight_of)
        self.directories: SharedLRU[int, tuple[float | None, float]] = SharedLRU(
            MAX_DIRECTORIES, weight_of
        )


class MtimeCache:
    """The cache of mtimes, as one user's sessions see it.

    A user sees what others have put in, but cannot push it out.

    :param shared: the mtimes of the process.
    :param user: whose share new entries count against.
    :ivar head_slots: bounds the HEADs of the session's listings.
    :ivar heads: as for `SharedMtimes`.
    """

    def __init__(self, shared: SharedMtimes, user: str) -> None:
        self.head_slots = FairSlots(MAX_HEADS_TOGETHER)
        self.heads = shared.heads
        self._user = user
        self._known = shared.known
        self._deferred = shared.deferred
        self._directories = shared.directories

    # Files.

    def find(self, listed: ObjectInfo) -> float | None:
        """The mtime of an object in a list; None if it is unknown."""
        version = _hash_of_version(listed)
        deferred_seconds = self._deferred.get(version)
        if deferred_seconds is not None:
            return deferred_seconds
        known = self._known.get(version)
        if known is None or not known.is_of(listed):
            return None
        self._known.touch(version)
        return listed.modified_seconds if known.seconds is None else known.seconds

    def put_looked_up(
        self, listed: ObjectInfo, info: ObjectInfo, now_seconds: float
    ) -> float | None:
        """Cache the mtime that a HEAD has shown.

        :param listed: the object as a list shows it.
        :param info: the object as the HEAD shows it.
        :param now_seconds: the time.
        :returns: the mtime; None if the object was replaced between LIST and HEAD.
        """
        if _hash_of_version(info) != _hash_of_version(listed):
            return None
        seconds = modified_seconds(info)
        if now_seconds - listed.modified_seconds > RACY_SECONDS:
            self._put(listed, _Known(seconds, int(listed.modified_seconds)))
        return seconds

    def put_stored(
        self, info: ObjectInfo, *, mtime_seconds: float | None, now_seconds: float
    ) -> None:
        """Cache the mtime of an object that this process has stored.

        :param info: its name, size and ETag, with the earliest date that it may have.
        :param mtime_seconds: the mtime in its metadata; None if there is none.
        :param now_seconds: the time.
        """
        self._deferred.pop(_hash_of_version(info))
        earliest, latest = info.modified_seconds - SLACK_SECONDS, now_seconds + SLACK_SECONDS
        self._put(info, _Known(mtime_seconds, None, earliest, latest))

    def defer(self, info: ObjectInfo, seconds: float) -> None:
        """Show an mtime for an object from now on, although it is not stored."""
        self._deferred.put(self._user, _hash_of_version(info), seconds)

    def deferred(self, info: ObjectInfo) -> float | None:
        """The deferred mtime of an object; None if there is none."""
        return self._deferred.get(_hash_of_version(info))

    def attributes(self, info: ObjectInfo) -> FileAttributes:
        """The attributes of an object as a file, with its deferred mtime if there is one."""
        seconds, attributes = self.deferred(info), attributes_of(info)
        return attributes if seconds is None else replace(attributes, modified_seconds=seconds)

    def _put(self, info: ObjectInfo, known: _Known) -> None:
        self._known.put(self._user, _hash_of_version(info), known)

    # Directories.

    def has_directory(self, marker: ObjectName, now_seconds: float) -> bool:
        """Whether `directory_mtime` is recent enough to be used."""
        known = self._directories.get(hash(marker))
        return known is not None and now_seconds - known[1] <= DIRECTORY_SECONDS

    def directory_mtime(self, marker: ObjectName) -> float | None:
        """The mtime of a directory as it was seen last; None if it has none, or is unknown."""
        known = self._directories.get(hash(marker))
        return known[0] if known else None

    def put_directory(self, marker: ObjectName, seconds: float | None, now_seconds: float) -> None:
        """Cache the mtime of a directory.

        :param marker: the name of the marker that it has or would have.
        :param seconds: the mtime; None if there is no marker.
        :param now_seconds: the time.
        """
        self._directories.put(self._user, hash(marker), (seconds, now_seconds))

    def forget_directory(self, marker: ObjectName) -> None:
        """This process has created, removed or renamed a directory, or set its mtime."""
        self._directories.pop(hash(marker))


def _hash_of_version(info: ObjectInfo) -> int:
    """A hash of name, size and ETag, so that an entry is small however long the key is.

    Python's hash of strings has 64 bits and a secret seed. The chance that any two of 65,536
    entries have the same hash is below one in a thousand million.
    """
    return hash((info.name.bucket, info.name.key, info.size_bytes, info.etag.strip('"')))
