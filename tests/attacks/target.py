"""The gateway under attack, as the test sees it: its process and its figures.

Knows: the lines of `tests.attacks.gateway`. Must not know: SSH.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

REPOSITORY = Path(__file__).parents[2]
MAX_STRETCH_SECONDS = 0.25
"""The longest reactor iteration, in CPU time, on a machine that needs `YARDSTICK_SECONDS` for
`gateway.yardstick`. A slower one has more."""

YARDSTICK_SECONDS = 0.005
SETTLE_SECONDS = 120.0


@dataclass(frozen=True)
class Figures:
    """The figures that `gateway.Watch.measure` returns."""

    worst_stretch_seconds: float
    yardstick_seconds: float
    process_seconds: float
    peak_bytes: int
    resident_bytes: int
    descriptors: int
    sessions: int
    held_bytes: int
    waiting: int
    uploads: int
    requests: dict[str, int]
    events: dict[str, int]
    log_bytes: dict[str, int]
    failures: list[str]

    def told(self, event: str) -> int:
        """How many events of this name there were."""
        return self.events.get(event, 0)


class Target:
    """A running gateway."""

    def __init__(self, **settings: Any) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.attacks.reactor", json.dumps(settings)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        ports = self._read()
        self.port: int = ports["port"]
        self.proxied_port: int = ports["proxied_port"]
        """Where load balancers connect."""
        self.before = self.reset()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the gateway has died: {self._process.wait(SETTLE_SECONDS)}"
        return json.loads(line)

    def _ask(self, command: str) -> Figures:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        return Figures(**self._read())

    def measure(self) -> Figures:
        return self._ask("measure")

    def reset(self) -> Figures:
        """Forget the peaks, counts and failures."""
        self.before = self._ask("reset")
        return self.before

    def when(self, is_so: Callable[[Figures], bool], what: str) -> Figures:
        """The figures, as soon as they fulfil a condition."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while not is_so(figures := self.measure()):
            assert time.monotonic() < deadline, f"not {what}: {figures}"
            Event().wait(0.02)
        return figures

    def require_unharmed(self, *, growth_bytes: int) -> Figures:
        """Require that it runs, is quick, has no errors, and frees all after the last client."""
        figures = self.when(lambda now: not now.sessions, "rid of its sessions")
        self.when(lambda now: not (now.held_bytes or now.uploads or now.waiting), "idle again")
        assert figures.failures == []
        assert not figures.told("defect")
        slowness = max(1.0, figures.yardstick_seconds / YARDSTICK_SECONDS)
        assert figures.worst_stretch_seconds < MAX_STRETCH_SECONDS * slowness
        grown_bytes = figures.peak_bytes - self.before.resident_bytes
        assert grown_bytes < growth_bytes, f"{grown_bytes / 2**20:.1f} MiB more than before"
        return figures

    def stop(self) -> None:
        """End the process by ending its standard input."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        try:
            self._process.wait(SETTLE_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
