"""Which role a user's sessions assume in a store, under which name, and with which policy.

Knows: whose role and whose policy counts, which mounts are in the store, and which KMS keys they
need.
Must not know: how a policy is made of mounts (`session_policy`), or how a role is assumed.

Rules

1. The role of the user wins over that of the store.
2. Where the source of the user has given a policy, that one counts, in place of ours. A session has
   one policy at most.
3. The buckets in a policy have the names that they have in their store.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace

from sftpgw.aws.session_policy.plan.document import ARN_PREFIX, PolicyTerms
from sftpgw.aws.session_policy.plan.session_policy import (
    role_session_name,
    session_policy,
)
from sftpgw.errors import NoSessionPolicy
from sftpgw.model.bucket_names import name_in_store, store_of_bucket
from sftpgw.model.mounts import Mount
from sftpgw.model.object_settings import Encryption, ObjectSettings
from sftpgw.model.settings import StoreSettings
from sftpgw.model.users import User

ALIAS = "alias/"
_KMS = (Encryption.KMS, Encryption.KMS_DSSE)


@dataclass(frozen=True, slots=True)
class RoleRequest:
    """What AssumeRole is asked for. Two users, or two policies, never share credentials.

    :ivar user: the user's name.
    :ivar role_arn: the role.
    :ivar session_name: the name of the session, for CloudTrail.
    :ivar policy: the session policy.
    :ivar tags: the session tags.
    """

    user: str
    role_arn: str
    session_name: str
    policy: str = field(repr=False)
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RoleTerms:
    """What the roles of all users of a store have in common.

    :ivar store: the settings of the store.
    :ivar other_stores: the names of the stores besides ``[s3]``.
    :ivar keeps_empty_directories: whether ``[files] keep_empty_directories`` is on.
    """

    store: StoreSettings
    other_stores: Collection[str] = ()
    keeps_empty_directories: bool = False

    def mounts_of(self, user: User) -> tuple[Mount, ...]:
        """The mounts of a user in this store, with the buckets' names there (rule 3).

        :param user: the user.
        """
        store = self.store
        return tuple(
            replace(
                mount,
                bucket=name_in_store(mount.bucket, store.name),
                objects=mount.objects.under(store.objects),
            )
            for mount in user.mounts
            if store_of_bucket(mount.bucket, self.other_stores) == store.name
        )

    def policy_terms(self, user: User) -> PolicyTerms:
        """What the policy of a user has beside the mounts.

        :param user: the user.
        :raises NoSessionPolicy: a KMS key cannot be named in it.
        """
        role_arn, store = self.role_of(user), self.store
        return PolicyTerms(
            partition=_field(role_arn, 1) or "aws",
            state_prefix=store.state_prefix,
            kms_keys=tuple(dict.fromkeys(self._kms_keys(user, role_arn))),
            keeps_empty_directories=self.keeps_empty_directories,
        )

    def role_of(self, user: User) -> str:
        """The role (rule 1); empty if there is none.

        :param user: the user.
        """
        own = user.role.arn if user.role is not None else ""
        return own or self.store.role_arn

    def request_for(self, user: User) -> RoleRequest:
        """What is asked for a user's sessions.

        :param user: the user.
        :raises NoSessionPolicy: there is no role, or no policy that AWS would take.
        """
        role_arn, mounts = self.role_of(user), self.mounts_of(user)
        if not role_arn:
            raise NoSessionPolicy(
                f"{user.name}: has no role to assume, which scoped_credentials needs; set role_arn "
                f"in {self.store.section}, or for the user"
            )
        tags = ObjectSettings(tags=self.store.session_tags).filled({"username": user.name}).tags
        given = user.role.policy if user.role is not None else ""
        policy = given or session_policy(user.name, mounts, self.policy_terms(user))
        return RoleRequest(user.name, role_arn, role_session_name(user.name), policy, tags)

    def _kms_keys(self, user: User, role_arn: str) -> Iterator[str]:
        for mount in self.mounts_of(user):
            key = mount.objects.sse_kms_key
            if mount.objects.sse not in _KMS or not key:
                continue
            if ALIAS in key:
                raise NoSessionPolicy(
                    f"{user.name}: {key} is the alias of a KMS key, which no policy can name; "
                    "write the ARN of the key as sse_kms_key"
                )
            if key.startswith(ARN_PREFIX):
                yield key
            else:
                account = _field(role_arn, 4)
                partition = _field(role_arn, 1) or "aws"
                yield f"arn:{partition}:kms:{self.store.region}:{account}:key/{key}"


def check_roles(
    user: User,
    stores: Collection[StoreSettings],
    *,
    keeps_empty_directories: bool = False,
) -> None:
    """Check that the sessions of a user can be given credentials in each store that scopes them.

    :param user: the user.
    :param stores: the settings of all stores.
    :param keeps_empty_directories: whether ``[files] keep_empty_directories`` is on.
    :raises NoSessionPolicy: they cannot.
    """
    names = [store.name for store in stores if store.name]
    for store in stores:
        if store.scoped_credentials:
            terms = RoleTerms(store, names, keeps_empty_directories)
            if terms.mounts_of(user):
                terms.request_for(user)


def _field(arn: str, number: int) -> str:
    """A field of an ARN: 1 is the partition, 4 the account. Empty if there is none."""
    fields = arn.split(":", 5)
    return fields[number] if len(fields) > number else ""
