"""copy-data, from one handle to another."""

from __future__ import annotations

import struct

import pytest

from sftpgw.errors import StoreUnavailable
from sftpgw.model.settings import StoreSettings
from sftpgw.model.units import KIB
from sftpgw.testing.sftp_requests import encode_request
from sftpgw.testing.sftp_sessions import CREATE, GatewayInMemory, SftpClient, SftpFailure
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, Status
from tests.results import result_of

DATA = bytes(range(251)) * 6000
LARGE = len(DATA)


@pytest.fixture
def gateway() -> GatewayInMemory:
    settings = StoreSettings(
        bucket="bucket", part_size_bytes=300 * KIB, download_part_size_bytes=200 * KIB
    )
    gateway = GatewayInMemory(settings=settings)
    gateway.store.seed("home/alice/source", DATA)
    return gateway


def copy_data(
    source: bytes, target: bytes, *, offset: int = 0, length: int = 0, to: int = 0
) -> wire.Extended:
    numbers = struct.pack(">QQ", offset, length)
    data = wire.string(source) + numbers + wire.string(target) + struct.pack(">Q", to)
    return wire.Extended(0, b"copy-data", data)


def refused(client: SftpClient, request: wire.Request) -> Status:
    with pytest.raises(SftpFailure) as caught:
        client.ask(request)
    return caught.value.code


def test_copy_data_is_advertised(gateway: GatewayInMemory) -> None:
    client = gateway.log_in(greet=False)
    client.transmit(encode_request(wire.Init(3)))
    assert dict(wire.SftpFields(client.replies[3].body, 0, 0).pairs())[b"copy-data"] == b"1"


def test_a_whole_file_is_copied(gateway: GatewayInMemory, client: SftpClient) -> None:
    source, target = client.open(b"/source"), client.open(b"/copy", CREATE)
    client.ask(copy_data(source, target))
    client.close(source)
    client.close(target)
    assert gateway.store.content("home/alice/copy") == DATA
    client.drop()
    gateway.assert_idle()


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ((0, 1, 0), DATA[:1]),
        ((10, 5, 0), DATA[10:15]),
        ((LARGE - 3, 0, 0), DATA[-3:]),
        ((LARGE - 3, 3, 2), b"\0\0" + DATA[-3:]),
        ((1, 300 * KIB, 0), DATA[1 : 1 + 300 * KIB]),
        ((LARGE, 0, 0), b""),
        ((2**63, 0, 0), b""),
    ],
)
def test_ranges_are_copied(
    gateway: GatewayInMemory, client: SftpClient, span: tuple[int, int, int], expected: bytes
) -> None:
    offset, length, to = span
    source, target = client.open(b"/source"), client.open(b"/copy", CREATE)
    client.ask(copy_data(source, target, offset=offset, length=length, to=to))
    client.close(target)
    assert gateway.store.content("home/alice/copy") == expected


def test_ranges_of_several_files_make_one(gateway: GatewayInMemory, client: SftpClient) -> None:
    gateway.store.seed("home/alice/other", b"other")
    target = client.open(b"/copy", CREATE)
    client.ask(copy_data(client.open(b"/other"), target))
    client.ask(copy_data(client.open(b"/source"), target, to=5))
    client.write(target, 5 + LARGE, b"end")
    client.close(target)
    assert gateway.store.content("home/alice/copy") == b"other" + DATA + b"end"


def test_a_source_that_is_too_short_says_so(client: SftpClient) -> None:
    source, target = client.open(b"/source"), client.open(b"/copy", CREATE)
    assert refused(client, copy_data(source, target, length=LARGE + 1)) is Status.EOF


def test_handles_of_the_wrong_kind(client: SftpClient) -> None:
    source, target = client.open(b"/source"), client.open(b"/copy", CREATE)
    directory = client.on_path(wire.Kind.OPENDIR, b"/").body
    for one, other, code in (
        (source, source, Status.FAILURE),
        (target, source, Status.OP_UNSUPPORTED),
        (source, b"none", Status.FAILURE),
        (directory, target, Status.FAILURE),
    ):
        assert refused(client, copy_data(one, other)) is code
    whole = copy_data(source, target).data
    for data in (b"", whole[:-1], whole + b"x"):
        assert refused(client, wire.Extended(0, b"copy-data", data)) is Status.BAD_MESSAGE
    client.close(target)


def test_a_store_that_fails_fails_the_copy_and_the_file(
    gateway: GatewayInMemory, client: SftpClient
) -> None:
    source, target = client.open(b"/source"), client.open(b"/copy", CREATE)
    gateway.store.fail("upload_part", StoreUnavailable("down"))
    assert refused(client, copy_data(source, target)) is Status.FAILURE
    with pytest.raises(SftpFailure):
        client.close(target)
    assert gateway.store.keys() == ["home/alice/source"]


def test_a_client_that_hangs_up_in_the_middle_publishes_nothing(
    gateway: GatewayInMemory, client: SftpClient
) -> None:
    gateway.store.seed("home/alice/source", 4 * DATA)
    source, target = client.open(b"/source"), client.open(b"/copy", CREATE)
    gate = gateway.store.hold("upload_part")
    request = client.send(copy_data(source, target))
    assert request not in client.replies
    assert gateway.budget.held_bytes < 3 * LARGE
    client.drop()
    gate.open()
    result_of(gateway.transfers.idle())
    gateway.assert_idle()
    assert gateway.store.keys() == ["home/alice/source"]


def test_a_source_that_is_closed_in_the_middle_is_copied_first(
    gateway: GatewayInMemory, client: SftpClient
) -> None:
    source, target = client.open(b"/source"), client.open(b"/copy", CREATE)
    gate = gateway.store.hold("get")
    copier = client.send(copy_data(source, target, offset=LARGE // 2))
    closing = client.send(wire.OnHandle(Kind.CLOSE, 0, source))
    assert closing not in client.replies
    gate.open()
    client.pump()
    client.answer(copier)
    client.answer(closing)
    client.close(target)
    assert (
        gateway.store.content("home/alice/copy")
        == gateway.store.content("home/alice/source")[LARGE // 2 :]
    )
