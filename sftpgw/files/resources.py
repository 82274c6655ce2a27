"""What the files of one session stand on.

Knows: which parts of the process a file operation may use.
Must not know: what they are used for.
"""

from __future__ import annotations

from dataclasses import dataclass

from sftpgw.files.inflight import InFlight
from sftpgw.files.knowntimes import KnownTimes
from sftpgw.interfaces import Clock, EventSink, MemoryBudget, ObjectStore
from sftpgw.values import FilesSettings, LimitSettings, StoreSettings


@dataclass(frozen=True)
class Resources:
    """`store`, `budget` and `events` are this session's views, the rest is the process's."""

    store: ObjectStore
    budget: MemoryBudget
    in_flight: InFlight
    times: KnownTimes
    clock: Clock
    events: EventSink
    settings: StoreSettings
    limits: LimitSettings
    files: FilesSettings
