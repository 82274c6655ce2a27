"""The headers by which objects get their class, encryption, ACL and tags, and requests a payer."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import pytest_twisted

from sftpgw.model.filesystem import AttributeChanges, WriteIntent
from sftpgw.model.mounts import Mount
from sftpgw.model.object_settings import Encryption, ObjectSettings
from sftpgw.model.settings import FilesSettings, OnDisconnect, StoreSettings
from sftpgw.model.store import ObjectName, ObjectProperties
from sftpgw.model.units import KIB, MIB
from sftpgw.model.users import SessionLabels, User
from sftpgw.session import client_ip_of, object_table
from sftpgw.testing.scripted_s3 import RecordedRequest, ScriptedS3
from sftpgw.testing.sftp_sessions import GatewayInMemory
from tests.s3.operations import PLAIN, A, B, closed, connected, each_operation
from tests.stores import CollectingSink

KEY = bytes(range(32))
OWN_KEY = {
    "x-amz-server-side-encryption-customer-algorithm": "AES256",
    "x-amz-server-side-encryption-customer-key": base64.b64encode(KEY).decode(),
    "x-amz-server-side-encryption-customer-key-md5": base64.b64encode(
        hashlib.md5(KEY).digest()
    ).decode(),
}
SOURCE_KEY = {
    name.replace("x-amz-", "x-amz-copy-source-"): value for name, value in OWN_KEY.items()
}
SSE = "x-amz-server-side-encryption"


def is_about_bytes(request: RecordedRequest) -> bool:
    """Whether S3 needs the key of SSE-C for a request."""
    if request.method in ("DELETE",) or "list-type" in request.target:
        return False
    is_known = "uploadId" in request.target or "uploads" in request.target
    return "?" not in request.target or is_known


def has(request: RecordedRequest, headers: Mapping[str, str]) -> bool:
    return all(request.headers.get(name) == value for name, value in headers.items())


def require_keys(requests: list[RecordedRequest]) -> None:
    """Each request that needs the key of SSE-C has it, and each copy also that of its source."""
    for request in requests:
        assert has(request, OWN_KEY) is is_about_bytes(request), request.target
        assert has(request, SOURCE_KEY) is ("x-amz-copy-source" in request.headers)
        assert SSE not in request.headers


@pytest_twisted.ensureDeferred
async def test_a_key_of_the_customer_is_in_each_request_that_needs_it() -> None:
    store, server = await connected(sse_c_key=KEY)
    await each_operation(store)
    require_keys(server.requests)
    assert sum("x-amz-copy-source" in request.headers for request in server.requests) == 3
    await closed(store, server)


@pytest_twisted.ensureDeferred
async def test_without_settings_no_header_is_sent() -> None:
    store, server = await connected()
    await each_operation(store)
    for request in server.requests:
        names = {name for name in request.headers if name.startswith(SSE) or "customer" in name}
        assert not names & request.headers.keys()
        assert not {"x-amz-acl", "x-amz-tagging", "x-amz-request-payer"} & request.headers.keys()
        assert "x-amz-expected-bucket-owner" not in request.headers
    await closed(store, server)


@pytest_twisted.ensureDeferred
async def test_payer_and_owner_are_in_each_request() -> None:
    store, server = await connected(request_payer=True, expected_bucket_owner="123456789012")
    await each_operation(store)
    for request in server.requests:
        assert request.headers["x-amz-request-payer"] == "requester"
        assert request.headers["x-amz-expected-bucket-owner"] == "123456789012"
        of_source = request.headers.get("x-amz-source-expected-bucket-owner")
        is_copy = "x-amz-copy-source" in request.headers
        assert of_source == ("123456789012" if is_copy else None)
    await closed(store, server)


def new_objects(server: ScriptedS3) -> list[RecordedRequest]:
    """The requests that create objects and uploads, but for parts."""
    return [
        request
        for request in server.requests
        if request.method in ("PUT", "POST") and "uploadId" not in request.target
    ]


@pytest.mark.parametrize(
    ("settings", "headers"),
    [
        ({"sse": Encryption.S3}, {SSE: "AES256"}),
        (
            {
                "sse": Encryption.KMS,
                "sse_kms_key": "alias/mine",
                "sse_bucket_key": True,
                "sse_kms_context": '{"a":"b"}',
            },
            {
                SSE: "aws:kms",
                f"{SSE}-aws-kms-key-id": "alias/mine",
                f"{SSE}-bucket-key-enabled": "true",
                f"{SSE}-context": "eyJhIjoiYiJ9",
            },
        ),
        ({"sse": Encryption.KMS_DSSE}, {SSE: "aws:kms:dsse"}),
        ({"acl": "bucket-owner-full-control"}, {"x-amz-acl": "bucket-owner-full-control"}),
    ],
)
@pytest_twisted.ensureDeferred
async def test_new_objects_and_copies_are_stored_as_the_store_says(
    settings: dict[str, Any], headers: dict[str, str]
) -> None:
    store, server = await connected(**settings)
    await each_operation(store)
    created = new_objects(server)
    assert len(created) == 5
    assert all(has(request, headers) for request in created)
    others = [request for request in server.requests if request not in created]
    assert not any(headers.keys() & request.headers.keys() for request in others)
    await closed(store, server)


@pytest_twisted.ensureDeferred
async def test_an_object_keeps_its_encryption_unless_the_settings_name_one() -> None:
    kept = {SSE: "aws:kms", f"{SSE}-aws-kms-key-id": "theirs"}
    for sse, expected in (
        (None, kept),
        (Encryption.NONE, {}),
        (Encryption.S3, {SSE: "AES256"}),
    ):
        store, server = await connected(sse=sse)
        await store.put(A, (b"x",), ObjectProperties(encryption=kept))
        info = replace(await store.head(A), encryption=kept)
        await store.copy(info, B)
        for request in new_objects(server):
            found = {name: v for name, v in request.headers.items() if name.startswith(SSE)}
            assert found == expected
        await closed(store, server)


LABELS = SessionLabels("s1", "[2001:db8::7]:2022")
TAGS = (("project", "x"), ("user", "{username}"), ("ip", "{client_ip}"), ("of", "{session}"))


@pytest_twisted.ensureDeferred
async def test_a_mount_wins_over_its_store_and_records_have_what_the_store_says() -> None:
    store, server = await connected(
        storage_class="STANDARD_IA", sse=Encryption.S3, acl="private", tags=TAGS
    )
    mount = Mount(
        "bucket", "home/", objects=ObjectSettings(storage_class="GLACIER_IR", acl="public-read")
    )
    settings = store.executor.settings
    table = object_table(User("al|ice", (mount,)), LABELS, lambda bucket: settings)
    session = store.bind(table, user="al|ice")
    await session.put(A, (b"x",), PLAIN)
    await session.put(A, (b"x",), ObjectProperties(tags={"kept": "1"}))
    await session.put(ObjectName("bucket", ".sftpgw/record"), (b"x",), PLAIN)
    await store.put(A, (b"x",), PLAIN)
    mine, changed, record, of_gateway = new_objects(server)
    assert mine.headers["x-amz-storage-class"] == "GLACIER_IR"
    assert mine.headers["x-amz-acl"] == "public-read"
    assert mine.headers["x-amz-tagging"] == ("project=x&user=al_ice&ip=2001%3Adb8%3A%3A7&of=s1")
    assert changed.headers["x-amz-tagging"] == "kept=1"
    assert record.headers["x-amz-storage-class"] == "STANDARD_IA"
    assert not {"x-amz-acl", "x-amz-tagging"} & record.headers.keys()
    assert of_gateway.headers["x-amz-acl"] == "private"
    assert "x-amz-tagging" not in of_gateway.headers
    assert all(request.headers[SSE] == "AES256" for request in new_objects(server))
    await closed(store, server)


@pytest_twisted.ensureDeferred
async def test_files_are_sent_changed_renamed_and_read_with_the_key() -> None:
    """Uploads, parts, edits in place, times, renames of files and directories, downloads."""
    store, server = await connected(sse_c_key=KEY, part_size_bytes=5 * MIB)
    tree = GatewayInMemory(settings=store.executor.settings).tree(store=store)
    await sent(tree, b"/d/file", bytes(16 * MIB))
    await tree.set_attributes(b"/d/file", AttributeChanges(modified_seconds=1.0))
    await sent(tree, b"/d/file", b"new bytes", at=100 * KIB, truncate=False)
    await tree.rename(b"/d/file", b"/d/other", replace=False)
    await tree.rename(b"/d", b"/e", replace=False)
    reader = await tree.open_reader(b"/e/other")
    reader.close()
    require_keys(server.requests)
    kinds = {
        (request.method, "uploadId" in request.target, "x-amz-copy-source" in request.headers)
        for request in server.requests
    }
    assert {("PUT", True, True), ("PUT", False, True), ("GET", False, False)} <= kinds
    await closed(store, server)


@pytest_twisted.ensureDeferred
async def test_a_lost_upload_is_resumed_with_the_key() -> None:
    """Its parts, its record, the claim of the record, the end; and the rest that is sent."""
    store, server = await connected(sse_c_key=KEY, part_size_bytes=5 * MIB)
    gateway = GatewayInMemory(
        settings=store.executor.settings, files=FilesSettings(on_disconnect=OnDisconnect.RESUME)
    )
    data = random.Random(1).randbytes(13 * MIB)
    lost = await gateway.tree(store=store).open_writer(b"/f", WriteIntent(), AttributeChanges())
    await written(lost, data[: 12 * MIB])
    await lost.abandon()
    tree = gateway.tree(store=store)
    size_bytes = (await tree.stat(b"/f")).size_bytes
    assert 5 * MIB <= size_bytes < 12 * MIB
    rest = await tree.open_writer(b"/f", WriteIntent(truncate=False), AttributeChanges())
    await written(rest, data[size_bytes:], size_bytes)
    await rest.commit()
    require_keys(server.requests)
    targets = [(request.method, request.target.partition("?")[0]) for request in server.requests]
    assert any(method == "PUT" and "/.sftpgw/partials/" in path for method, path in targets)
    assert any(method == "PUT" and "/.sftpgw/partial-claims/" in path for method, path in targets)
    info = await store.head(ObjectName("bucket", "home/alice/f"))
    sink = CollectingSink()
    await store.get(info.name, None, sink)
    assert sink.data == data
    await closed(store, server)


async def written(writer: Any, data: bytes, start: int = 0) -> None:
    """Write all bytes from `start` on, as clients do."""
    for offset in range(0, len(data), 256 * KIB):
        later = writer.write(start + offset, data[offset : offset + 256 * KIB])
        if later is not None:
            await later


async def sent(tree: Any, path: bytes, data: bytes, *, at: int = 0, truncate: bool = True) -> None:
    """Write some of a file."""
    writer = await tree.open_writer(path, WriteIntent(truncate=truncate), AttributeChanges())
    writer.write(at, data)
    await writer.commit()


def test_a_key_is_in_no_text_of_the_settings() -> None:
    settings = StoreSettings(sse_c_key=KEY)
    assert repr(KEY) not in repr(settings)
    assert OWN_KEY["x-amz-server-side-encryption-customer-key"] not in repr(settings)


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("192.0.2.1:22", "192.0.2.1"),
        ("[2001:db8::7]:22", "2001:db8::7"),
        ("local", "local"),
    ],
)
def test_the_address_in_a_tag(peer: str, address: str) -> None:
    assert client_ip_of(peer) == address


def test_what_is_said_of_encryption_belongs_together() -> None:
    store = ObjectSettings(sse=Encryption.KMS, sse_kms_key="k", acl="private", storage_class="A")
    assert ObjectSettings(sse=Encryption.S3).under(store) == ObjectSettings(
        sse=Encryption.S3, acl="private", storage_class="A"
    )
    assert ObjectSettings().under(store) == store
