"""sftpgw.ini, and with it everything.

Knows: the sections and keys of sftpgw.ini and their bounds, and what cannot work together.
Must not know: how users are described (`users`) or values written (`scalars`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sftpgw.config import scalars
from sftpgw.config.banner import read_banner
from sftpgw.config.exposure import warn_if_open_to_all
from sftpgw.config.inifile import Faults, Key, Section, read_sections
from sftpgw.config.scalars import (
    count,
    matching,
    never_or,
    one_of,
    size,
    size_text,
    time,
    yes_or_no,
)
from sftpgw.config.users import Check, ReadKey, load_users
from sftpgw.errors import ConfigError
from sftpgw.s3_limits import MAX_PART_BYTES, MIN_PART_BYTES
from sftpgw.values import (
    GIB,
    KIB,
    MIB,
    PROXIED,
    Addressing,
    ChecksumChoice,
    ExactTimes,
    FilesSettings,
    GatewaySettings,
    LateTimes,
    LimitSettings,
    OnDisconnect,
    Probe,
    SetStat,
    Settings,
    SignPayload,
    SshSettings,
    StoreSettings,
    User,
)

ALGORITHM_LISTS = (
    "key_exchanges",
    "ciphers",
    "macs",
    "host_key_algorithms",
    "login_key_algorithms",
)

DAY = 86400

SECTIONS: Mapping[str, Mapping[str, Key]] = {
    "gateway": {
        "listen": Key("listen", scalars.lines),
        "host_keys": Key("host_keys", scalars.lines),
        "create_host_keys": Key("create_host_keys", yes_or_no),
        "users": Key("users", scalars.printable),
    },
    "s3": {
        "bucket": Key("bucket", scalars.bucket_name),
        "region": Key("region", matching(r"[A-Za-z0-9_-]{1,64}", "a region such as eu-west-1")),
        "endpoint": Key("endpoint", scalars.endpoint),
        "addressing": Key("addressing", one_of(Addressing)),
        "access_key": Key("access_key", scalars.printable),
        "secret_key": Key("secret_key", scalars.secret),
        "session_token": Key("session_token", scalars.secret),
        "role_arn": Key("role_arn", matching(r"arn:\S+:role/\S+", "arn:aws:iam::ACCOUNT:role/…")),
        "ca_file": Key("ca_file", scalars.printable),
        "proxy": Key("proxy", scalars.secret),
        "storage_class": Key("storage_class", matching(r"[A-Z0-9_]+", "one like STANDARD_IA")),
        "accelerate": Key("accelerate", yes_or_no),
        "state_prefix": Key("state_prefix", scalars.state_prefix),
        "sign_payload": Key("sign_payload", one_of(SignPayload)),
        "checksum": Key("checksum", one_of(ChecksumChoice)),
        "part_size": Key("part_size_bytes", size(MIN_PART_BYTES, MAX_PART_BYTES)),
        "upload_concurrency": Key("upload_concurrency", count(1, 64)),
        "download_part_size": Key("download_part_size_bytes", size(64 * KIB, GIB)),
        "download_concurrency": Key("download_concurrency", count(1, 64)),
        "connect_timeout": Key("connect_timeout_seconds", time(0.1, 600)),
        "read_timeout": Key("read_timeout_seconds", time(0.1, 3600)),
        "max_attempts": Key("max_attempts", count(1, 1000)),
        "retry_time": Key("retry_time_seconds", time(0, 3600)),
        "probe": Key("probe", one_of(Probe)),
        "abort_stale_uploads": Key(
            "abort_stale_uploads_seconds", scalars.off_or(time(3600, 365 * DAY))
        ),
        "unsupported": Key("capabilities", scalars.capabilities),
    },
    "ssh": {
        "login_grace": Key("login_grace_seconds", time(1, 3600)),
        "auth_tries": Key("auth_tries", count(1, 100)),
        "sessions_per_connection": Key("sessions_per_connection", count(1, 1000)),
        "handles_per_session": Key("handles_per_session", count(1, 100_000)),
        "max_connections": Key("max_connections", count(1, 100_000)),
        "connections_per_user": Key("connections_per_user", count(1, 100_000)),
        "max_startups": Key("max_startups", scalars.startup_limits),
        "startups_per_address": Key("startups_per_address", count(1, 10_000)),
        "startup_rate_per_address": Key("startup_rate_per_address", count(1, 10_000)),
        "exempt_networks": Key("exempt_networks", scalars.networks),
        "balancer_networks": Key("balancer_networks", scalars.networks),
        "banner_file": Key("banner", scalars.printable),
        "keepalive_interval": Key("keepalive_interval_seconds", never_or(time(1, 86400))),
        "keepalive_count": Key("keepalive_count", count(1, 100)),
        "idle_timeout": Key("idle_timeout_seconds", never_or(time(1, 30 * 86400))),
        # Up to 32 GiB, packets cannot be counted out: `ssh.rekeying` tells why.
        "rekey_bytes": Key("rekey_bytes", size(MIB, 32 * GIB)),
        "rekey_interval": Key("rekey_interval_seconds", time(60, 86400)),
        "key_exchange_timeout": Key("key_exchange_timeout_seconds", time(1, 3600)),
        "packet_before_login": Key("packet_before_login_bytes", size(8 * KIB, MIB)),
        # At least what a channel announces (`ssh.channels`), and 1 KiB.
        "packet_after_login": Key("packet_after_login_bytes", size(257 * KIB, 4 * MIB)),
        **{name: Key(name, scalars.names) for name in ALGORITHM_LISTS},
    },
    "limits": {
        "memory": Key("memory_bytes", size(16 * MIB, 1024 * GIB)),
        "reorder_allowance": Key("reorder_allowance_bytes", size(KIB, GIB)),
        "drain": Key("drain_seconds", time(0, 3600)),
    },
    "files": {
        "setstat": Key("setstat", one_of(SetStat)),
        "late_times": Key("late_times", one_of(LateTimes)),
        "late_times_wait": Key("late_times_wait_seconds", time(0, 10)),
        "exact_times": Key("exact_times", one_of(ExactTimes)),
        "rename_max_objects": Key("rename_max_objects", count(1, 10_000_000)),
        "on_disconnect": Key("on_disconnect", one_of(OnDisconnect)),
        "partials_kept": Key("partials_kept_seconds", time(60, 365 * DAY)),
        "keep_empty_directories": Key("keep_empty_directories", yes_or_no),
        "strict_parents": Key("strict_parents", yes_or_no),
        "hadoop_markers": Key("hadoop_markers", yes_or_no),
        "uid": Key("uid", count(0, 2**32 - 1)),
        "gid": Key("gid", count(0, 2**32 - 1)),
        "file_mode": Key("file_mode", scalars.mode),
        "directory_mode": Key("directory_mode", scalars.mode),
    },
}


def load_settings(
    config_path: Path | str,
    *,
    read_key: ReadKey,
    check_hash: Check,
    check_endpoint: Check = str,
    check_host_key: Check = str,
    check_ca_file: Check = str,
    check_proxy: Check = str,
    bucket_check: Callable[[StoreSettings], Check] = lambda store: str,
    known_algorithms: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> Settings:
    """Read sftpgw.ini and the users file that it names.

    :param read_key: reads one line of `authorized_keys`.
    :param check_hash: judges a `password_hash`; must not repeat it in its message.
    :param check_endpoint: judges one Twisted endpoint of `listen`.
    :param check_host_key: judges the path of a host key that exists.
    :param check_ca_file: judges the path of `ca_file`.
    :param check_proxy: judges `proxy`; must not repeat its password in its message.
    :param bucket_check: what judges, for these settings of the store, whether a bucket can be
        addressed.
    :param known_algorithms: what may be named in a list of [ssh], by the list's key.
    :raises ConfigError: with every fault of both files.
    """
    file = Path(config_path).absolute()
    faults = Faults()
    sections = read_sections(file, faults)
    if sections is None:
        raise ConfigError(tuple(faults.lines))
    _refuse_unknown(sections)
    parts = {name: sections.get(name, Section(file, name, {}, faults)) for name in SECTIONS}
    given = {name: part.values(SECTIONS[name]) for name, part in parts.items()}
    users_file = file.parent / str(given["gateway"].pop("users", "users.ini"))
    gateway = _anchored(GatewaySettings(**given["gateway"]), file.parent)
    _check_listen(parts["gateway"], gateway, check_endpoint)
    _check_host_keys(parts["gateway"], gateway, check_host_key)
    store = _store_settings(parts["s3"], given["s3"], check_ca_file, check_proxy)
    _check_algorithms(parts["ssh"], given["ssh"], known_algorithms)
    ssh = _ssh_settings(parts["ssh"], given["ssh"], gateway)
    limits = LimitSettings(**given["limits"])
    _check_limits(parts["limits"], limits, store)
    users = load_users(users_file, store, read_key, check_hash, faults)
    _check_buckets(parts["s3"], store, users, users_file, bucket_check(store))
    if not parts["s3"].given.get("bucket") and any(not user.bucket for user in users.values()):
        parts["s3"].fault("bucket", "is missing; name the bucket for users without their own")
    if store.secret_key or store.session_token or "@" in store.proxy:
        warn_if_open_to_all(file, "the credentials of [s3]", faults)
    if faults.lines:
        raise ConfigError(tuple(faults.lines))
    files = FilesSettings(**given["files"])
    warnings = tuple(faults.warnings)
    return Settings(gateway, store, ssh, limits, files, MappingProxyType(users), warnings)


def _store_settings(
    section: Section, given: Mapping[str, Any], check_ca_file: Check, check_proxy: Check
) -> StoreSettings:
    anchored = dict(given)
    if "ca_file" in given:
        anchored["ca_file"] = str(section.file.parent / given["ca_file"])
    store = StoreSettings(**anchored)
    _check_store(section, store)
    _judge(section, "ca_file", store.ca_file, check_ca_file)
    _judge(section, "proxy", store.proxy, check_proxy)
    return store


def _ssh_settings(
    section: Section, given: Mapping[str, Any], gateway: GatewaySettings
) -> SshSettings:
    read = dict(given)
    if "banner" in given:
        read["banner"] = read_banner(section, given["banner"])
    ssh = SshSettings(**read)
    _check_connections(section, ssh)
    _check_balancers(section, ssh, gateway)
    return ssh


def _check_buckets(
    section: Section,
    store: StoreSettings,
    users: Mapping[str, User],
    users_file: Path,
    check_bucket: Check,
) -> None:
    """Buckets that no request can be sent to with these settings; each is one fault."""
    judged = {""}
    for user in (User("", store.bucket, ""), *users.values()):
        bucket = user.bucket
        if bucket in judged:
            continue
        judged.add(bucket)
        try:
            if scalars.is_tenant_bucket(bucket) and not store.endpoint:
                raise ValueError(
                    f"{bucket}: is Ceph's tenant:bucket; set the endpoint of [s3], too"
                )
            check_bucket(bucket)
        except ValueError as error:
            if user.name:
                section.faults.add(users_file, error, user.name, "bucket")
            else:
                section.fault("bucket", error)


def _refuse_unknown(sections: Mapping[str, Section]) -> None:
    for name, section in sections.items():
        if name not in SECTIONS:
            hint = scalars.nearest(name, SECTIONS) or f"; known: {', '.join(SECTIONS)}"
            section.fault("", f"is not a known section{hint}")


def _anchored(gateway: GatewaySettings, folder: Path) -> GatewaySettings:
    names = gateway.host_keys or ("ssh_host_ed25519_key",)
    return replace(gateway, host_keys=tuple(str(folder / name) for name in names))


def _check_listen(section: Section, gateway: GatewaySettings, check_endpoint: Check) -> None:
    for endpoint in gateway.listen:
        try:
            check_endpoint(endpoint)
        except ValueError as error:
            text = f"{endpoint!r} is not a Twisted endpoint ({error}); write one such as tcp:2022"
            section.fault("listen", text)


def _check_host_keys(section: Section, gateway: GatewaySettings, check_host_key: Check) -> None:
    for path in gateway.host_keys:
        if os.path.isfile(path):
            try:
                check_host_key(path)
            except ValueError as error:
                section.fault("host_keys", error)
            else:
                warn_if_open_to_all(Path(path), "a private key", section.faults)
        elif not gateway.create_host_keys:
            text = f"no file {path}; make it with ssh-keygen, or set create_host_keys = yes"
            section.fault("host_keys", text)


def _judge(section: Section, key: str, value: str, check: Check) -> None:
    try:
        if value:
            check(value)
    except ValueError as error:
        section.fault(key, error)


def _check_balancers(section: Section, ssh: SshSettings, gateway: GatewaySettings) -> None:
    proxied = [text for text in gateway.listen if text.startswith(PROXIED)]
    believes_all = [text for text in proxied if not text.startswith(f"{PROXIED}unix:")]
    if believes_all and not ssh.balancer_networks:
        text = (
            f"is missing; on {believes_all[0]} clients could claim any address: "
            "write the networks that your load balancers connect from, such as 10.0.0.0/24"
        )
        section.fault("balancer_networks", text)
    elif ssh.balancer_networks and not proxied:
        text = f"is of no use; write listen = {PROXIED}tcp:2022 where load balancers connect"
        section.fault("balancer_networks", text)


def _check_algorithms(
    section: Section, given: Mapping[str, Any], known: Mapping[str, Collection[str]]
) -> None:
    for key, algorithms in known.items():
        for name in given.get(key, ()):
            try:
                scalars.refuse_unknown(name, algorithms)
            except ValueError as error:
                section.fault(key, error)


def _check_connections(section: Section, ssh: SshSettings) -> None:
    full = ssh.max_startups.full
    if ssh.max_connections < full:
        text = (
            f"{ssh.max_connections} is less than the third number of max_startups; "
            f"write {full} or more, or lower max_startups"
        )
        section.fault("max_connections", text)


def _check_store(section: Section, store: StoreSettings) -> None:
    """Settings that are fine alone and cannot work together."""
    if bool(store.access_key) != bool(store.secret_key):
        missing = "secret_key" if store.access_key else "access_key"
        section.fault(missing, "is missing; set both access_key and secret_key, or neither")
    if store.session_token and not store.access_key:
        section.fault("session_token", "needs the access_key and secret_key that it belongs to")
    if store.accelerate and (store.endpoint or store.addressing is Addressing.PATH):
        text = "works on AWS only, without endpoint and without addressing = path"
        section.fault("accelerate", text)


def _check_limits(section: Section, limits: LimitSettings, store: StoreSettings) -> None:
    least_bytes = 2 * max(store.part_size_bytes, store.download_part_size_bytes)
    if limits.memory_bytes < least_bytes:
        text = f"must hold two parts of [s3]; write {size_text(least_bytes)} or more"
        section.fault("memory", text)
    if limits.reorder_allowance_bytes > limits.memory_bytes:
        section.fault("reorder_allowance", "must not be larger than memory")
