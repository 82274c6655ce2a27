"""A short look at what ``python -m fuzz.isolation`` looks at for long."""

from __future__ import annotations

import pytest

from fuzz.isolation import REQUESTS, run
from sftpgw.model.users import User


def test_nothing_crosses_from_one_tenant_to_another() -> None:
    assert run(range(60)) == 60 * REQUESTS


def test_a_crossing_is_seen() -> None:
    """A mount above both of them stands for a gateway that lets one tenant out."""
    with pytest.raises(AssertionError, match="seed"):
        run(range(50), User.with_home("alice", "bucket", "home/"))
