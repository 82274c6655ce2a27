"""Mixed transfers on a store that fails: nothing that was reported stored may be anything else.

``SFTPGW_SOAK_SECONDS=120 pytest tests/soak`` goes on with seed after seed for so long;
``SFTPGW_SOAK_SEED`` says where to begin. Without, a few seeds are tried.
"""

from __future__ import annotations

import os
import time

import pytest

from tests.soak.sessions import Soak

STEPS = 1500


@pytest.mark.parametrize("seed", range(4))
def test_what_is_reported_stored_is_stored(seed: int) -> None:
    soak = Soak(seed)
    soak.run(STEPS)
    assert soak.operations > 20
    assert soak.store.faults > 10


@pytest.mark.slow
def test_for_as_long_as_asked() -> None:
    """One seed, unless ``SFTPGW_SOAK_SECONDS`` asks for more."""
    end = time.monotonic() + float(os.environ.get("SFTPGW_SOAK_SECONDS", "0"))
    seed = int(os.environ.get("SFTPGW_SOAK_SEED", "1000"))
    while True:
        try:
            Soak(seed).run(STEPS)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
        seed += 1
        if time.monotonic() >= end:
            return
