"""Grants as an IAM policy in JSON, as short as it can be.

Knows: ARNs, statements, conditions, and how wildcards are taken literally.
Must not know: permissions, and why something is granted.

Rules

1. A LIST must name a prefix that is granted. Without a prefix it is refused.
2. ``*``, ``?`` and ``$`` in a bucket or a key stand for themselves: ``${*}``, ``${?}``, ``${$}``.
3. The gateway's own keys are denied where a grant would cover them, and so are the lists that would
   show their names: those that begin with them, and those above them that group nothing.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from sftpgw.aws.session_policy.plan.grants import Grant, Region
from sftpgw.aws.session_policy.plan.s3_actions import LIST_BUCKET, PUT

Statement: TypeAlias = dict[str, Any]

VERSION = "2012-10-17"
ARN_PREFIX = "arn:"
ALIAS_SUFFIX = "-s3alias"
_LITERAL = str.maketrans({"*": "${*}", "?": "${?}", "$": "${$}"})


@dataclass(frozen=True, slots=True)
class PolicyTerms:
    """What the policies of all users of a store have in common.

    :ivar partition: of all ARNs: ``aws``, ``aws-cn`` or ``aws-us-gov``.
    :ivar state_prefix: the prefix of the gateway's own keys.
    :ivar kms_keys: the ARNs of the keys that may be used through S3.
    :ivar keeps_empty_directories: whether ``[files] keep_empty_directories`` is on.
    """

    partition: str = "aws"
    state_prefix: str = ".sftpgw/"
    kms_keys: tuple[str, ...] = ()
    keeps_empty_directories: bool = False


def literal(text: str) -> str:
    """A text that stands for itself in resources and conditions (rule 2)."""
    return text.translate(_LITERAL)


def policy_text(grants: Iterable[Grant], terms: PolicyTerms) -> str:
    """The policy, without a space that is not needed, in ASCII.

    :param grants: what it allows and denies.
    :param terms: what is common to all policies.
    """
    document = {"Version": VERSION, "Statement": list(_statements(tuple(grants), terms))}
    return json.dumps(document, separators=(",", ":"))


def bucket_arn(bucket: str, partition: str) -> str:
    """The ARN of a bucket, or of an access point.

    :param bucket: a bucket, ``tenant:bucket`` of Ceph, or the ARN of an access point.
    :param partition: as of `PolicyTerms`.
    """
    if bucket.startswith(ARN_PREFIX):
        return bucket.replace(":accesspoint:", ":accesspoint/")
    tenant, separator, name = bucket.rpartition(":")
    return f"arn:{partition}:s3::{tenant}:{name}" if separator else f"arn:{partition}:s3:::{bucket}"


def objects_arn(bucket: str, prefix: str, partition: str) -> str:
    """The pattern of the ARNs of all objects under a prefix.

    :param bucket: as for `bucket_arn`.
    :param prefix: the prefix.
    :param partition: as of `PolicyTerms`.
    """
    between = "/object/" if bucket.startswith(ARN_PREFIX) else "/"
    return f"{bucket_arn(bucket, partition)}{between}{literal(prefix)}*"


def _statements(grants: tuple[Grant, ...], terms: PolicyTerms) -> Iterator[Statement]:
    allowed = [(grant.region, grant.allowed) for grant in grants]
    denied = [(grant.region, grant.denied) for grant in grants]
    yield from _on_objects("Allow", allowed, terms)
    yield from _on_lists("Allow", allowed, terms)
    yield from _on_objects("Deny", denied, terms)
    yield from _on_lists("Deny", denied, terms)
    yield from _on_state(allowed, terms)
    yield from _on_keys(allowed, terms)


_Granted: TypeAlias = list[tuple[Region, frozenset[str]]]


def _on_objects(effect: str, granted: _Granted, terms: PolicyTerms) -> Iterator[Statement]:
    """One statement for each set of actions."""
    by_actions: dict[frozenset[str], list[str]] = {}
    for region, actions in granted:
        if of_objects := actions - {LIST_BUCKET}:
            arn = objects_arn(region.bucket, region.prefix, terms.partition)
            by_actions.setdefault(of_objects, []).append(arn)
    for actions, arns in by_actions.items():
        yield _statement(effect, sorted(actions), arns)


def _on_lists(effect: str, granted: _Granted, terms: PolicyTerms) -> Iterator[Statement]:
    """One statement for all buckets with the same prefixes (rule 1)."""
    by_bucket: dict[str, list[str]] = {}
    for region, actions in granted:
        if LIST_BUCKET in actions:
            prefixes = by_bucket.setdefault(region.bucket, [])
            prefixes.append(f"{literal(region.prefix)}*")
            if region.is_inner and effect == "Allow":
                prefixes.append(literal(region.prefix.removesuffix("/")))
    by_prefixes: dict[tuple[str, ...], list[str]] = {}
    for bucket, prefixes in by_bucket.items():
        arn = bucket_arn(bucket, terms.partition)
        by_prefixes.setdefault(tuple(dict.fromkeys(prefixes)), []).append(arn)
    for found, arns in by_prefixes.items():
        condition = {"StringLike": {"s3:prefix": _shortest(found)}}
        yield _statement(effect, [LIST_BUCKET], arns, condition)


def _on_state(granted: _Granted, terms: PolicyTerms) -> Iterator[Statement]:
    """Denies the gateway's own keys, and their names (rule 3)."""
    state = terms.state_prefix
    regions = [region for region, _ in granted if state and state.startswith(region.prefix)]
    if not regions:
        return
    buckets = dict.fromkeys(region.bucket for region in regions)
    objects = [objects_arn(bucket, state, terms.partition) for bucket in buckets]
    yield _statement("Deny", ["s3:*"], objects)
    if not any(LIST_BUCKET in actions for _, actions in granted):
        return
    arns = [bucket_arn(bucket, terms.partition) for bucket in buckets]
    below = {"StringLike": {"s3:prefix": f"{literal(state)}*"}}
    yield _statement("Deny", [LIST_BUCKET], arns, below)
    shortest = min(len(region.prefix) for region in regions)
    above = [literal(state[:end]) for end in range(shortest, len(state))]
    ungrouped = {
        "StringEquals": {"s3:prefix": _shortest(above)},
        "StringNotEquals": {"s3:delimiter": "/"},
    }
    yield _statement("Deny", [LIST_BUCKET], arns, ungrouped)


def _on_keys(granted: _Granted, terms: PolicyTerms) -> Iterator[Statement]:
    """KMS, which S3 asks with the credentials of the request."""
    if not terms.kms_keys:
        return
    actions = ["kms:Decrypt"]
    if any(PUT in actions_of_region for _, actions_of_region in granted):
        actions.append("kms:GenerateDataKey")
    condition = {"StringLike": {"kms:ViaService": "s3.*"}}
    yield _statement("Allow", actions, list(terms.kms_keys), condition)


def _statement(
    effect: str, actions: list[str], resources: list[str], condition: Statement | None = None
) -> Statement:
    statement = {
        "Effect": effect,
        "Action": _shortest(actions),
        "Resource": _shortest(list(dict.fromkeys(resources))),
    }
    return statement if condition is None else {**statement, "Condition": condition}


def _shortest(values: Iterable[str]) -> str | list[str]:
    """A list of one is written without its brackets."""
    found = list(values)
    return found[0] if len(found) == 1 else found
