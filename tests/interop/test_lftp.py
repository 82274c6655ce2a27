"""lftp, which keeps many requests under way and mirrors trees."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.interop.spawning import Account, Bucket, Client, Gateway, program
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
from tests.needs import needs

pytestmark = needs("lftp", "openssh")


@pytest.fixture
def client(gateway: Gateway, account: Account, tmp_path: Path) -> Client:
    return Client(gateway, account, tmp_path)


def lftp(client: Client, *lines: str, ok: bool = True) -> str:
    """Run lftp commands; what they print."""
    connect = " ".join(["ssh", "-a", "-x", *client.account.key_options])
    script = [
        "set cmd:fail-exit yes",
        "set net:max-retries 1",
        "set net:timeout 30",
        f'set sftp:connect-program "{connect}"',
        f"open -u {client.user}, -p {client.gateway.port} sftp://127.0.0.1",
        *lines,
    ]
    done = client.run([program("lftp"), "--norc", "-c", "; ".join(script)])
    assert (done.returncode == 0) is ok, done.stdout
    return done.stdout


def test_a_file_goes_up_and_down(client: Client, bucket: Bucket) -> None:
    data = random.Random(1).randbytes(12_000_000)
    (client.folder / "up").write_bytes(data)
    lftp(client, "put up -o lftp-file", "get lftp-file -o down")
    assert bucket.body("alice/lftp-file") == data
    assert (client.folder / "down").read_bytes() == data


def test_everyday_commands_work(client: Client, bucket: Bucket) -> None:
    (client.folder / "up").write_bytes(b"hello")
    printed = lftp(
        client,
        "mkdir everyday",
        "cd everyday",
        "pwd",
        "put up",
        "mv up renamed",
        "cls -1",
        "cat renamed",
        "rm renamed",
        "cd ..",
        "rmdir everyday",
    )
    assert "/everyday" in printed
    assert "renamed\n" in printed
    assert "hello" in printed
    assert bucket.keys("alice/everyday/") == []


def test_a_tree_is_mirrored_both_ways(client: Client) -> None:
    tree = client.folder / "tree"
    (tree / "sub folder/ünïcode").mkdir(parents=True)
    (tree / "empty").touch()
    (tree / "sub folder/ünïcode/file").write_bytes(b"x" * 70_000)
    for number in range(20):
        (tree / f"file {number}").write_bytes(b"y" * number)
    lftp(client, "mirror -R --parallel=3 tree lftp-tree", "mirror --parallel=3 lftp-tree back")
    for path in tree.rglob("*"):
        copy = client.folder / "back" / path.relative_to(tree)
        assert copy.is_dir() if path.is_dir() else copy.read_bytes() == path.read_bytes()


def test_what_is_not_there_is_refused(client: Client) -> None:
    assert "No such file or directory" in lftp(client, "get never-was", ok=False)


def test_a_mirror_follows_what_changes(client: Client, bucket: Bucket) -> None:
    tree = make_tree(client.folder / "tree")
    lftp(client, "mirror -R --parallel=4 tree lftp-mirror")
    demand_stored(bucket, "alice/lftp-mirror", tree)
    (tree / "small.txt").unlink()
    make_file(tree / "two words/other.txt", 78)
    make_file(tree / "new/file", 6 * MIB, LONG_AGO + 100)
    lftp(client, "mirror -R --delete --parallel=4 tree lftp-mirror")
    demand_stored(bucket, "alice/lftp-mirror", tree)
    lftp(client, "mirror --parallel=2 --use-pget-n=3 lftp-mirror back")
    demand_copied(tree, client.folder / "back")


def test_a_file_comes_down_in_segments(client: Client, bucket: Bucket) -> None:
    data = content(21 * MIB + 7)
    bucket.put("alice/lftp-segments", data)
    lftp(client, "pget -n 4 lftp-segments -o down")
    assert (client.folder / "down").read_bytes() == data


@pytest.mark.parametrize("stored_bytes", [1, 5 * MIB, 9 * MIB])
def test_a_broken_download_is_resumed(client: Client, bucket: Bucket, stored_bytes: int) -> None:
    data = content(9 * MIB)
    bucket.put("alice/lftp-reget", data)
    (client.folder / "down").write_bytes(data[:stored_bytes])
    lftp(client, "get -c lftp-reget -o down")
    assert (client.folder / "down").read_bytes() == data


def test_an_upload_that_went_on_has_its_time(client: Client, bucket: Bucket) -> None:
    data = make_file(client.folder / "up", 12 * MIB)
    bucket.put("alice/lftp-reput", data[: 6 * MIB])
    lftp(client, "put -c up -o lftp-reput")
    assert bucket.body("alice/lftp-reput") == data
    assert stored_time(bucket, "alice/lftp-reput") == LONG_AGO
    assert bucket.uploads("alice/lftp-reput") == []


def test_many_files_by_patterns(client: Client, bucket: Bucket) -> None:
    tree = client.folder / "many"
    for number in range(30):
        make_file(tree / f"{number}.dat", number, LONG_AGO + number)
    make_file(tree / "keep.txt", 5)
    lftp(client, "mkdir lftp-many", "mput -O lftp-many many/*")
    demand_stored(bucket, "alice/lftp-many", tree)
    (client.folder / "back").mkdir()
    lftp(client, "mget -O back lftp-many/*")
    demand_copied(tree, client.folder / "back")
    assert lftp(client, "cls -1 lftp-many/*.dat").count(".dat\n") == 30
    lftp(client, "mrm lftp-many/*.dat")
    assert bucket.keys("alice/lftp-many/") == ["alice/lftp-many/", "alice/lftp-many/keep.txt"]
    lftp(client, "rm -r lftp-many")
    assert bucket.keys("alice/lftp-many") == []


def test_cls_lists_names_sizes_and_times(client: Client, bucket: Bucket) -> None:
    make_file(client.folder / "dated", 6 * MIB)
    printed = lftp(client, "mkdir lftp-list", "put -O lftp-list dated", "cls -l lftp-list")
    assert f" {6 * MIB} " in printed
    assert "2017" in printed
    assert "6.0M\tlftp-list" in lftp(client, "du -h lftp-list")
    assert "./dated" in lftp(client, "cd lftp-list", "find")
