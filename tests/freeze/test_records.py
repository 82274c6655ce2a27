"""What the gateway writes for itself into a bucket, against ``records.txt``.

The gateway itself is driven, on a store that remembers what was written below the state prefix:
key, properties and body, byte for byte. What is committed there, and what older versions have
written (``record_texts.txt``), is then read back.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from sftpgw.files.housekeeping.sweeper import targets_of
from sftpgw.files.renames.plan import (
    Entry,
    Intent,
    Outcome,
    find_journals,
    intent_text,
    page_text,
    parse_intent,
    parse_page,
)
from sftpgw.files.uploads.suspended.plan import (
    SuspendedUpload,
    parse_record,
    record_name,
    record_text,
)
from sftpgw.files.uploads.upload import Upload
from sftpgw.model.filesystem import NO_CHANGES, AttributeChanges, WriteIntent
from sftpgw.model.settings import FilesSettings, OnDisconnect, StoreSettings
from sftpgw.model.store import (
    Checksum,
    ChecksumAlgorithm,
    MultipartUpload,
    ObjectInfo,
    ObjectName,
    ObjectProperties,
    StoredPart,
    WriteCondition,
)
from sftpgw.model.units import KIB, Body
from sftpgw.model.users import QuotaLimits, UserLimits
from sftpgw.s3.probe import probe_capabilities
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_sessions import ALICE, GatewayInMemory
from tests.files.uploads.test_upload import IN_PIECES, PART, Process, write_all
from tests.files.worlds import finisher
from tests.freeze.tables import DELIBERATE, FOLDER
from tests.results import result_of

STATE = ".sftpgw/"
PART_BYTES = 64 * KIB
FILES = {"d/": b"", "d/a": b"a", "d/e/ä b": b"b"}
RANDOM_ID = re.compile(
    r"""(?<=renames/)[0-9a-f]{24}(?=-)|(?<=nodes/)[0-9a-f]{16}|(?<="generation":[ ]")[0-9a-f]{16}"""
)
ON = WriteIntent(truncate=False)


class RememberingStore(FakeStore):
    """A store that remembers, in order, all that was written below the state prefix."""

    def __init__(self, **options: Any) -> None:
        super().__init__(min_part_bytes=1, **options)
        self.written: list[str] = []

    async def put(
        self,
        name: ObjectName,
        body: Body,
        properties: ObjectProperties,
        condition: WriteCondition = WriteCondition.NONE,
        **options: Any,
    ) -> str:
        etag = await super().put(name, body, properties, condition, **options)
        data = b"".join(body)
        text = data.decode() if len(data) < KIB else f"({len(data)} bytes)"
        self._remember("object", name, properties, text)
        return etag

    async def create_upload(
        self, name: ObjectName, properties: ObjectProperties, *, copies: bool = False
    ) -> MultipartUpload:
        upload = await super().create_upload(name, properties, copies=copies)
        self._remember("upload", name, properties, "")
        return upload

    def _remember(
        self, kind: str, name: ObjectName, properties: ObjectProperties, text: str
    ) -> None:
        if name.key.startswith(STATE):
            key, text = RANDOM_ID.sub("RANDOM", name.key), RANDOM_ID.sub("RANDOM", text)
            about = " ".join(filter(None, (properties.content_type, properties.storage_class)))
            block = f"{kind} {key}\n    {about or '-'}\n    {text or '-'}"
            if block not in self.written:
                self.written.append(block)


def resuming(store: FakeStore) -> GatewayInMemory:
    return GatewayInMemory(
        store,
        settings=StoreSettings(bucket="bucket", part_size_bytes=PART_BYTES, upload_concurrency=4),
        files=FilesSettings(on_disconnect=OnDisconnect.RESUME),
    )


def cut_off(gateway: GatewayInMemory, **attributes: Any) -> None:
    """An upload whose client is lost behind two parts."""
    changes = AttributeChanges(**attributes) if attributes else NO_CHANGES
    upload = result_of(gateway.tree().open_writer(b"/in/file", WriteIntent(), changes))
    for number in range(5):
        upload.write(number * PART_BYTES // 2, bytes([number]) * (PART_BYTES // 2))
    result_of(upload.abandon())


def suspended_upload() -> list[str]:
    """Cut off, and gone on with on another gateway."""
    store = RememberingStore()
    cut_off(resuming(store), modified_seconds=1_234_567_890)
    upload: Upload = result_of(resuming(store).tree().open_writer(b"/in/file", ON, NO_CHANGES))
    upload.write(2 * PART_BYTES, b"the rest")
    result_of(upload.commit())
    return store.written


def renamed_directory() -> list[str]:
    gateway = renaming()
    result_of(gateway.tree().rename(b"/d", b"/n", replace=False))
    return gateway.store.written  # type: ignore[attr-defined,no-any-return]


def abandoned_rename() -> list[str]:
    """Left alone before its outcome, and given up by another gateway: its tombstone stays."""
    gateway = renaming()
    gate = gateway.store.hold("copy")
    slow = Deferred.fromCoroutine(gateway.tree().rename(b"/d", b"/n", replace=False))
    other = GatewayInMemory(gateway.store)
    other.clock.advance(10_000)
    result_of(finisher(other).look())
    left = [key for key in gateway.store.keys() if key.startswith(STATE)]  # noqa: SIM118
    gate.open()
    slow.addErrback(lambda failure: None)
    store: Any = gateway.store
    return [*store.written, "left: " + " ".join(RANDOM_ID.sub("RANDOM", key) for key in left)]


def counted_quota() -> list[str]:
    """A place is counted; then a file is stored there, which others are told."""
    gateway = GatewayInMemory(RememberingStore())
    gateway.store.seed("home/alice/ä", b"four")
    user = replace(ALICE, limits=UserLimits(quotas=(QuotaLimits(max_bytes=1000),)))
    upload = result_of(gateway.tree(user).open_writer(b"/file", WriteIntent(), NO_CHANGES))
    upload.write(0, b"bytes")
    result_of(upload.commit())
    for _ in range(10):
        gateway.clock.advance(5)
    store: Any = gateway.store
    return [block for block in store.written if "quotas/" in block]


def renaming() -> GatewayInMemory:
    gateway = GatewayInMemory(RememberingStore())
    for key, data in FILES.items():
        gateway.store.seed(f"home/alice/{key}", data)
    return gateway


def staged_parts() -> list[str]:
    """The hidden uploads that a very large file is made of."""
    process = Process()
    process.store = RememberingStore()
    upload = process.upload(layout=IN_PIECES)
    write_all(upload, b"x" * (6 * PART))
    result_of(upload.abandon())
    return process.store.written


def probe() -> list[str]:
    store = RememberingStore()
    result_of(probe_capabilities(store, "bucket", STATE, "TOKEN"))
    return store.written


def swept() -> list[str]:
    settings = StoreSettings(bucket="bucket")
    return [
        f"{'objects and ' * each.has_objects}uploads {each.prefix}, {each.stale_seconds:.0f} s"
        for each in targets_of(lambda bucket: settings, (ALICE,))
    ]


SCENES: dict[str, Callable[[], list[str]]] = {
    scene.__name__: scene
    for scene in (
        suspended_upload,
        renamed_directory,
        abandoned_rename,
        staged_parts,
        probe,
        swept,
        counted_quota,
    )
}


def committed(file: str) -> dict[str, str]:
    """The sections of a table by name, as they stand there."""
    text = (FOLDER / file).read_text(encoding="utf-8")
    _, *sections = re.split(r"^== (\w+)\n", text, flags=re.MULTILINE)
    return {
        name: body.strip("\n") for name, body in zip(sections[::2], sections[1::2], strict=True)
    }


RECORDS = committed("records.txt")
TEXTS = committed("record_texts.txt")


@pytest.mark.parametrize("name", SCENES)
def test_what_is_written_is_what_the_table_says(name: str) -> None:
    found = "\n".join(SCENES[name]())
    assert found == RECORDS[name], DELIBERATE.format(table="tests/freeze/records.txt")


def test_the_table_has_no_other_records() -> None:
    assert RECORDS.keys() == SCENES.keys()


def body_of(section: str, ending: str) -> bytes:
    """The body of an object of the table, by the end of its key."""
    (found,) = re.findall(rf"^object \S*{ending}\n    .*\n    (.*)$", section, re.MULTILINE)
    return str(found).encode()


PARTIAL = SuspendedUpload(
    "ali\xe9ce",
    MultipartUpload(
        ObjectName("bucket", "home/ä b/\U0001f600"), "id/+=", ChecksumAlgorithm.CRC64NVME
    ),
    (
        StoredPart(1, 8_388_608, '"e1"', Checksum(ChecksumAlgorithm.CRC64NVME, 2**64 - 1)),
        StoredPart(2, 1, '"e2"', Checksum(ChecksumAlgorithm.CRC32C, 0)),
        StoredPart(3, 5_368_709_120, '"e3"'),
    ),
    1_700_000_000.25,
    1_234_567_890.0,
)
INTENT = Intent("bucket", "home/ä b/", "home/n/", over_marker=True)
ENTRIES = (Entry("", '"e0"', 1_700_000_000.0), Entry("é/\U0001f600", '"e1"'))


@pytest.mark.parametrize(
    ("name", "text", "parse", "value"),
    [
        ("suspended_upload", record_text(PARTIAL), parse_record, PARTIAL),
        ("intent", intent_text(INTENT), parse_intent, INTENT),
        ("page", page_text(ENTRIES), lambda text, bucket: parse_page(text), ENTRIES),
    ],
)
def test_fixed_values_have_fixed_texts(
    name: str, text: bytes, parse: Callable[[bytes, str], object], value: object
) -> None:
    frozen = TEXTS[f"current_{name}"]
    assert text.decode() == frozen, DELIBERATE.format(table="tests/freeze/record_texts.txt")
    found = parse(frozen.encode(), "bucket")
    assert found == value
    if isinstance(found, SuspendedUpload):
        assert found.upload.checksum is PARTIAL.upload.checksum  # which == does not compare


def test_older_records_are_read() -> None:
    """A gateway that is updated meets what the one before has left."""
    intent = parse_intent(TEXTS["intent_without_marker"].encode(), "bucket")
    assert intent == Intent("bucket", "home/d/", "home/n/")
    entries = parse_page(TEXTS["page_without_dates"].encode())
    assert entries == (Entry("", '"e0"'), Entry("a", '"e1"'))
    assert parse_page(TEXTS["page_with_whole_dates"].encode()) == (
        Entry("a", '"e1"', 1_700_000_000),
    )
    partial = parse_record(TEXTS["upload_without_sums"].encode(), "bucket")
    assert partial.parts == (StoredPart(1, 5_242_880, '"e1"'),)
    assert (partial.upload.checksum, partial.created_with) == (None, None)
    assert partial.began_seconds == 1_700_000_000


def test_what_other_gateways_have_written_is_found() -> None:
    """By its key: in the table, and not made of today's names."""
    keys = re.findall(r"^object (\S*)$", RECORDS["suspended_upload"], re.MULTILINE)
    assert keys[0] == record_name(STATE, "alice", ObjectName("bucket", "home/alice/in/file")).key
    objects = [
        ObjectInfo(ObjectName("bucket", f"{STATE}renames/ID/{name}"), 1, "e", 7.0)
        for name in ("intent", "page-00000", "page-00001", "outcome", "claim-6.000")
    ]
    (found,) = find_journals(STATE, objects)
    assert found.has_intent
    assert found.pages == (0, 1)
    assert found.claim_keys == (f"{STATE}renames/ID/claim-6.000",)
    assert found.claim_key == f"{STATE}renames/ID/claim-7.000"
    assert {outcome.value for outcome in Outcome} == {"moved", "abandoned"}


def test_a_cut_off_upload_of_the_table_goes_on() -> None:
    """The committed record itself, in a bucket with the upload that it is about."""
    store = FakeStore(min_part_bytes=1)
    gateway = resuming(store)
    cut_off(gateway, modified_seconds=1_234_567_890)
    (record,) = store.keys()
    assert store.content(record) == body_of(RECORDS["suspended_upload"], record)
    upload = result_of(gateway.tree().open_writer(b"/in/file", ON, NO_CHANGES))
    upload.write(2 * PART_BYTES, b"the rest")
    result_of(upload.commit())
    assert store.keys() == ["home/alice/in/file"]
    assert store.requests["create_upload"] == 1


def test_what_is_written_beside_the_bytes_of_users() -> None:
    """Times and directories, as rclone, s3fs and S3's console know them, too."""
    gateway = GatewayInMemory()
    tree = gateway.tree()
    changes = AttributeChanges(modified_seconds=1_234_567_890)
    upload = result_of(tree.open_writer(b"/file", WriteIntent(), changes))
    upload.write(0, b"bytes")
    result_of(upload.commit())
    result_of(tree.make_directory(b"/folder"))
    stored = gateway.store.objects
    assert {name.key for name in stored} == {"home/alice/file", "home/alice/folder/"}
    file = stored[ObjectName("bucket", "home/alice/file")].properties
    assert file == ObjectProperties(metadata={"mtime": "1234567890"})
    marker = stored[ObjectName("bucket", "home/alice/folder/")]
    assert (marker.data, marker.properties.content_type) == (b"", "application/x-directory")
    gateway.store.seed("home/alice/other", b"x", mtime="1234567890.123456789")
    assert int(result_of(tree.stat(b"/other")).modified_seconds or 0) == 1_234_567_890
