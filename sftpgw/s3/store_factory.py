"""Puts the room together: one `S3Client` from the settings.

Knows: which parts there are.
Must not know: what they do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from botocore.exceptions import BotoCoreError
from botocore.session import Session

from sftpgw.aio.hasher import Hasher
from sftpgw.aws.credentials import CredentialSource, InThread, credential_source
from sftpgw.aws.endpoints import Endpoints
from sftpgw.aws.signer import Signer
from sftpgw.http.certificates import Authorities
from sftpgw.http.client import HttpClient
from sftpgw.http.proxies import Proxies
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.settings import StoreSettings
from sftpgw.model.store import Capabilities
from sftpgw.s3.capabilities import FixedCapabilities, ProbedCapabilities, SilentSink
from sftpgw.s3.probe import probe_capabilities
from sftpgw.s3.request_executor import RequestExecutor
from sftpgw.s3.s3_client import S3Client
from sftpgw.s3.throttle.queue import Throttles

IDLE_CONNECTIONS = 64
"""How many connections to a host are kept for whoever does not say how many are worth it."""

THROTTLE_CEILING = 64
"""So many requests at once are few enough for any store: there is no need to count them."""


def open_store(
    settings: StoreSettings,
    reactor: Any,
    events: EventSink,
    *,
    wall_clock: Callable[[], float],
    random: Callable[[], float],
    in_thread: InThread,
    credentials: CredentialSource | None = None,
    clock: Clock | None = None,
    environment: Mapping[str, str] | None = None,
    idle_connections: int = IDLE_CONNECTIONS,
) -> S3Client:
    """A client for the store of `settings`; `close` it in the end. Does no I/O yet.

    :param wall_clock: seconds since 1970 (``time.time``).
    :param random: a number in [0, 1) each time (``random.random``).
    :param in_thread: ``threads.deferToThread``, for what blocks: finding credentials.
    :param credentials: instead of those that the settings name.
    :param clock: of the waits between attempts; `reactor` if None.
    :param environment: the process's, which may name proxies and authorities; None: it is not
        asked.
    :param idle_connections: how many are kept for each host: as many as are in use at once.
    """
    hasher = Hasher(reactor)
    sender = RequestExecutor(
        http=HttpClient(
            reactor,
            idle_connections=idle_connections,
            connect_timeout_seconds=settings.connect_timeout_seconds,
            find_authorities=lambda: authorities_of(settings, environment or {}),
            proxies=Proxies(settings.proxy, environment or {}),
        ),
        endpoints=Endpoints(settings),
        signer=Signer(settings.sign_payload, wall_clock, hasher),
        credentials=credentials or credential_source(settings, in_thread, reactor),
        settings=settings,
        clock=clock or reactor,
        random=random,
        hasher=hasher,
        throttles=Throttles(clock or reactor, events, ceiling=THROTTLE_CEILING),
    )

    async def probe(bucket: str) -> Capabilities:
        client = S3Client(
            sender.with_short_deadline(), SilentSink(), FixedCapabilities(settings.capabilities)
        )
        token = f"{int(random() * 2**53):014x}"
        return await probe_capabilities(client, bucket, settings.state_prefix, token)

    return S3Client(sender, events, ProbedCapabilities(settings, probe, sender.clock, events))


def authorities_of(settings: StoreSettings, environment: Mapping[str, str]) -> Authorities:
    """Who may sign the store's certificate, by the order of botocore's chain. Reads files.

    https://docs.aws.amazon.com/sdkref/latest/guide/feature-gen-config.html

    :param environment: the process's; an empty one means that there is no chain to follow.
    """
    if settings.ca_file or not environment:
        return Authorities(settings.ca_file)
    if path := environment.get("AWS_CA_BUNDLE"):
        return Authorities(path, "AWS_CA_BUNDLE")
    with suppress(BotoCoreError):  # of a profile that is missing, credentials tell
        if path := Session().get_config_variable("ca_bundle"):
            return Authorities(str(path), "ca_bundle of the AWS profile")
    return Authorities(environment.get("REQUESTS_CA_BUNDLE", ""), "REQUESTS_CA_BUNDLE")
