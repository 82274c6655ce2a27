"""The contract of every implementation of `ObjectStore`."""

from __future__ import annotations

from dataclasses import replace

import pytest
import pytest_twisted

from sftpgw.aio.cancel import CancelToken
from sftpgw.errors import (
    NoSuchBucket,
    NoSuchObject,
    NoSuchUpload,
    PreconditionFailed,
    RangeNotSatisfiable,
    StoreError,
)
from sftpgw.model.store import (
    ByteRange,
    MultipartUpload,
    ObjectInfo,
    ObjectName,
    ObjectProperties,
    StoredPart,
    WriteCondition,
)
from tests.stores import CollectingSink, StoreUnderTest

PLAIN = ObjectProperties()
IF_ABSENT = WriteCondition.IF_ABSENT
OTHER_ETAG = '"00000000000000000000000000000000"'

AWKWARD_KEYS = {
    "a b": "",
    "a+b": "",
    "100%": "",
    "%41": "",
    "what?": "",
    "#1": "",
    "a&b=c;d": "",
    "a//b": "empty-segments",
    "/leading": "empty-segments",
    "trailing/": "folders-with-bytes",
    "./dot": "dot-segments",
    "up/../down": "dot-segments",
    "..": "dot-segments",
    "naïve ☃ 𝄞": "",
    "quote'\"<>": "",
    "~tilde*(x)!": "",
    "back\\slash": "backslashes",
}
"""Keys that a wrong URL, XML or signature would change, and the capabilities that they need."""


async def stored(
    under_test: StoreUnderTest, key: str, data: bytes = b"data", **metadata: str
) -> ObjectInfo:
    name = under_test.name(key)
    await under_test.store.put(name, (data,), ObjectProperties(metadata=metadata))
    return await under_test.store.head(name)


async def content(under_test: StoreUnderTest, name: ObjectName) -> bytes:
    sink = CollectingSink()
    await under_test.store.get(name, None, sink)
    return sink.data


async def keys_of(under_test: StoreUnderTest, **arguments: object) -> list[str]:
    found: list[str] = []
    token = None
    while True:
        page = await under_test.store.list(
            under_test.bucket, under_test.prefix, token=token, **arguments
        )
        found += [info.name.key for info in page.objects]
        if page.next_token is None:
            return [key.removeprefix(under_test.prefix) for key in found]
        token = page.next_token


class TestBuckets:
    @pytest_twisted.ensureDeferred
    async def test_an_existing_bucket_is_there(self, under_test: StoreUnderTest) -> None:
        await under_test.store.head_bucket(under_test.bucket)

    @pytest_twisted.ensureDeferred
    async def test_a_missing_bucket_is_told(self, under_test: StoreUnderTest) -> None:
        missing = "no-such-bucket-of-sftpgw-tests"
        with pytest.raises(NoSuchBucket):
            await under_test.store.head_bucket(missing)
        with pytest.raises(NoSuchBucket):
            await under_test.store.list(missing, "")

    @pytest_twisted.ensureDeferred
    async def test_nothing_is_put_into_a_missing_bucket(self, under_test: StoreUnderTest) -> None:
        under_test.needs("missing-buckets-refused")
        with pytest.raises(NoSuchBucket):
            await under_test.store.put(ObjectName("no-such-bucket-of-sftpgw-tests", "x"), (), PLAIN)


class TestPutAndGet:
    @pytest_twisted.ensureDeferred
    async def test_bytes_come_back_as_they_went(self, under_test: StoreUnderTest) -> None:
        name = under_test.name("file")
        body = (b"one ", bytearray(b"two "), memoryview(b"three"))
        etag = await under_test.store.put(name, body, PLAIN)
        sink = CollectingSink()
        await under_test.store.get(name, None, sink)
        assert sink.data == b"one two three"
        assert sink.info.size_bytes == 13
        assert sink.info.name == name
        assert sink.info.etag == etag
        assert sink.info.modified_seconds > 1_000_000_000

    @pytest_twisted.ensureDeferred
    async def test_an_empty_object_comes_back_empty(self, under_test: StoreUnderTest) -> None:
        name = under_test.name("empty")
        await under_test.store.put(name, (), PLAIN)
        sink = CollectingSink()
        await under_test.store.get(name, None, sink)
        assert (sink.data, sink.info.size_bytes) == (b"", 0)

    @pytest_twisted.ensureDeferred
    async def test_an_object_of_a_few_mebibytes_comes_back_whole(
        self, under_test: StoreUnderTest
    ) -> None:
        data = bytes(range(256)) * 4096 * 3 + b"odd"
        name = under_test.name("large")
        await under_test.store.put(name, (data[:1000], data[1000:]), PLAIN)
        assert await content(under_test, name) == data

    @pytest.mark.parametrize(("key", "capability"), AWKWARD_KEYS.items())
    @pytest_twisted.ensureDeferred
    async def test_awkward_keys_stay_as_they_are(
        self, under_test: StoreUnderTest, key: str, capability: str
    ) -> None:
        under_test.needs(capability)
        info = await stored(under_test, key, key.encode())
        assert info.size_bytes == len(key.encode())
        assert await content(under_test, under_test.name(key)) == key.encode()
        assert await keys_of(under_test) == [key]
        copied = under_test.name("copy of " + key)
        await under_test.store.copy(info, copied)
        assert await content(under_test, copied) == key.encode()
        await under_test.store.delete(under_test.name(key))
        assert await keys_of(under_test) == ["copy of " + key]

    @pytest_twisted.ensureDeferred
    async def test_properties_are_kept(self, under_test: StoreUnderTest) -> None:
        name = under_test.name("file")
        metadata = {"mtime": "1700000000.25", "note": "naïve ☃", "spaced": "a  b"}
        await under_test.store.put(
            name, (b"x",), ObjectProperties(metadata=metadata, content_type="text/x-test")
        )
        info = await under_test.store.head(name)
        assert dict(info.metadata) == metadata
        assert info.content_type == "text/x-test"
        assert info.storage_class == "STANDARD"

    @pytest_twisted.ensureDeferred
    async def test_put_replaces_an_object(self, under_test: StoreUnderTest) -> None:
        old = await stored(under_test, "file", b"old", mtime="1")
        new = await stored(under_test, "file", b"newer")
        assert new.etag != old.etag
        assert dict(new.metadata) == {}
        assert await content(under_test, new.name) == b"newer"

    @pytest_twisted.ensureDeferred
    async def test_put_if_absent_does_not_replace(self, under_test: StoreUnderTest) -> None:
        under_test.needs("conditional-put")
        name = under_test.name("file")
        await under_test.store.put(name, (b"first",), PLAIN, IF_ABSENT)
        with pytest.raises(PreconditionFailed):
            await under_test.store.put(name, (b"second",), PLAIN, IF_ABSENT)
        assert await content(under_test, name) == b"first"

    @pytest_twisted.ensureDeferred
    async def test_a_missing_object_is_no_such_object(self, under_test: StoreUnderTest) -> None:
        sink = CollectingSink()
        with pytest.raises(NoSuchObject):
            await under_test.store.head(under_test.name("none"))
        with pytest.raises(NoSuchObject):
            await under_test.store.get(under_test.name("none"), None, sink)
        assert sink.infos == []


class TestRanges:
    @pytest.mark.parametrize(
        ("start", "stop", "expected"),
        [(0, 1, b"0"), (3, 7, b"3456"), (9, 10, b"9"), (5, 999, b"56789"), (0, 10, b"0123456789")],
    )
    @pytest_twisted.ensureDeferred
    async def test_a_range_is_the_bytes_that_were_asked_for(
        self, under_test: StoreUnderTest, start: int, stop: int, expected: bytes
    ) -> None:
        info = await stored(under_test, "file", b"0123456789")
        sink = CollectingSink()
        await under_test.store.get(info.name, ByteRange(start, stop), sink, if_match=info.etag)
        assert sink.data == expected
        assert sink.info.size_bytes == 10

    @pytest.mark.parametrize(("data", "start"), [(b"0123", 4), (b"0123", 50), (b"", 0)])
    @pytest_twisted.ensureDeferred
    async def test_a_range_behind_the_end_is_not_satisfiable(
        self, under_test: StoreUnderTest, data: bytes, start: int
    ) -> None:
        info = await stored(under_test, "file", data)
        sink = CollectingSink()
        with pytest.raises(RangeNotSatisfiable):
            await under_test.store.get(info.name, ByteRange(start, start + 5), sink)
        assert sink.infos == []

    @pytest_twisted.ensureDeferred
    async def test_another_version_is_refused(self, under_test: StoreUnderTest) -> None:
        old = await stored(under_test, "file", b"old")
        await stored(under_test, "file", b"new")
        sink = CollectingSink()
        with pytest.raises(PreconditionFailed):
            await under_test.store.get(old.name, ByteRange(0, 3), sink, if_match=old.etag)
        assert sink.infos == []


class TestDelete:
    @pytest_twisted.ensureDeferred
    async def test_a_deleted_object_is_gone_and_may_be_deleted_again(
        self, under_test: StoreUnderTest
    ) -> None:
        info = await stored(under_test, "file")
        await under_test.store.delete(info.name)
        with pytest.raises(NoSuchObject):
            await under_test.store.head(info.name)
        await under_test.store.delete(info.name)

    @pytest_twisted.ensureDeferred
    async def test_only_the_version_that_was_meant(self, under_test: StoreUnderTest) -> None:
        under_test.needs("conditional-delete")
        old = await stored(under_test, "file", b"old")
        new = await stored(under_test, "file", b"new")
        with pytest.raises(PreconditionFailed):
            await under_test.store.delete(old.name, if_match=old.etag)
        assert await content(under_test, new.name) == b"new"
        await under_test.store.delete(new.name, if_match=new.etag)
        assert await keys_of(under_test) == []


class TestCopy:
    @pytest_twisted.ensureDeferred
    async def test_bytes_and_metadata_are_kept(self, under_test: StoreUnderTest) -> None:
        source = await stored(under_test, "source", b"data", mtime="5.5")
        target = under_test.name("target")
        etag = await under_test.store.copy(source, target)
        info = await under_test.store.head(target)
        assert info.etag == etag
        assert dict(info.metadata) == {"mtime": "5.5"}
        assert await content(under_test, target) == b"data"
        assert await content(under_test, source.name) == b"data"

    @pytest_twisted.ensureDeferred
    async def test_metadata_replaced_in_place(self, under_test: StoreUnderTest) -> None:
        name = under_test.name("file")
        await under_test.store.put(
            name, (b"data",), ObjectProperties(metadata={"mtime": "1"}, content_type="text/x-test")
        )
        info = await under_test.store.head(name)
        changed = ObjectProperties(metadata={"mtime": "2"}, content_type=info.content_type)
        await under_test.store.copy(info, name, properties=changed)
        after = await under_test.store.head(name)
        assert dict(after.metadata) == {"mtime": "2"}
        assert after.content_type == "text/x-test"
        assert await content(under_test, name) == b"data"

    @pytest_twisted.ensureDeferred
    async def test_a_missing_source_is_no_such_object(self, under_test: StoreUnderTest) -> None:
        source = await stored(under_test, "source")
        await under_test.store.delete(source.name)
        with pytest.raises(NoSuchObject):
            await under_test.store.copy(source, under_test.name("target"))

    @pytest_twisted.ensureDeferred
    async def test_an_existing_target_is_kept(self, under_test: StoreUnderTest) -> None:
        under_test.needs("conditional-copy")
        source, target = await stored(under_test, "s"), await stored(under_test, "t", b"kept")
        with pytest.raises(PreconditionFailed):
            await under_test.store.copy(source, target.name, IF_ABSENT)
        assert await content(under_test, target.name) == b"kept"

    @pytest_twisted.ensureDeferred
    async def test_only_the_target_that_was_meant_is_replaced(
        self, under_test: StoreUnderTest
    ) -> None:
        under_test.needs("conditional-copy")
        source, old = await stored(under_test, "s"), await stored(under_test, "t", b"old")
        new = await stored(under_test, "t", b"new")
        with pytest.raises(PreconditionFailed):
            await under_test.store.copy(source, new.name, if_match=old.etag)
        assert await content(under_test, new.name) == b"new"
        await under_test.store.copy(source, new.name, if_match=new.etag)
        assert await content(under_test, new.name) == b"data"

    @pytest_twisted.ensureDeferred
    async def test_metadata_replaced_in_place_only_if_no_other_client_has(
        self, under_test: StoreUnderTest
    ) -> None:
        under_test.needs("conditional-copy")
        under_test.needs("copy-source-condition")
        old = await stored(under_test, "file", b"old", mtime="1")
        await stored(under_test, "file", b"new")
        changed = ObjectProperties(metadata={"mtime": "2"})
        with pytest.raises(PreconditionFailed):
            await under_test.store.copy(old, old.name, properties=changed, if_match=old.etag)
        assert await content(under_test, old.name) == b"new"

    @pytest_twisted.ensureDeferred
    async def test_a_replaced_source_is_not_copied(self, under_test: StoreUnderTest) -> None:
        under_test.needs("copy-source-condition")
        old = await stored(under_test, "source", b"old")
        await stored(under_test, "source", b"new")
        with pytest.raises(PreconditionFailed):
            await under_test.store.copy(old, under_test.name("target"))
        assert await keys_of(under_test) == ["source"]


class TestList:
    @pytest_twisted.ensureDeferred
    async def test_an_empty_prefix_lists_nothing(self, under_test: StoreUnderTest) -> None:
        page = await under_test.store.list(under_test.bucket, under_test.prefix)
        assert (page.objects, page.prefixes, page.next_token) == ((), (), None)

    @pytest_twisted.ensureDeferred
    async def test_a_list_tells_size_etag_and_date_of_an_object(
        self, under_test: StoreUnderTest
    ) -> None:
        info = await stored(under_test, "file", b"12345")
        (listed,) = (await under_test.store.list(under_test.bucket, under_test.prefix)).objects
        assert listed.name == info.name
        assert (listed.size_bytes, listed.etag) == (5, info.etag)
        assert abs(listed.modified_seconds - info.modified_seconds) <= 1
        assert listed.storage_class == "STANDARD"

    @pytest_twisted.ensureDeferred
    async def test_folders_are_grouped(self, under_test: StoreUnderTest) -> None:
        for key in ("a", "b/1", "b/2", "b/c/3", "c-", "ü +%/x"):
            await stored(under_test, key)
        await stored(under_test, "c/", b"")
        page = await under_test.store.list(under_test.bucket, under_test.prefix, delimiter="/")
        prefix = under_test.prefix
        assert [info.name.key for info in page.objects] == [prefix + "a", prefix + "c-"]
        assert page.prefixes == (prefix + "b/", prefix + "c/", prefix + "ü +%/")
        inner = await under_test.store.list(under_test.bucket, prefix + "b/", delimiter="/")
        assert [info.name.key for info in inner.objects] == [prefix + "b/1", prefix + "b/2"]
        assert inner.prefixes == (prefix + "b/c/",)

    @pytest_twisted.ensureDeferred
    async def test_keys_come_in_binary_order(self, under_test: StoreUnderTest) -> None:
        under_test.needs("files-over-folders")
        keys = ["B", "a", "a-", "a/", "a0", "é", "ﬀ", "𝄞"]
        for key in reversed(keys):
            await stored(under_test, key, b"")
        assert await keys_of(under_test) == sorted(keys, key=str.encode) == keys

    @pytest_twisted.ensureDeferred
    async def test_files_come_in_binary_order(self, under_test: StoreUnderTest) -> None:
        under_test.needs("binary-order")
        keys = ["B", "a-", "a/x", "a0", "é", "ﬀ", "𝄞"]
        for key in reversed(keys):
            await stored(under_test, key)
        assert await keys_of(under_test) == sorted(keys, key=str.encode) == keys

    @pytest_twisted.ensureDeferred
    async def test_pages_together_are_the_whole_list(self, under_test: StoreUnderTest) -> None:
        keys = ["a", "b/1", "b/2", "c", "d/1", "e"]
        for key in keys:
            await stored(under_test, key)
        assert await keys_of(under_test, limit=2) == keys
        assert await keys_of(under_test, limit=6) == keys


class TestUploads:
    async def begun(
        self, under_test: StoreUnderTest, key: str = "file", *, copies: bool = False
    ) -> MultipartUpload:
        return await under_test.store.create_upload(
            under_test.name(key), ObjectProperties(metadata={"mtime": "7"}), copies=copies
        )

    @pytest_twisted.ensureDeferred
    async def test_parts_become_an_object_at_the_end(self, under_test: StoreUnderTest) -> None:
        upload = await self.begun(under_test)
        first = b"x" * under_test.min_part_bytes
        # Sent out of order, as concurrent parts are.
        part_2 = await under_test.store.upload_part(upload, 2, (b"the ", b"end"))
        part_1 = await under_test.store.upload_part(upload, 1, (first,))
        with pytest.raises(NoSuchObject):
            await under_test.store.head(upload.name)
        etag = await under_test.store.complete_upload(upload, (part_1, part_2))
        info = await under_test.store.head(upload.name)
        assert (info.etag, info.size_bytes) == (etag, len(first) + 7)
        assert dict(info.metadata) == {"mtime": "7"}
        assert (part_1.size_bytes, part_2.size_bytes) == (len(first), 7)
        assert await content(under_test, upload.name) == first + b"the end"

    @pytest_twisted.ensureDeferred
    async def test_a_part_sent_before_its_token_is_cancelled_stays(
        self, under_test: StoreUnderTest
    ) -> None:
        cancel_token = CancelToken()
        wanted = under_test.store.with_cancel(cancel_token)
        upload = await wanted.create_upload(under_test.name("file"), ObjectProperties())
        part = await wanted.upload_part(upload, 1, (b"wanted",))
        cancel_token.cancel()
        await under_test.store.complete_upload(upload, (part,))
        assert await content(under_test, upload.name) == b"wanted"

    @pytest_twisted.ensureDeferred
    async def test_a_part_may_be_replaced(self, under_test: StoreUnderTest) -> None:
        upload = await self.begun(under_test)
        await under_test.store.upload_part(upload, 1, (b"old",))
        part = await under_test.store.upload_part(upload, 1, (b"new",))
        await under_test.store.complete_upload(upload, (part,))
        assert await content(under_test, upload.name) == b"new"

    @pytest_twisted.ensureDeferred
    async def test_small_parts_are_refused(self, under_test: StoreUnderTest) -> None:
        under_test.needs("small-parts-refused")
        upload = await self.begun(under_test)
        parts = [await under_test.store.upload_part(upload, n, (b"small",)) for n in (1, 2)]
        with pytest.raises(StoreError) as refused:
            await under_test.store.complete_upload(upload, tuple(parts))
        assert refused.value.code == "EntityTooSmall"

    @pytest_twisted.ensureDeferred
    async def test_an_unknown_part_is_refused(self, under_test: StoreUnderTest) -> None:
        under_test.needs("unknown-parts-refused")
        upload = await self.begun(under_test)
        await under_test.store.upload_part(upload, 1, (b"x",))
        with pytest.raises(StoreError) as refused:
            await under_test.store.complete_upload(upload, (StoredPart(1, 1, OTHER_ETAG),))
        assert refused.value.code == "InvalidPart"

    @pytest.mark.parametrize("number", [0, 10_001])
    @pytest_twisted.ensureDeferred
    async def test_part_numbers_have_bounds(self, under_test: StoreUnderTest, number: int) -> None:
        under_test.needs("part-numbers-bounded")
        upload = await self.begun(under_test)
        with pytest.raises(StoreError):
            await under_test.store.upload_part(upload, number, (b"x",))

    @pytest_twisted.ensureDeferred
    async def test_complete_if_absent_does_not_replace(self, under_test: StoreUnderTest) -> None:
        under_test.needs("conditional-complete")
        upload = await self.begun(under_test)
        part = await under_test.store.upload_part(upload, 1, (b"late",))
        await stored(under_test, "file", b"early")
        with pytest.raises(PreconditionFailed):
            await under_test.store.complete_upload(upload, (part,), IF_ABSENT)
        assert await content(under_test, upload.name) == b"early"

    @pytest_twisted.ensureDeferred
    async def test_an_aborted_upload_is_not_listed(self, under_test: StoreUnderTest) -> None:
        under_test.needs("aborting-twice")
        upload = await self.begun(under_test)
        await under_test.store.upload_part(upload, 1, (b"x",))
        await under_test.store.abort_upload(upload)
        await under_test.store.abort_upload(upload)
        page = await under_test.store.list_uploads(under_test.bucket, under_test.prefix)
        assert page.uploads == ()

    @pytest_twisted.ensureDeferred
    async def test_an_aborted_upload_is_of_no_use(self, under_test: StoreUnderTest) -> None:
        under_test.needs("aborted-uploads-told")
        upload = await self.begun(under_test)
        part = await under_test.store.upload_part(upload, 1, (b"x",))
        await under_test.store.abort_upload(upload)
        with pytest.raises(NoSuchUpload):
            await under_test.store.upload_part(upload, 1, (b"x",))
        with pytest.raises(NoSuchUpload):
            await under_test.store.complete_upload(upload, (part,))

    @pytest_twisted.ensureDeferred
    async def test_completed_is_no_upload_any_more(self, under_test: StoreUnderTest) -> None:
        under_test.needs("completing-once")
        upload = await self.begun(under_test)
        part = await under_test.store.upload_part(upload, 1, (b"x",))
        await under_test.store.complete_upload(upload, (part,))
        await under_test.store.delete(upload.name)
        with pytest.raises(NoSuchUpload):
            await under_test.store.complete_upload(upload, (part,))

    @pytest_twisted.ensureDeferred
    async def test_open_uploads_are_listed(self, under_test: StoreUnderTest) -> None:
        under_test.needs("uploads-by-prefix")
        uploads = [await self.begun(under_test, key) for key in ("a b+%", "ü/x")]
        page = await under_test.store.list_uploads(under_test.bucket, under_test.prefix)
        assert sorted(page.uploads, key=lambda u: u.name.key) == uploads
        assert page.next_marker is None

    @pytest_twisted.ensureDeferred
    async def test_stored_bytes_become_a_part(self, under_test: StoreUnderTest) -> None:
        under_test.needs("part-copy")
        source = await stored(under_test, "source é+", b"a" * under_test.min_part_bytes)
        upload = await self.begun(under_test, copies=True)
        whole = await under_test.store.copy_part(upload, 1, source, ByteRange(0, source.size_bytes))
        end = await under_test.store.upload_part(upload, 2, (b"end",))
        await under_test.store.complete_upload(upload, (whole, end))
        assert whole.size_bytes == source.size_bytes
        assert await content(under_test, upload.name) == b"a" * source.size_bytes + b"end"

    @pytest_twisted.ensureDeferred
    async def test_a_replaced_source_is_no_part(self, under_test: StoreUnderTest) -> None:
        under_test.needs("part-copy")
        under_test.needs("copy-source-condition")
        source = await stored(under_test, "source", b"data")
        upload = await self.begun(under_test, copies=True)
        with pytest.raises(PreconditionFailed):
            await under_test.store.copy_part(
                upload, 1, replace(source, etag=OTHER_ETAG), ByteRange(0, 4)
            )
