"""Parses pages of lists without holding up the reactor.

Knows: how many bytes of a page one turn takes.
Must not know: what a page contains.

A page of 1,000 keys takes ten milliseconds of CPU, and one client can ask for hundreds of them at
once. So pages are parsed in pieces, each in a turn of its own (`aio/work`). A short page is parsed
at once. The pages of one user are parsed one after the other: hundreds that are half done would be
a heap for which each full garbage collection takes 150 ms.
"""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.defer import DeferredLock

from sftpgw.aio.work.scheduler import WorkScheduler
from sftpgw.model.units import KIB
from sftpgw.wire.s3xml import PageParser

AT_ONCE_BYTES = 8 * KIB
"""A quarter of a millisecond: as much as the rest of a request costs."""

PIECE_BYTES = 64 * KIB
"""Two milliseconds."""

Page = TypeVar("Page")


class PageReader:
    """Parses the pages of the process.

    :param work: hands out the turns.
    """

    def __init__(self, work: WorkScheduler) -> None:
        self._work = work
        self._lines: dict[str, DeferredLock] = {}

    async def read(self, parser: PageParser[Page], document: bytes, user: str = "") -> Page:
        """The page of a document.

        :param parser: a new one.
        :param document: the whole response.
        :param user: whose CPU time it takes.
        :raises MalformedDocument: it is something else
        """
        if len(document) <= AT_ONCE_BYTES:
            return parser.parse(document)
        work = self._work.share(user)
        line = self._lines.setdefault(user, DeferredLock())
        try:
            async with line:
                for start in range(0, len(document), PIECE_BYTES):
                    await work.next_step("pages of lists")
                    parser.feed(document[start : start + PIECE_BYTES])
                return parser.finish()
        finally:
            if not line.locked:
                self._lines.pop(user, None)
