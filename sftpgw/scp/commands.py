"""The commands that ``exec`` can run: the table, and what a line comes to.

Knows: every command's name, its options, and what its exit status is.
Must not know: how a command does its work, or SSH.

There is no shell: a line is split into words (`wire/shell`), the first is looked up in
`COMMANDS`, and whatever is not there ends with status 127 and a line on standard error.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias

from sftpgw.errors import GatewayError, NotADirectory
from sftpgw.files.digests import Digester
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.events.session_events import CommandEnded
from sftpgw.model.filesystem import FileKind, FileTree
from sftpgw.scp.console import Console
from sftpgw.scp.glob.expansion import expand
from sftpgw.scp.sink import ScpSink, SinkOptions
from sftpgw.scp.source import ScpSource, SourceOptions
from sftpgw.scp.sums import print_sums
from sftpgw.wire.shell import BadCommandLine, Word, split

NOT_FOUND = 127
MISUSED = 2
MAX_SHOWN = 60


@dataclass(frozen=True, slots=True)
class CommandContext:
    """What commands of one user's session work with; the modes are those to be shown."""

    tree: FileTree
    digester: Digester
    file_mode: int = 0o644
    directory_mode: int = 0o755


Words: TypeAlias = tuple[Word, ...]
Runner: TypeAlias = Callable[[CommandContext, Console, Words], Coroutine[Any, Any, int]]
"""Takes the words behind the command's own, and returns the exit status."""


def make_console(
    line: bytes, session: CommandContext, *, events: EventSink, clock: Clock
) -> Console:
    """What runs a command line; an unknown command's console says so."""

    async def command(console: Console) -> int:
        status = await run(line, session, console)
        events.emit(
            CommandEnded(
                command=line[:1000],
                status=status,
                input_bytes=console.input_bytes,
                output_bytes=console.output_bytes,
            )
        )
        return status

    return Console(command, events=events, clock=clock)


async def run(line: bytes, session: CommandContext, console: Console) -> int:
    """Run a command line on a console; its exit status."""
    try:
        words = split(line)
    except BadCommandLine as error:
        console.complain(f"sftpgw: {error.message}")
        return NOT_FOUND
    name = words[0].text if words else b""
    runner = COMMANDS.get(name)
    if runner is None:
        shown = ascii(name[:MAX_SHOWN].decode("utf-8", "replace"))
        console.complain(f"sftpgw: {shown}: no such command; there is no shell, only {KNOWN}")
        return NOT_FOUND
    try:
        return await runner(session, console, words[1:])
    except UsageError as error:
        console.complain(f"{name.decode()}: {error}")
        return MISUSED


class UsageError(Exception):
    """Words that the command cannot make sense of."""


def take_options(words: Words, known: str) -> tuple[frozenset[str], Words]:
    """The single-letter options in front, and what follows them.

    :raises UsageError: an option that is not among `known`.
    """
    found: set[str] = set()
    for position, word in enumerate(words):
        text = word.text.decode("utf-8", "replace")
        if text == "--":
            return frozenset(found), words[position + 1 :]
        if not text.startswith("-") or text == "-":
            return frozenset(found), words[position:]
        for letter in text[1:]:
            if letter not in known:
                raise UsageError(f"unknown option {text[:MAX_SHOWN]!a}")
            found.add(letter)
    return frozenset(found), ()


# The commands.


async def _scp(session: CommandContext, console: Console, words: Words) -> int:
    """``scp -t TARGET`` and ``scp -f SOURCE…``, as scp clients start it at the other end."""
    options, operands = take_options(words, "tfrpdvqC")
    if ("t" in options) is ("f" in options):
        raise UsageError("only for scp clients, which add -t or -f")
    if not operands:
        raise UsageError("a path is missing")
    if "f" in options:
        return await _send(session, console, options, operands)
    if len(operands) != 1:
        raise UsageError("ambiguous target; quote blanks in its name")
    sink_options = SinkOptions("r" in options, "d" in options)
    return await ScpSink(console, session.tree, operands[0].text, sink_options).run()


async def _send(
    session: CommandContext, console: Console, options: frozenset[str], operands: Words
) -> int:
    source_options = SourceOptions(
        "r" in options, "p" in options, session.file_mode, session.directory_mode
    )
    async with aclosing(expand(session.tree, operands, console.next_turn)) as paths:
        return await ScpSource(console, session.tree, source_options).run(paths)


async def _pwd(session: CommandContext, console: Console, words: Words) -> int:
    console.write(b"/\n")
    return 0


async def _cd(session: CommandContext, console: Console, words: Words) -> int:
    """Whether one could: the next command is on another channel, and starts at ``/``."""
    _, operands = take_options(words, "LP")
    if len(operands) > 1:
        raise UsageError("too many arguments")
    path = operands[0].text if operands else b"/"
    try:
        if (await session.tree.stat(path)).kind is not FileKind.DIRECTORY:
            raise NotADirectory(f"{path.decode('utf-8', 'replace')}: is not a directory")
    except GatewayError as error:
        console.complain(f"cd: {console.explained(error)}")
        return 1
    return 0


def _sum_command(algorithm: str) -> Runner:
    """``md5sum FILE…`` and its kin, as coreutils have them."""

    async def run_sum(session: CommandContext, console: Console, words: Words) -> int:
        options, operands = take_options(words, "bt")
        async with aclosing(
            expand(session.tree, operands or (Word(b"-"),), console.next_turn)
        ) as paths:
            return await print_sums(
                console,
                session.tree,
                session.digester,
                algorithm,
                paths,
                is_binary="b" in options and "t" not in options,
            )

    return run_sum


COMMANDS: dict[bytes, Runner] = {
    b"scp": _scp,
    b"pwd": _pwd,
    b"cd": _cd,
    **{
        f"{name}sum".encode(): _sum_command(name)
        for name in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
    },
}

KNOWN = " ".join(name.decode() for name in sorted(COMMANDS))
