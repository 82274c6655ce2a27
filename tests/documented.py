"""The commands that README and the tutorials show, run as a reader would run them.

A comment above a block says what becomes of it; blocks are ``.. code-block::``:

=========================== ======================================================================
``.. run:``                 The block is pasted into a shell. Each of its commands must succeed.
``.. run: stays``           The block has a terminal of its own and goes on running. What it prints
                            must begin with the ``prints`` block behind it, which is waited for.
``.. prints:``              The block shows all that the block above it prints. ``...`` stands for
                            any text within a line, and on a line of its own for any lines.
``.. stop:``                Ctrl-C in the terminal of the last block that stays. No block.
``.. not run: REASON``      The block is left out.
``.. needs: NAME NAME``     What the page needs of the machine, of `tests.needs.NEEDS`. No block.
=========================== ======================================================================

A page starts in an empty folder with an empty home. Its pages name ports, as a reader's machine has
them free; here each page has a network namespace of its own, in which nothing but its own
programs listens, so the blocks run as they stand and pages do not disturb each other.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
SECONDS = 240.0
"""Finds what hangs, for each block; a machine that is slow or busy must not reach it."""

MARK = re.compile(r"\.\. (run|prints|stop|needs|not run):(?: (.*))?")
BLOCK = re.compile(r"\.\. code-block:: *(\S*)")
RUNNABLE = ("sh", "bash", "console")
PROGRESS = re.compile(r"sftpgw: the S3 is still starting, after \d+ s[ \t\r]*\n")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
ENDED = "\0ended\n"

IN_NAMESPACE = """\
import fcntl, os, socket, struct, sys
with socket.socket() as any_socket:
    up = struct.pack("16sh22x", b"lo", 1)  # IFF_UP
    fcntl.ioctl(any_socket, 0x8914, up)  # SIOCSIFFLAGS
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""Makes the loopback of a new network namespace usable, then becomes another program."""


@dataclass
class Block:
    """What a page says to do.

    :ivar line: where, from 1.
    :ivar kind: ``run``, ``stays`` or ``stop``.
    :ivar text: the commands; of ``stop`` none.
    :ivar prints: what they print; None if the page does not show it.
    """

    line: int
    kind: str
    text: str = ""
    prints: str | None = None


@dataclass
class Page:
    """The blocks of a page, in order, and what they need of the machine."""

    blocks: list[Block] = field(default_factory=list)
    needs: list[str] = field(default_factory=list)


def read_page(text: str) -> Page:
    """The blocks of a page of reStructuredText.

    :raises ValueError: a mark has no block, or commands have no mark.
    """
    page = Page()
    lines = text.splitlines()
    for number, line in enumerate(lines):
        mark = MARK.fullmatch(line)
        block = BLOCK.fullmatch(line)
        if block and block[1] in RUNNABLE and not _is_marked(lines, number):
            raise ValueError(f"line {number + 1}: commands without a mark")
        if mark:
            _add(page, lines, number, mark[1], mark[2] or "")
    return page


def _add(page: Page, lines: list[str], number: int, kind: str, value: str) -> None:
    if kind == "needs":
        page.needs += value.split()
    elif kind == "stop":
        page.blocks.append(Block(number + 1, "stop"))
    elif kind == "prints":
        page.blocks[-1].prints = _block_at(lines, number)
    elif kind == "run":
        kind = {"": "run", "stays": "stays"}[value]
        page.blocks.append(Block(number + 1, kind, _block_at(lines, number)))


def _is_marked(lines: list[str], number: int) -> bool:
    above = [line for line in lines[max(0, number - 2) : number] if line.strip()]
    return bool(above) and bool(MARK.fullmatch(above[-1]) or above[-1].startswith(".. readme:"))


def _block_at(lines: list[str], mark: int) -> str:
    """The text of the block behind the mark on this line."""
    start = mark + 1
    while start < len(lines) and not lines[start].strip():
        start += 1
    if start == len(lines) or not BLOCK.fullmatch(lines[start]):
        raise ValueError(f"line {mark + 1}: a mark without a code-block")
    end = start + 1
    while end < len(lines) and (not lines[end].strip() or lines[end].startswith(" ")):
        end += 1
    return textwrap.dedent("\n".join(lines[start + 1 : end])).strip("\n") + "\n"


def pattern_of(shown: str) -> str:
    """A regular expression for what a page shows, from the first line on."""
    found = ""
    for line in shown.rstrip("\n").split("\n"):
        if line.strip() == "...":
            found += r"(?:.*\n)*?"
        else:
            found += ".*?".join(map(re.escape, line.rstrip().split("..."))) + r"[ \t\r]*\n"
    return found


def can_isolate() -> bool:
    """Whether this machine lets a plain user have a network namespace."""
    try:
        done = subprocess.run([*_namespace(), "true"], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


def _namespace() -> list[str]:
    isolated = ["unshare", "--user", "--map-root-user", "--net", "--"]
    return [*isolated, sys.executable, "-c", IN_NAMESPACE]


class Terminals:
    """A shell for the blocks of one page, and terminals for those that stay.

    :param folder: an empty one; the page works in it.
    :param scratch: another one.
    """

    def __init__(self, folder: Path, scratch: Path) -> None:
        self._scratch = scratch
        self._outputs: dict[int, str] = {}
        self._jobs: list[tuple[int, int]] = []
        self._statuses, self._told = os.pipe()
        self._shell = subprocess.Popen(
            [*_namespace(), "bash", "--norc", "--noprofile"],
            cwd=folder,
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(self._told,),
            text=True,
        )
        os.close(self._told)
        # With job control each job is a process group, and takes SIGINT, as in a terminal.
        self._type("set -euo pipefail -m")

    def _environment(self) -> dict[str, str]:
        home, programs = self._scratch / "home", self._scratch / "programs"
        home.mkdir()
        programs.mkdir()
        command = programs / "sftpgw"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sftpgw.cli "$@"\n')
        command.chmod(0o700)
        path = [str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]
        return {
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "PATH": os.pathsep.join(path),
            "PYTHONPATH": str(REPOSITORY),
        }

    def run(self, block: Block) -> None:
        """Do what `block` says. :raises AssertionError: it fails, or prints something else."""
        if block.kind == "stop":
            self._stop(self._jobs.pop())
            return
        number = len(self._outputs)
        commands, pipe = self._scratch / f"{number}.sh", self._scratch / f"{number}.out"
        commands.write_text(block.text)
        os.mkfifo(pipe)
        output = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
        self._outputs[output] = ""
        run = self._run_on if block.kind == "stays" else self._run_to_its_end
        run(block, output, f'. "{commands}" </dev/null >"{pipe}" 2>&1')

    def _run_to_its_end(self, block: Block, output: int, command: str) -> None:
        self._type(f"{command}; echo done >&{self._told}")
        answer = self._answer()
        shown = self._shown(output)
        assert answer == "done\n", f"line {block.line}: a command failed:\n{block.text}{shown}"
        if block.prints is not None:
            whole = re.fullmatch(pattern_of(block.prints), shown)
            assert whole, f"line {block.line} shows\n{block.prints}but this was printed:\n{shown}"

    def _run_on(self, block: Block, output: int, command: str) -> None:
        # The last words need the pipe open already: no test may be there any more to read it.
        pipe = self._scratch / f"{len(self._outputs) - 1}.out"
        self._type(f'( ( {command} ) || true; printf "\\0ended\\n" ) >"{pipe}" &')
        self._type(f"echo $! >&{self._told}")
        self._jobs.append((int(self._answer()), output))
        assert block.prints, f"line {block.line}: what does it print when it is ready?"
        wanted = re.compile(pattern_of(block.prints))
        ready = self._until(
            lambda: bool(wanted.match(self._shown(output))) or ENDED in self._shown(output)
        )
        shown = self._shown(output)
        assert ready, f"line {block.line}: it takes too long:\n{shown}"
        assert wanted.match(shown), (
            f"line {block.line} shows\n{block.prints}but this was printed:\n{shown}"
        )

    def _shown(self, output: int) -> str:
        """What was printed, but for what only slow machines print."""
        return PROGRESS.sub("", self._outputs[output])

    def _type(self, line: str) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(line + "\n")
        self._shell.stdin.flush()

    def _answer(self) -> str:
        """What the shell tells next; blank if it has ended."""
        is_there = self._until(lambda: bool(select.select([self._statuses], [], [], 0)[0]))
        return os.read(self._statuses, 100).decode() if is_there else ""

    def _until(self, is_so: Callable[[], bool]) -> bool:
        """Read what is printed until this is so; False if that takes too long."""
        limit = time.monotonic() + SECONDS
        while time.monotonic() < limit:
            self._read_all()
            if is_so():
                self._read_all()
                return True
            select.select([self._statuses, *self._outputs], [], [], limit - time.monotonic())
        return False

    def _read_all(self) -> None:
        for output in self._outputs:
            for chunk in _chunks(output):
                self._outputs[output] += COLOURS.sub("", chunk.decode("utf-8", "replace"))

    def _stop(self, job: tuple[int, int]) -> None:
        group, output = job
        self._type(f"kill -INT -- -{group} || true; wait {group} || true")
        self._type(f"echo ended >&{self._told}")
        assert self._answer() == "ended\n", self._outputs[output]

    def close(self) -> None:
        """End all that still runs, by a signal that nothing can lose."""
        for group, _ in self._jobs:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        self._shell.kill()
        self._shell.communicate()
        for output in (self._statuses, *self._outputs):
            os.close(output)


def _chunks(output: int) -> Iterator[bytes]:
    try:
        while chunk := os.read(output, 65536):
            yield chunk
    except BlockingIOError:
        return
