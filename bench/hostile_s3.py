"""A proxy in front of an S3 that can be slow, and answers with poison where it is asked to.

Knows: the heads of HTTP requests. Must not know: S3's operations, or the gateway.

``python -m bench.hostile_s3 HOST PORT LATENCY_SECONDS`` prints its port. It passes each request
on after the latency. Where the target has `ERRORS` in it, the answer is an error of 16 MiB, and
where it has `ENDLESS`, a page of a listing without names that promises a next page.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

ERRORS, ENDLESS = b"hostile-errors", b"hostile-endless"
ERROR_BYTES = 16 * 2**20
PIECE_BYTES = 256 * 1024
MAX_HEAD_BYTES = 64 * 1024
BACKLOG = 4096

_ERROR_PIECE = b"<A><B>x</B></A>"
ERROR = b"<Error><Code>AccessDenied</Code>%s</Error>" % (
    _ERROR_PIECE * (ERROR_BYTES // len(_ERROR_PIECE))
)
PAGE = (
    b'<?xml version="1.0"?><ListBucketResult><Name>b</Name><KeyCount>0</KeyCount>'
    b"<MaxKeys>1000</MaxKeys><IsTruncated>true</IsTruncated>"
    b"<NextContinuationToken>again</NextContinuationToken></ListBucketResult>"
)


def response(status: bytes, body: bytes) -> bytes:
    """A response after which the connection is closed."""
    return (
        b"HTTP/1.1 %s\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n"
        b"Connection: close\r\n\r\n%s" % (status, len(body), body)
    )


FORBIDDEN = response(b"403 Forbidden", ERROR)


def poison_for(target: bytes) -> bytes | None:
    """What a request with this target gets; None if it is passed on."""
    if ERRORS in target:
        return FORBIDDEN
    if ENDLESS in target:
        return response(b"200 OK", PAGE)
    return None


def content_bytes(head: bytes) -> int:
    """The length of the body behind a request's head."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


class Proxy:
    """Serves connections.

    :param latency_seconds: how long each request waits before it is passed on.
    """

    def __init__(self, host: str, port: int, latency_seconds: float) -> None:
        self._host, self._port, self._latency_seconds = host, port, latency_seconds

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it."""
        tasks: set[asyncio.Task[None]] = set()
        with suppress(OSError, EOFError, asyncio.LimitOverrunError):
            try:
                await self._requests(reader, writer, tasks)
            finally:
                for task in tasks:
                    task.cancel()
                writer.close()

    async def _requests(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        tasks: set[asyncio.Task[None]],
    ) -> None:
        behind: asyncio.StreamWriter | None = None
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await asyncio.sleep(self._latency_seconds)
                poison = poison_for(head.split(b" ", 2)[1])
                if poison is not None:
                    for start in range(0, len(poison), PIECE_BYTES):  # most are not waited for
                        writer.write(memoryview(poison)[start : start + PIECE_BYTES])
                        await writer.drain()
                    return
                if behind is None:
                    back, behind = await asyncio.open_connection(
                        self._host, self._port, limit=PIECE_BYTES
                    )
                    tasks.add(asyncio.create_task(_pump(back, writer)))
                behind.write(head)
                await _copy(reader, behind, content_bytes(head))
        finally:
            if behind is not None:
                behind.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int) -> None:
    while left:
        data = await reader.read(min(left, PIECE_BYTES))
        if not data:
            raise EOFError
        left -= len(data)
        writer.write(data)
        await writer.drain()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on all that comes, then the end."""
    with suppress(OSError):
        while data := await reader.read(PIECE_BYTES):
            writer.write(data)
            await writer.drain()
        writer.close()


async def main(host: str, port: int, latency_seconds: float) -> None:
    """Serve until standard input ends."""
    proxy = Proxy(host, port, latency_seconds)
    server = await asyncio.start_server(
        proxy.serve, "127.0.0.1", 0, limit=MAX_HEAD_BYTES, backlog=BACKLOG
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    async with server:
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
