"""The commands that ``exec`` can run.

Knows: every command's name, its options and its exit statuses.
Must not know: how a command does its work, or SSH.

There is no shell: a line is split into words (`wire/shell`), and the first word is looked up in
`COMMANDS`. Any other word ends with status 127 and a line on standard error.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias

from sftpgw.aio.work.scheduler import WorkShare
from sftpgw.errors import GatewayError, NotADirectory
from sftpgw.files.digests import Digester
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
    """What the commands of one session use.

    :param tree: the user's files.
    :param digester: computes digests; matching many names takes its turns, too.
    :param file_mode: the mode that files are shown with.
    :param directory_mode: the mode that directories are shown with.
    """

    tree: FileTree
    digester: Digester
    file_mode: int = 0o644
    directory_mode: int = 0o755


Words: TypeAlias = tuple[Word, ...]
Runner: TypeAlias = Callable[[CommandContext, Console, Words], Coroutine[Any, Any, int]]
"""Takes the words behind the command's name, and returns the exit status."""


def make_console(
    line: bytes, context: CommandContext, *, events: EventSink, work: WorkShare
) -> Console:
    """The console that runs a command line; for an unknown command it prints that."""

    async def command(console: Console) -> int:
        status = await run(line, context, console)
        events.emit(
            CommandEnded(
                command=line[:1000],
                status=status,
                input_bytes=console.input_bytes,
                output_bytes=console.output_bytes,
            )
        )
        return status

    return Console(command, events=events, work=work)


async def run(line: bytes, context: CommandContext, console: Console) -> int:
    """Run a command line on a console.

    :returns: the exit status.
    """
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
        return await runner(context, console, words[1:])
    except UsageError as error:
        console.complain(f"{name.decode()}: {error}")
        return MISUSED


class UsageError(Exception):
    """The command does not understand its words."""


def take_options(words: Words, known: str) -> tuple[frozenset[str], Words]:
    """The single-letter options in front, and the words behind them.

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


async def _scp(context: CommandContext, console: Console, words: Words) -> int:
    """``scp -t TARGET`` and ``scp -f SOURCE…``, as scp clients start them on the server."""
    options, operands = take_options(words, "tfrpdvqC")
    if ("t" in options) is ("f" in options):
        raise UsageError("only for scp clients, which add -t or -f")
    if not operands:
        raise UsageError("a path is missing")
    if "f" in options:
        return await _send(context, console, options, operands)
    if len(operands) != 1:
        raise UsageError("ambiguous target; quote blanks in its name")
    sink_options = SinkOptions("r" in options, "d" in options)
    return await ScpSink(console, context.tree, operands[0].text, sink_options).run()


async def _send(
    context: CommandContext, console: Console, options: frozenset[str], operands: Words
) -> int:
    source_options = SourceOptions(
        "r" in options, "p" in options, context.file_mode, context.directory_mode
    )
    async with aclosing(expand(context.tree, operands, context.digester.next_step)) as paths:
        return await ScpSource(console, context.tree, source_options).run(paths)


async def _pwd(context: CommandContext, console: Console, words: Words) -> int:
    console.write(b"/\n")
    return 0


async def _cd(context: CommandContext, console: Console, words: Words) -> int:
    """Check the directory, no more: the next command has its own channel and starts at ``/``."""
    _, operands = take_options(words, "LP")
    if len(operands) > 1:
        raise UsageError("too many arguments")
    path = operands[0].text if operands else b"/"
    try:
        if (await context.tree.stat(path)).kind is not FileKind.DIRECTORY:
            raise NotADirectory(f"{path.decode('utf-8', 'replace')}: is not a directory")
    except GatewayError as error:
        console.complain(f"cd: {console.explain(error)}")
        return 1
    return 0


def _sum_command(algorithm: str) -> Runner:
    """``md5sum FILE…`` and the like, as in GNU coreutils."""

    async def run_sum(context: CommandContext, console: Console, words: Words) -> int:
        options, operands = take_options(words, "bt")
        files = operands or (Word(b"-"),)
        async with aclosing(expand(context.tree, files, context.digester.next_step)) as paths:
            return await print_sums(
                console,
                context.tree,
                context.digester,
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
