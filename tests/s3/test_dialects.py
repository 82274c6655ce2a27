"""What stores answer differently from AWS, and what the client makes of it.

Each dialect was met on a real store, which its description in `small_s3.Dialect` names.
"""

from __future__ import annotations

from collections import Counter
from urllib.parse import urlsplit

import pytest
import pytest_twisted
from awscrt import checksums

from sftpgw.errors import (
    AccessDenied,
    NameInTheWay,
    NameNotKept,
    NoSuchObject,
    NoSuchUpload,
    NotImplementedByStore,
    PreconditionFailed,
    StoreError,
)
from sftpgw.files.copies.copier import Copier
from sftpgw.files.transfers.registry import TransferRegistry
from sftpgw.model.settings import ChecksumChoice, Probe
from sftpgw.model.store import (
    ByteRange,
    Capabilities,
    MultipartUpload,
    ObjectName,
    ObjectProperties,
    WriteCondition,
)
from sftpgw.model.units import MIB
from sftpgw.s3.probe import probe_capabilities
from sftpgw.s3.s3_client import S3Client
from sftpgw.testing.scripted_s3 import RecordedRequest, ScriptedResponse, ScriptedS3, scripted_error
from sftpgw.testing.small_s3 import Dialect, SmallS3
from tests.scripted_server import Connect
from tests.stores import CollectingSink, RecordedEvents

PROPERTIES = ObjectProperties()
NAME = ObjectName("bucket", "file")


def named(key: str) -> ObjectName:
    return ObjectName("bucket", key)


@pytest.fixture
def store(server: ScriptedS3) -> SmallS3:
    store = SmallS3(min_part_bytes=4)
    server.respond_with(store.respond)
    return store


@pytest.fixture
def client(connected: Connect, store: SmallS3) -> S3Client:
    return connected(checksum=ChecksumChoice.NONE)


async def copied(client: S3Client, store: SmallS3, data: bytes = b"0123456789") -> str:
    """A file made of two copied ranges of another; returns its ETag."""
    store.objects["source"] = data
    source = await client.head(named("source"))
    upload = await client.create_upload(NAME, PROPERTIES)
    parts = [
        await client.copy_part(upload, number, source, wanted)
        for number, wanted in enumerate([ByteRange(0, 4), ByteRange(4, len(data))], 1)
    ]
    return await client.complete_upload(upload, tuple(parts))


def methods(server: ScriptedS3) -> Counter[str]:
    return Counter(request.method for request in server.requests)


class TestResultsOfCopies:
    @pytest.mark.parametrize(
        "dialect", [Dialect(copied_part="CopyObjectResult"), Dialect(copied_etag="bare")]
    )
    @pytest_twisted.ensureDeferred
    async def test_a_part_is_copied_by_one_request(
        self, server: ScriptedS3, store: SmallS3, client: S3Client, dialect: Dialect
    ) -> None:
        store.dialect = dialect
        await copied(client, store)
        assert store.objects["file"] == b"0123456789"
        assert methods(server) == {"HEAD": 1, "POST": 2, "PUT": 2}

    @pytest.mark.parametrize("manner", ["quoted", "bare", "missing"])
    @pytest_twisted.ensureDeferred
    async def test_an_object_has_one_etag_in_every_response(
        self, store: SmallS3, client: S3Client, manner: str
    ) -> None:
        store.dialect = Dialect(copied_etag=manner)
        store.objects["source"] = b"source"
        source = await client.head(named("source"))
        assert await client.copy(source, NAME) == source.etag == (await client.head(NAME)).etag

    @pytest_twisted.ensureDeferred
    async def test_complete_without_an_etag_is_not_asked_for_again(
        self, server: ScriptedS3, store: SmallS3, client: S3Client
    ) -> None:
        store.dialect = Dialect(complete_etag="missing")
        etag = await copied(client, store)
        assert methods(server) == {"HEAD": 2, "POST": 2, "PUT": 2}
        assert etag == (await client.head(NAME)).etag

    @pytest_twisted.ensureDeferred
    async def test_the_etag_is_computed_where_it_cannot_be_asked_for(
        self, server: ScriptedS3, store: SmallS3, client: S3Client
    ) -> None:
        store.dialect = Dialect(complete_etag="missing")

        def is_look(request: RecordedRequest) -> bool:
            return request.method == "HEAD" and request.target == "/bucket/file"

        server.disturb(is_look, scripted_error(403, "AccessDenied"))
        etag = await copied(client, store)
        assert etag == (await client.head(NAME)).etag


class TestLists:
    @pytest_twisted.ensureDeferred
    async def test_a_size_that_is_not_told_is_asked_for(
        self, store: SmallS3, client: S3Client
    ) -> None:
        store.dialect = Dialect(sizes=False)
        store.objects = {"a": b"1", "b": b"22"}
        page = await client.list("bucket", "")
        assert [info.size_bytes for info in page.objects] == [1, 2]

    @pytest.mark.parametrize(
        ("refusal", "left"),
        [
            (scripted_error(404, "NoSuchKey"), [("b", 2)]),
            (ScriptedResponse(403), [("a", 0), ("b", 2)]),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_a_size_that_cannot_be_asked_for_spoils_no_list(
        self,
        server: ScriptedS3,
        store: SmallS3,
        client: S3Client,
        refusal: ScriptedResponse,
        left: list[tuple[str, int]],
    ) -> None:
        store.dialect = Dialect(sizes=False)
        store.objects = {"a": b"1", "b": b"22"}
        server.disturb(lambda request: request.method == "HEAD", refusal)
        page = await client.list("bucket", "")
        assert [(info.name.key, info.size_bytes) for info in page.objects] == left

    @pytest.mark.parametrize("key", ["n" * 256, "d/" + "ä" * 128 + "/f"])
    @pytest_twisted.ensureDeferred
    async def test_a_name_that_the_store_cannot_have_is_missing(
        self, store: SmallS3, client: S3Client, key: str
    ) -> None:
        """MinIO and versitygw refuse to look for names of over 255 bytes."""
        store.dialect = Dialect(max_name_bytes=255)
        with pytest.raises(NoSuchObject):
            await client.head(named(key))
        with pytest.raises(NoSuchObject):
            await client.get(named(key), ByteRange(0, 10), CollectingSink())

    @pytest.mark.parametrize("key", ["n" * 255, "f"])
    @pytest_twisted.ensureDeferred
    async def test_another_refusal_of_a_head_stays_a_refusal(
        self, server: ScriptedS3, client: S3Client, key: str
    ) -> None:
        server.disturb(lambda request: request.method == "HEAD", ScriptedResponse(400))
        with pytest.raises(StoreError) as caught:
            await client.head(named(key))
        assert not isinstance(caught.value, NoSuchObject)

    @pytest.mark.parametrize("upload_keys", ["told", "untold", "plain"])
    @pytest.mark.parametrize("key", ["a b", "a%20b", "a+b", "ab"])
    @pytest_twisted.ensureDeferred
    async def test_uploads_have_the_keys_that_they_were_given(
        self, server: ScriptedS3, store: SmallS3, client: S3Client, upload_keys: str, key: str
    ) -> None:
        store.dialect = Dialect(upload_keys=upload_keys)
        upload = await client.create_upload(named(key), PROPERTIES)
        page = await client.list_uploads("bucket", "")
        assert page.uploads == (MultipartUpload(named(key), upload.upload_id),)
        await client.abort_upload(page.uploads[0])
        assert store.uploads == {}
        asked = [urlsplit(request.target).query for request in server.requests]
        assert sum("uploads" in query and "encoding" in query for query in asked) == 1


async def probed(client: S3Client, store: SmallS3) -> Capabilities:
    found = await probe_capabilities(client, "bucket", ".sftpgw/", "token")
    assert store.objects == {}
    return found


class TestProbing:
    @pytest.mark.parametrize(
        ("dialect", "expected"),
        [
            (Dialect(), Capabilities()),
            (Dialect(ranges_of_small=False), Capabilities()),
            (Dialect(copies_with_checksums="untold"), Capabilities()),
            (Dialect(copies_with_checksums="refused"), Capabilities(copied_checksums=False)),
            (Dialect(copies_with_checksums="whole"), Capabilities(copied_checksums=False)),
            (
                Dialect(copies_with_checksums="refused", ranges_of_small=False),
                Capabilities(copied_checksums=False),
            ),
            (
                Dialect(copies_with_checksums="whole", ranges_of_small=False),
                Capabilities(copied_checksums=False),
            ),
            (
                Dialect(copies_with_checksums="refused", checksums="refused"),
                Capabilities(checksums=False),
            ),
            (Dialect(copied_part="CopyObjectResult"), Capabilities()),
            (Dialect(copied_part="Other"), Capabilities(part_copy=False)),
            (Dialect(copied_etag="bare", complete_etag="missing"), Capabilities()),
            (Dialect(folds_backslashes=True), Capabilities(backslashes=False)),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_the_probe_finds_what_copies_and_checksums_exclude(
        self, store: SmallS3, connected: Connect, dialect: Dialect, expected: Capabilities
    ) -> None:
        store.dialect = dialect
        client = connected(checksum=ChecksumChoice.AUTO, max_attempts=1)
        store.min_part_bytes = 5 * MIB
        assert await probed(client, store) == expected


class TestCopiesInParts:
    """Like renames of more than 5 GiB."""

    @pytest.mark.parametrize("probe", Probe)
    @pytest.mark.parametrize("manner", ["right", "refused", "whole", "untold"])
    @pytest_twisted.ensureDeferred
    async def test_a_copy_is_as_good_as_the_original(
        self, store: SmallS3, connected: Connect, events: RecordedEvents, manner: str, probe: Probe
    ) -> None:
        store.dialect = Dialect(copies_with_checksums=manner)
        store.objects["source"] = data = bytes(range(10))
        client = connected(checksum=ChecksumChoice.AUTO, probe=probe)
        copying = Copier(client, TransferRegistry(), events, limit_bytes=5, part_bytes=4)
        source = await client.head(named("source"), with_checksum=True)
        etag = await copying.copy(source, NAME)
        found = await client.head(NAME, with_checksum=True)
        assert store.objects["file"] == data
        assert found.checksum == source.checksum
        assert found.etag == etag
        assert store.uploads == {}
        lacks_it = manner in ("refused", "whole") or (manner == "untold" and probe is Probe.NO)
        assert client.capabilities_of("bucket").copied_checksums is not lacks_it
        assert "copy-differed" not in events.names()

    @pytest_twisted.ensureDeferred
    async def test_no_file_takes_a_capability_from_its_bucket(
        self, store: SmallS3, connected: Connect
    ) -> None:
        """A user who knows CRCs makes a file whose first part has the checksum of the whole."""
        store.objects["source"] = data = same_sum(b"part")
        client = connected(checksum=ChecksumChoice.AUTO, probe=Probe.AUTO)
        await client.learn_capabilities("bucket")
        copying = Copier(client, TransferRegistry(), CollectingSink(), limit_bytes=5, part_bytes=4)
        source = await client.head(named("source"), with_checksum=True)
        await copying.copy(source, NAME)
        assert store.objects["file"] == data
        assert client.capabilities_of("bucket").copied_checksums


def same_sum(part: bytes) -> bytes:
    """`part` and eight more bytes, which together have its CRC64NVME: a CRC is linear."""

    def crc(tail: int) -> int:
        return int(checksums.crc64nvme(part + tail.to_bytes(8, "big")))

    wanted, basis = crc(0) ^ int(checksums.crc64nvme(part)), dict[int, tuple[int, int]]()
    for bit in range(64):
        tail = 1 << bit
        change, tail = reduced(crc(tail) ^ crc(0), tail, basis)
        basis[change.bit_length()] = change, tail
    rest, tail = reduced(wanted, 0, basis)
    assert rest == 0
    return part + tail.to_bytes(8, "big")


def reduced(change: int, tail: int, basis: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """A change of the CRC, and the tail that causes it, less those that are known."""
    for length in range(64, 0, -1):
        if change.bit_length() == length and length in basis:
            known, its_tail = basis[length]
            change, tail = change ^ known, tail ^ its_tail
    return change, tail


def is_inventory(request: RecordedRequest) -> bool:
    return "list-type" in request.target


class TestNames:
    @pytest_twisted.ensureDeferred
    async def test_a_backslash_is_refused_where_it_is_a_slash(
        self, server: ScriptedS3, store: SmallS3, connected: Connect
    ) -> None:
        """Else the one would be read, replaced or deleted in place of the other."""
        store.dialect = Dialect(folds_backslashes=True)
        client = connected(probe=Probe.AUTO)
        await client.put(named("a/b"), (b"slash",), PROPERTIES)
        name, upload = named("a\\b"), None
        source = await client.head(named("a/b"))
        for work in (
            client.put(name, (b"back",), PROPERTIES),
            client.copy(source, name),
            client.create_upload(name, PROPERTIES),
        ):
            with pytest.raises(NameNotKept):
                upload = await work
        for work in (client.head(name), client.get(name, None, CollectingSink())):
            with pytest.raises(NoSuchObject):
                await work
        await client.delete(name)
        assert (await client.list("bucket", "a\\")).objects == ()
        assert upload is None
        assert store.objects == {"a/b": b"slash"}

    @pytest_twisted.ensureDeferred
    async def test_a_backslash_is_one_elsewhere(self, store: SmallS3, connected: Connect) -> None:
        client = connected(probe=Probe.AUTO)
        await client.put(named("a\\b"), (b"back",), PROPERTIES)
        assert store.objects == {"a\\b": b"back"}

    @pytest_twisted.ensureDeferred
    async def test_a_file_over_a_folder_is_told_after_a_few_tries(
        self, server: ScriptedS3, store: SmallS3, client: S3Client, events: RecordedEvents
    ) -> None:
        store.dialect = Dialect(has_folders=True)
        store.objects["file/below"] = b"1"
        with pytest.raises(NameInTheWay):
            await client.put(NAME, (b"2",), PROPERTIES)
        with pytest.raises(NameInTheWay):
            await client.create_upload(NAME, PROPERTIES)
        with pytest.raises(NameInTheWay):
            await client.copy(await client.head(named("file/below")), NAME)
        assert store.objects == {"file/below": b"1"}
        assert methods(server)["PUT"] == methods(server)["POST"] * 2 == 8
        assert events.names().count("s3-request-failed") == 3

    @pytest.mark.parametrize("reply", [scripted_error(403, "AccessDenied"), ScriptedResponse(500)])
    @pytest_twisted.ensureDeferred
    async def test_a_defect_is_waited_for_where_nothing_explains_it(
        self, server: ScriptedS3, store: SmallS3, client: S3Client, reply: ScriptedResponse
    ) -> None:
        server.disturb(lambda r: r.method == "PUT", *[scripted_error(500, "InternalError")] * 9)
        server.disturb(is_inventory, *[reply] * 2)
        await client.put(NAME, (b"2",), PROPERTIES)
        assert store.objects == {"file": b"2"}


class TestComplete:
    @pytest.mark.parametrize("was_stored", [False, True])
    @pytest_twisted.ensureDeferred
    async def test_an_upload_that_is_gone_may_be_a_defect(
        self, server: ScriptedS3, store: SmallS3, client: S3Client, was_stored: bool
    ) -> None:
        """Ceph's response: 500, completion is already in progress."""
        upload = await client.create_upload(NAME, PROPERTIES)
        part = await client.upload_part(upload, 1, (b"data",))
        if was_stored:
            await client.complete_upload(upload, (part,))
        else:
            await client.abort_upload(upload)

        def answer(request: RecordedRequest) -> ScriptedResponse:
            reply = store.respond(request)
            is_complete = request.method == "POST" and reply.status == 404
            return scripted_error(500, "InternalError") if is_complete else reply

        server.respond_with(answer)
        before = len(server.requests)
        if was_stored:
            etag = await client.complete_upload(upload, (part,))
            assert etag == (await client.head(NAME)).etag
        else:
            with pytest.raises(NoSuchUpload):
                await client.complete_upload(upload, (part,))
        assert len(server.requests) - before <= 7


class TestMissing:
    """A 404 says that a file is missing, unless its code names another thing."""

    @pytest.mark.parametrize("code", ["NoSuchKey", "NotFound", "ObjectNotFound", ""])
    @pytest_twisted.ensureDeferred
    async def test_a_file(self, server: ScriptedS3, client: S3Client, code: str) -> None:
        server.script(scripted_error(404, code))
        with pytest.raises(NoSuchObject):
            await client.get(NAME, None, CollectingSink())

    @pytest.mark.parametrize("code", ["AccessKeyNotFound", "NoSuchAccount", "Gone"])
    @pytest_twisted.ensureDeferred
    async def test_something_else(self, server: ScriptedS3, client: S3Client, code: str) -> None:
        server.script(
            scripted_error(404, code), ScriptedResponse(404, headers={"X-Some-Error-Code": code})
        )
        for work in (client.get(NAME, None, CollectingSink()), client.head(NAME)):
            with pytest.raises(StoreError) as refused:
                await work
            assert type(refused.value) is StoreError
            assert refused.value.code == code

    @pytest_twisted.ensureDeferred
    async def test_head_has_a_code_in_its_headers_with_some_stores(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        server.script(ScriptedResponse(403, headers={"x-minio-error-code": "InvalidAccessKeyId"}))
        with pytest.raises(AccessDenied) as refused:
            await client.head(NAME)
        assert refused.value.code == "InvalidAccessKeyId"


class TestRefusalsAtRunTime:
    """Refusals that contradict the probe or the settings correct them, and no object is lost."""

    @pytest.fixture
    def client(self, store: SmallS3, connected: Connect) -> S3Client:
        store.dialect = Dialect(conditions="refused")
        store.objects = {"file": b"old", "source": b"source"}
        return connected(probe=Probe.NO)

    @pytest_twisted.ensureDeferred
    async def test_an_object_that_must_not_be_replaced_is_looked_for(
        self, store: SmallS3, client: S3Client
    ) -> None:
        absent = WriteCondition.IF_ABSENT
        with pytest.raises(PreconditionFailed):
            await client.put(NAME, (b"new",), PROPERTIES, absent)
        with pytest.raises(PreconditionFailed):
            await client.copy(await client.head(named("source")), NAME, absent)
        upload = await client.create_upload(NAME, PROPERTIES)
        part = await client.upload_part(upload, 1, (b"new",))
        with pytest.raises(PreconditionFailed):
            await client.complete_upload(upload, (part,), absent)
        assert store.objects["file"] == b"old"
        await client.abort_upload(upload)
        await client.put(named("free"), (b"new",), PROPERTIES, absent)
        assert store.objects["free"] == b"new"
        assert not client.capabilities_of("bucket").conditional_put

    @pytest_twisted.ensureDeferred
    async def test_an_object_of_another_version_is_spared(
        self, store: SmallS3, client: S3Client
    ) -> None:
        with pytest.raises(PreconditionFailed):
            await client.delete(NAME, if_match='"other"')
        assert store.objects["file"] == b"old"
        found = await client.head(NAME)
        copied = await client.copy(await client.head(named("source")), NAME, if_match=found.etag)
        assert store.objects["file"] == b"source"
        await client.delete(NAME, if_match=copied)
        assert "file" not in store.objects
        able = client.capabilities_of("bucket")
        assert not (able.conditional_delete)
        assert not (able.conditional_copy)

    @pytest_twisted.ensureDeferred
    async def test_a_checksum_that_was_asked_for_is_not_left_out(
        self, store: SmallS3, connected: Connect
    ) -> None:
        store.dialect = Dialect(checksums="refused")
        client = connected(probe=Probe.NO, checksum=ChecksumChoice.CRC64NVME)
        with pytest.raises(NotImplementedByStore):
            await client.put(NAME, (b"new",), PROPERTIES)
        with pytest.raises(NotImplementedByStore):
            await client.create_upload(NAME, PROPERTIES)
