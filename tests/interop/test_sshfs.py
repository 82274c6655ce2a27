"""sshfs: renames by programs that believe in a disk. Needs FUSE; skipped without."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.spawning import (
    NO_HOST_FILE,
    QUIET,
    Account,
    Bucket,
    Gateway,
    program,
    wait_until,
)


@pytest.fixture
def mounted(gateway: Gateway, account: Account, tmp_path: Path, bucket: Bucket) -> Iterator[Path]:
    """A folder of alice's own, as a file system."""
    sshfs = program("sshfs")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("no FUSE here: /dev/fuse cannot be opened")
    folder = tmp_path / f"on-{tmp_path.name}"
    folder.mkdir()
    bucket.put(f"alice/{folder.name}/", b"")
    key = ["-o", f"IdentityFile={account.key_file}", "-o", "IdentitiesOnly=yes"]
    command = [sshfs, "-f", "-p", str(gateway.port), *QUIET, *NO_HOST_FILE, *key]
    mounting = subprocess.Popen(
        [*command, f"alice@127.0.0.1:/{folder.name}", str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_until(lambda: folder.is_mount() or mounting.poll() is not None)
    if mounting.poll() is not None:
        said, _ = mounting.communicate()
        if "fuse" in said and "permitted" in said:
            pytest.skip(f"no FUSE here: {said.strip()}")
        pytest.fail(said)
    yield folder
    subprocess.run(["fusermount3", "-u", str(folder)], check=True)
    mounting.communicate(timeout=20)


def keys(bucket: Bucket, mounted: Path) -> list[str]:
    """What is stored below the mounted folder."""
    prefix = f"alice/{mounted.name}/"
    return [key.removeprefix(prefix) for key in bucket.keys(prefix)]


def test_moving_files_and_folders(mounted: Path, bucket: Bucket) -> None:
    (mounted / "trip" / "day").mkdir(parents=True)
    (mounted / "trip" / "one").write_bytes(b"one")
    (mounted / "trip" / "day" / "two").write_bytes(b"two" * 100_000)
    subprocess.run(["mv", "trip", "journey"], cwd=mounted, check=True)
    assert sorted(path.name for path in mounted.rglob("*")) == ["day", "journey", "one", "two"]
    assert (mounted / "journey" / "day" / "two").read_bytes() == b"two" * 100_000
    subprocess.run(["mv", "journey/one", "journey/day/two"], cwd=mounted, check=True)
    assert keys(bucket, mounted) == ["", "journey/", "journey/day/", "journey/day/two"]
    assert bucket.body(f"alice/{mounted.name}/journey/day/two") == b"one"


def test_a_file_is_saved_as_editors_do(mounted: Path, bucket: Bucket) -> None:
    """Written beside the old one, closed, and renamed over it at once."""
    target = mounted / "text"
    for version in range(5):
        beside = mounted / ".text.new"
        beside.write_bytes(b"version %d" % version)
        beside.rename(target)
        assert target.read_bytes() == b"version %d" % version
    wait_until(lambda: keys(bucket, mounted) == ["", "text"])


def test_renamed_and_removed_while_it_is_written(mounted: Path, bucket: Bucket) -> None:
    with (mounted / "one").open("wb") as renamed, (mounted / "two").open("wb") as removed:
        renamed.write(b"content")
        removed.write(b"content")
        renamed.flush()
        (mounted / "one").rename(mounted / "three")
        (mounted / "two").unlink()
    wait_until(lambda: "three" in keys(bucket, mounted))
    assert (mounted / "three").read_bytes() == b"content"
    assert not (mounted / "one").exists()
    assert "two" not in keys(bucket, mounted)
