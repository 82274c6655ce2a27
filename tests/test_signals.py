"""Signals that must not end the process: which ones, and which existing handlers stay."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sftpgw.signals import ignorable_signals, ignore_signals, name_of

REPOSITORY = Path(__file__).parent.parent
WAIT_SECONDS = 20.0

PROGRAM = """
import sys
from twisted.internet import reactor
from sftpgw.signals import ignore_signals

def say(text):
    print(text, flush=True)

def ready():
    ignore_signals(
        reactor, say, lambda: (say("terminal lost"), reactor.stop()), lambda: say("SIGHUP")
    )
    say("ready")

reactor.callWhenRunning(ready)
reactor.run()
say("ended")
"""


class SameThread:
    """Replaces the reactor when a signal arrives in the test's own thread."""

    def callFromThread(self, function, *arguments) -> None:
        function(*arguments)


@pytest.fixture
def as_before() -> Iterator[None]:
    """Restores every handler."""
    handlers = {number: signal.getsignal(number) for number in ignorable_signals()}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("as_before")
def test_every_signal_that_ends_a_process_by_default_is_logged_and_survived() -> None:
    told: list[str] = []
    ignore_signals(SameThread(), told.append, pytest.fail, lambda: told.append("SIGHUP"))
    for number in ignorable_signals():
        os.kill(os.getpid(), number)
    assert told == [name_of(number) for number in ignorable_signals()]
    assert {"SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGRTMIN"} <= set(told)


@pytest.mark.usefixtures("as_before")
def test_existing_handlers_stay() -> None:
    heard: list[int] = []
    signal.signal(signal.SIGUSR1, lambda number, frame: heard.append(number))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ignore_signals(SameThread(), pytest.fail, pytest.fail, pytest.fail)
    os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGHUP)
    assert heard == [signal.SIGUSR1]


def test_signals_that_end_the_process_still_do() -> None:
    meant = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGABRT, signal.SIGKILL}
    assert not meant & set(ignorable_signals())
    assert signal.SIGCHLD not in ignorable_signals()


def test_sighup_is_survived_until_the_terminal_itself_is_gone() -> None:
    master, slave = os.openpty()
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    # A new session; its controlling terminal is the first one that it opens.
    code = f"import os; os.close(os.open({os.ttyname(slave)!r}, os.O_RDWR))\n{PROGRAM}"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            os.close(slave)
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGHUP)
            assert process.stdout.readline() == "SIGHUP\n"
            os.close(master)  # the kernel sends SIGHUP
            assert process.stdout.readline() == "terminal lost\n"
            assert process.wait(WAIT_SECONDS) == 0
        finally:
            process.kill()
