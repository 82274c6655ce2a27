"""Which bytes a READ of a file finds while the file is being written.

Knows: which bytes are here, which the base object has, which are gone.
Must not know: how the base object is read, or which READ waits.

An open multipart upload cannot be read. So bytes that were sent are readable until the store has
confirmed them, and then not before the file is closed; bytes that were copied are still in the
base object.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TypeAlias

from sftpgw.errors import Unsupported
from sftpgw.files.uploads.plan.multipart import MultipartPlan
from sftpgw.files.uploads.plan.overlay import OverlayFile
from sftpgw.model.store import ByteRange
from sftpgw.model.units import Body, Buffer

Source: TypeAlias = Body | ByteRange
"""Bytes that are here, or a range of the base object."""

MAX_SOURCES = 256
"""A READ of bytes more scattered than this gets the first of them, as SFTP allows."""


def first_sources(
    wanted: ByteRange, overlay: OverlayFile, multipart: MultipartPlan, *, has_earlier: bool
) -> tuple[Source, ...]:
    """Where the first bytes of `wanted` are, and in most cases all of them.

    :param wanted: a range that ends within the file.
    :param overlay: the file as it is now.
    :param multipart: the parts that are on their way to the store.
    :param has_earlier: whether the base is an open multipart upload, which cannot be read.
    :raises Unsupported: some bytes were sent and are not here any more.
    """
    found = tuple(islice(sources(wanted, overlay, multipart), MAX_SOURCES))
    if has_earlier and any(isinstance(source, ByteRange) for source in found):
        raise Unsupported(
            "the beginning of this file was sent over an earlier connection, and cannot be "
            "read before the file is closed"
        )
    return found


def sources(wanted: ByteRange, overlay: OverlayFile, multipart: MultipartPlan) -> Iterator[Source]:
    """Where the bytes of `wanted` are, in order.

    :param wanted: a range that ends within the file.
    :param overlay: the file as it is now.
    :param multipart: the parts that are on their way to the store.
    :raises Unsupported: some bytes were sent and are not here any more.
    """
    if wanted.start < overlay.cursor:
        yield from _sealed(ByteRange(wanted.start, min(wanted.stop, overlay.cursor)), multipart)
    if overlay.cursor < wanted.stop:
        yield from overlay.unsealed(ByteRange(max(wanted.start, overlay.cursor), wanted.stop))


def _sealed(wanted: ByteRange, multipart: MultipartPlan) -> Iterator[Source]:
    at = wanted.start
    while at < wanted.stop:
        part, copied = multipart.part_with(at), multipart.copied_with(at)
        if part is not None:
            stop = min(wanted.stop, part.offset + part.size_bytes)
            yield _slice(part.body, at - part.offset, stop - part.offset)
        elif copied is not None:
            stop = min(wanted.stop, copied.stop)
            yield ByteRange(at, stop)
        else:
            raise Unsupported(
                f"the bytes from {at} on have been sent to the store already, and cannot be read "
                "back before the file is closed"
            )
        at = stop


def _slice(body: Body, start: int, stop: int) -> Body:
    """The bytes of `body` between two offsets. They are sealed, so that views of them are safe."""
    found: list[Buffer] = []
    at = 0
    for fragment in body:
        part = memoryview(fragment)[max(0, start - at) : max(0, stop - at)]
        if part:
            found.append(part)
        at += len(fragment)
    return tuple(found)
