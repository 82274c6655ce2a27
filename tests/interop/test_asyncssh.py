"""asyncssh, which copies many blocks of many files at once. Its scp is in test_scp."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from tests.interop.spawning import CLIENT_SECONDS, Account, Bucket, Client, Gateway
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

KIB = 1024
SIZE_BYTES = 8 * KIB * KIB + 1


def test_packets_as_large_as_ours(
    gateway: Gateway, account: Account, bucket: Bucket, tmp_path: Path
) -> None:
    """One packet of channel data, 256 KiB, fills what waits for TCP: that is no offence."""
    data = random.Random(SIZE_BYTES).randbytes(SIZE_BYTES)
    (tmp_path / "up").write_bytes(data)
    job = put_and_get(gateway.port, account, tmp_path, max_packet_bytes=256 * KIB)
    asyncio.run(asyncio.wait_for(job, CLIENT_SECONDS))
    assert bucket.body("alice/large-packets") == data
    assert (tmp_path / "down").read_bytes() == data


async def put_and_get(port: int, account: Account, folder: Path, max_packet_bytes: int) -> None:
    options = {"window": 16 * KIB * KIB, "max_pktsize": max_packet_bytes}
    async with session(port, account, **options) as sftp:
        await sftp.put(str(folder / "up"), "large-packets")
        await sftp.get("large-packets", str(folder / "down"))


@asynccontextmanager
async def session(
    port: int, account: Account, **options: Any
) -> AsyncIterator[asyncssh.SFTPClient]:
    login: dict[str, Any] = {"username": "alice", "client_keys": [str(account.key_file)]}
    login |= {"known_hosts": None, "agent_path": None, "config": [], **options}
    async with (
        asyncssh.connect("127.0.0.1", port, **login) as connection,
        connection.start_sftp_client() as sftp,
    ):
        yield sftp


Job = Callable[[asyncssh.SFTPClient], Awaitable[None]]


@pytest.fixture
def run(alice: Client) -> Callable[[Job], None]:
    """Runs something in a session of alice's."""

    async def whole(job: Job) -> None:
        async with session(alice.gateway.port, alice.account) as sftp:
            await job(sftp)

    return lambda job: asyncio.run(asyncio.wait_for(whole(job), CLIENT_SECONDS))


@pytest.mark.parametrize(("block_bytes", "at_once"), [(16 * KIB, 128), (256 * KIB, 4), (-1, -1)])
def test_blocks_side_by_side(
    alice: Client, bucket: Bucket, run: Callable[[Job], None], block_bytes: int, at_once: int
) -> None:
    """They may arrive in any order: that is what ``reorder_allowance`` is for."""
    data = make_file(alice.folder / "up", 17 * MIB + 1)
    options: dict[str, Any] = {"block_size": block_bytes, "max_requests": at_once}

    async def job(sftp: asyncssh.SFTPClient) -> None:
        await sftp.put(str(alice.folder / "up"), "blocks", **options)
        await sftp.get("blocks", str(alice.folder / "down"), **options)

    run(job)
    assert bucket.body("alice/blocks") == data
    assert (alice.folder / "down").read_bytes() == data
    assert bucket.uploads("alice/blocks") == []


def test_many_files_at_once(alice: Client, bucket: Bucket, run: Callable[[Job], None]) -> None:
    folder = alice.folder / "many"
    for number in range(20):
        make_file(folder / f"{number}.dat", number * 50_000)
    (alice.folder / "down").mkdir()

    async def job(sftp: asyncssh.SFTPClient) -> None:
        await sftp.mkdir("many-at-once")
        names = [path.name for path in folder.iterdir()]
        await asyncio.gather(*(sftp.put(str(folder / n), f"many-at-once/{n}") for n in names))
        target = alice.folder / "down"
        await asyncio.gather(*(sftp.get(f"many-at-once/{n}", str(target / n)) for n in names))

    run(job)
    demand_stored(bucket, "alice/many-at-once", folder, times=False)
    demand_copied(folder, alice.folder / "down", times=False)


def test_patterns_and_trees_are_copied(
    alice: Client, bucket: Bucket, run: Callable[[Job], None]
) -> None:
    tree = make_tree(alice.folder / "tree")
    (alice.folder / "down").mkdir()

    async def job(sftp: asyncssh.SFTPClient) -> None:
        await sftp.makedirs("ash/tree")
        options = {"recurse": True, "preserve": True}
        await sftp.mput(str(tree / "*"), "ash/tree", **options)
        await sftp.mget("ash/tr*", str(alice.folder / "down"), **options)
        await sftp.put(str(tree), "ash/put", **options)
        await sftp.get("ash/put", str(alice.folder / "back"), **options)
        assert sorted(await sftp.glob("ash/tree/*/*.txt")) == ["ash/tree/two words/other.txt"]
        assert (await sftp.stat("ash/put/small.txt")).mtime == LONG_AGO + 1
        await sftp.rmtree("ash/put")
        assert not await sftp.exists("ash/put")

    run(job)
    demand_stored(bucket, "alice/ash/tree", tree)
    demand_copied(tree, alice.folder / "down/tree")
    demand_copied(tree, alice.folder / "back")
    assert bucket.keys("alice/ash/put") == []


def test_a_file_is_changed(alice: Client, bucket: Bucket, run: Callable[[Job], None]) -> None:
    data = content(9 * MIB)
    bucket.put("alice/ash-file", data)

    async def job(sftp: asyncssh.SFTPClient) -> None:
        async with sftp.open("ash-file", "r+b") as file:
            await file.write(b"edited", 5 * MIB)
            assert (
                await file.read(10, 5 * MIB - 2)
                == data[5 * MIB - 2 : 5 * MIB] + b"edited" + (data[5 * MIB + 6 : 5 * MIB + 8])
            )
        async with sftp.open("ash-file", "ab") as file:
            await file.write(b"end")
        await sftp.truncate("ash-file", 9 * MIB + 1)
        await sftp.utime("ash-file", (LONG_AGO, LONG_AGO))
        await sftp.posix_rename("ash-file", "ash-renamed")
        with pytest.raises(asyncssh.SFTPError, match="exists"):
            async with sftp.open("ash-renamed", "xb"):
                pass

    run(job)
    expected = data[: 5 * MIB] + b"edited" + data[5 * MIB + 6 :] + b"e"
    assert bucket.body("alice/ash-renamed") == expected
    assert stored_time(bucket, "alice/ash-renamed") == LONG_AGO


def test_copies_on_the_gateway(alice: Client, bucket: Bucket, run: Callable[[Job], None]) -> None:
    """By ``copy-data``. (What remote_copy opens by its path it never closes: nothing is stored.)"""
    data = content(9 * MIB)
    bucket.put("alice/ash-from", data)

    async def job(sftp: asyncssh.SFTPClient) -> None:
        assert sftp.supports_remote_copy
        await sftp.copy("ash-from", "ash-to", remote_only=True)
        assert (await sftp.statvfs("/")).bavail > 0
        assert (await sftp.listdir("/")).count("ash-to") == 1

    run(job)
    assert bucket.body("alice/ash-to") == data
