"""Processes: started, waited for, ended, and what they cost.

Knows: Linux's clocks and ``/proc``. Must not know: what the processes are.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

STOP_SECONDS = 20.0
_SCHEDULER_CLOCK = 2


class BenchError(Exception):
    """The measurement cannot be made; the message says why."""


@contextmanager
def running(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str] | None = None,
    *,
    log_output: bool = False,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process; its standard error goes to `log`, its standard input ends with us.

    Standard output is for the caller to read, or goes to `log`, too, with `log_output`.
    """
    with log.open("ab") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=errors if log_output else subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **(environment or {})},
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()


def family(pid: int) -> list[int]:
    """`pid` and the processes that it has started, and those that these have."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            _, _, rest = (folder / "stat").read_text().rpartition(")")
            children.setdefault(int(rest.split()[1]), []).append(int(folder.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def cpu_seconds(pid: int) -> float:
    """What a process has used up to now, user and system, all threads, to the nanosecond.

    The number of a process's clock is what clock_getcpuclockid(3) computes on Linux.
    """
    return time.clock_gettime((~pid << 3) | _SCHEDULER_CLOCK)


def forget_peak(pid: int) -> None:
    """Begin anew to look for the peak (proc(5), ``clear_refs``); where that is refused, go on."""
    with suppress(OSError):
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_bytes(pid: int) -> int:
    """The most that a process has held resident."""
    return _status_bytes(pid, "VmHWM:")


def resident_bytes(pid: int) -> int:
    """What a process holds resident now."""
    return _status_bytes(pid, "VmRSS:")


def _status_bytes(pid: int, name: str) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return 0
