"""A short look at what ``python -m fuzz.isolation`` looks at for long."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from fuzz.isolation import STEPS, check_policies, run
from fuzz.isolation.steps import history
from fuzz.isolation.tenants import BUCKET, DROP, TENANTS, user_of
from fuzz.isolation.unjailed_paths import UnjailedPaths
from fuzz.isolation.worlds import users
from sftpgw.model.mounts import ALL_PERMISSIONS, Mount, Permission
from sftpgw.model.users import User

HISTORIES = 15


@pytest.mark.parametrize("has_gate", [True, False])
def test_nothing_crosses_from_one_tenant_to_another(has_gate: bool) -> None:
    counts = run(range(HISTORIES), has_gate=has_gate)
    assert counts.total() == HISTORIES * STEPS
    assert {"scp upload", "sums", "check-file", "copy-data", "forged record"} <= counts.keys()


def with_mounts(*mounts: Mount) -> dict[str, User]:
    """A user in the place of the first tenant, with other mounts in front of its own."""
    user = user_of(TENANTS[0])
    paths = {mount.path for mount in mounts}
    kept = tuple(mount for mount in user.mounts if mount.path not in paths)
    return {TENANTS[0]: replace(user, mounts=(*mounts, *kept))}


WRONG = {
    "a mount above all homes": with_mounts(Mount(BUCKET, "home/")),
    "a mount of another's home": with_mounts(Mount(BUCKET, "home/bob/", path=("vault",))),
    "the whole bucket": with_mounts(Mount(BUCKET, "")),
    "a drop box that is listed": with_mounts(
        Mount(BUCKET, DROP, permissions=Permission.LIST | Permission.UPLOAD, path=("drop",))
    ),
    "a drop box where all is permitted": with_mounts(
        Mount(BUCKET, DROP, permissions=ALL_PERMISSIONS, path=("drop",))
    ),
}
"""Each stands for a gateway, or for policies, that let one tenant out."""


@pytest.mark.parametrize("changed", WRONG.values(), ids=WRONG.keys())
@pytest.mark.parametrize("has_gate", [True, False])
def test_a_crossing_is_seen(changed: dict[str, User], has_gate: bool) -> None:
    with pytest.raises(AssertionError, match="seed"):
        run(range(40), changed, has_gate=has_gate)


def test_without_the_gate_requests_reach_the_policies() -> None:
    """Else the look without it would be one at nothing."""
    refused: Counter[str] = Counter()
    for seed in range(10):
        refused += check_policies(history(seed), users())
    assert {"s3:GetObject", "s3:PutObject", "s3:ListBucket"} <= refused.keys()
    assert refused.total() > 100


@pytest.mark.parametrize(
    "path",
    [
        b"../bob/a",
        b"/d/../../bob/a",
        b"%2e%2e/bob/a",
        b"..%252fbob%2Fa",
        b"\xc0\xae\xc0\xae/bob/a",
        "\uff0e\uff0e/bob/a".encode(),
        b"..\\bob\\a",
        b"..\0/bob/a",
        b"s3://bucket/home/bob/a",
        b"bucket:home/bob/a",
    ],
)
def test_without_the_jail_all_kinds_of_paths_lead_out(path: bytes) -> None:
    location = UnjailedPaths(user_of("alice").mounts).resolve(path)
    assert (location.bucket, location.file.key) == ("bucket", "home/bob/a")


def test_the_same_seed_is_the_same_history() -> None:
    assert history(7) == history(7) != history(8)
