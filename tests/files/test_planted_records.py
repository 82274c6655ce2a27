"""Records that no gateway has written: another writer of the bucket has put them there."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from sftpgw.errors import NoSuchFile
from sftpgw.files.housekeeping.sweeper import PREFIX_SECONDS, Sweeper, Target
from sftpgw.files.renames import journal
from sftpgw.files.renames.plan import LEASE_SECONDS, Intent, intent_text, parse_intent, parse_page
from sftpgw.files.renames.recovery import FIRST_SECONDS
from sftpgw.files.transfers.registry import TransferRegistry
from sftpgw.files.uploads.suspended.expiry import SuspendedExpiry
from sftpgw.files.uploads.suspended.plan import parse_record, record_name
from sftpgw.files.uploads.suspended.storage import SHOWN_BYTES, shown_large
from sftpgw.model import records
from sftpgw.model.settings import FilesSettings, OnDisconnect
from sftpgw.model.store import BodySink, ByteRange, ObjectInfo, ObjectName, ObjectProperties
from sftpgw.model.units import GIB, MIB
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_sessions import GatewayInMemory
from sftpgw.testing.ssh_pairs import RecordedEvents
from tests.files.worlds import finisher
from tests.results import result_of

DAY = 86400.0
NOW = 1_700_000_000.0
NESTED = b"[" * 100_000
HALF_A_CHARACTER = "\\ud800"
RECORD: dict[str, Any] = {
    "version": 1,
    "user": "alice",
    "key": "home/alice/file",
    "upload_id": "upload",
    "checksum": None,
    "began_seconds": 1,
    "created_with": None,
    "parts": [[1, "etag", None]],
}


def record(**changes: Any) -> bytes:
    return json.dumps(RECORD | changes).encode()


def planted(key: str, *, named_after: str = "", **changes: Any) -> tuple[bytes, str]:
    """The text and the key of a record of alice's.

    :param key: the file that the text is about.
    :param named_after: the file that the record's key is made of; that one by default.
    """
    name = ObjectName("bucket", named_after or key)
    text = record(user="alice", key=key, **changes)
    return text, record_name(".sftpgw/", "alice", name).key


@pytest.mark.parametrize("parse", [parse_intent, parse_record, lambda text, _: parse_page(text)])
@pytest.mark.parametrize(
    "text",
    [
        NESTED,
        b'{"a":' * 100_000,
        b"[" + b"[]," * MIB + b"[]]",
        json.dumps({"version": 1, "source": "a\ud800/", "target": "b/"}).encode(),
        json.dumps({"objects": [["a\ud800", "etag", None]]}).encode(),
        record(upload_id="\ud800"),
        record(parts=[[1, "\ud800", None]]),
    ],
)
def test_a_text_that_is_no_record_is_a_value_error(parse: Any, text: bytes) -> None:
    """Any other exception would end the work on all other records as well."""
    with pytest.raises(ValueError, match=r"."):
        parse(text, "bucket")


def test_no_text_takes_longer_than_the_largest_record() -> None:
    largest = record(parts=[[5 * MIB, "e" * 34, "crc64nvme:0123456789abcdef"]] * 10_000)
    began = time.thread_time()
    parse_record(largest, "bucket")
    limit_seconds = 3 * (time.thread_time() - began) + 0.02
    for item in (b"[],", b"1e9,", b"{},", b'[1,"e",null],'):
        text = b'{"parts":[' + item * (4 * MIB // len(item) - 100) + b"1]}"
        began = time.thread_time()
        with pytest.raises(ValueError, match="too many values"):
            records.loaded(text)
        assert time.thread_time() - began < limit_seconds, item


def interrupted(*, more: dict[str, bytes]) -> GatewayInMemory:
    """A bucket with an interrupted rename of alice's, and whatever else is planted there."""
    gateway = GatewayInMemory(FakeStore(min_part_bytes=1))
    intent = Intent("bucket", "home/alice/d/", "home/alice/n/")
    objects = {"zz/intent": intent_text(intent), "zz/outcome": b"moved"}
    for key, data in (objects | more).items():
        gateway.store.seed(f".sftpgw/renames/{key}", data)
    gateway.clock.advance(gateway.store.now_seconds - gateway.clock.seconds() + LEASE_SECONDS + 1)
    return gateway


def is_finished(gateway: GatewayInMemory) -> bool:
    return ObjectName("bucket", ".sftpgw/renames/zz/intent") not in gateway.store.objects


@pytest.mark.parametrize("planted", ["intent", "page-00001"])
def test_a_planted_intent_or_page_does_not_stop_the_recovery_of_other_renames(planted: str) -> None:
    first = intent_text(Intent("bucket", "home/bob/d/", "home/bob/n/"))
    gateway = interrupted(
        more={"aa/intent": first, "aa/outcome": b"moved"} | {f"aa/{planted}": NESTED}
    )
    result_of(finisher(gateway).look())
    assert is_finished(gateway)
    assert [facts["prefix"] for facts in gateway.events.facts("finish-failed")] == [
        ".sftpgw/renames/aa/"
    ]


def test_journals_are_gone_through_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million planted keys took a gigabyte, and seconds of one iteration, every five minutes."""
    at_once = []
    find = journal.find_journals  # type: ignore[attr-defined]

    def counting(state_prefix: str, objects: Any) -> Any:
        at_once.append(len(tuple(objects)))
        return find(state_prefix, objects)

    monkeypatch.setattr(journal, "find_journals", counting)
    gateway = interrupted(more={f"{number:05}/junk": b"" for number in range(5000)})
    result_of(finisher(gateway).look())
    assert max(at_once) <= 1000
    assert is_finished(gateway)


def test_a_journal_of_many_pages_of_a_list_is_settled_as_a_whole() -> None:
    pages = {f"zz/page-{number:05}": b'{"objects": []}' for number in range(1, 1500)}
    gateway = interrupted(more=pages)
    result_of(finisher(gateway).look())
    assert not [key for key in gateway.store.keys() if key.startswith(".sftpgw/renames/")]  # noqa: SIM118


def test_a_journal_has_a_bounded_number_of_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MAX_JOURNAL_OBJECTS", 2000)
    planted = {f"aa/page-{number:05}": b"" for number in range(5000)}
    gateway = interrupted(more={"aa/intent": NESTED} | planted)
    result_of(finisher(gateway).look())
    assert is_finished(gateway)
    (facts,) = gateway.events.facts("finish-failed")
    assert "too many objects" in str(facts["reason"])


@pytest.mark.parametrize(
    "text", [record(upload_id="\ud800"), record(key="\ud800"), NESTED], ids=["id", "key", "nested"]
)
def test_a_planted_record_does_not_stop_the_sweeper(text: bytes) -> None:
    store, clock, events = FakeStore(("bucket",)), Clock(), RecordedEvents()
    clock.advance(NOW)
    store.now_seconds = NOW - 30 * DAY
    store.seed(".sftpgw/partials/aa/aa", text)
    store.seed(".sftpgw/pieces/old", b"x")
    expiry = SuspendedExpiry(store, lambda bucket: ".sftpgw/", 7 * DAY, clock, events)
    sweeper = Sweeper(
        (Target("bucket", ".sftpgw/pieces/", 7 * DAY, has_objects=True),),
        store=store,
        transfers=TransferRegistry(),
        clock=clock,
        events=events,
        random=lambda: 0.5,
        expire=expiry.expire,
    )
    result_of(sweeper.sweep())
    assert list(store.keys()) == []


class _OneHugeRecord(FakeStore):
    """A store with an object of a gigabyte, which counts how much of it is asked for."""

    sent_bytes = 0

    async def get(
        self,
        name: ObjectName,
        wanted: ByteRange | None,
        sink: BodySink,
        if_match: str | None = None,
    ) -> None:
        sink.began(ObjectInfo(name, GIB, '"huge"', 1.0))
        for _ in range(GIB // MIB):
            sink.received(bytes(MIB))
            self.sent_bytes += MIB


def test_an_object_that_is_too_large_for_a_record_is_not_read_to_its_end() -> None:
    store = _OneHugeRecord(("bucket",))
    store.seed(".sftpgw/partials/aa/aa", b"")
    expiry = SuspendedExpiry(store, lambda bucket: ".sftpgw/", 7 * DAY, Clock(), RecordedEvents())
    result_of(expiry.expire("bucket"))
    assert store.sent_bytes <= 4 * MIB


def test_records_are_read_once_however_many_pages_of_uploads_there_are() -> None:
    """Each page of stale uploads read all records again: a million GETs for 10,000 records."""
    store, clock = FakeStore(("bucket",)), Clock()
    clock.advance(NOW)
    store.now_seconds = NOW - DAY
    for number in range(50):
        text, name = planted(f"home/alice/{number}", upload_id=f"upload-{number}")
        store.seed(name, text if number % 2 else b"junk")
    expiry = SuspendedExpiry(store, lambda bucket: ".sftpgw/", 7 * DAY, clock, RecordedEvents())
    first = result_of(expiry.expire("bucket"))
    assert len(first) == 25
    for _ in range(20):
        assert result_of(expiry.expire("bucket")) == first
    assert store.requests["get"] == 50
    text, name = planted("home/alice/0", upload_id="new")
    store.seed(name, text)
    assert len(result_of(expiry.expire("bucket"))) == 26
    clock.advance(8 * DAY)
    assert result_of(expiry.expire("bucket")) == frozenset()


def test_a_record_that_is_about_another_file_than_its_name_says_counts_as_none() -> None:
    """Its file was shown where it is not, and the expiry aborted an upload of another user."""
    store = FakeStore(("bucket",), min_part_bytes=1)
    gateway = GatewayInMemory(store, files=FilesSettings(on_disconnect=OnDisconnect.RESUME))
    others = ObjectName("bucket", "home/bob/a")
    upload = result_of(store.create_upload(others, ObjectProperties()))
    store.now_seconds = NOW - 30 * DAY
    text, name = planted(others.key, named_after="home/alice/a", upload_id=upload.upload_id)
    store.seed(name, text)
    tree = gateway.tree()
    assert gateway.log_in().listdir(b"/") == []
    with pytest.raises(NoSuchFile):
        result_of(tree.stat(b"/a"))
    clock, events = Clock(), RecordedEvents()
    clock.advance(NOW)
    expiry = SuspendedExpiry(store, lambda bucket: ".sftpgw/", 7 * DAY, clock, events)
    assert result_of(expiry.expire("bucket")) == frozenset()
    assert store.uploads.keys() == {upload.upload_id}
    assert store.keys() == []
    assert "name of another" in str(events.facts("partial-unreadable"))


def test_a_listing_reads_a_bounded_number_of_bytes_of_records() -> None:
    """A thousand planted records of 4 MiB were read for each OPENDIR, 16 at the same time."""

    def listed(size_bytes: int) -> ObjectInfo:
        return ObjectInfo(ObjectName("bucket", "record"), size_bytes, '"etag"', NOW)

    shown = list(shown_large([listed(size) for size in (100, 4 * MIB, 5 * GIB) * 1000]))
    assert {each.size_bytes for each in shown} == {4 * MIB}
    assert sum(each.size_bytes for each in shown) <= SHOWN_BYTES


class _SilentBucket(FakeStore):
    """A store that never answers about one bucket."""

    async def _enter(self, operation: str, bucket: str) -> None:
        if bucket == "bucket":
            await Deferred()
        await super()._enter(operation, bucket)


def test_a_bucket_that_never_answers_does_not_stop_the_sweep_of_another_one() -> None:
    store, clock, events = _SilentBucket(("bucket", "other")), Clock(), RecordedEvents()
    clock.advance(NOW)
    store.now_seconds = NOW - 30 * DAY
    store.seed(".sftpgw/pieces/old", b"x", bucket="other")
    expiry = SuspendedExpiry(store, lambda bucket: ".sftpgw/", 7 * DAY, clock, events)
    targets = [
        Target(bucket, ".sftpgw/pieces/", 7 * DAY, has_objects=True)
        for bucket in ("bucket", "other")
    ]
    sweeper = Sweeper(
        tuple(targets),
        store=store,
        transfers=TransferRegistry(),
        clock=clock,
        events=events,
        random=lambda: 0.5,
        expire=expiry.expire,
    )
    sweep = Deferred.fromCoroutine(sweeper.sweep())
    for _ in range(3):
        clock.advance(PREFIX_SECONDS)
    result_of(sweep)
    assert not store.objects
    assert [facts["bucket"] for facts in events.facts("sweep-failed")] == ["bucket", "bucket"]


def test_a_bucket_that_never_answers_does_not_stop_the_recovery_in_another_one() -> None:
    gateway = GatewayInMemory(_SilentBucket(("bucket", "other"), min_part_bytes=1))
    intent = Intent("other", "home/alice/d/", "home/alice/n/")
    gateway.store.seed(".sftpgw/renames/zz/intent", intent_text(intent), bucket="other")
    gateway.store.seed(".sftpgw/renames/zz/outcome", b"moved", bucket="other")
    gateway.clock.advance(gateway.store.now_seconds - gateway.clock.seconds() + LEASE_SECONDS + 1)
    recovery = finisher(gateway, ("bucket", "other"))
    recovery.start()
    gateway.clock.advance(FIRST_SECONDS)
    recovery.stop()
    assert not gateway.store.objects
