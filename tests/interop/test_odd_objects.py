"""What is in a bucket and no SFTP client has put there: odd keys, other programs' metadata."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import paramiko
import pytest

from tests.interop.spawning import Account, Bucket, Gateway, connect, wait_until


@pytest.fixture
def sftp(gateway: Gateway, account: Account) -> Iterator[paramiko.SFTPClient]:
    with (
        connect(gateway, username="alice", password=account.password) as client,
        client.open_sftp() as sftp,
    ):
        yield sftp


def test_keys_that_no_path_can_name_are_passed_over(
    sftp: paramiko.SFTPClient, bucket: Bucket, gateway: Gateway, assume: Callable[..., None]
) -> None:
    assume("empty-segments", "dot-segments")
    for key in ("//x", "/./y", "/../z", "/ok", "/a\ttab", "/ü +%"):
        bucket.put(f"alice/odd{key}", key.encode())
    assert sorted(sftp.listdir("odd")) == ["a\ttab", "ok", "ü +%"]
    wait_until(lambda: gateway.lines_with("keys-skipped"))
    (line,) = gateway.lines_with("keys-skipped")
    assert "count=3" in line
    for name in ("a\ttab", "ok", "ü +%"):
        with sftp.open(f"odd/{name}") as file:
            assert file.read() == f"/{name}".encode()
    # Their paths mean other keys, and there is nothing.
    for path in ("odd//x", "odd/./y", "odd/no/../z"):
        with pytest.raises(FileNotFoundError):
            sftp.stat(path)
        with pytest.raises(FileNotFoundError):
            sftp.listdir(path)
    assert sftp.stat("odd//").st_mode == sftp.stat("odd").st_mode


def test_a_folder_with_nothing_that_can_be_named_is_empty_and_is_not_removed(
    sftp: paramiko.SFTPClient, bucket: Bucket, assume: Callable[..., None]
) -> None:
    assume("empty-segments")
    bucket.put("alice/nameless//x", b"kept")
    assert sftp.listdir("nameless") == []
    with pytest.raises(OSError, match="not empty"):
        sftp.rmdir("nameless")
    assert bucket.body("alice/nameless//x") == b"kept"


def test_setting_a_time_keeps_what_others_have_stored_with_an_object(
    sftp: paramiko.SFTPClient, bucket: Bucket, lacks: frozenset[str]
) -> None:
    key = bucket.prefix + "alice/described"
    storage_class = "STANDARD" if "infrequent-access" in lacks else "STANDARD_IA"
    tagging = {} if "tags-of-copies" in lacks else {"Tagging": "a=b&c=d"}
    bucket.client.put_object(
        Bucket=bucket.name,
        Key=key,
        Body=b"data",
        Metadata={"note": "kept", "mtime": "1500000000.5"},
        ContentType="text/x-test",
        CacheControl="no-store",
        StorageClass=storage_class,
        **tagging,
    )
    assert sftp.stat("described").st_mtime == 1_500_000_000
    sftp.utime("described", (5, 1_400_000_000))
    assert sftp.stat("described").st_mtime == 1_400_000_000
    found = bucket.client.head_object(Bucket=bucket.name, Key=key)
    assert found["Metadata"] == {"note": "kept", "mtime": "1400000000"}
    assert (found["ContentType"], found["CacheControl"]) == ("text/x-test", "no-store")
    assert found.get("StorageClass", "STANDARD") == storage_class
    if tagging:
        tags = bucket.client.get_object_tagging(Bucket=bucket.name, Key=key)["TagSet"]
        assert {tag["Key"]: tag["Value"] for tag in tags} == {"a": "b", "c": "d"}
    assert bucket.body("alice/described") == b"data"


def test_archived_files_are_shown_as_they_are_and_neither_read_nor_renamed(
    sftp: paramiko.SFTPClient, bucket: Bucket, assume: Callable[..., None]
) -> None:
    assume("archives")
    bucket.client.put_object(
        Bucket=bucket.name,
        Key=bucket.prefix + "alice/frozen/file",
        Body=b"data",
        Metadata={"mtime": "1500000000"},
        StorageClass="GLACIER",
    )
    (listed,) = sftp.listdir_attr("frozen")
    assert (listed.st_size, listed.st_mtime) == (4, 1_500_000_000)
    assert sftp.stat("frozen/file").st_size == 4
    with pytest.raises(PermissionError, match="archive"), sftp.open("frozen/file") as file:
        file.read()
    for rename in (sftp.rename, sftp.posix_rename):
        with pytest.raises(PermissionError, match="archive"):
            rename("frozen/file", "frozen/other")
    sftp.utime("frozen/file", (5, 5))  # [files] setstat = ignore
    assert sftp.listdir("frozen") == ["file"]
    assert sftp.stat("frozen/file").st_mtime == 1_500_000_000
    sftp.remove("frozen/file")
