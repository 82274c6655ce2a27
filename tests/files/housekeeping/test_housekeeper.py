"""Where users of services and tables have files becomes known when they log in."""

from __future__ import annotations

from dataclasses import replace

import pytest
from twisted.internet.task import Clock

from sftpgw.files.copies.copier import Copier
from sftpgw.files.housekeeping import housekeeper
from sftpgw.files.housekeeping.housekeeper import Housekeeper
from sftpgw.files.housekeeping.sweeper import Sweeper
from sftpgw.files.renames.recovery import RenameRecovery
from sftpgw.files.renames.settler import RenameSettler
from sftpgw.files.transfers.registry import TransferRegistry
from sftpgw.model.settings import StoreSettings
from sftpgw.model.store import MultipartUpload
from sftpgw.model.users import User
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.ssh_pairs import RecordedEvents
from tests.results import result_of

DAY = 86400.0
NOW = 1_700_000_000.0
IDA = replace(User.with_home("ida", "theirs", "home/ida/"), source="http")


class House:
    """A housekeeper of users of whom no file tells."""

    def __init__(self) -> None:
        self.store = FakeStore(("theirs",))
        self.expired: list[str] = []
        clock, events = Clock(), RecordedEvents()
        clock.advance(NOW)
        transfers = TransferRegistry()
        self.sweeper = Sweeper(
            (),
            store=self.store,
            transfers=transfers,
            clock=clock,
            events=events,
            random=lambda: 0.5,
            expire=self.expire,
        )
        copier = Copier(self.store, transfers, events)
        recovery = RenameRecovery(
            (),
            lambda bucket: ".sftpgw/",
            settler=RenameSettler(self.store, copier, clock, events),
            store=self.store,
            clock=clock,
            events=events,
            random=lambda: 0.5,
        )
        self.keeper = Housekeeper(lambda bucket: StoreSettings(), self.sweeper, recovery)

    async def expire(self, bucket: str) -> frozenset[MultipartUpload]:
        self.expired.append(bucket)
        return frozenset()

    def leave_a_piece(self) -> None:
        self.store.now_seconds = NOW - 30 * DAY
        self.store.seed(".sftpgw/pieces/left", b"x", bucket="theirs")


def test_leftovers_in_a_bucket_of_a_user_of_a_service_go_after_a_login() -> None:
    house = House()
    house.leave_a_piece()
    result_of(house.sweeper.sweep())
    house.keeper.on_session(replace(IDA, source=""))
    result_of(house.sweeper.sweep())
    assert house.expired == []
    house.keeper.on_session(IDA)
    house.keeper.on_session(IDA)
    result_of(house.sweeper.sweep())
    assert house.expired == ["theirs"]
    assert not house.store.objects


def test_places_of_users_of_services_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeper, "MOST_LEARNT", 1)
    house = House()
    house.keeper.on_session(IDA)
    house.keeper.on_session(replace(User.with_home("ivo", "others", ""), source="http"))
    result_of(house.sweeper.sweep())
    assert house.expired == ["theirs"]
