"""The exact times of stored files, as far as the process has seen them.

Knows: which version of which object has which time, and for how many that is kept.
Must not know: how it is found out, or what a listing is.

A list of keys tells when objects were stored, and not the times that were stored with
them: that takes a HEAD for each. What was found out stays true for as long as the object is
the same, which its size, ETag and date say; so nothing here grows old, and the objects that
were looked up least recently are forgotten.

Rules

1. A time that was set anew leaves size and ETag as they were, and the dates of many stores
   have whole seconds: what is younger than `RACY_SECONDS` is not kept.
2. Of a folder, a list shows nothing by which its marker could be recognised. What was found out,
   that there is none included, is believed for `FOLDER_SECONDS`; what this process changes of it
   is forgotten at once.
3. What this process has stored is known before a list has told its date. It is recognised
   by a date that fits, clocks being apart by less than `SLACK_SECONDS`.
4. A time may be *deferred* (`[files] late_times`): it is shown, and not stored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from twisted.internet.defer import DeferredSemaphore

from sftpgw.aio.lru import LRUDict
from sftpgw.files.listing.plan import attributes_of, modified_seconds
from sftpgw.model.filesystem import FileAttributes
from sftpgw.model.store import ObjectInfo, ObjectName

KNOWN_FILES = 65_536
"""At 0.2 KiB each, whatever their keys are: 14 MiB."""

LOOKS_AT_ONCE = 64
"""HEADs under way for the listings of all sessions."""

KNOWN_FOLDERS = 16_384
"""At 0.22 KiB each: 4 MiB."""

FOLDER_SECONDS = 60.0

RACY_SECONDS = 5.0
SLACK_SECONDS = 60.0


@dataclass(slots=True)
class _Known:
    """The time stored with an object, None if that is the object's own date.

    `date` is that date in whole seconds; where it is not known yet, it is from `earliest` on
    and up to `latest`.
    """

    seconds: float | None
    date: int | None
    earliest: float = 0.0
    latest: float = 0.0

    def is_of(self, listed: ObjectInfo) -> bool:
        if self.date is None and self.earliest <= listed.modified_seconds <= self.latest:
            self.date = int(listed.modified_seconds)
        return self.date == int(listed.modified_seconds)


class MtimeCache:
    """One for the process."""

    def __init__(self) -> None:
        self.looks = DeferredSemaphore(LOOKS_AT_ONCE)
        self._known: LRUDict[int, _Known] = LRUDict(KNOWN_FILES)
        self._deferred: LRUDict[int, float] = LRUDict(KNOWN_FILES)
        self._folders: LRUDict[int, tuple[float | None, float]] = LRUDict(KNOWN_FOLDERS)

    def __len__(self) -> int:
        return len(self._known)

    def find(self, listed: ObjectInfo) -> float | None:
        """The exact time of an object in a list, None if it is not known."""
        content = _content(listed)
        if content in self._deferred:
            return self._deferred[content]
        known = self._known.get(content)
        if known is None or not known.is_of(listed):
            return None
        self._known.move_to_end(content)
        return listed.modified_seconds if known.seconds is None else known.seconds

    def learn(self, listed: ObjectInfo, told: ObjectInfo, now_seconds: float) -> float | None:
        """HEAD has `told` of an object in a list; the exact time if it is still the same one."""
        if _content(told) != _content(listed):
            return None
        seconds = modified_seconds(told)
        if now_seconds - listed.modified_seconds > RACY_SECONDS:
            self._keep(listed, _Known(seconds, int(listed.modified_seconds)))
        return seconds

    def knows_folder(self, marker: ObjectName, now_seconds: float) -> bool:
        """Whether `folder` tells the truth."""
        known = self._folders.get(hash(marker))
        return known is not None and now_seconds - known[1] <= FOLDER_SECONDS

    def folder(self, marker: ObjectName) -> float | None:
        """The time of a folder, as it was last seen; None if it has none, or is not known."""
        known = self._folders.get(hash(marker))
        return known[0] if known else None

    def learn_folder(self, marker: ObjectName, seconds: float | None, now_seconds: float) -> None:
        """A folder has this time now, or none."""
        self._folders.put(hash(marker), (seconds, now_seconds))

    def forget_folder(self, marker: ObjectName) -> None:
        """It was made, removed or renamed."""
        self._folders.pop(hash(marker), None)

    def defer(self, info: ObjectInfo, seconds: float) -> None:
        """Show this time for an object from now on, though it is not stored with it."""
        self._deferred.put(_content(info), seconds)

    def deferred(self, info: ObjectInfo) -> float | None:
        """The time to show for an object in place of its own, if there is one."""
        return self._deferred.get(_content(info))

    def shown(self, info: ObjectInfo) -> FileAttributes:
        """An object as a file, with the time that this process shows for it."""
        seconds, attributes = self.deferred(info), attributes_of(info)
        return attributes if seconds is None else replace(attributes, modified_seconds=seconds)

    def stored(self, info: ObjectInfo, *, mtime_seconds: float | None, now_seconds: float) -> None:
        """This process has stored an object.

        :param info: its name, size and ETag, and the earliest date that it may have.
        :param mtime_seconds: the time that was stored with it, None without one.
        """
        self._deferred.pop(_content(info), None)
        earliest, latest = info.modified_seconds - SLACK_SECONDS, now_seconds + SLACK_SECONDS
        self._keep(info, _Known(mtime_seconds, None, earliest, latest))

    def _keep(self, info: ObjectInfo, known: _Known) -> None:
        self._known.put(_content(info), known)


def _content(info: ObjectInfo) -> int:
    """What this object and its content are recognised by, however long its key is.

    64 bits of a hash that nobody outside can compute; that two of all known files share them
    is less likely than one in a thousand million.
    """
    return hash((info.name.bucket, info.name.key, info.size_bytes, info.etag.strip('"')))
