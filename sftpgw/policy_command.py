"""``sftpgw check --print-policy USER``: the IAM policies that a user of users.ini needs.

Knows: the settings, and which mounts are in which store.
Must not know: how a policy is made of mounts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sftpgw.aws.session_policy.plan.document import PolicyTerms
from sftpgw.aws.session_policy.plan.session_policy import session_policy
from sftpgw.aws.session_policy.plan.static_policy import static_policy
from sftpgw.errors import ConfigError, NoSessionPolicy
from sftpgw.model.bucket_names import name_in_store
from sftpgw.model.mounts import Mount
from sftpgw.model.settings import Settings, StoreSettings
from sftpgw.startup import read_settings


def printed_policy(path: str, user: str, *, is_static: bool) -> str:
    """The policies of a user, one for each store; several have a line with the store's name.

    :param path: where sftpgw.ini is.
    :param user: the user's name.
    :param is_static: that of AWS Transfer Family, with its variables.
    :raises ConfigError: the configuration has a fault, there is no such user, or no such policy.
    """
    settings = read_settings(path, is_start=False)
    if user not in settings.users:
        raise ConfigError((f"--print-policy: users.ini has no user {user}",))
    make = static_policy if is_static else session_policy
    try:
        found = [
            (store.name, make(user, mounts, terms_of(store, settings)))
            for store, mounts in _by_store(settings, settings.users[user].mounts)
        ]
    except NoSessionPolicy as error:
        raise ConfigError((error.message,)) from error
    if len(found) == 1:
        return found[0][1]
    return "\n".join(f"[store {name}]\n{text}" if name else f"[s3]\n{text}" for name, text in found)


def terms_of(store: StoreSettings, settings: Settings) -> PolicyTerms:
    """What all policies of a store have in common.

    :param store: the settings of the store.
    :param settings: the whole configuration.
    """
    _, _, partition = store.role_arn.rpartition("arn:")
    return PolicyTerms(
        partition=partition.partition(":")[0] or "aws",
        state_prefix=store.state_prefix,
        keeps_empty_directories=settings.files.keep_empty_directories,
    )


def _by_store(
    settings: Settings, mounts: tuple[Mount, ...]
) -> Iterator[tuple[StoreSettings, tuple[Mount, ...]]]:
    """The mounts of each store that has any, with the buckets' names in the store."""
    for store in settings.all_stores:
        inside = [mount for mount in mounts if settings.store_of(mount.bucket) is store]
        if inside:
            yield (
                store,
                tuple(
                    replace(mount, bucket=name_in_store(mount.bucket, store.name))
                    for mount in inside
                ),
            )
