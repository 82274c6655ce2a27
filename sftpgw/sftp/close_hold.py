"""A CLOSE that waits a moment for the time of its file.

Knows: what may come right behind CLOSE, and for how long it is waited for.
Must not know: what a file does with a time, or how requests are carried out.

Some clients tell the time of a file behind its CLOSE without waiting for the reply (WinSCP does,
up to 100 KiB, as it is configured by default). Stored with the file it costs nothing; a moment
later S3 has to copy the object onto itself, and has two versions of it. So CLOSE waits for what
has been received already, or for longer where that is configured (`[files] late_times_wait`). It
is carried out before whatever comes behind it, and SETSTAT still is carried out itself: where the
time is set already, that is a look.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sftpgw.aio.delayed_call import cancel_pending
from sftpgw.errors import FileError
from sftpgw.files.paths import canonical
from sftpgw.model.clock import Clock, DelayedCall
from sftpgw.model.settings import FilesSettings, LateTimes
from sftpgw.sftp.contracts import IGatewayFile
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind

ITERATIONS = 2
"""Reactor iterations to wait. The first may have been decided before more data had come."""


@dataclass(eq=False)
class HeldClose:
    """A CLOSE that has come and is not carried out yet."""

    request: wire.OnHandle
    file: IGatewayFile


class CloseHold:
    """Holds back one CLOSE at a time.

    :param wait_seconds: how long; 0: until the data that was received is read; None: not at all.
    :param clock: measures the wait.
    :param carry_out: is called with the CLOSE when the wait is over.
    """

    def __init__(
        self,
        wait_seconds: float | None,
        clock: Clock,
        carry_out: Callable[[wire.OnHandle], None],
    ) -> None:
        self._wait_seconds = wait_seconds
        self._clock = clock
        self._carry_out = carry_out
        self.held: HeldClose | None = None
        """The CLOSE that waits."""
        self._timer: DelayedCall | None = None

    def hold(self, request: wire.OnHandle, file: IGatewayFile) -> bool:
        """Hold back a CLOSE if its file takes a time; whether it does.

        At most one is held: `release` is called before the next.
        """
        if self._wait_seconds is None or not file.takesTime():
            return False
        self.held = HeldClose(request, file)
        self._wait(self._wait_seconds, 1 if self._wait_seconds else ITERATIONS)
        return True

    def release(self, behind: Any = None) -> None:
        """Carry out the CLOSE that is held, if any.

        :param behind: the request that came behind it; None if none did.
        """
        held, self.held = self.held, None
        if held is None:
            return
        cancel_pending(self._timer)
        if _sets_time_of(behind, held.file):
            held.file.announceTime(behind.attributes)
        self._carry_out(held.request)

    def end(self) -> None:
        """The channel is gone: carry out what is held, and hold nothing any more."""
        self.release()
        self._wait_seconds = None
        self._carry_out = _ignore  # which led back to the channel: no cycle is left

    def _wait(self, seconds: float, times: int) -> None:
        if times:
            self._timer = self._clock.callLater(seconds, self._wait, seconds, times - 1)
        else:
            self.release()


def _ignore(request: wire.OnHandle) -> None:
    """What follows a CLOSE when the channel is gone."""


def close_wait_seconds(settings: FilesSettings) -> float | None:
    """How long a CLOSE waits for a time; None if times that come late are ignored."""
    is_ignored = settings.late_times is LateTimes.IGNORE
    return None if is_ignored else settings.late_times_wait_seconds


def _sets_time_of(request: Any, file: IGatewayFile) -> bool:
    """Whether the request is SETSTAT of a time, and not of a size, for this file."""
    is_of_time = isinstance(request, wire.ChangePath) and request.kind is Kind.SETSTAT
    if not is_of_time or "mtime" not in request.attributes or "size" in request.attributes:
        return False
    path = file.publishedPath()
    try:
        return path is not None and canonical(request.path) == canonical(path)
    except FileError:
        return False
