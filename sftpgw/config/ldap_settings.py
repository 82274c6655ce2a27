"""The keys of ``[auth]`` about LDAP servers: which belong together, and which exclude each other.

Knows: the keys. Must not know: how names and filters are written; the readers are arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sftpgw.config.exposure import warn_if_open_to_all
from sftpgw.config.ini_file import Section
from sftpgw.config.scalars.urls import LOOPBACK
from sftpgw.config.scalars.words import nearest
from sftpgw.config.tables import USER_KEYS
from sftpgw.model.settings import LDAP_SOURCE, AuthSettings

Read = Callable[[str], object]
"""Raises ValueError, in words for the operator."""

OWN_KEYS = ("authorized_keys", "groups", "password_hash")
"""Keys of users.ini that have settings of their own, or that a server decides about."""


@dataclass(frozen=True, slots=True)
class LdapReaders:
    """What judges names and filters.

    :ivar name: reads the name of an entry.
    :ivar template: reads one with ``{username}``.
    :ivar user_filter: reads ``ldap_filter``.
    :ivar group_filter: reads ``ldap_group_filter``.
    """

    name: Read = str
    template: Read = str
    user_filter: Read = str
    group_filter: Read = str


ANY_LDAP = LdapReaders()
"""Take any name and filter."""


def check_ldap(section: Section, auth: AuthSettings, readers: LdapReaders) -> None:
    """Note what does not fit together.

    :param section: takes the faults.
    :param auth: the settings.
    :param readers: judge names and filters.
    """
    _check_texts(section, auth, readers)
    if LDAP_SOURCE in auth.sources:
        _check_place(section, auth)
        _check_service(section, auth)
        _warn_of_plain(section, auth)


def _check_texts(section: Section, auth: AuthSettings, readers: LdapReaders) -> None:
    texts = (
        ("ldap_bind_dn", auth.ldap_bind_dn, readers.template),
        ("ldap_search_base", auth.ldap_search_base, readers.name),
        ("ldap_service_dn", auth.ldap_service_dn, readers.name),
        ("ldap_group_base", auth.ldap_group_base, readers.name),
        ("ldap_filter", auth.ldap_filter, readers.user_filter),
        ("ldap_group_filter", auth.ldap_group_filter, readers.group_filter),
        *(("ldap_groups", name, readers.name) for name, _ in auth.ldap_groups if "=" in name),
    )
    for key, text, read in texts:
        try:
            if text:
                read(text)
        except ValueError as error:
            section.fault(key, error)
    for key, _ in auth.ldap_attributes:
        if key not in USER_KEYS or key in OWN_KEYS:
            hint = nearest(key, USER_KEYS)
            section.fault("ldap_attributes", f"{key!r} cannot come from an attribute{hint}")


def _check_place(section: Section, auth: AuthSettings) -> None:
    if not auth.ldap_urls:
        section.fault("ldap_url", "is missing; write the URLs of the servers that sources names")
    if auth.ldap_bind_dn and auth.ldap_search_base:
        section.fault("ldap_search_base", "does not go together with ldap_bind_dn; keep one")
    elif not auth.ldap_bind_dn and not auth.ldap_search_base:
        section.fault("ldap_search_base", "is missing; write where users are, or ldap_bind_dn")
    if auth.ldap_group_filter and not auth.ldap_group_base:
        section.fault("ldap_group_base", "is missing; write where groups are searched for")


def _check_service(section: Section, auth: AuthSettings) -> None:
    given = [auth.ldap_service_password_file, auth.ldap_service_password_env]
    if auth.ldap_service_dn and given.count("") != 1:
        text = "needs ldap_service_password_file or ldap_service_password_env, and one only"
        section.fault("ldap_service_dn", text)
    elif not auth.ldap_service_dn and any(given):
        section.fault("ldap_service_dn", "is missing; write whose password it is")
    if auth.ldap_service_password_file:
        file = Path(auth.ldap_service_password_file)
        warn_if_open_to_all(file, "the password of ldap_service_dn", section.faults)


def _warn_of_plain(section: Section, auth: AuthSettings) -> None:
    urls = map(urlsplit, () if auth.ldap_starttls else auth.ldap_urls)
    hosts = [str(url.hostname) for url in urls if url.scheme == "ldap"]
    exposed = " ".join(host for host in hosts if host not in LOOPBACK)
    if exposed:
        section.faults.warnings.append(
            f"[auth] ldap_starttls = no: passwords go to {exposed} in the clear"
        )
