"""Runs a driver on a list of steps."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.interop.clients.roster import Client
from tests.interop.clients.scenario import Answer, Step
from tests.interop.spawning import CLIENT_SECONDS


@dataclass(frozen=True)
class Run:
    """What a driver said: which version it drives, and an answer to each step."""

    version: str
    answers: list[Answer]
    stderr: str


def run(client: Client, steps: Sequence[Step], folder: Path) -> Run:
    """Run the driver in a home of its own.

    :raises AssertionError: if it ends before it has answered every step.
    """
    home = folder / "home"
    home.mkdir(exist_ok=True)
    task = folder / "task"
    task.write_text("".join(step.line() for step in steps), encoding="utf-8")
    done = subprocess.run(
        [*client.command, str(task)],
        cwd=folder,
        env={**os.environ, "HOME": str(home), **client.environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=CLIENT_SECONDS,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(lines) == len(steps) + 1, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return Run(lines[0]["version"], lines[1:], done.stderr)
