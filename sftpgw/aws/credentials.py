"""Who the gateway is, to the store.

Knows: static keys, botocore's chain (environment, profile, web identity, ECS,
EC2 IMDSv2), a role to assume on top, and when to refresh.
Must not know: what the credentials are used for.

The chain and STS block, so they run in a thread. All waiting requests share one refresh,
and none waits while the present credentials are valid for a while: an upload in progress
does not notice. Only a role costs a botocore client (15 MiB), and only when used.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Never, Protocol

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
"""What holds for longer than this is used while others are being fetched."""

LAST_SECONDS = 5.0
"""What ends so soon is of no use, even if there is nothing else."""

SHORTEST_LIFE_SECONDS = 300.0
"""What was obtained since then has not expired: botocore renews what lasts less than 10 minutes."""

PATIENCE_SECONDS = 60.0
"""How long a request waits for credentials."""

InThread = Callable[..., Deferred[Any]]
"""``twisted.internet.threads.deferToThread``, or what stands for it."""


class CredentialSource(Protocol):
    """Gives credentials that hold for a while."""

    async def current(self) -> ReadOnlyCredentials:
        """:raises CredentialsUnavailable:"""

    async def renew(self, refused: ReadOnlyCredentials, *, is_guess: bool = False) -> bool:
        """The store refuses `refused`: are there others now?

        :param is_guess: it may as well be for something else, the object above all.
        :raises CredentialsUnavailable:
        """


NONE_FOUND = (
    "no credentials were found; set access_key and secret_key in [s3], or what the usual AWS chain "
    "finds: environment, profile, web identity, ECS, EC2"
)


def credential_source(
    settings: StoreSettings, in_thread: InThread, clock: Clock
) -> CredentialSource:
    """The source that the settings ask for. Does no I/O yet."""
    if settings.access_key and not settings.role_arn:
        return StaticCredentials(settings)
    return RefreshedCredentials(partial(resolve_credentials, settings), in_thread, clock)


class StaticCredentials:
    """Those of the configuration; nothing can renew them."""

    def __init__(self, settings: StoreSettings) -> None:
        self._credentials = ReadOnlyCredentials(
            settings.access_key, settings.secret_key, settings.session_token or None
        )

    async def current(self) -> ReadOnlyCredentials:
        return self._credentials

    async def renew(self, refused: ReadOnlyCredentials, *, is_guess: bool = False) -> bool:
        return False


class RefreshedCredentials:
    """Those that `resolve` finds, kept fresh.

    :param resolve: blocks; returns botocore's credentials or None. It is called
        again when the store refuses what it found.
    """

    def __init__(
        self, resolve: Callable[[], Credentials | None], in_thread: InThread, clock: Clock
    ) -> None:
        self._resolve = resolve
        self._in_thread = in_thread
        self._clock = clock
        self._source: Credentials | None = None
        self._frozen: ReadOnlyCredentials | None = None
        self._early_refresh_after = 0.0
        self._obtained_seconds = 0.0
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
            raise CredentialsUnavailable(NONE_FOUND)
        return self._frozen

    async def renew(self, refused: ReadOnlyCredentials, *, is_guess: bool = False) -> bool:
        if refused == self._frozen:
            if is_guess:
                await self._looked_again()
                return bool(self._frozen != refused)
            self._source = self._frozen = None
        return bool(await self.current() != refused)

    async def _looked_again(self) -> None:
        """Resolve anew, unless what there is cannot have expired; meanwhile it is used as before.

        So a thousand objects that are refused for their own sake cost no thousand roles.
        """
        if self._clock.seconds() - self._obtained_seconds < SHORTEST_LIFE_SECONDS:
            return
        source, self._source = self._source, None
        with suppress(CredentialsUnavailable):
            await self._refreshed()
        self._source = self._source or source

    def _is_due(self) -> bool:
        """Whether botocore would refresh: 15 minutes before expiry, and not every moment then."""
        return self._clock.seconds() >= self._early_refresh_after and self._ends_within(None)

    def _ends_within(self, seconds: float | None) -> bool:
        """Whether they end so soon; None: within botocore's own limit."""
        source = self._source
        return isinstance(source, RefreshableCredentials) and bool(source.refresh_needed(seconds))

    async def _refreshed(self) -> None:
        """Refresh, or wait for the refresh in progress; its failure reaches all who wait."""
        ended = self._refresh_ended.wait()
        self._refresh()
        await ended.addTimeout(PATIENCE_SECONDS, self._clock, _give_up)  # type: ignore[arg-type]

    def _refresh(self) -> None:
        """Not awaited: the request that started it may be cancelled, while others still wait."""
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
        # The class is enough: messages of the chain may quote what it read.
        error = CredentialsUnavailable(f"credentials: {failure.type.__name__}")
        self._end_refresh(Failure(error))

    def _end_refresh(self, failure: Failure | None = None) -> None:
        self._is_refreshing = False
        self._early_refresh_after = self._clock.seconds() + EARLY_REFRESH_PAUSE_SECONDS
        self._refresh_ended.notify_all(failure)


def _give_up(_: object, __: float) -> Never:
    raise CredentialsUnavailable("credentials: no source answers")


def resolve_credentials(settings: StoreSettings) -> Credentials | None:
    """Credentials from the settings or the chain, of the role if there is one. Blocks."""
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
        partial(session.create_client, region_name=settings.region),
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
