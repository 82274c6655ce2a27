"""asyncssh with nothing behind it: ``python -m bench.null_asyncssh``, a peer to compare with.

Knows: asyncssh, as its authors ship it: its own defaults, no tuning.
Must not know: the gateway.

Takes its arguments, prints its port and ends as `bench.null_gateway` does.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from stat import S_IFDIR, S_IFREG

import asyncssh

from bench.filling import filling


class NullServer(asyncssh.SFTPServer):
    """A directory in which every name is a file of `size_bytes`; writes are dropped."""

    size_bytes = 0

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        return self

    def close(self, file_obj: object) -> None:
        """Nothing to publish."""

    def read(self, file_obj: object, offset: int, size: int) -> bytes:
        return filling(max(0, min(size, self.size_bytes - offset)))

    def write(self, file_obj: object, offset: int, data: bytes) -> int:
        return len(data)

    def stat(self, path: bytes) -> asyncssh.SFTPAttrs:
        if path == b"/":
            return asyncssh.SFTPAttrs(permissions=S_IFDIR | 0o755)
        return self.fstat(self)

    lstat = stat

    def fstat(self, file_obj: object) -> asyncssh.SFTPAttrs:
        return asyncssh.SFTPAttrs(size=self.size_bytes, permissions=S_IFREG | 0o644)

    def setstat(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> None:
        """Forget it."""

    def fsetstat(self, file_obj: object, attrs: asyncssh.SFTPAttrs) -> None:
        """Forget it."""

    def realpath(self, path: bytes) -> bytes:
        return b"/" if path == b"." else path


async def serve(public_key: str) -> None:
    """Listen until standard input ends."""
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        authorized_client_keys=asyncssh.import_authorized_keys(public_key),
        sftp_factory=NullServer,
    )
    print(server.get_port(), flush=True)  # noqa: T201 - the parent reads it
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


def main(folder: str, public_key: str, size_bytes: str) -> None:
    """As `bench.null_gateway.main`; needs nothing from the `folder` but that it is there."""
    assert Path(folder).is_dir()
    NullServer.size_bytes = int(size_bytes)
    asyncio.run(serve(public_key))


if __name__ == "__main__":
    main(*sys.argv[1:])
