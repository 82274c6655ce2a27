"""``python -m bench`` runs; what it measures is not looked at, but for being there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.operations import OPERATIONS
from bench.servers import KEY_PREFIX
from sftpgw.demo import BUCKET, EmbeddedStore
from tests.needs import needs

REPOSITORY = Path(__file__).parent.parent.parent
LIMIT_SECONDS = 600.0
MIB = ("--size-mib", "1")
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "access", "AWS_SECRET_ACCESS_KEY": "secret"}

pytestmark = [pytest.mark.interop, needs("openssh")]


def bench(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> tuple[str, list[dict[str, Any]]]:
    """Run a benchmark once: what it prints, and its samples."""
    report = folder / "report.json"
    once = ("--repeats", "1", "--json", str(report))
    done = subprocess.run(
        [sys.executable, "-m", "bench", *arguments, *once],
        cwd=REPOSITORY,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    samples: list[dict[str, Any]] = json.loads(report.read_text())["samples"]
    for sample in samples:
        assert sample["operation"] in done.stdout
        assert sample["seconds"] > 0
        assert sample["cpu_seconds"] > 0
        assert sample["peak_bytes"] > 10 * 2**20
    return done.stdout, samples


def test_a_file_goes_both_ways_with_every_cipher(tmp_path: Path) -> None:
    table, samples = bench(tmp_path, "ssh", *MIB)
    assert [sample["operation"] for sample in samples] == ["put", "get"] * 4
    for sample in samples:
        assert sample["case"] in table
        assert sample["payload_bytes"] == 2**20


def test_the_whole_gateway_does_every_operation_on_an_s3(tmp_path: Path) -> None:
    store = EmbeddedStore.start()
    try:
        where = ("--endpoint", store.endpoint, "--bucket", BUCKET)
        size = ("--streams", "2", "--small-files", "3", "--set", "limits.drain=5s")
        _, samples = bench(tmp_path, "gateway", *MIB, *where, *size, environment=CREDENTIALS)
    finally:
        store.stop()
    moved_bytes = {sample["operation"]: sample["payload_bytes"] for sample in samples}
    assert moved_bytes == {
        "put": 2**20,
        "get": 2**20,
        "put x2": 2**21,
        "get x2": 2**21,
        "put -r 3": 0,
        "ls": 0,
    }


def test_every_operation_is_done_alone_and_leaves_nothing(tmp_path: Path) -> None:
    store = EmbeddedStore.start()
    try:
        where = ("--endpoint", store.endpoint, "--bucket", BUCKET)
        _, samples = bench(tmp_path, "operations", *where, environment=CREDENTIALS)
        with urllib.request.urlopen(f"{store.endpoint}/{BUCKET}?prefix={KEY_PREFIX}") as answer:
            assert b"<Key>" not in answer.read()
    finally:
        store.stop()
    assert [sample["operation"] for sample in samples] == [each.name for each in OPERATIONS]
