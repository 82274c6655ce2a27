"""The objects that the files of one session use.

A transfer, a listing or a rename takes one `SessionContext` instead of a dozen arguments.

Knows: which parts of the process a file operation may use.
Must not know: what an operation does with them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property

from sftpgw.aio.work.scheduler import WorkShare
from sftpgw.files.listing.plan import modified_seconds
from sftpgw.files.memory.stall import StallTimeout
from sftpgw.files.mtimes.cache import MtimeCache
from sftpgw.files.quotas.session_quotas import SessionQuotas
from sftpgw.files.traffic import SessionTraffic
from sftpgw.files.transfers.registry import TransferRegistry
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.memory import MemoryBudget
from sftpgw.model.object_settings import ObjectTable
from sftpgw.model.settings import FilesSettings, LimitSettings, StoreSettings
from sftpgw.model.store import ObjectInfo, ObjectName, ObjectStore


@dataclass(frozen=True)
class SessionContext:
    """The objects that the files of one session use.

    :param user: the name of the session's user.
    :param store: the store, bound to the session's label in the log.
    :param budget: the user's share of the memory budget.
    :param transfers: the process's registry of transfers.
    :param times: the process's cache of mtimes.
    :param clock: the process's clock.
    :param events: the session's event sink.
    :param settings_of: returns the settings of the store that a bucket is in.
    :param limits: the limits of memory and of writes out of order.
    :param files: how files behave.
    :param work: hands out CPU time to the session.
    :param session: the session's label in the log.
    :param objects: how the objects of the session's mounts are stored; None: as their stores say.
    :param traffic: counts the session's bytes.
    :param file_bytes: how large a file of the user may be; None for any size.
    :param quotas: how much the user may store; None for any amount.
    """

    user: str
    store: ObjectStore
    budget: MemoryBudget
    transfers: TransferRegistry
    times: MtimeCache
    clock: Clock
    events: EventSink
    settings_of: Callable[[str], StoreSettings]
    limits: LimitSettings
    files: FilesSettings
    work: WorkShare
    session: str = ""
    objects: ObjectTable | None = None
    traffic: SessionTraffic = field(default_factory=SessionTraffic)
    file_bytes: int | None = None
    quotas: SessionQuotas | None = None

    @cached_property
    def stall_timeout(self) -> StallTimeout:
        """The stall timeout that the session's uploads share."""
        return StallTimeout(self.clock)

    def storage_class_of(self, name: ObjectName) -> str:
        """The class of a new object; blank if the bucket decides."""
        if self.objects is None:
            return self.settings_of(name.bucket).storage_class
        return self.objects.of(name.bucket, name.key).storage_class

    def copied(
        self, source: ObjectInfo, target: ObjectName, etag: str, began_seconds: float
    ) -> None:
        """An object was copied with its time: the next listing of it shows that.

        :param source: the object that was copied.
        :param target: the name of the copy.
        :param etag: the copy's ETag.
        :param began_seconds: when the copy began; the store dates it later than that.
        """
        stored = replace(source, name=target, etag=etag, modified_seconds=began_seconds)
        now_seconds = self.clock.seconds()
        shown_seconds = modified_seconds(source)
        deferred_seconds = self.times.deferred(source)
        self.times.put_stored(stored, mtime_seconds=shown_seconds, now_seconds=now_seconds)
        if deferred_seconds is not None:
            self.times.defer(stored, deferred_seconds)


def moving(
    context: SessionContext, source: ObjectInfo, target: ObjectName
) -> AbstractContextManager[None]:
    """The store copies a file to a new name in here: it counts in quotas if that succeeds.

    :param context: the objects that the session's files use.
    :param source: the file.
    :param target: its new name.
    :raises QuotaExceeded: there is no space for it.
    """
    if context.quotas is None:
        return nullcontext()
    return context.quotas.moving(source.name, target, source.size_bytes)
