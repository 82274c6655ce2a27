"""``md5sum`` and the like.

Knows: the lines that GNU coreutils print, which scripts and rclone read.
Must not know: how digests are computed (`files/digests`).

A line has the digest in hexadecimal, a blank, another blank (``*`` with ``-b``), and the name as
the command line has it. If the name has a backslash, a line feed or a carriage return, these are
escaped and the line begins with a backslash. ``-`` is the standard input.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from sftpgw.errors import GatewayError
from sftpgw.files.digests import ALGORITHMS, Digester
from sftpgw.model.filesystem import FileTree
from sftpgw.model.units import KIB
from sftpgw.scp.console import Console, InputEnded

STANDARD_INPUT = b"-"
STEP_BYTES = 256 * KIB

_ESCAPES = ((b"\\", b"\\\\"), (b"\n", b"\\n"), (b"\r", b"\\r"))


async def print_sums(
    console: Console,
    tree: FileTree,
    digester: Digester,
    algorithm: str,
    paths: AsyncIterator[bytes],
    *,
    is_binary: bool,
) -> int:
    """Print a line for each path.

    :param console: the command's input and output.
    :param tree: the user's files.
    :param digester: computes the digests.
    :param algorithm: as in `files.digests.ALGORITHMS`.
    :param paths: the files; ``-`` is the standard input.
    :param is_binary: whether ``-b`` was given.
    :returns: the exit status: 1 if a file could not be read.
    """
    command, path, status = f"{algorithm}sum", b"", 0
    try:
        # Not by anext() with a default: that of Python 3.11 unpacks a tuple that is awaited.
        async for path in paths:
            try:
                digest = await _digest_of(console, tree, digester, algorithm, path)
            except GatewayError as error:
                console.complain(f"{command}: {console.explain(error, path)}")
                status = 1
            else:
                console.write(sum_line(digest, path, is_binary=is_binary))
            await console.ready_to_write()
    except GatewayError as error:
        console.complain(f"{command}: {console.explain(error, path)}")
        return 1
    return status


def sum_line(digest: bytes, path: bytes, *, is_binary: bool = False) -> bytes:
    """The line for a file."""
    name = path
    for special, escape in _ESCAPES:
        name = name.replace(special, escape)
    mark = b"*" if is_binary else b" "
    return (b"\\" if name != path else b"") + digest.hex().encode() + b" " + mark + name + b"\n"


async def _digest_of(
    console: Console, tree: FileTree, digester: Digester, algorithm: str, path: bytes
) -> bytes:
    if path == STANDARD_INPUT:
        return await _digest_of_input(console, digester, algorithm)
    reader = await tree.open_reader(path)
    try:
        return await digester.digest_file(reader, algorithm)
    finally:
        reader.close()


async def _digest_of_input(console: Console, digester: Digester, algorithm: str) -> bytes:
    digest = ALGORITHMS[algorithm]()
    while True:
        try:
            buffers = await console.take(STEP_BYTES)
        except InputEnded:
            return digest.digest()
        await digester.next_step()
        for buffer in buffers:
            digest.update(buffer)
        console.credit(sum(map(len, buffers)))
