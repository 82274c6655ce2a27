"""A session waits for what it has begun: a stand-in for ``sftp`` answers, line by line."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.drivers import Session
from bench.processes import BenchError

# Answers as `sftp` does in batch mode: an echo, an answer to pwd, an end at what fails.
STAND_IN = """
while read -r line; do
    echo "sftp> $line"
    case $line in
        pwd) echo "Remote working directory: /" ;;
        fail) echo "no such file" >&2; exit 1 ;;
    esac
done
"""


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (
        (tmp_path / "errors").open("wb") as errors,
        subprocess.Popen(
            ["sh", "-c", STAND_IN],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        ) as process,
    ):
        yield process


@pytest.fixture
def session(process: subprocess.Popen[bytes], tmp_path: Path) -> Session:
    return Session(process, tmp_path / "errors")


def test_no_answer_is_left_over(process: subprocess.Popen[bytes], session: Session) -> None:
    """One that is would end the next command before it has begun."""
    session.begin()
    session.finish()
    session.run("put a b")
    session.begin("rm a", "rm b")
    session.finish()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    assert process.stdout.read() == b""


def test_a_command_that_fails_is_told_with_the_reason(session: Session) -> None:
    with pytest.raises(BenchError, match="no such file"):
        session.run("fail")
