"""Signals that nothing is done about, and which would end the process without notice.

Knows: signals, and which of them end a process that does not handle them (signal(7)).
Must not know: what the process does, or how it ends.

Rules:

- SIGTERM and SIGINT end the gateway in good order: Twisted handles them. SIGQUIT and SIGABRT are
  meant to end it at once, with a core. What tells of a fault of the program (SIGSEGV), or that a
  resource is used up (SIGXCPU), ends it, too.
- Every other signal is ignored, with a line in the log: SIGHUP, until there is something to
  reload, above all.
- A handler that is there already stays: twistd rotates its ``--logfile`` on SIGUSR1, a profiler has
  its own, and ``nohup`` has SIGHUP ignored.
- SIGHUP of a terminal that is gone ends the gateway as SIGTERM does: it ran in the foreground, and
  would go on unseen.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

_NAMES = (
    "SIGHUP",
    "SIGUSR1",
    "SIGUSR2",
    "SIGALRM",
    "SIGVTALRM",
    "SIGPROF",
    "SIGIO",
    "SIGPWR",
    "SIGSTKFLT",
)
CONTROLLING_TERMINAL = "/dev/tty"


def ignorable_signals() -> Iterator[int]:
    """The numbers of all signals that rule 2 is about, as far as this system has them."""
    for name in _NAMES:
        if hasattr(signal, name):
            yield int(getattr(signal, name))
    if hasattr(signal, "SIGRTMIN"):
        yield from range(signal.SIGRTMIN, signal.SIGRTMAX + 1)


def ignore_signals(
    reactor: Any, ignored: Callable[[str], None], terminal_lost: Callable[[], None]
) -> None:
    """Handle every signal of `ignorable_signals` that has no handler yet.

    To be called in the main thread. Both callables are called by the reactor.

    :param ignored: takes the name of a signal that has come.
    :param terminal_lost: called when the terminal that the process was started on is gone.
    """
    had_terminal = has_terminal()

    def handle(number: int, frame: object) -> None:
        if number == signal.SIGHUP and had_terminal and not has_terminal():
            reactor.callFromThread(terminal_lost)
        else:
            reactor.callFromThread(ignored, name_of(number))

    for number in ignorable_signals():
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, handle)


def name_of(number: int) -> str:
    """``SIGHUP``; ``SIGRTMIN+2`` for what has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


def has_terminal() -> bool:
    """Whether the process has a controlling terminal (tty(4))."""
    try:
        os.close(os.open(CONTROLLING_TERMINAL, os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
