"""The credentials of the gateway for AWS services.

Knows: static keys, botocore's chain (environment, profile, web identity, ECS, EC2 IMDSv2), a role
to assume with them, and when to refresh.
Must not know: which service the credentials are for. Nothing here is specific to S3 but
`StoreSettings`, which has the keys of ``[s3]``.

The chain and STS block, so they run in a thread. All requests that wait share one refresh. None
waits while the current credentials are valid for some time: uploads in progress do not notice a
refresh. Only a role needs a botocore client (15 MiB), and only when it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Never, Protocol

from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    Credentials,
    ReadOnlyCredentials,
    RefreshableCredentials,
)
from botocore.session import Session
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sftpgw.aio.notifier import Notifier
from sftpgw.errors import CredentialsUnavailable
from sftpgw.model.clock import Clock
from sftpgw.model.settings import StoreSettings

ROLE_SESSION_NAME = "sftpgw"
EARLY_REFRESH_PAUSE_SECONDS = 60.0
WAIT_FROM_SECONDS = 120.0
"""Credentials that are valid for longer than this are used while new ones are fetched."""

LAST_SECONDS = 5.0
"""Credentials that expire within this time are not used, even if there are no others."""

SHORTEST_LIFE_SECONDS = 300.0
"""Credentials younger than this have not expired: botocore renews those that last less than ten
minutes."""

RENEWAL_PAUSE_SECONDS = 10.0
"""After a renewal, credentials that are refused are kept for so long. All requests wait for a
renewal, and a bucket that refuses any credentials would make them wait all the time."""

MAX_WAIT_SECONDS = 60.0
"""How long a request waits for credentials."""

InThread = Callable[..., Deferred[Any]]
"""``twisted.internet.threads.deferToThread``, or a replacement."""


class CredentialSource(Protocol):
    """Gives credentials that stay valid for some time."""

    async def current(self) -> ReadOnlyCredentials:
        """The credentials to sign with now. :raises CredentialsUnavailable: there are none"""

    async def renew(self, refused: ReadOnlyCredentials, *, is_guess: bool = False) -> bool:
        """Fetch others after the service refused `refused`; returns whether there are others now.

        :param refused: the credentials that the refused request was signed with.
        :param is_guess: the request may have been refused for another reason, such as its object.
        :raises CredentialsUnavailable: there are none now
        """


def none_found(keys: str) -> str:
    """What to do where there are no credentials.

    :param keys: the settings that would have them, and their section.
    """
    return (
        f"no credentials were found; set {keys}, or provide them by the usual AWS chain: "
        "environment, profile, web identity, ECS, EC2"
    )


def credential_source(
    settings: StoreSettings, in_thread: InThread, clock: Clock, keys: str = ""
) -> CredentialSource:
    """The source that the settings ask for. Does no I/O yet.

    :param settings: ``[s3]``, or another store.
    :param in_thread: runs a blocking function in a thread.
    :param clock: times refreshes.
    :param keys: what to set where there are none; empty: both keys of the store's section.
    """
    if settings.access_key and not settings.role_arn:
        return StaticCredentials(settings)
    missing = none_found(keys or f"access_key and secret_key in {settings.section}")
    return RefreshedCredentials(partial(resolve_credentials, settings), in_thread, clock, missing)


class StaticCredentials:
    """The credentials of the configuration; they cannot be renewed."""

    def __init__(self, settings: StoreSettings) -> None:
        self._credentials = ReadOnlyCredentials(
            settings.access_key, settings.secret_key, settings.session_token or None
        )

    async def current(self) -> ReadOnlyCredentials:
        return self._credentials

    async def renew(self, refused: ReadOnlyCredentials, *, is_guess: bool = False) -> bool:
        return False


class RefreshedCredentials:
    """Credentials that `resolve` finds, refreshed before they expire.

    :param resolve: blocks; returns botocore's credentials, or None if it finds none. It is called
        again after a service has refused the credentials.
    :param in_thread: runs a blocking function in a thread.
    :param clock: times refreshes.
    :param missing: says what to do where there are none.
    """

    def __init__(
        self,
        resolve: Callable[[], Credentials | None],
        in_thread: InThread,
        clock: Clock,
        missing: str = "no credentials were found",
    ) -> None:
        self._resolve = resolve
        self._missing = missing
        self._in_thread = in_thread
        self._clock = clock
        self._source: Credentials | None = None
        self._frozen: ReadOnlyCredentials | None = None
        self._early_refresh_after = 0.0
        self._obtained_seconds = 0.0
        self._renew_after = float("-inf")
        self._is_refreshing = False
        self._refresh_ended = Notifier()

    async def current(self) -> ReadOnlyCredentials:
        if self._frozen is None or self._ends_within(WAIT_FROM_SECONDS):
            try:
                await self._refreshed()
            except CredentialsUnavailable:
                if self._frozen is None or self._ends_within(LAST_SECONDS):
                    raise
        elif self._is_due():
            self._refresh()
        if self._frozen is None:
            raise CredentialsUnavailable(self._missing)
        return self._frozen

    async def renew(self, refused: ReadOnlyCredentials, *, is_guess: bool = False) -> bool:
        if refused == self._frozen:
            if is_guess:
                await self._resolve_again()
                return bool(self._frozen != refused)
            if self._clock.seconds() < self._renew_after:
                return False  # new ones have just been refused as well: they would be again
            self._renew_after = self._clock.seconds() + RENEWAL_PAUSE_SECONDS
            self._source = self._frozen = None
        return bool(await self.current() != refused)

    async def _resolve_again(self) -> None:
        """Resolve again, unless the credentials are too young to have expired.

        So a thousand objects that are refused for a reason of their own do not assume a role a
        thousand times. Meanwhile other requests use the old credentials.
        """
        if self._clock.seconds() - self._obtained_seconds < SHORTEST_LIFE_SECONDS:
            return
        source, self._source = self._source, None
        with suppress(CredentialsUnavailable):
            await self._refreshed()
        self._source = self._source or source

    def _is_due(self) -> bool:
        """Whether botocore would refresh: 15 minutes before expiry, but not all the time."""
        return self._clock.seconds() >= self._early_refresh_after and self._ends_within(None)

    def _ends_within(self, seconds: float | None) -> bool:
        """Whether they expire within `seconds`; None: within botocore's own limit."""
        source = self._source
        return isinstance(source, RefreshableCredentials) and bool(source.refresh_needed(seconds))

    async def _refreshed(self) -> None:
        """Refresh, or wait for the refresh in progress; all waiting requests share its failure."""
        ended = self._refresh_ended.wait()
        self._refresh()
        await ended.addTimeout(MAX_WAIT_SECONDS, self._clock, _give_up)  # type: ignore[arg-type]

    def _refresh(self) -> None:
        """Start a refresh. Not awaited: the first request may be cancelled while others wait."""
        if not self._is_refreshing:
            self._is_refreshing = True
            self._in_thread(self._load).addCallbacks(self._loaded, self._not_loaded)

    def _load(self) -> tuple[Credentials, ReadOnlyCredentials] | None:
        """Runs in a thread."""
        source = self._source or self._resolve()
        return None if source is None else (source, source.get_frozen_credentials())

    def _loaded(self, found: tuple[Credentials, ReadOnlyCredentials] | None) -> None:
        if found is not None:
            self._source, self._frozen = found
            self._obtained_seconds = self._clock.seconds()
        self._end_refresh()

    def _not_loaded(self, failure: Any) -> None:
        # Only the class: messages of the chain may quote secrets.
        error = CredentialsUnavailable(f"credentials: {failure.type.__name__}")
        self._end_refresh(Failure(error))

    def _end_refresh(self, failure: Failure | None = None) -> None:
        self._is_refreshing = False
        self._early_refresh_after = self._clock.seconds() + EARLY_REFRESH_PAUSE_SECONDS
        self._refresh_ended.notify_all(failure)


def _give_up(_: object, __: float) -> Never:
    raise CredentialsUnavailable("credentials: the search takes too long")


def resolve_credentials(settings: StoreSettings) -> Credentials | None:
    """The credentials of the settings or the chain, or of the role that they assume. Blocks."""
    session = Session()
    if settings.access_key:
        found = Credentials(
            settings.access_key, settings.secret_key, settings.session_token or None
        )
    else:
        found = session.get_credentials()
    if found is None or not settings.role_arn:
        return found
    fetcher = AssumeRoleCredentialFetcher(
        partial(
            session.create_client,
            region_name=settings.region,
            config=Config(
                use_fips_endpoint=settings.fips, use_dualstack_endpoint=settings.dual_stack
            ),
        ),
        found,
        settings.role_arn,
        extra_args={"RoleSessionName": ROLE_SESSION_NAME},
        cache={},
    )
    return RefreshableCredentials.create_from_metadata(
        metadata=fetcher.fetch_credentials(),
        refresh_using=fetcher.fetch_credentials,
        method="assume-role",
    )
