"""asyncssh with settings that no other client has."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import asyncssh

from tests.interop.spawning import CLIENT_SECONDS, Account, Bucket, Gateway

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
    async with (
        asyncssh.connect(
            "127.0.0.1",
            port,
            username="alice",
            client_keys=[str(account.key_file)],
            known_hosts=None,
            agent_path=None,
            config=[],
            window=16 * KIB * KIB,
            max_pktsize=max_packet_bytes,
        ) as connection,
        connection.start_sftp_client() as sftp,
    ):
        await sftp.put(str(folder / "up"), "large-packets")
        await sftp.get("large-packets", str(folder / "down"))
