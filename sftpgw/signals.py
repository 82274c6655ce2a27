"""Ignores signals that the gateway has no use for, and that would end the process without notice.

Knows: signals, and which of them end a process that does not handle them (signal(7)).
Must not know: what the process does, or how it ends.

Rules:

- SIGTERM and SIGINT shut the gateway down; Twisted handles them. SIGQUIT and SIGABRT end it at
  once, with a core dump, on purpose. Signals for a fault of the program (SIGSEGV) or an exhausted
  resource (SIGXCPU) end it as well.
- SIGHUP has the users read again.
- All other signals are ignored, with a line in the log.
- Existing handlers stay: twistd rotates its ``--logfile`` on SIGUSR1, a profiler has its own, and
  ``nohup`` ignores SIGHUP.
- SIGHUP after the loss of the terminal shuts the gateway down as SIGTERM does: it ran in the
  foreground, and would go on unseen.
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
"""The file by which a process finds its terminal (tty(4))."""


def ignorable_signals() -> Iterator[int]:
    """The numbers of all signals of the second rule, as far as this system has them."""
    for name in _NAMES:
        if hasattr(signal, name):
            yield int(getattr(signal, name))
    if hasattr(signal, "SIGRTMIN"):
        yield from range(signal.SIGRTMIN, signal.SIGRTMAX + 1)


def ignore_signals(
    reactor: Any,
    on_ignored: Callable[[str], None],
    on_terminal_lost: Callable[[], None],
    on_hangup: Callable[[], None],
) -> None:
    """Handle every signal of `ignorable_signals` that has no handler yet.

    Must be called in the main thread.

    :param reactor: Twisted's reactor; it calls the two functions.
    :param on_ignored: takes the name of a signal that has come.
    :param on_terminal_lost: called when the terminal that the process was started on is gone.
    :param on_hangup: called for a SIGHUP with another reason.
    """
    had_terminal = has_terminal()

    def handle(number: int, frame: object) -> None:
        if number == signal.SIGHUP and had_terminal and not has_terminal():
            reactor.callFromThread(on_terminal_lost)
        elif number == signal.SIGHUP:
            reactor.callFromThread(on_hangup)
        else:
            reactor.callFromThread(on_ignored, name_of(number))

    for number in ignorable_signals():
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, handle)


def end_at_signals() -> None:
    """Let SIGTERM and SIGINT end the process at once. A running reactor would handle them.

    Must be called in the main thread.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def name_of(number: int) -> str:
    """The name of a signal, such as ``SIGHUP``, or ``SIGRTMIN+2`` for a real-time signal."""
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
