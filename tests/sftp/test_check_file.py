"""check-file over SFTP: the draft's replies, paramiko's, and every refusal."""

from __future__ import annotations

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpgw.errors import StoreUnavailable
from sftpgw.model.mounts import Permission
from sftpgw.model.settings import SshSettings, StoreSettings
from sftpgw.model.units import MIB
from sftpgw.testing.other_users import with_mount
from sftpgw.testing.sftp_requests import encode_request
from sftpgw.testing.sftp_sessions import ALICE, CREATE, GatewayInMemory, SftpClient, SftpFailure
from sftpgw.wire import check_file
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Extended, Malformed, Status

DATA = bytes(range(256)) * 4096


@pytest.fixture
def gateway():
    gateway = GatewayInMemory()
    yield gateway
    gateway.assert_idle()


def payload(subject: bytes, names: bytes, start: int = 0, length: int = 0, block: int = 0) -> bytes:
    return wire.string(subject) + wire.string(names) + struct.pack(">QQL", start, length, block)


def check(client: SftpClient, name: bytes, data: bytes) -> bytes:
    """The reply to a request, turns of the reactor taken."""
    request_id = client.send(Extended(0, name, data))
    for _ in range(100):
        client.pair.clock.advance(0)
        client.pump()
    return client.answer(request_id).body


def test_a_file_is_hashed_by_name_and_by_handle(gateway: GatewayInMemory) -> None:
    client = gateway.log_in()
    client.put(b"/a", DATA)
    expected = wire.string(b"sha256") + hashlib.sha256(DATA).digest()
    assert check(client, b"check-file-name", payload(b"a", b"sha256,md5")) == expected
    handle = client.open(b"/a")
    assert check(client, b"check-file-handle", payload(handle, b"rot13, sha256")) == expected
    paramikos = wire.string(b"check-file") + expected
    assert check(client, b"check-file", payload(handle, b"sha256")) == paramikos
    assert client.read(handle, 5, 3) == DATA[5:8]
    client.close(handle)
    client.drop()


def test_check_file_answers_for_ranges_and_blocks(gateway: GatewayInMemory) -> None:
    client = gateway.log_in()
    client.put(b"/a", DATA)
    body = check(client, b"check-file-name", payload(b"a", b"md5", 100, 700_000, 300_000))
    ranges = ((100, 300_100), (300_100, 600_100), (600_100, 700_100))
    digests = [hashlib.md5(DATA[start:stop]).digest() for start, stop in ranges]
    assert body == wire.string(b"md5") + b"".join(digests)
    client.drop()


def test_check_file_is_advertised(gateway: GatewayInMemory) -> None:
    client = gateway.log_in(greet=False)
    client.transmit(encode_request(wire.Init(3)))
    body = client.replies.pop(3).body
    for name in (b"check-file-name", b"check-file-handle", b"check-file"):
        assert (
            wire.string(name) + wire.string(b"sha256,sha384,sha512,sha224,sha1,md5,crc32") in body
        )
    client.drop()


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        (b"check-file-name", payload(b"missing", b"md5"), Status.NO_SUCH_FILE),
        (b"check-file-name", payload(b"/", b"md5"), Status.FAILURE),
        (b"check-file-name", payload(b"a", b"rot13"), Status.OP_UNSUPPORTED),
        (b"check-file-name", payload(b"a", b""), Status.OP_UNSUPPORTED),
        (b"check-file-name", payload(b"a", b"md5", 0, 0, 255), Status.BAD_MESSAGE),
        (b"check-file-name", payload(b"a", b"md5")[:-1], Status.BAD_MESSAGE),
        (b"check-file-name", payload(b"a", b"md5") + b"x", Status.BAD_MESSAGE),
        (b"check-file-handle", payload(b"a", b"md5"), Status.FAILURE),
        (b"check-file", payload(b"a", b"md5"), Status.FAILURE),
    ],
)
def test_check_file_refuses_what_it_cannot_answer(
    gateway: GatewayInMemory, name: bytes, data: bytes, code: Status
) -> None:
    client = gateway.log_in()
    client.put(b"/a", b"x")
    with pytest.raises(SftpFailure) as caught:
        check(client, name, data)
    assert caught.value.code is code
    client.drop()


def test_a_file_that_is_being_written_has_no_digest(gateway: GatewayInMemory) -> None:
    client = gateway.log_in()
    handle = client.open(b"/a", CREATE)
    with pytest.raises(SftpFailure, match="being uploaded"):
        check(client, b"check-file-handle", payload(handle, b"md5"))
    client.close(handle)
    client.drop()


def test_hashing_needs_the_permission_to_download(gateway: GatewayInMemory) -> None:
    client = gateway.log_in(with_mount(ALICE, permissions=Permission.LIST))
    with pytest.raises(SftpFailure, match="you may not download") as caught:
        check(client, b"check-file-name", payload(b"a", b"md5"))
    assert caught.value.code is Status.PERMISSION_DENIED
    client.drop()


def test_a_file_by_name_counts_as_a_handle_while_it_is_read() -> None:
    gateway = GatewayInMemory(ssh=SshSettings(handles_per_session=1))
    client = gateway.log_in()
    client.put(b"/a", DATA)
    for _ in range(3):
        check(client, b"check-file-name", payload(b"a", b"md5"))
    handle = client.open(b"/a")
    with pytest.raises(SftpFailure, match="files are open"):
        check(client, b"check-file-name", payload(b"a", b"md5"))
    client.close(handle)
    client.drop()


def test_a_store_that_fails_is_told(gateway: GatewayInMemory) -> None:
    client = gateway.log_in()
    client.put(b"/a", DATA)
    gateway.store.fail("get", StoreUnavailable("down"))
    with pytest.raises(SftpFailure, match="does not answer"):
        check(client, b"check-file-name", payload(b"a", b"md5"))
    client.drop()


@pytest.mark.parametrize("passed", [0, 1])
def test_a_client_that_is_lost_ends_the_reading(passed: int) -> None:
    """While the file is opened, and while it is read."""
    settings = StoreSettings(bucket="bucket", download_part_size_bytes=1 * MIB)
    gateway = GatewayInMemory(settings=settings)
    client = gateway.log_in()
    client.put(b"/a", bytes(20 * MIB))
    gate = gateway.store.hold("get")
    client.send(Extended(0, b"check-file-name", payload(b"a", b"md5")))
    for _ in range(passed):
        gate.open_one()
    gateway.clock.advance(0)
    asked = gateway.store.requests["get"]
    client.drop()
    gate.open()
    gateway.clock.advance(0)
    assert gateway.store.requests["get"] == asked < 12
    gateway.assert_idle()


@given(st.binary(max_size=60))
def test_any_payload_is_a_request_or_malformed(data: bytes) -> None:
    try:
        found = check_file.parse(data, 7)
    except Malformed as error:
        assert error.request_id == 7
    else:
        names = b",".join(found.algorithms)
        figures = (found.start, found.length, found.block_bytes)
        assert payload(found.subject, names, *figures) == data
