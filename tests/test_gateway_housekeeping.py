"""What the gateway does on its own in the buckets of users whom it gets to know by their logins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count

import pytest
from twisted.internet.testing import MemoryReactorClock

from sftpgw import gateway as gateway_module
from sftpgw.files.housekeeping.sweeper import EVERY_SECONDS as SWEEP_SECONDS
from sftpgw.files.housekeeping.sweeper import OWN_SECONDS
from sftpgw.files.renames.plan import LEASE_SECONDS
from sftpgw.files.renames.recovery import EVERY_SECONDS as LOOK_SECONDS
from sftpgw.gateway import Gateway
from sftpgw.model.piece_names import pieces_prefix
from sftpgw.model.settings import (
    FilesSettings,
    GatewaySettings,
    LimitSettings,
    Settings,
    SshSettings,
    StoreSettings,
)
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_sessions import ALICE, LABELS
from tests.files.renames.test_recovery import FILES, killed, records, renamed, users_files

SETTINGS = Settings(
    GatewaySettings(), StoreSettings(), SshSettings(), LimitSettings(), FilesSettings(), {}
)
LEFTOVER = f"{pieces_prefix(SETTINGS.s3.state_prefix)}leftover"


class Reactor(MemoryReactorClock):
    """One whose thread is that of the test."""

    def callFromThread(self, function: Callable[..., object], *arguments: object) -> None:
        function(*arguments)


class Process:
    """A gateway without a user of a file, whose store a process that was killed has left.

    :ivar store: has a rename that was cut off, and an old piece of an upload.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        dead = _dead_store()
        self.store = FakeStore(min_part_bytes=1)
        self.store.objects = dead.objects
        self.store.seed(LEFTOVER, b"x")
        self.reactor = Reactor()
        self.reactor.advance(dead.now_seconds + max(LEASE_SECONDS, OWN_SECONDS) + 60)
        monkeypatch.setattr(gateway_module, "open_stores", lambda *stores, **others: self.store)
        self.gateway = Gateway(SETTINGS, (), self.reactor)
        self.gateway._housekeeper.start()

    def wait(self) -> None:
        """Until each of both has had its turn."""
        for _ in range(int(3 * SWEEP_SECONDS / LOOK_SECONDS)):
            self.reactor.advance(LOOK_SECONDS)

    def stop(self) -> None:
        self.gateway._housekeeper.stop()


def _dead_store() -> FakeStore:
    """The objects after a rename that died with its record written."""
    for survives in count():
        store = killed(survives)
        assert store is not None, "no rename has died with its record written"
        for body in store.bodies:  # what it clears up with dies, too
            body.addErrback(lambda failure: None)
            body.cancel()
        if _has_intent(store):
            return store
    raise AssertionError("count() never ends")


def _has_intent(store: FakeStore) -> bool:
    return any(key.endswith("/intent") for key in records(store))


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    process = Process(monkeypatch)
    yield process
    process.stop()


def test_buckets_of_users_of_tables_and_services_are_looked_after(process: Process) -> None:
    process.wait()
    assert _has_intent(process.store), "no user is known who has this bucket"
    assert LEFTOVER in process.store.keys()  # noqa: SIM118
    process.gateway._make_avatar(replace(ALICE, source="dynamodb"), LABELS)
    process.wait()
    assert not _has_intent(process.store)
    assert users_files(process.store) in (FILES, renamed(FILES))
    assert LEFTOVER not in process.store.keys()  # noqa: SIM118
