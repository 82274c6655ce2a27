"""WinSCP's uploads, resumes, downloads and comparisons of folders (`tests.sftp.winscp`)."""

from __future__ import annotations

import random

import pytest

from sftpgw.model.settings import FilesSettings, OnDisconnect, StoreSettings
from sftpgw.model.units import MIB
from sftpgw.testing.sftp_sessions import GatewayInMemory
from tests.sftp.winscp import UPLOAD_QUEUE, WinScp

SECONDS = 1_600_000_000
LARGE = random.Random(1).randbytes(2 * MIB + 12_345)
SMALL = b"small" * 1000
SMALLEST_SUSPENDED_BYTES = 5 * MIB


@pytest.fixture
def gateway() -> GatewayInMemory:
    return GatewayInMemory(
        settings=StoreSettings(bucket="bucket", part_size_bytes=5 * MIB),
        files=FilesSettings(on_disconnect=OnDisconnect.RESUME),
    )


@pytest.fixture(params=[False, True], ids=["remove and rename", "posix-rename"])
def renames_over(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.mark.parametrize("queue", [1, UPLOAD_QUEUE, 32])
@pytest.mark.parametrize("data", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
def test_an_upload_has_its_bytes_and_its_time(
    gateway: GatewayInMemory, data: bytes, queue: int, renames_over: bool
) -> None:
    client = gateway.log_in()
    WinScp(client, queue=queue, renames_over=renames_over).upload(b"/f", data, SECONDS)
    assert gateway.store.content("home/alice/f") == data
    assert client.stat(b"/f")["mtime"] == SECONDS
    assert client.listdir(b"/") == [b"f"]
    client.drop()
    gateway.assert_idle()


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_an_upload_takes_the_place_of_a_file(
    gateway: GatewayInMemory, data: bytes, renames_over: bool
) -> None:
    client = gateway.log_in()
    client.put(b"/f", b"before")
    WinScp(client, renames_over=renames_over).upload(b"/f", data, SECONDS)
    assert gateway.store.content("home/alice/f") == data
    assert client.stat(b"/f")["mtime"] == SECONDS
    assert client.listdir(b"/") == [b"f"]


def test_an_upload_goes_on_where_it_was_cut_off(
    gateway: GatewayInMemory, renames_over: bool
) -> None:
    """The half file is asked for by its name, and only what is missing of it is sent."""
    data = random.Random(2).randbytes(13 * MIB)
    WinScp(gateway.log_in(), queue=32).begin(b"/f", data, 12 * MIB)
    gateway.clock.advance(0)
    client = gateway.log_in()
    kept_bytes = client.stat(b"/f.filepart")["size"]
    assert SMALLEST_SUSPENDED_BYTES <= kept_bytes <= 12 * MIB
    WinScp(client, queue=32, renames_over=renames_over).upload(b"/f", data, SECONDS)
    assert gateway.store.content("home/alice/f") == data
    assert client.listdir(b"/") == [b"f"]
    received = [each["received_bytes"] for each in gateway.events.facts("file-stored")]
    assert received[0] == len(data) - kept_bytes


def test_a_download_is_closed_while_reads_are_outstanding(gateway: GatewayInMemory) -> None:
    client = gateway.log_in()
    client.put(b"/f", LARGE)
    assert WinScp(client).download(b"/f") == LARGE
    client.drop()
    gateway.assert_idle()


def test_folders_that_are_alike_compare_so(gateway: GatewayInMemory) -> None:
    """The times that it has set are those that it finds; otherwise it sends all files anew."""
    client = gateway.log_in()
    winscp = WinScp(client)
    client.mkdir(b"/d")
    sent = {b"%03d" % each: b"x" * each for each in range(250)}
    for number, (name, data) in enumerate(sent.items()):
        winscp.upload(b"/d/" + name, data, SECONDS + number)
    expected = {
        name: (len(data), SECONDS + number) for number, (name, data) in enumerate(sent.items())
    }
    assert winscp.compare(b"/d") == expected
