"""``--check``: a line for each finding about the configuration, the machine and the store."""

from __future__ import annotations

import os
import random
import secrets
import sys
import time
from typing import Any

from twisted.internet.threads import deferToThread

from sftpgw.aio.work.scheduler import WorkScheduler
from sftpgw.aws.credentials import CredentialSource, credential_source
from sftpgw.aws.session_policy.plan.role_requests import RoleTerms
from sftpgw.aws.session_policy.role_trial import try_roles
from sftpgw.aws.session_policy.sts_client import StsClient
from sftpgw.checks import Finding, Level, Report, RetryReporter, buckets_of, check_buckets
from sftpgw.errors import StoreError
from sftpgw.machine_checks import (
    check_addresses,
    check_host_key_files,
    check_plugin_cache,
)
from sftpgw.model.settings import PROXIED, Settings, StoreSettings
from sftpgw.model.store import Capabilities, ObjectStore
from sftpgw.s3.probe import probe_capabilities
from sftpgw.s3.store_factory import open_store
from sftpgw.services import ADOPTED, parse_endpoint
from sftpgw.signals import end_at_signals
from sftpgw.ssh.transport import GatewayTransport
from sftpgw.startup import check_requests
from sftpgw.terminal import print_line
from sftpgw.user_source_trials import try_sources


async def check(reactor: Any, settings: Settings) -> None:
    """Print a line for each finding.

    A signal ends the process, so that its status never tells of a check that was not finished.

    :param reactor: Twisted's reactor, which is not running yet.
    :param settings: the configuration to check.
    :raises SystemExit: with the status 0, or 1 if there is a fault.
    """
    reactor.callWhenRunning(end_at_signals)
    found: list[Finding] = []

    def report(level: Level, text: str) -> None:
        found.append(Finding(level, text))
        print_line(found[-1], sys.stdout)

    report(Level.OK, f"configuration: {len(settings.users)} user(s), no faults")
    for warning in settings.warnings:
        report(Level.NOTE, warning)
    await _check_machine(reactor, settings, report)
    async for finding in try_sources(settings, reactor):
        report(finding.level, finding.text)
    for store in settings.all_stores:
        await _check_store(reactor, settings, store, report)
    raise SystemExit(any(finding.level is Level.FAULT for finding in found))


async def _check_machine(reactor: Any, settings: Settings, report: Report) -> None:
    check_host_key_files(settings.gateway.host_keys, report)
    check_requests(settings, report)
    check_plugin_cache(report)
    endpoints = {}
    for text in settings.gateway.listen:
        inner = text.removeprefix(PROXIED)
        if inner.startswith(ADOPTED):
            report(Level.NOTE, f"listen {text}: not tried; systemd hands it over at the start")
        else:
            endpoints[text] = parse_endpoint(reactor, inner)
    await check_addresses(endpoints, GatewayTransport.ourVersionString, deferToThread, report)


async def _check_store(
    reactor: Any, settings: Settings, store: StoreSettings, report: Report
) -> None:
    """Check one store. One without buckets of users is of no use, and costs nothing."""
    if not _buckets_in(settings, store):
        report(Level.NOTE, f"{store.section}: no user has a bucket of it; it was not checked")
        return
    credentials = credential_source(store, deferToThread, reactor)
    of_store = f" of {store.section}" if store.name else ""
    try:
        access_key = (await credentials.current()).access_key
    except StoreError as error:
        report(Level.FAULT, f"credentials{of_store}: {error.message}")
    else:
        report(Level.OK, f"credentials{of_store}: access key {access_key}")
        if store.scoped_credentials:
            await _check_roles(settings, store, report)
        await _check_buckets(reactor, settings, store, credentials, report)


async def _check_roles(settings: Settings, store: StoreSettings, report: Report) -> None:
    terms = RoleTerms(store, settings.stores, settings.files.keep_empty_directories)
    users = settings.users.values()
    async for role, user, fault in try_roles(terms, users, StsClient(store), deferToThread):
        if fault:
            report(Level.FAULT, f"role {role}: cannot be assumed for {user}: {fault}")
        else:
            report(Level.OK, f"role {role}: can be assumed for {user}")


def _buckets_in(settings: Settings, store: StoreSettings) -> list[str]:
    return [bucket for bucket in buckets_of(settings) if settings.store_of(bucket) is store]


async def _check_buckets(
    reactor: Any,
    settings: Settings,
    store_settings: StoreSettings,
    credentials: CredentialSource,
    report: Report,
) -> None:
    store = open_store(
        store_settings,
        reactor,
        RetryReporter(report, store_settings),
        work=WorkScheduler(reactor, time.perf_counter),
        wall_clock=time.time,
        random=random.random,
        in_thread=deferToThread,
        credentials=credentials,
        environment=os.environ,
    )

    async def probe(store: ObjectStore, bucket: str) -> Capabilities:
        return await probe_capabilities(
            store, bucket, store_settings.state_prefix, secrets.token_hex(8)
        )

    try:
        buckets = _buckets_in(settings, store_settings)
        await check_buckets(settings, store, probe, report, buckets)
    finally:
        await store.close()
