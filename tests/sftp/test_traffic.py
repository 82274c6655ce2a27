"""What the log tells of bytes: a file's size, what a client sent and was sent, and what for."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from sftpgw.errors import AccessDenied
from sftpgw.model.settings import FilesSettings, OnDisconnect, StoreSettings
from sftpgw.model.units import KIB
from sftpgw.testing.sftp_sessions import CREATE, GatewayInMemory, SftpClient, SftpFailure
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, OpenFlag, Status

PART_BYTES = 64 * KIB
DATA = bytes(range(256)) * 800  # 200 KiB: four parts
TOTALS = ("received_bytes", "sent_bytes", "copied_bytes", "hashed_bytes")


@pytest.fixture
def gateway() -> Iterator[GatewayInMemory]:
    gateway = GatewayInMemory(
        settings=StoreSettings(bucket="bucket", part_size_bytes=PART_BYTES),
        files=FilesSettings(on_disconnect=OnDisconnect.RESUME),
    )
    yield gateway
    gateway.assert_idle()


def told(gateway: GatewayInMemory, event: str) -> dict[str, object]:
    """The last such event, without what is not about bytes."""
    facts = dict(gateway.events.facts(event)[-1])
    for name in ("session", "peer", "user", "key", "seconds", "reason", "path", "bucket", "etag"):
        facts.pop(name, None)
    return facts


def totals(client: SftpClient) -> list[object]:
    client.drop()
    (closed,) = client.pair.events.facts("session-closed")
    return [closed[name] for name in TOTALS]


def edit(client: SftpClient, flags: int, *writes: tuple[int, bytes]) -> None:
    handle = client.open(b"/f", flags)
    for offset, data in writes:
        client.write(handle, offset, data)
    client.close(handle)


def copied(client: SftpClient, source: bytes, target: bytes) -> None:
    """copy-data of a whole file, one step a reactor iteration."""
    read, write = client.open(source), client.open(target, CREATE)
    ranges = struct.pack(">QQ", 0, 0), struct.pack(">Q", 0)
    wanted = wire.string(read) + ranges[0] + wire.string(write) + ranges[1]
    client.extended(b"copy-data", wanted)
    client.close(read)
    client.close(write)


def hashed(client: SftpClient, subject: bytes, *, by: bytes) -> None:
    ranges = struct.pack(">QQL", 0, 0, 0)
    asked = client.send(wire.Extended(0, by, wire.string(subject) + wire.string(b"md5") + ranges))
    while asked not in client.replies:
        client.pair.clock.advance(0)
        client.pump()
    client.answer(asked)


WRITE = OpenFlag.WRITE


class TestWritten:
    def test_an_uploads_bytes_are_counted(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        client.put(b"/f", DATA)
        expected = {"bytes": len(DATA), "purpose": "upload", "received_bytes": len(DATA)}
        assert told(gateway, "file-stored") == expected
        assert totals(client) == [len(DATA), 0, 0, 0]

    def test_bytes_that_are_sent_twice_are_received_twice(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        edit(client, CREATE, (0, b"abc"), (0, b"xyz"))
        expected = {"bytes": 3, "purpose": "upload", "received_bytes": 6}
        assert told(gateway, "file-stored") == expected
        assert totals(client)[0] == 6

    @pytest.mark.parametrize(
        ("flags", "offset"), [(WRITE, len(DATA)), (WRITE | OpenFlag.APPEND, 0)]
    )
    def test_five_bytes_behind_a_stored_file(
        self, gateway: GatewayInMemory, client: SftpClient, flags: int, offset: int
    ) -> None:
        client.put(b"/f", DATA)
        edit(client, flags, (offset, b"12345"))
        expected = {"bytes": len(DATA) + 5, "purpose": "resume", "received_bytes": 5}
        assert told(gateway, "file-stored") == expected
        assert totals(client)[0] == len(DATA) + 5

    def test_five_bytes_in_a_stored_file(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        client.put(b"/f", DATA)
        edit(client, WRITE, (7, b"12345"))
        expected = {"bytes": len(DATA), "purpose": "edit", "received_bytes": 5}
        assert told(gateway, "file-stored") == expected
        client.drop()

    def test_a_stored_file_is_cut(self, gateway: GatewayInMemory, client: SftpClient) -> None:
        client.put(b"/f", DATA)
        client.ask(wire.ChangePath(Kind.SETSTAT, 0, b"/f", {"size": 9}))
        expected = {"bytes": 9, "purpose": "edit", "received_bytes": 0}
        assert told(gateway, "file-stored") == expected
        client.drop()

    def test_a_copys_bytes_are_counted(self, gateway: GatewayInMemory, client: SftpClient) -> None:
        client.put(b"/f", DATA)
        copied(client, b"/f", b"/g")
        size = len(DATA)
        expected = {"bytes": size, "purpose": "copy", "received_bytes": 0, "copied_bytes": size}
        assert told(gateway, "file-stored") == expected
        read = {"of": size, "bytes": size, "purpose": "copy", "sent_bytes": 0, "copied_bytes": size}
        assert told(gateway, "file-read") == read
        assert totals(client) == [size, 0, size, 0]

    def test_an_upload_that_is_cut_off_and_goes_on(self, gateway: GatewayInMemory) -> None:
        first = gateway.log_in()
        handle = first.open(b"/f", CREATE)
        first.write(handle, 0, DATA[:100_000])
        assert totals(first)[0] == 100_000
        gateway.clock.advance(0)
        kept = told(gateway, "partial-kept")
        kept_bytes = kept.pop("bytes")
        assert isinstance(kept_bytes, int)
        assert kept == {"purpose": "upload", "received_bytes": 100_000}
        expected = {"bytes": 100_000, "purpose": "upload", "received_bytes": 100_000}
        assert told(gateway, "upload-abandoned") == expected
        second = gateway.log_in()
        rest = DATA[kept_bytes:]
        edit(second, WRITE, (kept_bytes, rest))
        expected = {"bytes": len(DATA), "purpose": "resume", "received_bytes": len(rest)}
        assert told(gateway, "file-stored") == expected
        assert totals(second)[0] == len(rest)

    def test_an_upload_that_fails(self, gateway: GatewayInMemory, client: SftpClient) -> None:
        gateway.store.fail("put", AccessDenied("no", code="AccessDenied", status=403))
        with pytest.raises(SftpFailure):
            client.put(b"/f", b"12345")
        facts = told(gateway, "upload-failed")
        assert (facts["received_bytes"], facts["purpose"]) == (5, "upload")
        assert totals(client)[0] == 5


class TestRead:
    def test_a_downloads_bytes_are_counted(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        client.put(b"/f", DATA)
        client.get(b"/f")
        size = len(DATA)
        expected = {"bytes": size, "of": size, "purpose": "download", "sent_bytes": size}
        assert told(gateway, "file-read") == expected
        assert totals(client) == [size, size, 0, 0]

    def test_a_digest_is_no_download(self, gateway: GatewayInMemory, client: SftpClient) -> None:
        client.put(b"/f", DATA)
        hashed(client, b"/f", by=b"check-file-name")
        size = len(DATA)
        expected = {
            "bytes": size,
            "of": size,
            "purpose": "hash",
            "sent_bytes": 0,
            "hashed_bytes": size,
        }
        assert told(gateway, "file-read") == expected
        assert totals(client) == [size, 0, 0, size]

    def test_one_handle_counts_bytes_both_ways(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        client.put(b"/f", DATA)
        handle = client.open(b"/f")
        hashed(client, handle, by=b"check-file-handle")
        client.read(handle, 5, 3)
        client.close(handle)
        facts = told(gateway, "file-read")
        assert facts["bytes"] == len(DATA) + 3
        assert (facts["sent_bytes"], facts["hashed_bytes"]) == (3, len(DATA))
        assert totals(client) == [len(DATA), 3, 0, len(DATA)]

    def test_through_the_handle_that_writes(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        client.put(b"/f", DATA)
        handle = client.open(b"/f", OpenFlag.READ | WRITE)
        client.write(handle, 10, b"12345")
        assert client.read(handle, 11, 3) == b"234"  # from memory
        assert client.read(handle, 0, 20) == DATA[:10] + b"12345" + DATA[15:20]  # from both
        client.close(handle)
        stored = told(gateway, "file-stored")
        assert stored["received_bytes"] == 5
        assert stored["sent_bytes"] == 23
        assert told(gateway, "file-read") == {"bytes": 15, "of": len(DATA), "purpose": "edit"}
        assert totals(client) == [len(DATA) + 5, 23, 0, 0]

    def test_bytes_of_files_that_are_still_open_count(self, client: SftpClient) -> None:
        client.put(b"/f", DATA)
        handle = client.open(b"/f")
        client.read(handle, 0, 1000)
        assert totals(client)[1] == 1000

    def test_the_end_of_a_file_is_no_byte(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        client.put(b"/f", b"")
        with pytest.raises(SftpFailure) as caught:
            client.read(client.open(b"/f"), 0, 10)
        assert caught.value.code is Status.EOF
        assert totals(client) == [0, 0, 0, 0]


class TestCommands:
    def test_scp_bytes_are_counted_both_ways(self, gateway: GatewayInMemory) -> None:
        sink = gateway.open_command(b"scp -t /f")
        line = b"C0644 5 f\n"
        sink.say(line + b"12345\0")
        sink.end_input()
        assert sink.status == 0
        expected = {"bytes": 5, "purpose": "upload", "received_bytes": 5}
        assert told(gateway, "file-stored") == expected
        ended = told(gateway, "command-ended")
        assert ended["input_bytes"] == len(line) + 6
        assert ended["output_bytes"] == 3  # a word each: it is here, I want the file, I have it
        source = gateway.open_command(b"scp -f /f")
        source.say(b"\0\0\0")
        source.end_input()
        assert told(gateway, "file-read")["sent_bytes"] == 5
        ended = told(gateway, "command-ended")
        assert (ended["input_bytes"], ended["output_bytes"]) == (3, len(line) + 6)
        for command, received_bytes, sent_bytes in ((sink, 5, 0), (source, 0, 5)):
            command.drop()
            (closed,) = command.pair.events.facts("session-closed")
            assert [closed[name] for name in TOTALS] == [received_bytes, sent_bytes, 0, 0]

    def test_a_sums_bytes_are_counted_as_hashed(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        client.put(b"/f", DATA)
        client.drop()
        command = gateway.open_command(b"md5sum /f")
        assert command.status == 0
        facts = told(gateway, "file-read")
        assert (facts["purpose"], facts["sent_bytes"]) == ("hash", 0)
        assert told(gateway, "command-ended")["output_bytes"] == 32 + len(b"  /f\n")
        command.drop()
        (closed,) = command.pair.events.facts("session-closed")
        assert [closed[name] for name in TOTALS] == [0, 0, 0, len(DATA)]
