"""rclone's sftp backend, which compares sizes, times and sums, and copies what differs.

That it keeps the times that it sets, and sums with --checksum, is in test_times and test_scp.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tests.interop.spawning import Account, Bucket, Client, program
from tests.interop.trees import (
    LARGE,
    LONG_AGO,
    MIB,
    SIZES,
    content,
    demand_copied,
    demand_stored,
    make_file,
    make_tree,
    stored_time,
)

Run = Callable[..., str]
NOTHING = "There was nothing to transfer"


def words(alice: Client) -> list[str]:
    return [program("rclone"), "--config", str(alice.folder / "rclone.conf"), "--retries=1"]


@pytest.fixture
def rclone(alice: Client, account: Account) -> Run:
    """Runs rclone with a remote ``to:`` that is told what it must be; what it prints."""
    config = alice.folder / "rclone.conf"
    config.write_text(
        f"[to]\ntype = sftp\nhost = 127.0.0.1\nport = {alice.gateway.port}\nuser = alice\n"
        f"key_file = {account.key_file}\n"
    )

    def run(*arguments: str, ok: bool = True) -> str:
        level = "INFO" if arguments[0] in ("copy", "sync", "move", "check") else "ERROR"
        done = alice.run([*words(alice), f"--log-level={level}", *arguments])
        assert (done.returncode == 0) is ok, done.stdout
        return done.stdout

    return run


def test_a_tree_is_synced_and_checked(alice: Client, rclone: Run, bucket: Bucket) -> None:
    tree = make_tree(alice.folder / "tree")
    rclone("sync", "tree", "to:rc-sync")
    demand_stored(bucket, "alice/rc-sync", tree)
    assert NOTHING in rclone("sync", "tree", "to:rc-sync")
    (tree / "small.txt").unlink()
    make_file(tree / "two words/other.txt", 78, LONG_AGO + 50)
    rclone("sync", "tree", "to:rc-sync")
    demand_stored(bucket, "alice/rc-sync", tree)
    assert "4 matching files" in rclone("check", "tree", "to:rc-sync")
    rclone("sync", "to:rc-sync", "back")
    demand_copied(tree, alice.folder / "back")
    assert NOTHING in rclone("sync", "to:rc-sync", "back")


def test_rclone_works_without_a_shell_and_without_times(
    alice: Client, rclone: Run, bucket: Bucket
) -> None:
    """For accounts that may not change what they have uploaded: nothing but sizes is compared."""
    tree = make_tree(alice.folder / "tree")
    flags = ["--sftp-shell-type=none", "--sftp-disable-hashcheck", "--sftp-set-modtime=false"]
    rclone("sync", *flags, "--size-only", "tree", "to:rc-plain")
    demand_stored(bucket, "alice/rc-plain", tree, times=False)
    assert stored_time(bucket, f"alice/rc-plain/{LARGE}") is None
    assert NOTHING in rclone("sync", *flags, "--size-only", "tree", "to:rc-plain")
    rclone("check", *flags, "--download", "tree", "to:rc-plain")


def test_single_files_are_copied_and_moved(alice: Client, rclone: Run, bucket: Bucket) -> None:
    data = make_file(alice.folder / "up", 9 * MIB)
    rclone("copyto", "up", "to:rc-files/one")
    rclone("moveto", "to:rc-files/one", "to:rc-files/below/two")
    assert bucket.body("alice/rc-files/below/two") == data
    assert stored_time(bucket, "alice/rc-files/below/two") == LONG_AGO
    rclone("copyto", "to:rc-files/below/two", "down")
    assert (alice.folder / "down").read_bytes() == data
    rclone("moveto", "up", "to:rc-files/three")
    assert not (alice.folder / "up").exists()
    keys = ["", "below/", "below/two", "three"]
    assert bucket.keys("alice/rc-files/") == [f"alice/rc-files/{key}" for key in keys]


def test_a_folder_is_moved(alice: Client, rclone: Run, bucket: Bucket) -> None:
    tree = make_tree(alice.folder / "tree")
    rclone("copy", "tree", "to:rc-before")
    rclone("move", "to:rc-before", "to:rc-after")
    demand_stored(bucket, "alice/rc-after", tree)
    assert bucket.keys("alice/rc-before") == []


def test_lsl_lists_names_sizes_and_times(alice: Client, rclone: Run, bucket: Bucket) -> None:
    make_tree(alice.folder / "tree")
    rclone("copy", "tree", "to:rc-list")
    listed = {}
    for line in rclone("lsl", "to:rc-list").splitlines():
        size, day, clock, name = line.strip().split(maxsplit=3)
        listed[name] = (int(size), datetime.fromisoformat(f"{day} {clock[:8]}").astimezone(UTC))
    assert listed == {
        name: (size, datetime.fromtimestamp(LONG_AGO + number, UTC))
        for number, (name, size) in enumerate(SIZES.items())
    }
    assert "deep/er/" in rclone("lsf", "-R", "to:rc-list")
    rclone("touch", "--timestamp", "2001-09-09T01:46:40", "to:rc-list/small.txt")
    assert stored_time(bucket, "alice/rc-list/small.txt") == 1_000_000_000
    rclone("purge", "to:rc-list")
    assert bucket.keys("alice/rc-list") == []
    rclone("lsl", "to:rc-list", ok=False)


def test_a_stream_of_unknown_length(alice: Client, rclone: Run, bucket: Bucket) -> None:
    data = make_file(alice.folder / "up", 6 * MIB)
    rclone("copyto", "up", "to:rc-stream")
    done = alice.run(
        ["sh", "-c", '"$@" cat to:rc-stream | "$@" rcat to:rc-rcat', "", *words(alice)]
    )
    assert done.returncode == 0, done.stdout
    assert bucket.body("alice/rc-rcat") == data


def test_many_streams_for_one_file(alice: Client, rclone: Run, bucket: Bucket) -> None:
    data = content(21 * MIB)
    bucket.put("alice/rc-streams", data)
    rclone("copy", "--multi-thread-cutoff=5M", "--multi-thread-streams=4", "to:rc-streams", "down")
    assert (alice.folder / "down/rc-streams").read_bytes() == data


def test_a_full_answer_to_what_is_missing(rclone: Run) -> None:
    assert "directory not found" in rclone("ls", "to:rc-never-was", ok=False)
    rclone("copyto", "to:rc-never-was", "down", ok=False)
