"""What the files of one session stand on.

Knows: which parts of the process a file operation may use.
Must not know: what they are used for.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sftpgw.files.listing.plan import modified_seconds
from sftpgw.files.mtimes.cache import MtimeCache
from sftpgw.files.traffic import SessionTraffic
from sftpgw.files.transfers import TransferRegistry
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.memory import MemoryBudget
from sftpgw.model.settings import FilesSettings, LimitSettings, StoreSettings
from sftpgw.model.store import ObjectInfo, ObjectName, ObjectStore


@dataclass(frozen=True)
class SessionContext:
    """`store`, `budget`, `events` and `traffic` are this session's, the rest is the process's."""

    store: ObjectStore
    budget: MemoryBudget
    transfers: TransferRegistry
    times: MtimeCache
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
