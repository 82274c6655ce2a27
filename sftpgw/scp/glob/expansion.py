"""The paths that the words of a command line name.

Knows: patterns over a user's tree, segment by segment.
Must not know: what is done with the paths.

Rules

1. A word without a pattern names one path, whether it exists or not. A pattern that matches
   nothing names itself, as in a shell, so that the error shows it.
2. Directories are listed one after the other, and matches are yielded as they come, in the order
   of their names: nothing is collected, however many match.
3. A path behind a pattern (``*/x``) is a match only if it exists.
4. The patterns of one command line list at most `MAX_LISTED` directories, lead to at most
   `MAX_PATHS` paths, and these have at most `MAX_PATHS_BYTES`. Paths that turn out not to exist
   count, too. A shell has such a bound as well (ARG_MAX, 2 MiB on Linux).
5. Comparing names pauses after `STEPS_PER_ITERATION` steps. Each path that is yielded counts as
   `STEPS_OF_A_PATH`: a caller that finds out at once that it may not read the file does not hold
   up other sessions either.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass

from sftpgw.errors import InvalidPath, LimitReached, NoSuchFile, NotADirectory
from sftpgw.model.filesystem import DirectoryEntry, FileKind, FileTree
from sftpgw.model.units import KIB, MIB
from sftpgw.scp.glob.plan import Pattern
from sftpgw.wire.shell import Word

MAX_LISTED = 1000
MAX_PATHS = 100_000
MAX_PATHS_BYTES = 16 * MIB
NAMES_BYTES = 16 * KIB
"""How long the names are together that are unpacked at once of one directory."""

MAX_PATTERNS = 16
"""The segments of one word that may be patterns."""

STEPS_PER_ITERATION = 10_000
"""Some milliseconds."""

STEPS_OF_A_NAME = 10
STEPS_OF_A_PATH = 500

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
    allowance = _Allowance(pause)
    for word in words:
        found = False
        if word.pattern is not None:
            async with aclosing(_Walk(tree, word.pattern, allowance).matches()) as paths:
                async for path in paths:
                    found = True
                    await allowance.work(STEPS_OF_A_PATH)
                    yield path
        if not found:
            await allowance.work(STEPS_OF_A_PATH)
            yield word.text


class _Allowance:
    """What the patterns of one command line may still do.

    :param pause: lets the reactor serve other sessions.
    """

    def __init__(self, pause: Pause) -> None:
        self._pause = pause
        self._steps = self._listed = self._paths = self._paths_bytes = 0

    async def work(self, steps: int) -> None:
        """Count work, and pause if it was enough for one iteration."""
        self._steps += steps
        if self._steps > STEPS_PER_ITERATION:
            self._steps = 0
            await self._pause()

    def list_directory(self) -> None:
        """:raises LimitReached: the patterns have listed too many directories."""
        self._listed += 1
        if self._listed > MAX_LISTED:
            raise LimitReached(f"the patterns lead into more than {MAX_LISTED} directories")

    def look_at(self, path: bytes) -> None:
        """:raises LimitReached: the patterns have led to too many paths."""
        self._paths += 1
        self._paths_bytes += len(path)
        if self._paths > MAX_PATHS:
            raise LimitReached(f"the patterns lead to more than {MAX_PATHS} paths")
        if self._paths_bytes > MAX_PATHS_BYTES:
            raise LimitReached(f"the patterns lead to paths of more than {MAX_PATHS_BYTES} bytes")


@dataclass(frozen=True, slots=True)
class _Step:
    """Segments without a pattern, each with its slash, and the pattern behind them."""

    literals: bytes
    pattern: Pattern


class _Walk:
    """Walks the tree along one pattern.

    :param tree: the user's files.
    :param pattern: a word that is a pattern.
    :param allowance: what the command's patterns may still do.
    :raises InvalidPath: the pattern is not UTF-8.
    :raises LimitReached: too many of its segments are patterns.
    """

    def __init__(self, tree: FileTree, pattern: bytes, allowance: _Allowance) -> None:
        self._tree = tree
        self._allowance = allowance
        try:
            segments = pattern.decode("utf-8").split("/")
        except UnicodeDecodeError:
            raise InvalidPath("the pattern is not valid UTF-8") from None
        self._base = b"" if segments[0] else b"/"
        self._wants_directory = not segments[-1]
        self._steps: list[_Step] = []
        literals: list[str] = []
        for each in (Pattern(segment) for segment in segments if segment):
            if each.literal is not None:
                literals.append(each.literal)
                continue
            self._steps.append(_Step("".join(f"{name}/" for name in literals).encode(), each))
            literals.clear()
            if len(self._steps) > MAX_PATTERNS:
                raise LimitReached(f"more than {MAX_PATTERNS} patterns in one path")
        self._last = "/".join(literals).encode()

    def matches(self) -> AsyncGenerator[bytes, None]:
        """The paths that exist and match."""
        return self._matches_under(self._base, 0)

    async def _matches_under(self, base: bytes, at: int) -> AsyncGenerator[bytes, None]:
        """The paths under `base`, empty or with a slash at its end, that match from a step on."""
        if at == len(self._steps):
            path = base + self._last
            self._allowance.look_at(path)
            if await self._exists(path):
                yield path
            return
        step, is_last = self._steps[at], at + 1 == len(self._steps) and not self._last
        base += step.literals
        async with aclosing(self._entries(base)) as entries:
            async for entry in entries:
                if not await self._matches(step.pattern, entry.name):
                    continue
                path = base + entry.name.encode()
                is_directory = entry.attributes.kind is FileKind.DIRECTORY
                if not is_last and is_directory:
                    async with aclosing(self._matches_under(path + b"/", at + 1)) as deeper:
                        async for found in deeper:
                            yield found
                elif is_last and (is_directory or not self._wants_directory):
                    self._allowance.look_at(path)
                    yield path

    async def _matches(self, pattern: Pattern, name: str) -> bool:
        before = pattern.steps
        is_match = pattern.matches(name)
        await self._allowance.work(pattern.steps - before + STEPS_OF_A_NAME)
        return is_match

    async def _entries(self, path: bytes) -> AsyncGenerator[DirectoryEntry, None]:
        self._allowance.list_directory()
        try:
            reader = await self._tree.open_directory(path or b".", with_times=False)
        except (NoSuchFile, NotADirectory):
            return
        try:
            while entries := await reader.next_entries(NAMES_BYTES):
                for entry in entries:
                    yield entry
        finally:
            reader.close()

    async def _exists(self, path: bytes) -> bool:
        await self._allowance.work(STEPS_OF_A_PATH)
        try:
            wanted = path + b"/" if self._wants_directory else path
            return await self._tree.stat(wanted) is not None
        except (NoSuchFile, NotADirectory):
            return False
