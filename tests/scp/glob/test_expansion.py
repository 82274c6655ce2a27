"""How much one command's patterns may do, and how much of it in one iteration of the reactor."""

from __future__ import annotations

import pytest

from sftpgw.model.mounts import Permission
from sftpgw.model.settings import ExactTimes, FilesSettings
from sftpgw.scp.glob import expansion
from sftpgw.testing.cpu_clocks import dear_work
from sftpgw.testing.other_users import with_mount
from sftpgw.testing.sftp_sessions import ALICE, GatewayInMemory
from tests.iterations import IterationClock
from tests.scp.talking import Channel

LISTS_ONLY = with_mount(ALICE, permissions=Permission.LIST)


class Run:
    """A command of a user who may only list, one iteration of the reactor after the other.

    :param line: the command line.
    :param names: the files in the user's directory.
    """

    def __init__(self, line: bytes, names: list[str]) -> None:
        gateway = GatewayInMemory(files=FilesSettings(exact_times=ExactTimes.NO))
        self.clock = IterationClock()
        gateway.clock = self.clock  # type: ignore[assignment]
        gateway.work = dear_work(self.clock, 1)
        for name in names:
            gateway.store.seed(f"home/alice/{name}", b"")
        self.channel = Channel()
        self.store = gateway.store
        self.lines_of_iterations = [0]
        console = gateway.command(line, LISTS_ONLY)
        console.makeConnection(self.channel)
        self._count()

    def _count(self) -> None:
        before = sum(self.lines_of_iterations)
        self.lines_of_iterations.append(self.channel.errors.count(b"\n") - before)

    def finish(self) -> Run:
        """Go on to the end."""
        while self.channel.status is None:
            self.clock.iterate()
            self._count()
        return self


def test_many_ranges_are_refused() -> None:
    """One set of 5,400 ranges took 14.6 seconds of one iteration, beside 3,000 short names."""
    run = Run(b"md5sum *[" + b"b-c" * 5400 + b"]", [f"x{number}" for number in range(100)])
    assert run.channel.errors.endswith(b"a pattern of over 256 characters and ranges\n")


def test_files_that_may_not_be_read_do_not_fail_in_one_iteration() -> None:
    names = [f"{number:04}" for number in range(500)]
    run = Run(b"md5sum *", names).finish()
    assert sum(run.lines_of_iterations) == 500
    at_most = expansion.STEPS_PER_ITERATION // expansion.STEPS_OF_A_PATH + 1
    assert max(run.lines_of_iterations) <= at_most


def test_words_without_patterns_take_their_turns_too() -> None:
    run = Run(b"md5sum" + b" a" * 500, []).finish()
    assert sum(run.lines_of_iterations) == 500
    assert max(run.lines_of_iterations) <= 21


def test_the_patterns_of_a_line_share_what_they_may_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """16 KiB of ``*`` are 8,000 words, and each was a listing of all directories."""
    monkeypatch.setattr(expansion, "MAX_LISTED", 10)
    run = Run(b"md5sum" + b" *x" * 500, ["a"]).finish()
    assert run.store.requests["list"] == 10
    assert run.channel.errors.endswith(b"the patterns lead into more than 10 directories\n")


@pytest.mark.parametrize("line", [b"md5sum *", b"md5sum * *", b"md5sum */missing"])
def test_paths_are_bounded(line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{number:04}/x" for number in range(100)]
    monkeypatch.setattr(expansion, "MAX_PATHS", 50)
    run = Run(line, names).finish()
    assert run.channel.errors.endswith(b"the patterns lead to more than 50 paths\n")
    assert run.channel.status == 1
    monkeypatch.undo()
    monkeypatch.setattr(expansion, "MAX_PATHS_BYTES", 300)
    run = Run(line, names).finish()
    assert run.channel.errors.endswith(b"the patterns lead to paths of more than 300 bytes\n")
