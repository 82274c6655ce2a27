"""Loads the configuration: sftpgw.ini, and the users file that it names.

Knows: which settings cannot work together.
Must not know: the keys (`tables`), how users are described (`users`) or values are written
(`scalars`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sftpgw.config.banner import read_banner
from sftpgw.config.exposure import warn_if_open_to_all
from sftpgw.config.ini_file import Faults, Section, read_sections
from sftpgw.config.key_files import NO_READERS, KeyFileReaders, TrustFiles, read_auth_settings
from sftpgw.config.scalars.quantities import size_text
from sftpgw.config.scalars.words import nearest, refuse_unknown
from sftpgw.config.stores import (
    Check,
    StoreChecks,
    check_bucket,
    is_store_section,
    read_stores,
)
from sftpgw.config.tables import SECTIONS
from sftpgw.config.user_files import UserFiles
from sftpgw.config.users_ini import ReadKey, UserRules
from sftpgw.model.settings import (
    HOST_KEY_NAMES,
    PROXIED,
    FilesSettings,
    FileUsers,
    GatewaySettings,
    LimitSettings,
    LockoutSettings,
    Settings,
    SshSettings,
    Stores,
    StoreSettings,
)
from sftpgw.model.steps import finish
from sftpgw.model.users import User

RoleCheck = Callable[[User, Stores, FilesSettings], None]
"""Raises ValueError, in words for the person who wrote the file, if a user's sessions cannot have
credentials of their own in each store that wants that."""


def _accept_role(user: User, stores: Stores, files: FilesSettings) -> None:
    """Any user is right."""


MAX_SOCKET_PATH_BYTES = 100
"""Linux takes 107, other systems 103."""


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
    key_files: KeyFileReaders = NO_READERS,
    role_check: RoleCheck = _accept_role,
    other_users: Path | None = None,
) -> Settings:
    """Read sftpgw.ini and the users file that it names.

    :param config_path: where sftpgw.ini is.
    :param read_key: reads one line of `authorized_keys`.
    :param check_hash: judges a `password_hash`; must not repeat it in its message.
    :param check_endpoint: judges one Twisted endpoint of `listen`.
    :param check_host_key: judges the path of a host key that exists.
    :param check_ca_file: judges the path of `ca_file`.
    :param check_proxy: judges `proxy`; must not repeat its password in its message.
    :param bucket_check: returns what judges whether a bucket of a store can be addressed.
    :param known_algorithms: what may be named in a list of [ssh], by the list's key.
    :param key_files: read the files that [auth] names.
    :param role_check: judges whether a user's sessions can have credentials of their own.
    :param other_users: where the users are, in place of what `[gateway] users` says.
    :raises ConfigError: with every fault of both files.
    """
    file = Path(config_path).absolute()
    faults = Faults()
    sections = read_sections(file, faults)
    if sections is None:
        raise faults.error
    _refuse_unknown(sections)
    parts = {name: sections.get(name, Section(file, name, {}, faults)) for name in SECTIONS}
    given = {name: part.values(SECTIONS[name]) for name, part in parts.items() if name != "s3"}
    stores = read_stores(sections, parts["s3"], StoreChecks(check_ca_file, check_proxy))
    users_file = file.parent / str(given["gateway"].pop("users", "users.ini"))
    gateway = _gateway_settings(parts["gateway"], given["gateway"], check_endpoint, check_host_key)
    ssh = _ssh_settings(parts["ssh"], given["ssh"], gateway, known_algorithms)
    auth = read_auth_settings(parts["auth"], given["auth"], key_files, stores.s3.region)
    limits = _limit_settings(parts["limits"], given["limits"], stores)
    lockout = _lockout_settings(parts["lockout"], given["lockout"])
    files = FilesSettings(**given["files"])
    judge = partial(_judge_role, role_check, stores, files)
    rules = UserRules(stores, read_key, check_hash, bucket_check, bool(auth.ca_keys), judge)
    trust = TrustFiles(parts["auth"], auth, key_files)
    of_users = UserFiles(other_users or users_file, rules, auth, trust)
    users = _first_users(of_users, parts["s3"], rules)
    _warn_of_credentials(file, stores, faults)
    if faults.lines:
        raise faults.error
    told, named = tuple(faults.warnings), stores.named
    of_files = (auth, users.trust, users.make_user, of_users, lockout)
    return Settings(gateway, stores.s3, ssh, limits, files, users.users, told, named, *of_files)


def _judge_role(check: RoleCheck, stores: Stores, files: FilesSettings, user: User) -> None:
    check(user, stores, files)


def _first_users(files: UserFiles, s3: Section, rules: UserRules) -> FileUsers:
    """The users at the start, where all faults are told together."""
    _check_usual_bucket(s3, rules)
    loaded, faults = files.load(), s3.faults
    faults.extend(loaded.faults)
    users = finish(files.judge(loaded.texts, loaded.trust, faults))
    files.warn_of_secrets(faults)
    if files.needs_bucket and not s3.given.get("bucket"):
        s3.fault("bucket", "is missing; name the bucket for users without their own")
    return users


def _warn_of_credentials(file: Path, stores: Stores, faults: Faults) -> None:
    for store in stores.all:
        if store.secret_key or store.session_token or "@" in store.proxy:
            warn_if_open_to_all(file, f"the credentials of {store.section}", faults)


def _limit_settings(section: Section, given: Mapping[str, Any], stores: Stores) -> LimitSettings:
    limits = LimitSettings(**given)
    _check_limits(section, limits, stores)
    return limits


def _gateway_settings(
    section: Section, given: Mapping[str, Any], check_endpoint: Check, check_host_key: Check
) -> GatewaySettings:
    gateway = _anchored(GatewaySettings(**given), section.file.parent)
    _check_listen(section, gateway, check_endpoint)
    _check_host_keys(section, gateway, check_host_key)
    _check_control(section, gateway)
    return gateway


def _lockout_settings(section: Section, given: Mapping[str, Any]) -> LockoutSettings:
    lockout = LockoutSettings(**given)
    if lockout.max_ban_seconds < lockout.ban_seconds:
        section.fault("max_ban_time", "is less than ban_time; write as much or more")
    return lockout


def _ssh_settings(
    section: Section,
    given: Mapping[str, Any],
    gateway: GatewaySettings,
    known_algorithms: Mapping[str, Collection[str]],
) -> SshSettings:
    _check_algorithms(section, given, known_algorithms)
    read = dict(given)
    if "banner" in given:
        read["banner"] = read_banner(section, given["banner"])
    ssh = SshSettings(**read)
    _check_connections(section, ssh)
    _check_balancers(section, ssh, gateway)
    return ssh


def _check_usual_bucket(section: Section, rules: UserRules) -> None:
    bucket = rules.stores.s3.bucket
    try:
        if bucket:
            check_bucket(bucket, rules.stores, rules.bucket_check)
    except ValueError as error:
        section.fault("bucket", error)


def _refuse_unknown(sections: Mapping[str, Section]) -> None:
    for name, section in sections.items():
        if name not in SECTIONS and not is_store_section(name):
            known = ", ".join((*SECTIONS, "store NAME"))
            hint = nearest(name, SECTIONS) or f"; known: {known}"
            section.fault("", f"is not a known section{hint}")


def _anchored(gateway: GatewaySettings, folder: Path) -> GatewaySettings:
    names = gateway.host_keys or HOST_KEY_NAMES
    if not gateway.host_keys and not gateway.create_host_keys:
        # Those that are there: an older gateway had the first one only.
        there = tuple(name for name in names if (folder / name).is_file())
        names = there or names[:1]
    control = str(folder / gateway.control) if gateway.control else ""
    return replace(gateway, host_keys=tuple(str(folder / name) for name in names), control=control)


def _check_control(section: Section, gateway: GatewaySettings) -> None:
    if len(os.fsencode(gateway.control)) > MAX_SOCKET_PATH_BYTES:
        text = f"the path of a socket has at most {MAX_SOCKET_PATH_BYTES} bytes; choose another one"
        section.fault("control", text)


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
                refuse_unknown(name, algorithms)
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


def _check_limits(section: Section, limits: LimitSettings, stores: Stores) -> None:
    store = max(stores.all, key=_largest_part_bytes)
    least_bytes = 2 * _largest_part_bytes(store)
    if limits.memory_bytes < least_bytes:
        text = f"must hold two parts of {store.section}; write {size_text(least_bytes)} or more"
        section.fault("memory", text)
    if limits.reorder_allowance_bytes > limits.memory_bytes:
        section.fault("reorder_allowance", "must not be larger than memory")


def _largest_part_bytes(store: StoreSettings) -> int:
    return max(store.part_size_bytes, store.download_part_size_bytes)
