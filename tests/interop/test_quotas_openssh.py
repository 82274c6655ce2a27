"""OpenSSH's programs, as a user who may store a mebibyte."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.spawning import Account, Bucket, Client, Gateway
from tests.needs import needs

pytestmark = needs("openssh")

KIB = 1024
SETTING = "users.ini quota_bytes"


@pytest.fixture
def bounded(gateway: Gateway, account: Account, bucket: Bucket, tmp_path: Path) -> Iterator[Client]:
    client = Client(gateway, account, tmp_path, "bounded")
    for size_kib in (4, 200, 600, 800, 1025):
        (tmp_path / f"{size_kib}k").write_bytes(b"x" * size_kib * KIB)
    yield client
    names = client.sftp("ls -1").split("\n")
    client.sftp(*(f"-rm {name}" for name in names if name.endswith("k")), "-rm shelf/*")


def df(client: Client, path: str = "/") -> list[int]:
    """What ``df`` shows of a path: size, used and available, in KiB."""
    told = client.sftp(f"df {path}")
    figures = told.splitlines()[-1].split()
    return [int(each) for each in figures[:3]]


def refused(client: Client, event: str) -> str:
    """The last line of the log about a refusal of this user's."""
    client.gateway.settle()
    return client.gateway.lines_with(f" {event} ")[-1]


def test_df_shows_the_quota_and_uploads_stop_there(bounded: Client, bucket: Bucket) -> None:
    assert df(bounded) == [1024, 0, 1024]
    bounded.sftp("put 600k")
    assert df(bounded) == [1024, 600, 424]
    bounded.sftp("put 800k", ok=False)  # it shows "Failure", and not the text
    assert SETTING in refused(bounded, "upload-failed")
    assert bucket.keys("bounded/") == ["bounded/600k"]
    assert df(bounded) == [1024, 600, 424], "what a failed upload has sent is given back"
    bounded.sftp("rm 600k", "put 800k")
    assert df(bounded) == [1024, 800, 224]
    (bounded.folder / "other").write_bytes(b"y" * 1024 * KIB)
    bounded.sftp("put other 800k")
    assert df(bounded) == [1024, 1024, 0]
    bounded.sftp("put 4k", ok=False)
    told = refused(bounded, "request-refused")
    assert "/4k: no space is left in the quota: 1048576 of 1048576 bytes" in told
    bounded.sftp("rename 800k 900k", "put 200k 900k")
    assert df(bounded) == [1024, 200, 824]


def test_a_mount_has_a_quota_of_its_own(bounded: Client) -> None:
    assert df(bounded, "/shelf") == [256, 0, 256]
    bounded.sftp("put 200k shelf/a", "put 600k")
    assert df(bounded, "/shelf") == [256, 200, 56]
    bounded.sftp("rename 600k shelf/b", ok=False)
    assert f"{SETTING} /shelf" in refused(bounded, "request-refused")
    assert df(bounded, "/shelf") == [256, 200, 56]
    bounded.sftp("rename shelf/a 200k")
    assert df(bounded, "/shelf") == [256, 0, 256]
    assert df(bounded) == [1024, 800, 224]


@pytest.mark.parametrize("options", [[], ["-O"]], ids=["sftp", "classic"])
def test_scp_is_refused(bounded: Client, options: list[str]) -> None:
    told = bounded.scp(*options, "1025k", ":1025k", ok=False)
    if options:
        assert "no space is left in the quota" in told
        assert SETTING in told
    bounded.scp(*options, "800k", ":800k")
    assert df(bounded) == [1024, 800, 224]


def test_copies_on_the_server_count(bounded: Client) -> None:
    bounded.sftp("put 600k")
    bounded.sftp("cp 600k 601k", ok=False)
    assert df(bounded) == [1024, 600, 424]
