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
2. What this process has stored is known before a list has told its date. It is recognised
   by a date that fits, clocks being apart by less than `SLACK_SECONDS`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b

from twisted.internet.defer import DeferredSemaphore

from sftpgw.plan.listing import modified_seconds
from sftpgw.values import ObjectInfo, ObjectName

KNOWN_FILES = 65_536
"""At 0.2 KiB each, whatever their keys are: 14 MiB."""

LOOKS_AT_ONCE = 64
"""HEADs under way for the listings of all sessions."""

RACY_SECONDS = 5.0
SLACK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Known:
    """The time stored with an object, None if that is the object's own date.

    `earliest` and `latest` bound its date where that is not known.
    """

    seconds: float | None
    earliest: float = 0.0
    latest: float = 0.0


class KnownTimes:
    """One for the process."""

    def __init__(self) -> None:
        self.looks = DeferredSemaphore(LOOKS_AT_ONCE)
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def find(self, listed: ObjectInfo) -> float | None:
        """The exact time of an object in a list, None if it is not known."""
        self._recognise(listed)
        exact = _version(listed)
        known = self._known.get(exact)
        if known is None:
            return None
        self._known.move_to_end(exact)
        return listed.modified_seconds if known.seconds is None else known.seconds

    def learn(self, listed: ObjectInfo, told: ObjectInfo, now_seconds: float) -> float | None:
        """HEAD has `told` of an object in a list; the exact time if it is still the same one."""
        if _stripped(told.etag) != _stripped(listed.etag) or told.size_bytes != listed.size_bytes:
            return None
        seconds = modified_seconds(told)
        if now_seconds - listed.modified_seconds > RACY_SECONDS:
            self._keep(_version(listed), _Known(seconds))
        return seconds

    def stored(self, info: ObjectInfo, *, mtime_seconds: float | None, now_seconds: float) -> None:
        """This process has stored an object.

        :param info: its name, size and ETag, and the earliest date that it may have.
        :param mtime_seconds: the time that was stored with it, None without one.
        """
        earliest, latest = info.modified_seconds - SLACK_SECONDS, now_seconds + SLACK_SECONDS
        self._keep(_version(info, dated=False), _Known(mtime_seconds, earliest, latest))

    def _recognise(self, listed: ObjectInfo) -> None:
        """What has been stored has a date now. An older list may show an older one."""
        undated = _version(listed, dated=False)
        known = self._known.get(undated)
        if known is not None and known.earliest <= listed.modified_seconds <= known.latest:
            del self._known[undated]
            self._keep(_version(listed), _Known(known.seconds))

    def _keep(self, version: bytes, known: _Known) -> None:
        self._known[version] = known
        self._known.move_to_end(version)
        while len(self._known) > KNOWN_FILES:
            self._known.popitem(last=False)


def _version(info: ObjectInfo, *, dated: bool = True) -> bytes:
    """What tells this version of this object from all others, in few bytes."""
    date = int(info.modified_seconds) if dated else "-"
    name: ObjectName = info.name
    text = f"{name.bucket}\0{info.size_bytes}\0{_stripped(info.etag)}\0{date}\0{name.key}"
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).digest()


def _stripped(etag: str) -> str:
    return etag.strip('"')
