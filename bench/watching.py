"""A gateway of any tree, and what its process shows of itself while it is attacked.

Knows: how it is started, ``/proc``, and the memory in which its reactor tells its longest
iteration. Must not know: attacks.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.attack_figures import ProcessFigures
from bench.processes import cpu_seconds, forget_peak, peak_bytes, running
from bench.servers import Store, gateway_settings, port_in

WATCHED_TWISTD = Path(__file__).with_name("watched_twistd.py")
SAMPLE_SECONDS = 0.05


@dataclass(frozen=True)
class WatchedGateway:
    """A gateway that runs."""

    pid: int
    port: int
    log: Path
    shared: mmap.mmap

    def longest_seconds(self) -> float:
        """The CPU time of the longest iteration since `forget`."""
        longest: float = struct.unpack("d", self.shared[:8])[0]
        return longest

    def forget(self) -> None:
        """Look anew for the longest iteration and the most memory."""
        self.shared[:8] = bytes(8)
        forget_peak(self.pid)

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))


@contextmanager
def watched_gateway(
    folder: Path,
    tree: Path,
    store: Store,
    *,
    users: str,
    descriptors: int,
    settings: Sequence[str],
) -> Iterator[WatchedGateway]:
    """The gateway of a tree, as twistd starts it.

    :param users: users.ini.
    :param descriptors: how many file descriptors it may have.
    :param settings: lines for sftpgw.ini, each ``section.key=value``.
    """
    folder.mkdir()
    (folder / "users.ini").write_text(users)
    config, log, longest = (folder / name for name in ("sftpgw.ini", "gateway.log", "longest"))
    with config.open("w") as file:
        gateway_settings(store, settings).write(file)
    longest.write_bytes(bytes(8))
    command = [sys.executable, str(WATCHED_TWISTD), str(longest), str(descriptors)]
    command += ["-n", "--pidfile=", "sftpgw", "--config", str(config)]
    with (
        longest.open("r+b") as opened,
        mmap.mmap(opened.fileno(), 8) as shared,
        running(command, log, {"PYTHONPATH": str(tree)}, log_output=True) as process,
    ):
        port = port_in(log, r"listening on tcp:127\.0\.0\.1:(\d+)", process)
        yield WatchedGateway(process.pid, port, log, shared)


class Watch:
    """Looks at a gateway's process from the start to the end of a ``with``."""

    def __init__(self, gateway: WatchedGateway) -> None:
        self._gateway = gateway
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._most_descriptors = 0

    def __enter__(self) -> Watch:
        gateway = self._gateway
        gateway.forget()
        self._log_bytes = gateway.log.stat().st_size
        self._cpu_seconds = cpu_seconds(gateway.pid)
        self._began = time.monotonic()
        self._thread.start()
        return self

    def _look(self) -> None:
        with suppress(OSError):
            while not self._ended.wait(SAMPLE_SECONDS):
                self._most_descriptors = max(self._most_descriptors, self._gateway.descriptors())

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def elapsed_seconds(self) -> float:
        return time.monotonic() - self._began

    def figures(self) -> ProcessFigures:
        """What was seen up to now."""
        gateway = self._gateway
        return ProcessFigures(
            elapsed_seconds=self.elapsed_seconds(),
            cpu_seconds=cpu_seconds(gateway.pid) - self._cpu_seconds,
            peak_bytes=peak_bytes(gateway.pid),
            descriptors=self._most_descriptors,
            longest_iteration_seconds=gateway.longest_seconds(),
            log_bytes=gateway.log.stat().st_size - self._log_bytes,
        )
