"""What a policy allows and denies, by prefixes of keys.

Knows: mounts and their rules, and how prefixes lie in each other.
Must not know: how a policy is written, and its longest size.

Rules

1. A mount is a region of keys, and each rule for a path inside of it is another one. The innermost
   region of a mount says what may be done.
2. A policy allows what any of its statements allows, unless one denies it. So a region allows what
   the one around it does not, and denies what that one allows too much.
3. Nothing is denied that a region inside of it, or another mount on the same keys, needs. There the
   policy is wider than the rules, and never wider than the mount.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from sftpgw.aws.session_policy.plan.s3_actions import PUT, actions_for, actions_for_objects
from sftpgw.model.mounts import Mount

NO_ACTIONS: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Region:
    """Keys of one mount that have the same permissions.

    :ivar mount: the number of the mount.
    :ivar bucket: the bucket.
    :ivar prefix: the prefix of the keys; empty, or ends with a slash.
    :ivar needed: the actions that the user needs there.
    :ivar is_inner: whether it is inside of another region of the mount. Then its name without the
        slash is asked for, too.
    """

    mount: int
    bucket: str
    prefix: str
    needed: frozenset[str]
    is_inner: bool = False

    def is_inside(self, other: Region) -> bool:
        """Whether all of its keys are keys of `other`."""
        return self.bucket == other.bucket and self.prefix.startswith(other.prefix)


@dataclass(frozen=True, slots=True)
class Grant:
    """Actions that are allowed, or denied, on all keys of a prefix."""

    region: Region
    allowed: frozenset[str] = NO_ACTIONS
    denied: frozenset[str] = NO_ACTIONS


def regions_of(
    mounts: Iterable[Mount], *, keeps_empty_directories: bool = False
) -> tuple[Region, ...]:
    """The regions of all mounts (rule 1); of each mount the outer ones first.

    :param mounts: the mounts.
    :param keeps_empty_directories: as for `actions_for`.
    """
    found: list[Region] = []
    for number, mount in enumerate(mounts):
        depth = len(mount.path)
        inner = {rule.path for rule in mount.rules if len(rule.path) > depth}
        inner = {path for path in inner if path[:depth] == mount.path}
        for path in (mount.path, *sorted(inner, key=len)):
            below = "".join(f"{name}/" for name in path[depth:])
            needed = actions_for(
                mount.access_at(path).permissions, keeps_empty_directories=keeps_empty_directories
            )
            if PUT in needed:
                needed |= actions_for_objects(mount.objects)
            found.append(
                Region(number, mount.bucket, mount.key_prefix + below, needed, bool(below))
            )
    return tuple(found)


def exact_grants(regions: tuple[Region, ...]) -> tuple[Grant, ...]:
    """The grants that come closest to the rules (rules 2 and 3)."""
    return tuple(_without_covered([_grant_of(region, regions) for region in regions]))


def allowing_grants(regions: tuple[Region, ...]) -> tuple[Grant, ...]:
    """As `exact_grants`, with nothing denied."""
    grants = [replace(each, denied=NO_ACTIONS) for each in exact_grants(regions)]
    return tuple(_without_covered(grants))


def mount_grants(regions: tuple[Region, ...]) -> tuple[Grant, ...]:
    """One grant for each mount: what is needed anywhere in it."""
    outer = [region for region in regions if not region.is_inner]
    return tuple(
        _without_covered(
            [
                Grant(region, _all_needed(each for each in regions if each.mount == region.mount))
                for region in outer
            ]
        )
    )


def _all_needed(regions: Iterable[Region]) -> frozenset[str]:
    return frozenset(action for region in regions for action in region.needed)


def _grant_of(region: Region, regions: tuple[Region, ...]) -> Grant:
    around = [
        other
        for other in regions
        if other.mount == region.mount and other != region and region.is_inside(other)
    ]
    if not around:
        return Grant(region, region.needed)
    enclosing = max(around, key=lambda other: len(other.prefix))
    surplus = _all_needed(around) - region.needed
    for other in regions:
        is_rival = other.mount != region.mount and region.is_inside(other)
        if other != region and (other.is_inside(region) or is_rival):
            surplus -= other.needed
    return Grant(region, region.needed - enclosing.needed, surplus)


def _without_covered(grants: list[Grant]) -> Iterator[Grant]:
    """The grants without those that others make superfluous."""
    for number, grant in enumerate(grants):
        allowed = grant.allowed
        for other_number, other in enumerate(grants):
            is_same = other.region.prefix == grant.region.prefix
            if other_number == number or not grant.region.is_inside(other.region):
                continue
            if grant.region.is_inner and not is_same and other.region.mount == grant.region.mount:
                continue  # what is left of it is what the outer one lacks
            is_twin = is_same and allowed == other.allowed and number < other_number
            if allowed <= other.allowed and not is_twin:
                allowed = NO_ACTIONS
        if allowed or grant.denied:
            yield replace(grant, allowed=allowed)
