"""``python -m bench ssh`` runs; what it measures is not looked at, but for being there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent.parent
LIMIT_SECONDS = 120.0

needs_openssh = pytest.mark.skipif(
    shutil.which("sftp") is None, reason="needs sftp: apt-get install openssh-client"
)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )


@needs_openssh
@pytest.mark.interop
def test_a_tiny_file_goes_both_ways_with_every_cipher(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = run("ssh", "--size-mib", "1", "--repeats", "1", "--json", str(report))
    assert done.returncode == 0, done.stderr
    samples = json.loads(report.read_text())["samples"]
    assert [sample["operation"] for sample in samples] == ["put", "get"] * 4
    for sample in samples:
        assert sample["case"] in done.stdout
        assert sample["payload_bytes"] == 2**20
        assert sample["seconds"] > 0
        assert sample["cpu_seconds"] > 0
        assert sample["peak_bytes"] > 10 * 2**20
