"""OpenSSH's programs and what users.ini says of paths: mounts, names, drop boxes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.spawning import Account, Bucket, Client, Gateway
from tests.needs import needs

pytestmark = needs("openssh")

CATALOGUE = ("catalogue/a.csv", "catalogue/b.exe")
REFUSED = ("rmdir catalogue", "rename catalogue x", "rmdir incoming", "get catalogue/b.exe")


@pytest.fixture
def partner(gateway: Gateway, account: Account, tmp_path: Path) -> Client:
    return Client(gateway, account, tmp_path, "partner")


@pytest.fixture
def bucket_of_partner(bucket: Bucket) -> Bucket:
    for key in ("partner/incoming/theirs", "partner/mine.csv", *CATALOGUE):
        bucket.put(key, key.encode())
    return bucket


def test_a_drop_box_takes_files_and_shows_none(partner: Client, bucket_of_partner: Bucket) -> None:
    bucket = bucket_of_partner
    (partner.folder / "f").write_bytes(b"mine")
    (partner.folder / "d").mkdir()
    (partner.folder / "d" / "g").write_bytes(b"inside")
    told = partner.sftp("cd /incoming", "ls -la", "put f", "put -r d", "ls -l")
    assert "theirs" not in told
    assert bucket.body("partner/incoming/f") == b"mine"
    assert bucket.body("partner/incoming/d/g") == b"inside"
    (partner.folder / "d" / "g").rename(partner.folder / "d" / "h")
    told = partner.sftp("ls -l /incoming", "put -r d /incoming")
    assert "theirs" not in told
    assert bucket.body("partner/incoming/d/h") == b"inside"
    for asked in ("get /incoming/theirs", "ls -l /incoming/theirs", "rm /incoming/theirs/"):
        partner.sftp(asked, ok=False)
    assert bucket.body("partner/incoming/theirs") == b"partner/incoming/theirs"


@pytest.mark.parametrize("options", [[], ["-O"]], ids=["sftp", "classic"])
def test_scp_uploads_to_a_drop_box(
    partner: Client, bucket_of_partner: Bucket, options: list[str]
) -> None:
    name = f"by-scp-{len(options)}"
    (partner.folder / name).write_bytes(b"mine")
    (partner.folder / f"d{name}").mkdir()
    (partner.folder / f"d{name}" / "g").write_bytes(b"inside")
    partner.scp(*options, name, ":/incoming/")
    partner.scp(*options, name, f":/incoming/{name}-2")
    partner.scp(*options, "-r", f"d{name}", ":/incoming/")
    assert bucket_of_partner.body(f"partner/incoming/{name}") == b"mine"
    assert bucket_of_partner.body(f"partner/incoming/{name}-2") == b"mine"
    assert bucket_of_partner.body(f"partner/incoming/d{name}/g") == b"inside"


def test_mounts_are_listed_and_read(partner: Client, bucket_of_partner: Bucket) -> None:
    told = partner.sftp("ls -1", "ls -1 catalogue", "get catalogue/a.csv", "get mine.csv")
    assert {"catalogue", "incoming", "mine.csv", "catalogue/a.csv"} <= set(told.split())
    assert "b.exe" not in told
    assert (partner.folder / "a.csv").read_bytes() == b"catalogue/a.csv"
    for refused in REFUSED:
        partner.sftp(refused, ok=False)
    done = partner.ssh("md5sum catalogue/a.csv")
    assert done.returncode == 0


def test_a_file_is_moved_between_mounts(partner: Client, bucket_of_partner: Bucket) -> None:
    (partner.folder / "f").write_bytes(b"mine")
    partner.sftp("put f /desk/f", "rename /desk/f /archive/f", "get /archive/f g")
    assert (partner.folder / "g").read_bytes() == b"mine"
    assert bucket_of_partner.body_if_any("desk/f") is None
    assert bucket_of_partner.body("archive/f") == b"mine"
