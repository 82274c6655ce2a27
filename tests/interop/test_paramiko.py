"""paramiko, as scripts use it."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import paramiko
import pytest

from tests.interop.spawning import Account, Bucket, Gateway, connect
from tests.interop.trees import (
    LONG_AGO,
    MIB,
    content,
    demand_copied,
    demand_stored,
    make_file,
    make_tree,
    stored_time,
)


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


@pytest.mark.parametrize("confirm", [True, False])
def test_large_files_with_their_progress(
    sftp: paramiko.SFTPClient, bucket: Bucket, tmp_path: Path, confirm: bool
) -> None:
    """`confirm` compares the size by a STAT behind the CLOSE."""
    data = make_file(tmp_path / "up", 17 * MIB + 1)
    seen: list[tuple[int, int]] = []
    sftp.put(str(tmp_path / "up"), "progress", lambda *at: seen.append(at), confirm=confirm)
    assert seen[-1] == (len(data), len(data))
    assert bucket.body("alice/progress") == data
    for prefetch in (True, False) if confirm else (True,):
        sftp.get("progress", str(tmp_path / "down"), prefetch=prefetch)
        assert (tmp_path / "down").read_bytes() == data
    assert bucket.uploads("alice/progress") == []


def test_reading_ahead_and_here_and_there(sftp: paramiko.SFTPClient, bucket: Bucket) -> None:
    data = content(9 * MIB)
    bucket.put("alice/ahead", data)
    with sftp.open("ahead") as file:
        file.prefetch(len(data), max_concurrent_requests=64)
        file.seek(5 * MIB)
        assert file.read(100) == data[5 * MIB : 5 * MIB + 100]
        file.seek(0)
        assert file.read(len(data)) == data
    with sftp.open("ahead") as file:
        wanted = [(8 * MIB, 1000), (3, 40_000), (9 * MIB - 5, 100), (MIB, 5)]
        assert list(file.readv(wanted)) == [data[at : at + size] for at, size in wanted]


def test_pipelined_writes_are_stored(sftp: paramiko.SFTPClient, bucket: Bucket) -> None:
    data = content(9 * MIB)
    with sftp.open("pipelined", "wb") as file:
        file.set_pipelined(True)
        for at in range(0, len(data), MIB):
            file.write(data[at : at + MIB])
    assert bucket.body("alice/pipelined") == data


def test_a_tree_with_its_times(sftp: paramiko.SFTPClient, bucket: Bucket, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree")
    sftp.mkdir("pm-tree")
    sftp.chdir("pm-tree")
    for path in sorted(tree.rglob("*")):
        name = str(path.relative_to(tree))
        if path.is_dir():
            sftp.mkdir(name, 0o750)
        else:
            sftp.put(str(path), name)
            sftp.utime(name, (LONG_AGO, path.stat().st_mtime))
    demand_stored(bucket, "alice/pm-tree", tree)
    fetch(sftp, ".", tmp_path / "back")
    demand_copied(tree, tmp_path / "back")
    sftp.posix_rename("small.txt", "empty")
    assert sftp.stat("empty").st_size == 1000
    with pytest.raises(OSError, match="exists"):
        sftp.rename("empty", "two words/other.txt")
    with pytest.raises(OSError, match="link"):
        sftp.symlink("empty", "link")
    assert stored_time(bucket, "alice/pm-tree/empty") == LONG_AGO + 1


def fetch(sftp: paramiko.SFTPClient, folder: str, target: Path) -> None:
    """What scripts do, since paramiko has no command for it."""
    target.mkdir()
    for found in list(sftp.listdir_iter(folder)):  # it stands no other request in between
        name = f"{folder}/{found.filename}"
        if found.longname.startswith("d"):
            fetch(sftp, name, target / found.filename)
            continue
        sftp.get(name, str(target / found.filename))
        os.utime(target / found.filename, (found.st_atime, found.st_mtime))


def test_stat_tells_the_size_and_seek_reads_there(sftp: paramiko.SFTPClient) -> None:
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


def test_directories_are_made_listed_and_removed(sftp: paramiko.SFTPClient) -> None:
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
