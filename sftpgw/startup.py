"""What is found out and decided before the gateway starts.

Knows: which package can judge which setting.
Must not know: how the gateway is put together.

Every fault of the configuration is found here, before twistd logs, forks or listens, so that it
reaches standard error and the exit status.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.conch.ssh.keys import Key
from twisted.internet.interfaces import IStreamServerEndpoint

from sftpgw.auth.login_keys import authorized_blob
from sftpgw.auth.passwords import check_password_hash
from sftpgw.aws.endpoints import Endpoints
from sftpgw.config import load_settings
from sftpgw.errors import ConfigError, StoreError
from sftpgw.files.mtimes.cache import MAX_HEADS_TOGETHER
from sftpgw.files.renames.settler import CONCURRENT_REQUESTS as RENAMES_AT_ONCE
from sftpgw.http.certificates import check_ca_file
from sftpgw.http.proxies import check_proxy
from sftpgw.model.addresses import Network
from sftpgw.model.settings import PROXIED, Settings, StoreSettings
from sftpgw.services import ADOPTED, parse_endpoint
from sftpgw.ssh.algorithms import KNOWN, Offer
from sftpgw.ssh.balancers import BalancedEndpoint
from sftpgw.ssh.host_keys import (
    check_host_key_algorithms,
    create_missing_host_keys,
    load_host_keys,
    missing_host_keys,
)

FEWEST_IDLE_CONNECTIONS, MOST_IDLE_CONNECTIONS = 64, 1024
"""Bounds of `idle_connections`. Only a connection that was in use within the last seconds can be
idle; requests beyond the bound open new ones."""


def read_settings(path: str, *, is_start: bool = True) -> Settings:
    """Both ini files, with every check that another package can make.

    :param path: where sftpgw.ini is.
    :param is_start: the gateway is about to start, so that systemd has handed its sockets over.
    :raises ConfigError:
    """
    settings = load_settings(
        path,
        read_key=authorized_blob,
        check_hash=check_password_hash,
        check_endpoint=lambda text: _check_endpoint(text, is_start=is_start),
        check_host_key=_check_host_key,
        check_ca_file=check_ca_file,
        bucket_check=_bucket_check,
        check_proxy=check_proxy,
        known_algorithms=KNOWN,
    )
    if not missing_host_keys(settings.gateway.host_keys):
        open_host_keys(settings)
    return settings


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


def idle_connections(settings: Settings) -> int:
    """How many idle connections to keep for each host of the store.

    A client needs one for each small file, HEAD and LIST. Requests that move whole parts are no
    more than the memory holds parts, and no more than all clients may have. Renames of
    directories and the times in listings need some of their own.
    """
    s3, clients = settings.s3, settings.ssh.max_connections
    part_bytes = min(s3.part_size_bytes, s3.download_part_size_bytes)
    concurrency = max(s3.upload_concurrency, s3.download_concurrency)
    parts = min(settings.limits.memory_bytes // part_bytes, clients * concurrency)
    at_once = clients + parts + RENAMES_AT_ONCE + MAX_HEADS_TOGETHER
    return min(max(at_once, FEWEST_IDLE_CONNECTIONS), MOST_IDLE_CONNECTIONS)
