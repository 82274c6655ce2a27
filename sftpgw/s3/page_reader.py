"""Parses pages of lists without holding up the reactor.

Knows: how many bytes of a page one iteration of the reactor takes.
Must not know: what a page contains, or who waits for it.

A page of 1,000 keys takes ten milliseconds of CPU, and one client can ask for hundreds of them at
once. So pages are parsed in pieces, one piece in each iteration, however many pages wait; they take
turns. A short page is parsed at once.
"""

from __future__ import annotations

from typing import TypeVar

from sftpgw.aio.cooperate import StepQueue
from sftpgw.model.clock import Clock
from sftpgw.model.units import KIB
from sftpgw.wire.s3xml import PageParser

AT_ONCE_BYTES = 8 * KIB
"""A quarter of a millisecond: as much as the rest of a request costs."""

PIECE_BYTES = 64 * KIB
"""Two milliseconds."""

Page = TypeVar("Page")


class PageReader:
    """Parses the pages of the process.

    :param clock: whose iterations are meant; nothing is timed.
    """

    def __init__(self, clock: Clock) -> None:
        self._steps = StepQueue(clock)

    async def read(self, parser: PageParser[Page], document: bytes) -> Page:
        """The page of a document.

        :param parser: a new one.
        :param document: the whole response.
        :raises MalformedDocument: it is something else
        """
        if len(document) <= AT_ONCE_BYTES:
            return parser.parse(document)
        for start in range(0, len(document), PIECE_BYTES):
            await self._steps.next_step()
            parser.feed(document[start : start + PIECE_BYTES])
        return parser.finish()
