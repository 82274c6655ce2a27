"""Session contexts for tests that open uploads and downloads without a gateway.

    context = session_context(FakeStore())
    upload = Upload(context, plan, ObjectName("bucket", "file"))

Tests that have a gateway take ``GatewayInMemory().session().context``.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock as FakeClock

from sftpgw.files.memory.budget import Budget
from sftpgw.files.mtimes.cache import MtimeCache, SharedMtimes
from sftpgw.files.session_context import SessionContext
from sftpgw.files.transfers.registry import TransferRegistry
from sftpgw.model.events import EventSink
from sftpgw.model.memory import MemoryBudget
from sftpgw.model.settings import FilesSettings, LimitSettings, StoreSettings
from sftpgw.model.store import ObjectStore
from sftpgw.model.units import MIB
from sftpgw.testing.cpu_clocks import free_work
from sftpgw.testing.ssh_pairs import RecordedEvents


def session_context(
    store: ObjectStore,
    *,
    user: str = "alice",
    budget: MemoryBudget | None = None,
    transfers: TransferRegistry | None = None,
    clock: Any = None,
    events: EventSink | None = None,
    settings: StoreSettings | None = None,
    limits: LimitSettings | None = None,
    files: FilesSettings | None = None,
) -> SessionContext:
    """The context of one session on `store`. What is left out is new, with its defaults."""
    clock = clock or FakeClock()
    return SessionContext(
        user=user,
        store=store,
        budget=budget or Budget(512 * MIB),
        transfers=transfers or TransferRegistry(),
        times=MtimeCache(SharedMtimes(), "alice"),
        clock=clock,
        events=events or RecordedEvents(),
        settings_of=lambda bucket: settings or StoreSettings(),
        limits=limits or LimitSettings(),
        files=files or FilesSettings(),
        work=free_work(clock).share(user),
    )
