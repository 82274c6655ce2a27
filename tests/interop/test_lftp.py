"""lftp, which keeps many requests under way and mirrors trees."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.interop.spawning import Account, Bucket, Client, Gateway, program


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


def test_everyday_commands(client: Client, bucket: Bucket) -> None:
    (client.folder / "up").write_bytes(b"hello")
    printed = lftp(
        client,
        "mkdir lftp",
        "cd lftp",
        "pwd",
        "put up",
        "mv up renamed",
        "cls -1",
        "cat renamed",
        "rm renamed",
        "cd ..",
        "rmdir lftp",
    )
    assert "/lftp" in printed
    assert "renamed\n" in printed
    assert "hello" in printed
    assert bucket.keys("alice/lftp/") == []


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
