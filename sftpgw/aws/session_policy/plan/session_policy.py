"""The session policy of a user in one store, within the size that AWS takes; its session's name.

Knows: the bound of AWS, and in which order a policy that is too long gets shorter.
Must not know: how credentials are obtained.
"""

from __future__ import annotations

import re
from hashlib import sha256

from sftpgw.aws.session_policy.plan.document import ALIAS_SUFFIX, PolicyTerms, policy_text
from sftpgw.aws.session_policy.plan.grants import (
    allowing_grants,
    exact_grants,
    mount_grants,
    regions_of,
)
from sftpgw.errors import NoSessionPolicy
from sftpgw.model.mounts import Mount

MAX_POLICY_CHARACTERS = 2048
"""https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html, ``Policy``."""

MAX_NAME_CHARACTERS = 32
"""How much of a user's name is in that of the session, which has 64 characters at most."""

_UNFIT = re.compile(r"[^A-Za-z0-9_+,.@-]")
"""``=`` is fit, too. It marks names that are not those of users as they are."""


def session_policy(user: str, mounts: tuple[Mount, ...], terms: PolicyTerms) -> str:
    """What the sessions of a user may do in a store: never more than their mounts have.

    Where the exact policy is too long, rules that take permissions away inside of a mount are left
    to the gateway, and after that all rules.

    :param user: the user's name, for the error.
    :param mounts: the user's mounts in this store, with the buckets' names there.
    :param terms: what is common to all policies.
    :raises NoSessionPolicy: there is none that AWS would take
    """
    for mount in mounts:
        _require_expressible(user, mount, terms)
    regions = regions_of(mounts, keeps_empty_directories=terms.keeps_empty_directories)
    shortest = MAX_POLICY_CHARACTERS + 1
    for grants_of in (exact_grants, allowing_grants, mount_grants):
        text = policy_text(grants_of(regions), terms)
        if len(text) <= MAX_POLICY_CHARACTERS:
            return text
        shortest = len(text)
    raise NoSessionPolicy(
        f"{user}: the session policy needs {shortest} characters, and AWS takes "
        f"{MAX_POLICY_CHARACTERS}. Give the user fewer mounts, shorter "
        f"prefixes, or one mount above several of them; there are {len(mounts)}"
    )


def _require_expressible(user: str, mount: Mount, terms: PolicyTerms) -> None:
    """:raises NoSessionPolicy: no policy can name the keys of the mount."""
    if mount.bucket.endswith(ALIAS_SUFFIX):
        raise NoSessionPolicy(
            f"{user}: {mount.bucket} is the alias of an access point, which no policy can name. "
            "Write the ARN of the access point"
        )
    if terms.state_prefix and mount.key_prefix.startswith(terms.state_prefix):
        raise NoSessionPolicy(
            f"{user}: {mount.key_prefix} is under [s3] state_prefix, which no user may reach"
        )


def role_session_name(user: str) -> str:
    """The name of a user's sessions in CloudTrail, different for each user.

    :param user: the user's name.
    """
    fit = _UNFIT.sub("-", user)[:MAX_NAME_CHARACTERS]
    if fit == user:
        return f"sftpgw-{fit}"
    return f"sftpgw-{fit}={sha256(user.encode()).hexdigest()[:16]}"
