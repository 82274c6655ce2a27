"""The paths that the words of a command line name.

Knows: patterns over a user's tree, segment by segment.
Must not know: what is done with the paths.

Rules

1. A word without a pattern names one path, whether it exists or not. A pattern that matches
   nothing names itself, as in a shell, so that the error shows it.
2. Directories are listed one after the other, and matches are yielded as they come, in the order
   of their names: nothing is collected, however many match.
3. A path behind a pattern (``*/x``) is a match only if it exists.
4. One word lists at most `MAX_LISTED` directories. Comparing names pauses after each
   `STEPS_PER_ITERATION` steps.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from itertools import takewhile

from sftpgw.errors import InvalidPath, LimitReached, NoSuchFile, NotADirectory
from sftpgw.model.filesystem import DirectoryEntry, FileKind, FileTree
from sftpgw.scp.glob.plan import Pattern
from sftpgw.wire.shell import Word

MAX_LISTED = 1000
STEPS_PER_ITERATION = 50_000
NAMES_BYTES = 16 * 1024
"""How long the names are together that are unpacked at once of one directory."""

MAX_PATTERNS = 16
"""The segments of one word that may be patterns."""


Pause = Callable[[], Awaitable[None]]


async def expand(
    tree: FileTree, words: Iterable[Word], pause: Pause
) -> AsyncGenerator[bytes, None]:
    """The paths that `words` name, in order.

    :param tree: the user's files.
    :param words: the words.
    :param pause: lets the reactor serve other sessions.
    :raises FileError, StoreError: a directory cannot be listed.
    """
    for word in words:
        found = False
        if word.pattern is not None:
            async with aclosing(_Walk(tree, word.pattern, pause).matches()) as paths:
                async for path in paths:
                    found = True
                    yield path
        if not found:
            yield word.text


class _Walk:
    """Walks the tree along one pattern.

    :raises InvalidPath: the pattern is not UTF-8.
    :raises LimitReached: too many of its segments are patterns.
    """

    def __init__(self, tree: FileTree, pattern: bytes, pause: Pause) -> None:
        self._tree = tree
        self._pause = pause
        self._listed = 0
        self._steps = 0
        try:
            segments = pattern.decode("utf-8").split("/")
        except UnicodeDecodeError:
            raise InvalidPath("the pattern is not valid UTF-8") from None
        self._base = b"" if segments[0] else b"/"
        self._wants_directory = not segments[-1]
        self._patterns = [Pattern(segment) for segment in segments if segment]
        if sum(pattern.literal is None for pattern in self._patterns) > MAX_PATTERNS:
            raise LimitReached(f"more than {MAX_PATTERNS} patterns in one path")

    def matches(self) -> AsyncGenerator[bytes, None]:
        return self._matches_under(self._base, self._patterns)

    async def _matches_under(
        self, base: bytes, patterns: list[Pattern]
    ) -> AsyncGenerator[bytes, None]:
        """The paths under `base` that match. `base` is empty or ends with a slash."""
        literals = list(takewhile(lambda pattern: pattern.literal is not None, patterns))
        base += b"/".join((pattern.literal or "").encode() for pattern in literals)
        patterns = patterns[len(literals) :]
        if not patterns:
            if await self._exists(base):
                yield base
            return
        first, rest = patterns[0], patterns[1:]
        base += b"/" if literals else b""
        async with aclosing(self._entries(base)) as entries:
            async for entry in entries:
                if not await self._matches(first, entry.name):
                    continue
                path = base + entry.name.encode()
                is_directory = entry.attributes.kind is FileKind.DIRECTORY
                if rest and is_directory:
                    async with aclosing(self._matches_under(path + b"/", rest)) as deeper:
                        async for found in deeper:
                            yield found
                elif not rest and (is_directory or not self._wants_directory):
                    yield path

    async def _matches(self, pattern: Pattern, name: str) -> bool:
        self._steps += pattern.steps(name)
        if self._steps > STEPS_PER_ITERATION:
            self._steps = 0
            await self._pause()
        return pattern.matches(name)

    async def _entries(self, path: bytes) -> AsyncGenerator[DirectoryEntry, None]:
        self._listed += 1
        if self._listed > MAX_LISTED:
            raise LimitReached(f"the pattern leads into more than {MAX_LISTED} directories")
        try:
            reader = await self._tree.open_directory(path or b".")
        except (NoSuchFile, NotADirectory):
            return
        try:
            while entries := await reader.next_entries(NAMES_BYTES):
                for entry in entries:
                    yield entry
        finally:
            reader.close()

    async def _exists(self, path: bytes) -> bool:
        try:
            wanted = path + b"/" if self._wants_directory else path
            return await self._tree.stat(wanted) is not None
        except (NoSuchFile, NotADirectory):
            return False
