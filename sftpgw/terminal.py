"""Lines for the operator's terminal."""

from __future__ import annotations

import os
import signal
import sys
from typing import TextIO

ENDED_BY_SIGPIPE = 128 + signal.SIGPIPE


def print_line(text: object, stream: TextIO | None) -> None:
    """Print a line at once. If the reader has gone, as ``head`` does, the process ends.

    :param text: printed as `str` shows it, with a line end.
    :param stream: where to; None if the process has no such stream.
    :raises SystemExit: the reader has gone; with the status of a process that SIGPIPE ended.
    """
    if stream is None:
        return
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        # Python flushes once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise SystemExit(ENDED_BY_SIGPIPE) from None


def print_error(text: str) -> None:
    """Print to standard error itself: twistd leads `sys.stderr` into its log."""
    print_line(text, sys.__stderr__)
