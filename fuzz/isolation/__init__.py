"""Three tenants, and requests of each that try to reach the others: nothing may cross.

Knows: how a crossing shows.
Must not know: how the gateway keeps users apart.

A history runs with all tenants, and again with each of them alone. What a tenant hears, and what
is its own in the end, must be the same both times: no byte, no name and no existence has crossed.

    python -m fuzz.isolation 100000                   # with the gateway's own gate
    python -m fuzz.isolation 100000 --no-gate         # only IAM decides, by session policies
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from fuzz.isolation.steps import STEPS, Step, history, kinds
from fuzz.isolation.tenants import (
    BOX,
    BUCKET,
    DROP,
    HIDDEN,
    PUBLIC,
    STATE,
    TENANTS,
    areas_of,
    is_hidden,
    payload,
    token,
)
from fuzz.isolation.worlds import World, users
from sftpgw.model.store import ObjectName
from sftpgw.model.users import User

__all__ = ["STEPS", "check_policies", "run"]

READING = ("s3:GetObject", "s3:ListBucket")
"""What S3 may allow in the mount that all read."""

DROPPING = ("s3:PutObject", "s3:AbortMultipartUpload")
"""What S3 may allow in a drop box."""


def run(
    seeds: Iterable[int], changed: dict[str, User] | None = None, *, has_gate: bool = True
) -> Counter[str]:
    """Run histories; returns how many requests of each kind were sent.

    :param seeds: a number for each history.
    :param changed: users who take the place of tenants, to show that a crossing is found.
    :param has_gate: as of `World`.
    :raises AssertionError: something crosses.
    """
    counts: Counter[str] = Counter()
    known = users() | (changed or {})
    for seed in seeds:
        try:
            counts += _run_one(seed, known, has_gate=has_gate)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    return counts


def _run_one(seed: int, known: dict[str, User], *, has_gate: bool) -> Counter[str]:
    steps = history(seed)
    if not has_gate:
        check_policies(steps, known)
    everyone = World(TENANTS, known, has_gate=has_gate)
    before = _content(everyone)
    everyone.run(steps)
    _check_commons(before, _content(everyone), has_gate=has_gate)
    for tenant in TENANTS:
        alone = World((tenant,), known, has_gate=has_gate)
        alone.run(steps)
        secrets = [token(each) * 2 for each in TENANTS if each != tenant]
        secrets += [b"Zq7strangers" * 2, b"Zq7boxes" * 2, *([HIDDEN * 2] if has_gate else [])]
        heard = everyone.clients[tenant].heard
        for secret in secrets:
            assert secret not in b"".join(heard), f"{tenant}: bytes cross: {secret!r}"
        _check_same(tenant, heard, alone.clients[tenant].heard)
        changed = _own(everyone, tenant) ^ _own(alone, tenant)
        assert not changed, f"others have changed {tenant}'s: {sorted(changed)}"
    return kinds(steps)


def check_policies(steps: list[Step], known: dict[str, User]) -> Counter[str]:
    """Check that policies alone let no request out; returns what they have refused, by action.

    Here sessions are told of the transfers of others, too, so that more reaches the store.

    :param steps: the history.
    :param known: the users.
    """
    world = World(TENANTS, known, has_gate=False, has_views=False)
    world.run(steps)
    assert world.guard is not None
    for tenant, action, resource in world.guard.allowed:
        place = resource.removeprefix("arn:aws:s3:::")
        own = [f"{area.bucket}/{area.prefix}" for area in areas_of(tenant)]
        if action in READING:
            own.append(f"{BUCKET}/{PUBLIC}")
        if action in DROPPING:
            own += [f"{BUCKET}/{DROP}", *([f"{BUCKET}/{BOX}"] if tenant == TENANTS[0] else [])]
        assert place.startswith(tuple(own)), f"{tenant} was allowed {action} on {place}"
    return world.guard.refused


def _check_same(tenant: str, beside_others: list[bytes], alone: list[bytes]) -> None:
    for step, (one, other) in enumerate(zip(beside_others, alone, strict=True)):
        assert one == other, (
            f"{tenant}: existence crosses at answer {step}: {one!r}, and alone {other!r}"
        )


Content = dict[ObjectName, bytes]


def _content(world: World) -> Content:
    return {name: stored.data for name, stored in world.store.objects.items()}


def _own(world: World, tenant: str) -> set[tuple[str, str, bytes]]:
    """What is in a tenant's own areas: objects, and parts of uploads that are not complete."""
    areas = areas_of(tenant)
    found = {
        ("object", str(name), data)
        for name, data in _content(world).items()
        if any(area.has(name) for area in areas) and not is_hidden(name)
    }
    for started in world.store.uploads.values():
        if any(area.has(started.upload.name) for area in areas):
            name = str(started.upload.name)
            found |= {("part", name, data) for data, _ in started.parts.values()}
            found.add(("upload", name, b""))
    return found


def _check_commons(before: Content, after: Content, *, has_gate: bool) -> None:
    """What belongs to no tenant: only the drop box changes, where nothing is removed."""
    private = [area for tenant in TENANTS for area in areas_of(tenant)]
    for name in before.keys() | after.keys():
        if has_gate and is_hidden(name):
            assert before.get(name) == after.get(name), f"{name}: hidden, and changed"
        elif any(area.has(name) for area in private):
            continue
        elif name.bucket == BUCKET and name.key.startswith(STATE):
            found = after.get(name, b"")
            assert not any(payload(each) in found for each in TENANTS), f"{name}: written"
        elif name.bucket == BUCKET and name.key.startswith(DROP):
            assert name in after, f"{name}: removed from the drop box"
        else:
            _check_fixed(name, before, after)


def _check_fixed(name: ObjectName, before: Content, after: Content) -> None:
    is_new_in_box = name.key.startswith("box/") and name not in before
    assert is_new_in_box or before.get(name) == after.get(name), f"{name}: changed"
