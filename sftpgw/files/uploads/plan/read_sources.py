"""Where the bytes of a file that is being written are, for who reads it meanwhile.

Knows: what is here, what the object below has, what is gone.
Must not know: how the object below is read, or that somebody waits.

An open multipart upload cannot be read. So what was sent is readable until the store has
confirmed it, and then not before the file is closed; what was copied is where it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from sftpgw.errors import Unsupported
from sftpgw.files.uploads.plan.multipart import MultipartPlan
from sftpgw.files.uploads.plan.overlay import OverlayFile
from sftpgw.model.store import ByteRange
from sftpgw.model.units import Body, Buffer

Source: TypeAlias = Body | ByteRange
"""Bytes that are here, or a range of the object below."""


def sources(wanted: ByteRange, overlay: OverlayFile, multipart: MultipartPlan) -> Iterator[Source]:
    """The bytes of `wanted` in order; it ends within the file.

    :raises Unsupported: some were sent and are not here any more.
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
    """The bytes of `body` between two offsets, which nobody changes any more."""
    found: list[Buffer] = []
    at = 0
    for fragment in body:
        part = memoryview(fragment)[max(0, start - at) : max(0, stop - at)]
        if part:
            found.append(part)
        at += len(fragment)
    return tuple(found)
