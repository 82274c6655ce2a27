"""What the files of one session stand on.

Knows: which parts of the process a file operation may use.
Must not know: what they are used for.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sftpgw.files.inflight import InFlight
from sftpgw.files.knowntimes import KnownTimes
from sftpgw.files.traffic import SessionTraffic
from sftpgw.interfaces import Clock, EventSink, MemoryBudget, ObjectStore
from sftpgw.plan.listing import modified_seconds
from sftpgw.values import FilesSettings, LimitSettings, ObjectInfo, ObjectName, StoreSettings


@dataclass(frozen=True)
class Resources:
    """`store`, `budget`, `events` and `traffic` are this session's, the rest is the process's."""

    store: ObjectStore
    budget: MemoryBudget
    in_flight: InFlight
    times: KnownTimes
    clock: Clock
    events: EventSink
    settings: StoreSettings
    limits: LimitSettings
    files: FilesSettings
    traffic: SessionTraffic = field(default_factory=SessionTraffic)

    def copied(
        self, source: ObjectInfo, target: ObjectName, etag: str, began_seconds: float
    ) -> None:
        """An object was copied with its time: the next listing of it shows that."""
        stored = replace(source, name=target, etag=etag, modified_seconds=began_seconds)
        now_seconds = self.clock.seconds()
        shown_seconds = modified_seconds(source)
        deferred_seconds = self.times.deferred(source)
        self.times.stored(stored, mtime_seconds=shown_seconds, now_seconds=now_seconds)
        if deferred_seconds is not None:
            self.times.defer(stored, deferred_seconds)
