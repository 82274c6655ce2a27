"""What is found out and decided before the gateway starts.

Knows: which package can judge which setting.
Must not know: how the gateway is put together.

Every fault of the configuration is found here, before twistd logs, forks or listens, so that it
reaches standard error and the exit status.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.conch.ssh.keys import Key
from twisted.internet.interfaces import IStreamServerEndpoint

from sftpgw.auth.authorized_keys import read_authorities, read_authorized_key
from sftpgw.auth.passwords import check_password_hash
from sftpgw.auth.revocation_lists import read_revoked_keys
from sftpgw.auth.sources.ldap_source import GROUP_PLACEHOLDERS, USER_PLACEHOLDERS
from sftpgw.aws.endpoints import Endpoints, check_region
from sftpgw.aws.session_policy.plan.role_requests import check_roles
from sftpgw.checks import Level, Report
from sftpgw.config import load_settings
from sftpgw.config.key_files import KeyFileReaders
from sftpgw.config.ldap_settings import LdapReaders
from sftpgw.errors import ConfigError, NoSessionPolicy, StoreError
from sftpgw.http.certificates import check_ca_file
from sftpgw.http.connect_attempts import MORE_ATTEMPTS
from sftpgw.http.drained_connections import MAX_DRAINED
from sftpgw.http.proxies import check_proxy
from sftpgw.machine_checks import DescriptorNeeds, descriptor_limit, judge_descriptors
from sftpgw.model.addresses import Network
from sftpgw.model.settings import PROXIED, FilesSettings, Settings, Stores, StoreSettings
from sftpgw.model.users import User
from sftpgw.s3.request_budget.plan import RequestLimits
from sftpgw.services import ADOPTED, parse_endpoint
from sftpgw.ssh.algorithms import KNOWN, Offer, legacy_names
from sftpgw.ssh.balancers import BalancedEndpoint
from sftpgw.ssh.host_keys import (
    check_host_key_algorithms,
    create_missing_host_keys,
    load_host_keys,
    missing_host_keys,
)
from sftpgw.wire.ldap_filters import read_filter
from sftpgw.wire.ldap_names import check_template, read_name

FEWEST_REQUESTS, MOST_REQUESTS = 16, 1024
"""Bounds of ``max_requests`` where it is derived. With fewer, a listing would wait for uploads.
More do not make a process faster, which serves some hundreds in a second."""

USER_FRACTION = 2
"""One user may have a half of all requests, unless ``requests_per_user`` says otherwise."""

LDAP_READERS = LdapReaders(
    read_name,
    check_template,
    lambda text: read_filter(text, USER_PLACEHOLDERS),
    lambda text: read_filter(text, GROUP_PLACEHOLDERS),
)
"""Judge what ``[auth]`` says of LDAP servers."""

OWN_DESCRIPTORS = 64
"""The descriptors of a process without clients and without a store: its log, its epoll, the pipes
of its threads, lookups of names, the search for credentials, and a connection that is refused."""

STORE_DESCRIPTORS = MORE_ATTEMPTS + MAX_DRAINED
"""Those of connections to one store beyond one for each request: more attempts to connect, where a
store has several addresses, and connections whose requests have ended early."""


def read_settings(path: str, *, is_start: bool = True) -> Settings:
    """Both ini files, with every check that another package can make.

    :param path: where sftpgw.ini is.
    :param is_start: the gateway is about to start, so that systemd has handed its sockets over.
    :raises ConfigError:
    """
    settings = _load(path, is_start=is_start)
    if not missing_host_keys(settings.gateway.host_keys):
        open_host_keys(settings)
    return replace(settings, warnings=(*settings.warnings, *_legacy_warnings(settings)))


def faults_with_users(path: Path, users: Path) -> dict[str, str]:
    """The faults of the configuration if the users were others. Nothing is made or opened.

    :param path: where sftpgw.ini is.
    :param users: the file or directory of users, in place of what sftpgw.ini names.
    :returns: the faults, by what they say without the numbers of lines.
    """
    try:
        _load(str(path), is_start=False, users=users)
    except ConfigError as error:
        return dict(zip(error.unplaced, error.faults, strict=True))
    return {}


def _load(path: str, *, is_start: bool, users: Path | None = None) -> Settings:
    return load_settings(
        path,
        other_users=users,
        read_key=read_authorized_key,
        check_hash=check_password_hash,
        check_endpoint=lambda text: _check_endpoint(text, is_start=is_start),
        check_host_key=_check_host_key,
        check_ca_file=check_ca_file,
        bucket_check=_bucket_check,
        check_proxy=check_proxy,
        known_algorithms=KNOWN,
        key_files=KeyFileReaders(read_authorities, read_revoked_keys, LDAP_READERS, check_region),
        role_check=_check_role,
    )


def _check_role(user: User, stores: Stores, files: FilesSettings) -> None:
    try:
        check_roles(user, stores.all, keeps_empty_directories=files.keep_empty_directories)
    except NoSessionPolicy as error:
        raise ValueError(error.message) from error


def _legacy_warnings(settings: Settings) -> list[str]:
    """A line if the settings offer algorithms that are broken or close to it."""
    names = " ".join(legacy_names(Offer.of(settings.ssh)))
    return [f"[ssh] offers what only the policy legacy has: {names}"] if names else []


def open_host_keys(settings: Settings) -> tuple[Key, ...]:
    """The host keys. Missing ones are created if the settings allow it.

    :raises ConfigError: they cannot be used, or not with the algorithms of [ssh].
    """
    gateway = settings.gateway
    if gateway.create_host_keys:
        create_missing_host_keys(gateway.host_keys)
    keys = load_host_keys(gateway.host_keys)
    check_host_key_algorithms(keys, Offer.of(settings.ssh).host_key_algorithms)
    return keys


def _check_endpoint(text: str, *, is_start: bool) -> None:
    from twisted.internet import reactor  # noqa: PLC0415 - importing it installs it

    if is_start or not text.removeprefix(PROXIED).startswith(ADOPTED):
        endpoint_of(reactor, text, ())


def endpoint_of(reactor: Any, text: str, networks: Sequence[Network]) -> IStreamServerEndpoint:
    """Where to listen; on ``haproxy:…`` for load balancers.

    :raises ValueError: `text` is no endpoint.
    """
    inner = text.removeprefix(PROXIED)
    endpoint = parse_endpoint(reactor, inner)
    if inner == text:
        return endpoint
    if inner.startswith(PROXIED):
        raise ValueError(f"{PROXIED} stands there twice")
    return BalancedEndpoint(endpoint, networks)


def _bucket_check(store: StoreSettings) -> Callable[[str], None]:
    endpoints = Endpoints(store)

    def check_bucket(bucket: str) -> None:
        try:
            endpoints.of_bucket(bucket)
        except StoreError as error:
            raise ValueError(error.message) from error

    return check_bucket


def _check_host_key(path: str) -> None:
    try:
        load_host_keys((path,))
    except ConfigError as error:
        raise ValueError(error.message) from error


def request_limits(settings: Settings, descriptors: int | None) -> RequestLimits:
    """How many requests to the store may be under way: each has a connection.

    Sessions come first: what `session_descriptors` counts is never used for the store.

    :param settings: ``[s3] max_requests`` and ``[limits] requests_per_user``, and what clients
        need.
    :param descriptors: how many the process may have open; None: any number.
    """
    wanted = settings.s3.max_requests or MOST_REQUESTS
    if descriptors is not None:
        wanted = min(wanted, max(FEWEST_REQUESTS, descriptors - session_descriptors(settings)))
    per_user = settings.limits.requests_per_user or max(1, wanted // USER_FRACTION)
    return RequestLimits(wanted, min(per_user, wanted))


def session_descriptors(settings: Settings) -> int:
    """The descriptors of the process without its connections to the store, one for each request.

    Of clients, of balancers' connections whose header has not come, and its own.
    """
    ssh = settings.ssh
    is_balanced = any(text.startswith(PROXIED) for text in settings.gateway.listen)
    balanced = ssh.max_startups.full if is_balanced else 0
    own = len(settings.gateway.listen) + OWN_DESCRIPTORS
    own += len(settings.all_stores) * STORE_DESCRIPTORS
    return ssh.max_connections + balanced + own


def check_requests(settings: Settings, report: Report) -> None:
    """Tell how many requests may be under way, and whether there are enough descriptors.

    :param settings: the whole configuration.
    :param report: takes the findings.
    """
    descriptors = descriptor_limit()
    needs = DescriptorNeeds(
        max_connections=settings.ssh.max_connections,
        sessions=session_descriptors(settings),
        fewest_requests=FEWEST_REQUESTS,
        wanted_requests=settings.s3.max_requests or MOST_REQUESTS,
    )
    report(*judge_descriptors(descriptors, needs))
    limits = request_limits(settings, descriptors)
    text = f"requests: at most {limits.at_once} at once, {limits.per_user} of one user"
    report(Level.OK, text)
