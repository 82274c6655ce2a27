"""What the soaks share: the seed of all their dice."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def seed() -> int:
    """The same each time, unless ``SFTPGW_SOAK_SEED`` names another, as ``.ci/search`` does."""
    seed = int(os.environ.get("SFTPGW_SOAK_SEED", "1"))
    print(f"SFTPGW_SOAK_SEED={seed}")  # noqa: T201
    return seed
