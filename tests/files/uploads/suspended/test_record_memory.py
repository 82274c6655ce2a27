"""The records of suspended uploads, and the lists of stored parts, count in the memory budget."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from sftpgw.errors import LimitReached
from sftpgw.files.housekeeping.state_objects import HELD_PER_BYTE
from sftpgw.files.memory.budget import Budget
from sftpgw.files.memory.held_memory import WAIT_SECONDS
from sftpgw.files.uploads.plan.memory_need import LISTED_PART_BYTES, LISTED_PARTS
from sftpgw.files.uploads.suspended.plan import SuspendedUpload, record_name, record_text
from sftpgw.model.filesystem import FileAttributes, WriteIntent
from sftpgw.model.limits import MAX_PARTS
from sftpgw.model.store import (
    Checksum,
    ChecksumAlgorithm,
    MultipartUpload,
    ObjectName,
    ObjectProperties,
    StoredPart,
)
from sftpgw.model.units import MIB
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_sessions import ALICE, GatewayInMemory
from tests.files.uploads.suspended.test_storage import (
    FILE,
    PART,
    bytes_suspended,
    content,
    cut,
    node,
    opened,
    write,
)
from tests.results import failure_of, result_of

NAME = ObjectName("bucket", FILE)
RECORD = record_name(".sftpgw/", ALICE.name, NAME)
ON = WriteIntent(truncate=False)


def plant(store: FakeStore, parts: int) -> int:
    """The record of an upload with so many parts; returns how many bytes it counts for."""
    stored = tuple(
        StoredPart(
            number, 5 * MIB, f'"{number:032x}"', Checksum(ChecksumAlgorithm.CRC64NVME, number)
        )
        for number in range(1, parts + 1)
    )
    upload = MultipartUpload(NAME, "upload", ChecksumAlgorithm.CRC64NVME)
    text = record_text(SuspendedUpload(ALICE.name, upload, stored, 1.0))
    result_of(store.put(RECORD, (text,), ObjectProperties()))
    return HELD_PER_BYTE * len(text)


class WatchedBudget(Budget):
    """Knows the most that was held."""

    most_bytes = 0

    def _count(self, user: str, size_bytes: int) -> None:
        super()._count(user, size_bytes)
        self.most_bytes = max(self.most_bytes, self.held_bytes)


@pytest.fixture
def store() -> FakeStore:
    return FakeStore(min_part_bytes=1)


@pytest.fixture
def gateway(store: FakeStore) -> GatewayInMemory:
    found = node(store)
    found.budget = WatchedBudget(64 * MIB, found.clock.seconds)
    return found


def most_bytes(gateway: GatewayInMemory) -> int:
    assert isinstance(gateway.budget, WatchedBudget)
    return gateway.budget.most_bytes


def test_a_record_counts_while_it_is_read_and_its_parts_do_not_stay(
    gateway: GatewayInMemory, store: FakeStore
) -> None:
    needed_bytes = plant(store, MAX_PARTS)
    found = result_of(gateway.tree().stat(b"/file"))
    assert found.size_bytes == MAX_PARTS * 5 * MIB
    assert most_bytes(gateway) == needed_bytes > 4 * MIB
    assert gateway.budget.held_bytes == 0


def test_records_that_are_asked_for_at_once_wait_for_memory(
    gateway: GatewayInMemory, store: FakeStore
) -> None:
    needed_bytes = plant(store, 1000)
    budget = gateway.budget
    budget.charge(2 * budget.limit_bytes)
    found: list[FileAttributes] = []
    tree = gateway.tree()
    for _ in range(100):
        Deferred.fromCoroutine(tree.stat(b"/file")).addCallback(found.append)
    assert (len(found), budget.waiting) == (0, 100)
    assert budget.held_bytes == 2 * budget.limit_bytes
    budget.release(budget.limit_bytes + needed_bytes)
    assert (len(found), budget.waiting) == (100, 0)
    assert budget.held_bytes == budget.limit_bytes - needed_bytes


def test_a_record_for_which_there_is_no_memory_is_refused(
    gateway: GatewayInMemory, store: FakeStore
) -> None:
    plant(store, 1000)
    gateway.budget.charge(2 * gateway.budget.limit_bytes)
    asked = Deferred.fromCoroutine(gateway.tree().stat(b"/file"))
    gateway.clock.advance(WAIT_SECONDS)
    assert isinstance(failure_of(asked).value, LimitReached)
    assert gateway.budget.held_bytes == 2 * gateway.budget.limit_bytes


def test_a_listing_reads_no_records_without_memory(
    gateway: GatewayInMemory, store: FakeStore
) -> None:
    """One after the other, so that 16 large ones are not here at once."""
    needed_bytes = plant(store, 2000)
    result_of(gateway.tree().open_directory(b"/"))
    assert most_bytes(gateway) < needed_bytes + 2 * MIB


def test_the_list_of_parts_counts_until_the_file_is_closed(gateway: GatewayInMemory) -> None:
    parts = 5 * LISTED_PARTS
    upload = opened(gateway.tree())
    write(upload, content(parts * PART + 4))
    assert gateway.budget.held_bytes >= parts * LISTED_PART_BYTES
    result_of(upload.commit())
    assert gateway.budget.held_bytes == 0


def test_the_list_of_a_resumed_upload_counts_from_the_start(
    gateway: GatewayInMemory, store: FakeStore
) -> None:
    parts = 3 * LISTED_PARTS
    cut(gateway, content(parts * PART + 4))
    assert bytes_suspended(gateway) >= parts * PART
    upload = opened(gateway.tree(), ON)
    assert gateway.budget.held_bytes == parts * LISTED_PART_BYTES
    result_of(upload.abandon())
    assert gateway.budget.held_bytes == 0
