"""The static alternative: one policy for all users of AWS Transfer Family, with its variables.

Knows: the variables that AWS Transfer Family fills in.
Must not know: how a session policy is used.

https://docs.aws.amazon.com/transfer/latest/userguide/session-policy.html
"""

from __future__ import annotations

import json
from dataclasses import replace

from sftpgw.aws.session_policy.plan.document import PolicyTerms, policy_text
from sftpgw.aws.session_policy.plan.grants import exact_grants, regions_of
from sftpgw.model.mounts import Mount

HOME_BUCKET = "${transfer:HomeBucket}"
HOME_FOLDER = "${transfer:HomeFolder}"
USER_NAME = "${transfer:UserName}"

# Stand for the variables until the rest is written, in which "$" stands for itself.
_BUCKET, _FOLDER, _NAME = "\x01bucket", "\x01folder", "\x01name"
_VARIABLES = ((_BUCKET, HOME_BUCKET), (_FOLDER, HOME_FOLDER), (_NAME, USER_NAME))


def static_policy(user: str, mounts: tuple[Mount, ...], terms: PolicyTerms) -> str:
    """The policy of a user with variables in place of the home and of the user's name.

    The first mount is the home. In the others, a name on the way that is the user's becomes a
    variable. It is indented, since it is for people, and may be longer than a session policy.

    :param user: the user's name.
    :param mounts: the user's mounts in this store.
    :param terms: what is common to all policies.
    """
    home = mounts[0]
    shown = tuple(_with_variables(mount, home, user) for mount in mounts)
    grants = exact_grants(regions_of(shown, keeps_empty_directories=terms.keeps_empty_directories))
    document = json.loads(policy_text(grants, terms))
    text = json.dumps(document, indent=2)
    for stand_in, variable in _VARIABLES:
        text = text.replace(json.dumps(stand_in)[1:-1], variable)
    return text


def _with_variables(mount: Mount, home: Mount, user: str) -> Mount:
    bucket, prefix = mount.bucket, mount.key_prefix
    if bucket == home.bucket:
        bucket = _BUCKET
        if home.key_prefix and prefix.startswith(home.key_prefix):
            inside = _with_name(prefix[len(home.key_prefix) :], user)
            return _replaced(mount, bucket, f"{_FOLDER}/{inside}")
    return _replaced(mount, bucket, _with_name(prefix, user))


def _with_name(prefix: str, user: str) -> str:
    return "/".join(_NAME if name == user else name for name in prefix.split("/"))


def _replaced(mount: Mount, bucket: str, prefix: str) -> Mount:
    return replace(mount, bucket=bucket, key_prefix=prefix)
