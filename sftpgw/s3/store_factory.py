"""Makes the `S3Client` of each store from its settings, and one store of several.

Knows: which objects it needs.
Must not know: what they do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from botocore.exceptions import BotoCoreError
from botocore.session import Session

from sftpgw.aio.hasher import Hasher
from sftpgw.aio.work.scheduler import WorkScheduler
from sftpgw.aws.credentials import CredentialSource, InThread, credential_source
from sftpgw.aws.endpoints import Endpoints
from sftpgw.aws.signer import Signer
from sftpgw.http.certificates import Authorities
from sftpgw.http.client import ConnectionPlaces, HttpClient
from sftpgw.http.proxies import Proxies
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.measurements import FinishedRequest
from sftpgw.model.settings import StoreSettings
from sftpgw.model.store import Capabilities
from sftpgw.s3.attempt import AttemptSender
from sftpgw.s3.body_integrity import BodyIntegrity
from sftpgw.s3.capabilities import ProbedCapabilities
from sftpgw.s3.page_reader import PageReader
from sftpgw.s3.probe import probe_capabilities
from sftpgw.s3.request_budget.plan import RequestLimits
from sftpgw.s3.request_budget.queue import RequestQueue
from sftpgw.s3.request_context import RequestContext
from sftpgw.s3.request_executor import RequestExecutor
from sftpgw.s3.s3_client import S3Client, trial_client
from sftpgw.s3.session_scope import SessionScopes
from sftpgw.s3.store_headers import StoreHeaders
from sftpgw.s3.store_router import StoreRouter

USUAL_LIMITS = RequestLimits(at_once=64, per_user=64)
"""How many requests may be under way where no limits are given."""


@dataclass(frozen=True)
class SharedByStores:
    """What all stores of a process have in common, so that they share what there is.

    :param queue: the requests under way, to all of them.
    :param places: the connections to all of them.
    """

    queue: RequestQueue
    places: ConnectionPlaces


def open_stores(
    stores: Sequence[StoreSettings],
    reactor: Any,
    events: EventSink,
    *,
    work: WorkScheduler,
    limits: RequestLimits = USUAL_LIMITS,
    weight_of: Callable[[str], float] = lambda user: 1.0,
    clock: Clock | None = None,
    scopes_of: Callable[[StoreSettings], SessionScopes | None] = lambda store: None,
    **others: Any,
) -> S3Client | StoreRouter:
    """One store of all that are configured; `close` it in the end. Does no I/O yet.

    :param stores: ``[s3]``, then each ``[store NAME]``.
    :param reactor: Twisted's reactor.
    :param events: takes the events of the stores.
    :param work: hands out CPU time, by user.
    :param limits: how many requests may be under way, to all stores together.
    :param weight_of: returns the weight of a user, for the fair share of the requests at once.
    :param clock: as for `open_store`.
    :param scopes_of: returns what gives sessions credentials of their own in a store, or None.
    :param others: the other arguments of `open_store`, the same for each store.
    """
    shared = SharedByStores(
        RequestQueue(limits, clock or reactor, events, weight_of),
        ConnectionPlaces(work, limits.at_once),
    )
    opened = {
        settings.name: open_store(
            settings,
            reactor,
            events,
            work=work,
            clock=clock,
            scopes=scopes_of(settings),
            shared=shared,
            **others,
        )
        for settings in stores
    }
    return opened[""] if len(opened) == 1 else StoreRouter.over(opened)


def open_store(
    settings: StoreSettings,
    reactor: Any,
    events: EventSink,
    *,
    work: WorkScheduler,
    wall_clock: Callable[[], float],
    random: Callable[[], float],
    in_thread: InThread,
    credentials: CredentialSource | None = None,
    scopes: SessionScopes | None = None,
    clock: Clock | None = None,
    environment: Mapping[str, str] | None = None,
    limits: RequestLimits = USUAL_LIMITS,
    weight_of: Callable[[str], float] = lambda user: 1.0,
    on_finished: Callable[[FinishedRequest], None] | None = None,
    shared: SharedByStores | None = None,
) -> S3Client:
    """A client for the store of `settings`; `close` it in the end. Does no I/O yet.

    :param settings: ``[s3]`` or ``[store NAME]``.
    :param reactor: Twisted's reactor.
    :param events: takes the events of the client.
    :param work: hands out CPU time, by user.
    :param wall_clock: returns seconds since 1970 (``time.time``).
    :param random: returns a number in [0, 1) (``random.random``).
    :param in_thread: ``threads.deferToThread``, for the search of credentials, which blocks.
    :param credentials: replace those that the settings name.
    :param scopes: give sessions credentials of their own.
    :param clock: times attempts and waits; None: the reactor.
    :param environment: that of the process, which may name proxies and authorities; or None.
    :param limits: how many requests may be under way; as many connections may be open.
    :param weight_of: returns the weight of a user, for the fair share of the requests at once.
    :param on_finished: as for `RequestExecutor`.
    :param shared: what the client shares with those of other stores; None: it is the only one,
        with `limits` and `weight_of`.
    """
    shared = shared or SharedByStores(
        RequestQueue(limits, clock or reactor, events, weight_of),
        ConnectionPlaces(work, limits.at_once),
    )
    hasher = Hasher(work)
    http = _open_http(settings, reactor, shared.places, environment or {})
    executor = RequestExecutor(
        attempts=_attempts(settings, http, Signer(settings.sign_payload, wall_clock, hasher)),
        credentials=credentials or credential_source(settings, in_thread, reactor),
        settings=settings,
        clock=clock or reactor,
        random=random,
        queue=shared.queue,
        pages=PageReader(work),
        on_finished=on_finished,
        scopes=scopes,
    )
    integrity = BodyIntegrity(settings.checksum, hasher)
    prober = _Prober(executor, integrity, settings, random)
    source = ProbedCapabilities(settings, prober.probe, executor.clock, events)
    return S3Client(executor, RequestContext(events), source, integrity)


def _attempts(settings: StoreSettings, http: HttpClient, signer: Signer) -> AttemptSender:
    return AttemptSender(
        http, Endpoints(settings), signer, settings.read_timeout_seconds, StoreHeaders(settings)
    )


def _open_http(
    settings: StoreSettings,
    reactor: Any,
    places: ConnectionPlaces,
    environment: Mapping[str, str],
) -> HttpClient:
    return HttpClient(
        reactor,
        places=places,
        connect_timeout_seconds=settings.connect_timeout_seconds,
        find_authorities=lambda: authorities_of(settings, environment),
        proxies=Proxies(settings.proxy, environment, settings.section),
    )


@dataclass(frozen=True)
class _Prober:
    """Probes buckets, with requests that have a short deadline and emit no events."""

    executor: RequestExecutor
    integrity: BodyIntegrity
    settings: StoreSettings
    random: Callable[[], float]

    async def probe(self, bucket: str) -> Capabilities:
        """:raises StoreError: the bucket cannot be probed"""
        client = trial_client(self.executor, self.integrity, self.settings.capabilities)
        token = f"{int(self.random() * 2**53):014x}"
        return await probe_capabilities(client, bucket, self.settings.state_prefix, token)


def authorities_of(settings: StoreSettings, environment: Mapping[str, str]) -> Authorities:
    """The authorities that may sign the store's certificate, in the order of botocore's chain.

    Reads files. https://docs.aws.amazon.com/sdkref/latest/guide/feature-gen-config.html

    :param settings: ``[s3]`` or ``[store NAME]``; its `ca_file` wins.
    :param environment: the process's environment; if it is empty, only the settings count.
    """
    setting = f"{settings.section} ca_file"
    authorities = Authorities(
        setting=setting, host_setting=f"{settings.section} endpoint and addressing"
    )
    if settings.ca_file or not environment:
        return replace(authorities, ca_file=settings.ca_file, named_by=setting)
    if path := environment.get("AWS_CA_BUNDLE"):
        return replace(authorities, ca_file=path, named_by="AWS_CA_BUNDLE")
    with suppress(BotoCoreError):  # the search for credentials reports a missing profile
        if path := Session().get_config_variable("ca_bundle"):
            named_by = "ca_bundle of the AWS profile"
            return replace(authorities, ca_file=str(path), named_by=named_by)
    path = environment.get("REQUESTS_CA_BUNDLE", "")
    return replace(authorities, ca_file=path, named_by="REQUESTS_CA_BUNDLE")
