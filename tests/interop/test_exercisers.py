"""File system exercisers over SFTP and over a mount. ``SFTPGW_EXERCISE_STEPS=5000``: for longer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from tests.interop.exercising import FileExerciser, LocalFiles, SftpFiles, TreeExerciser
from tests.interop.spawning import Account, Bucket, Gateway, connect
from tests.interop.test_sshfs import mounted

__all__ = ["mounted"]

STEPS = int(os.environ.get("SFTPGW_EXERCISE_STEPS", "120"))
LARGEST_BYTES = 600_000
"""Less than a part: what S3 has been sent cannot be written again before the close."""


@pytest.fixture
def sftp(gateway: Gateway, account: Account) -> Iterator[paramiko.SFTPClient]:
    client = connect(gateway, username="alice", password=account.password)
    with client, client.open_sftp() as sftp:
        yield sftp


@pytest.fixture
def local(tmp_path: Path) -> LocalFiles:
    """The model of a tree."""
    folder = tmp_path / "model"
    folder.mkdir()
    return LocalFiles(folder)


@pytest.mark.parametrize("seed", [1, 2])
def test_random_steps_on_one_file_by_sftp_match_a_disk(
    sftp: paramiko.SFTPClient, bucket: Bucket, seed: int
) -> None:
    files = SftpFiles(sftp, "")
    path = f"exercised-{seed}"
    FileExerciser(files, path, seed=seed, largest_bytes=LARGEST_BYTES).run(STEPS)
    assert files.read(path) == bucket.body(f"alice/{path}")


@pytest.mark.parametrize("seed", [3, 4])
def test_random_steps_on_one_file_by_sshfs_match_a_disk(mounted: Path, seed: int) -> None:
    files = LocalFiles(mounted)
    FileExerciser(files, "exercised", seed=seed, largest_bytes=LARGEST_BYTES).run(STEPS)


@pytest.mark.parametrize("seed", [5, 6])
def test_random_steps_on_a_tree_by_sftp_match_a_disk(
    sftp: paramiko.SFTPClient, local: LocalFiles, seed: int
) -> None:
    sftp.mkdir(f"tree-{seed}")
    TreeExerciser(SftpFiles(sftp, f"tree-{seed}"), local, seed=seed).run(STEPS)


@pytest.mark.parametrize("seed", [7, 8])
def test_random_steps_on_a_tree_by_sshfs_match_a_disk(
    mounted: Path, local: LocalFiles, seed: int
) -> None:
    TreeExerciser(LocalFiles(mounted), local, seed=seed).run(STEPS)
