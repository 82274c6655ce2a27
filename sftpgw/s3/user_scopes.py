"""Gives each session of a store the credentials of its user (``scoped_credentials``).

Knows: which mounts of a user are in the store, and where the user may list.
Must not know: what the credentials sign (`session_scope`), or how they are obtained.
"""

from __future__ import annotations

from sftpgw.aws.credentials import InThread
from sftpgw.aws.session_policy.plan.grants import regions_of
from sftpgw.aws.session_policy.plan.role_requests import RoleTerms
from sftpgw.aws.session_policy.plan.s3_actions import GET, LIST_BUCKET
from sftpgw.aws.session_policy.role_sessions import RoleSessions
from sftpgw.aws.session_policy.sts_client import StsClient
from sftpgw.model.bucket_names import name_in_gateway
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.mounts import Mount
from sftpgw.model.settings import Settings, StoreSettings
from sftpgw.model.users import User
from sftpgw.s3.session_scope import PrefixRights, SessionScope


class UserScopes:
    """The scopes of sessions in one store.

    :param terms: what the roles of all users have in common.
    :param sessions: has their credentials.
    """

    def __init__(self, terms: RoleTerms, sessions: RoleSessions) -> None:
        self._terms = terms
        self._sessions = sessions

    def of(self, user: User) -> SessionScope:
        """The scope of a session. Its credentials are being fetched, unless they are at hand.

        For a user who has nothing in this store, nothing signs a request here: none leads here but
        by mistake, and that must not be signed with the gateway's own credentials.

        :param user: who has logged in.
        :raises NoSessionPolicy: the user cannot have any; that is found when users are loaded.
        """
        terms = self._terms
        mounts, store = terms.mounts_of(user), terms.store
        if not mounts:
            return SessionScope(None, (), store.state_prefix)
        prefixes = tuple(
            (name_in_gateway(mount.bucket, store.name), mount.key_prefix) for mount in mounts
        )
        credentials = self._sessions.credentials_for(terms.request_for(user))
        rights = _rights(mounts, store.name)
        return SessionScope(credentials, prefixes, store.state_prefix, rights=rights)


def _rights(mounts: tuple[Mount, ...], store: str) -> tuple[PrefixRights, ...]:
    found = [
        PrefixRights(
            name_in_gateway(region.bucket, store),
            region.prefix,
            lists=LIST_BUCKET in region.needed,
            reads=GET in region.needed,
        )
        for region in regions_of(mounts)
    ]
    return tuple(sorted(found, key=lambda each: -len(each.prefix)))


def scopes_of_store(
    store: StoreSettings, settings: Settings, in_thread: InThread, clock: Clock, events: EventSink
) -> UserScopes | None:
    """The scopes of a store; None if its sessions have no credentials of their own.

    Does no I/O yet.

    :param store: the settings of the store.
    :param settings: the whole configuration.
    :param in_thread: runs a blocking function in a thread.
    :param clock: times renewals.
    :param events: told of credentials, and of what STS refuses.
    """
    if not store.scoped_credentials:
        return None
    terms = RoleTerms(store, settings.stores, settings.files.keep_empty_directories)
    return UserScopes(terms, RoleSessions(StsClient(store), in_thread, clock, events))
