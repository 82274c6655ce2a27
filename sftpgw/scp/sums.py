"""``md5sum`` and its kin.

Knows: the lines that GNU coreutils print, which scripts and rclone read.
Must not know: how digests are made (`files/digests`).

A line is the digest in hexadecimal, a blank, another one (``*`` with ``-b``), and the name as
it was given. If the name has a backslash, a line feed or a carriage return, these are escaped
and the line begins with a backslash. ``-`` is the standard input.
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
    """A line for each path; the exit status, which is 1 if one could not be read."""
    command, path, status = f"{algorithm}sum", b"", 0
    try:
        # Not by anext() with a default: Python 3.11's takes tuples apart that are waited for.
        async for path in paths:
            try:
                digest = await _digest_of(console, tree, digester, algorithm, path)
            except GatewayError as error:
                console.complain(f"{command}: {console.explained(error, path)}")
                status = 1
            else:
                console.write(sum_line(digest, path, is_binary=is_binary))
                await console.ready_to_write()
    except GatewayError as error:
        console.complain(f"{command}: {console.explained(error, path)}")
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
        return await digester.whole(reader, algorithm)
    finally:
        reader.close()


async def _digest_of_input(console: Console, digester: Digester, algorithm: str) -> bytes:
    digest = ALGORITHMS[algorithm]()
    while True:
        try:
            pieces = await console.take(STEP_BYTES)
        except InputEnded:
            return digest.digest()
        await digester.next_step()
        for piece in pieces:
            digest.update(piece)
        console.credit(sum(map(len, pieces)))
