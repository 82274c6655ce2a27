"""paramiko, as scripts use it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from io import BytesIO

import paramiko
import pytest

from tests.interop.spawning import Account, Bucket, Gateway, connect


@pytest.fixture
def sftp(gateway: Gateway, account: Account) -> Iterator[paramiko.SFTPClient]:
    client = connect(gateway, username="alice", password=account.password)
    with client, client.open_sftp() as sftp:
        yield sftp


def test_a_key_opens_too(gateway: Gateway, account: Account) -> None:
    with connect(gateway, username="alice", key_filename=str(account.key_file)) as client:
        assert client.open_sftp().normalize(".") == "/"


def test_a_wrong_password_does_not(gateway: Gateway) -> None:
    with pytest.raises(paramiko.AuthenticationException):
        connect(gateway, username="alice", password="wrong")
    with pytest.raises(paramiko.AuthenticationException):
        connect(gateway, username="nobody", password="x" * 100)


@pytest.mark.parametrize("size_bytes", [0, 5, 10_000_000])
def test_a_file_goes_up_and_down(
    sftp: paramiko.SFTPClient, bucket: Bucket, size_bytes: int
) -> None:
    data = random.Random(size_bytes).randbytes(size_bytes)
    name = f"paramiko-{size_bytes}"
    assert sftp.putfo(BytesIO(data), name).st_size == size_bytes
    assert bucket.body(f"alice/{name}") == data
    down = BytesIO()
    sftp.getfo(name, down)
    assert down.getvalue() == data


def test_stat_and_seek(sftp: paramiko.SFTPClient) -> None:
    data = random.Random(2).randbytes(3_000_000)
    sftp.putfo(BytesIO(data), "seekable")
    sftp.chmod("seekable", 0o600)
    sftp.utime("seekable", None)
    assert sftp.stat("seekable").st_size == len(data)
    with sftp.open("seekable", "rb") as file:
        file.seek(2_999_990)
        assert file.read() == data[-10:]
        file.seek(1_000_000)
        assert file.read(100) == data[1_000_000:1_000_100]


def test_an_exclusive_create_fails_on_a_file(sftp: paramiko.SFTPClient, bucket: Bucket) -> None:
    with sftp.open("exclusive", "wx") as file:
        file.write(b"first")
    with pytest.raises(OSError, match=r".+"), sftp.open("exclusive", "wx") as file:
        file.write(b"second")
    assert bucket.body("alice/exclusive") == b"first"


def test_directories(sftp: paramiko.SFTPClient) -> None:
    sftp.mkdir("folder")
    with sftp.open("folder/file", "w") as file:
        file.write("text")
    assert sftp.listdir("folder") == ["file"]
    with pytest.raises(OSError, match=r".+"):
        sftp.rmdir("folder")
    sftp.rename("folder/file", "folder/other")
    sftp.remove("folder/other")
    sftp.rmdir("folder")
    with pytest.raises(FileNotFoundError):
        sftp.listdir("folder")


@pytest.mark.parametrize("path", ["never/was", "a\0b", "x" * 2000])
def test_a_bad_path_is_an_error_and_not_the_end(sftp: paramiko.SFTPClient, path: str) -> None:
    with pytest.raises(OSError, match=r".+"):
        sftp.stat(path)
    assert sftp.normalize("..") == "/"
