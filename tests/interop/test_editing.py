"""Files that exist already: overwritten, resumed, appended to and edited by real programs."""

from __future__ import annotations

import os
import random
import shlex
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from tests.interop.spawning import Account, Bucket, Client, Gateway, connect, program
from tests.needs import needs

MIB = 1024 * 1024
SIZES = [0, 100, 4 * MIB, 6 * MIB, 21 * MIB]


def content(size_bytes: int, seed: str = "") -> bytes:
    return random.Random(f"{size_bytes}{seed}").randbytes(size_bytes)


@pytest.fixture
def alice(gateway: Gateway, account: Account, tmp_path: Path) -> Client:
    return Client(gateway, account, tmp_path)


@pytest.fixture
def sftp(gateway: Gateway, account: Account) -> Iterator[paramiko.SFTPClient]:
    with connect(gateway, username="alice", password=account.password) as client:
        yield client.open_sftp()


@pytest.fixture(autouse=True)
def nothing_is_left(bucket: Bucket) -> Iterator[None]:
    yield
    assert bucket.uploads("alice/") == []


class TestOpenSsh:
    @needs("openssh")
    @pytest.mark.parametrize("first", SIZES[1:])
    @pytest.mark.parametrize("second", SIZES)
    def test_scp_over_a_file(self, alice: Client, bucket: Bucket, first: int, second: int) -> None:
        bucket.put("alice/scp", content(first, "old"))
        (alice.folder / "up").write_bytes(content(second))
        alice.scp("up", ":scp")
        assert bucket.body("alice/scp") == content(second)

    @needs("lftp", "openssh")
    @pytest.mark.parametrize("stored", [1, 4 * MIB, 9 * MIB])
    @pytest.mark.parametrize("command", ["reput up resumed", "put -a up resumed"])
    def test_an_upload_goes_on(
        self, alice: Client, bucket: Bucket, stored: int, command: str
    ) -> None:
        data = content(20 * MIB)
        (alice.folder / "up").write_bytes(data)
        bucket.put("alice/resumed", data[:stored])
        alice.sftp(command)
        assert bucket.body("alice/resumed") == data

    @needs("openssh")
    def test_a_download_goes_on(self, alice: Client, bucket: Bucket) -> None:
        data = content(9 * MIB)
        bucket.put("alice/down", data)
        (alice.folder / "down").write_bytes(data[: 5 * MIB])
        alice.sftp("reget down")
        assert (alice.folder / "down").read_bytes() == data


@needs("lftp", "openssh")
class TestLftp:
    @pytest.mark.parametrize("stored", [1, 4 * MIB, 9 * MIB])
    def test_an_upload_goes_on(self, alice: Client, bucket: Bucket, stored: int) -> None:
        data = content(20 * MIB)
        (alice.folder / "up").write_bytes(data)
        # lftp believes a file of another size only if it is not newer than its own.
        os.utime(alice.folder / "up", (1_500_000_000, 1_500_000_000))
        bucket.put("alice/lftp", data[:stored])
        lines = [
            "set cmd:fail-exit yes",
            "set net:max-retries 1",
            "set sftp:connect-program "
            + shlex.quote(" ".join(["ssh", "-a", "-x", *alice.account.key_options])),
            f"open -u alice, -p {alice.gateway.port} sftp://127.0.0.1",
            "put -c up -o lftp",
        ]
        done = alice.run([program("lftp"), "--norc", "-c", "; ".join(lines)])
        assert done.returncode == 0, done.stdout
        assert bucket.body("alice/lftp") == data


class TestParamiko:
    @pytest.mark.parametrize("size", [100, 4 * MIB, 12 * MIB])
    def test_a_file_is_read_and_written_through_one_handle(
        self, sftp: paramiko.SFTPClient, bucket: Bucket, size: int
    ) -> None:
        model = bytearray(content(size))
        bucket.put("alice/both", bytes(model))
        with sftp.open("both", "r+") as file:
            file.seek(size // 2)
            file.write(b"edited")
            model[size // 2 : size // 2 + 6] = b"edited"
            file.seek(0)
            assert file.read(50) == model[:50]
            file.seek(size // 2 - 10)
            assert file.read(30) == model[size // 2 - 10 : size // 2 + 20]
            file.seek(0, 2)
            assert file.tell() == size
            assert file.read(10) == b""
        assert bucket.body("alice/both") == model

    def test_scattered_edits_are_stored(self, sftp: paramiko.SFTPClient, bucket: Bucket) -> None:
        model = bytearray(content(30 * MIB))
        bucket.put("alice/scattered", bytes(model))
        with sftp.open("scattered", "r+") as file:
            for offset in (29 * MIB, 3, 12 * MIB, 8 * MIB - 2, 20 * MIB):
                file.seek(offset)
                file.write(b"12345")
                model[offset : offset + 5] = b"12345"
        assert bucket.body("alice/scattered") == model

    def test_reading_only_changes_nothing(self, sftp: paramiko.SFTPClient, bucket: Bucket) -> None:
        data = content(9 * MIB)
        bucket.put("alice/untouched", data)
        before = bucket.client.head_object(
            Bucket=bucket.name, Key=f"{bucket.prefix}alice/untouched"
        )
        with sftp.open("untouched", "r+") as file:
            file.prefetch()
            assert file.read() == data
        after = bucket.client.head_object(Bucket=bucket.name, Key=f"{bucket.prefix}alice/untouched")
        assert after["LastModified"] == before["LastModified"]

    @pytest.mark.parametrize("size", [0, 100, 7 * MIB])
    @pytest.mark.parametrize("mode", ["a", "a+"])
    def test_appended_bytes_go_to_the_end(
        self, sftp: paramiko.SFTPClient, bucket: Bucket, size: int, mode: str
    ) -> None:
        bucket.put("alice/log", content(size))
        for line in (b"one\n", b"two\n"):
            with sftp.open("log", mode) as file:
                file.write(line)
        assert bucket.body("alice/log") == content(size) + b"one\ntwo\n"

    @pytest.mark.parametrize("mode", ["w", "w+"])
    def test_an_open_that_truncates_starts_again(
        self, sftp: paramiko.SFTPClient, bucket: Bucket, mode: str
    ) -> None:
        bucket.put("alice/again", content(100))
        with sftp.open("again", mode) as file:
            file.write(b"new")
            if mode == "w+":
                file.seek(1)
                assert file.read() == b"ew"
        assert bucket.body("alice/again") == b"new"

    def test_an_exclusive_open_fails_on_a_file(
        self, sftp: paramiko.SFTPClient, bucket: Bucket
    ) -> None:
        with sftp.open("only", "w+x") as file:
            file.write(b"first")
            file.seek(0)
            assert file.read() == b"first"
        with pytest.raises(OSError, match="exists"):
            sftp.open("only", "wx")
        assert bucket.body("alice/only") == b"first"

    @pytest.mark.parametrize("size", [0, 10, 6 * MIB, 9 * MIB, 9 * MIB + 100])
    def test_a_file_is_truncated(
        self, sftp: paramiko.SFTPClient, bucket: Bucket, size: int
    ) -> None:
        data = content(9 * MIB)
        expected = data[:size] + bytes(max(0, size - len(data)))
        bucket.put("alice/cut", data)
        sftp.truncate("cut", size)
        assert bucket.body("alice/cut") == expected
        bucket.put("alice/cut", data)
        with sftp.open("cut", "r+") as file:
            file.truncate(size)
            assert file.stat().st_size == size
        assert bucket.body("alice/cut") == expected
