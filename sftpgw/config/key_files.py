"""The files that ``[auth]`` names: authorities, and what is revoked.

Knows: where they are, how large they may be, and how a fault of one is told.
Must not know: how they are written; the readers are arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sftpgw.config.ini_file import Section
from sftpgw.config.ldap_settings import ANY_LDAP, LdapReaders, check_ldap
from sftpgw.model.key_trust import NOTHING_REVOKED, KeyTrust, RevokedKeys
from sftpgw.model.settings import HTTP_SOURCE, AuthSettings
from sftpgw.model.units import MIB

Value = TypeVar("Value")

PATHS = (
    *("ca_keys", "revoked_keys", "http_ca_file", "http_token_file"),
    *("ldap_ca_file", "ldap_service_password_file"),
)
"""The keys that name files."""

LARGEST_BYTES = 16 * MIB
"""A hundred thousand keys. It is read as a whole."""


@dataclass(frozen=True, slots=True)
class KeyFileReaders:
    """What makes values of the files' bytes. Each raises ValueError, in words for the operator.

    :ivar authorities: reads ``ca_keys``.
    :ivar revoked: reads ``revoked_keys``.
    :ivar ldap: judge names and filters.
    """

    authorities: Callable[[bytes], frozenset[bytes]]
    revoked: Callable[[bytes], RevokedKeys]
    ldap: LdapReaders = ANY_LDAP


NO_READERS = KeyFileReaders(lambda data: frozenset(), lambda data: NOTHING_REVOKED)
"""Take any file."""


def read_auth_settings(
    section: Section, given: Mapping[str, Any], readers: KeyFileReaders
) -> tuple[AuthSettings, KeyTrust]:
    """``[auth]``, and what its files say; a file at fault says nothing.

    :param section: takes the faults.
    :param given: the values of its keys, by field.
    :param readers: understand the files.
    """
    paths = {key: str(section.file.parent / given[key]) for key in PATHS if key in given}
    auth = AuthSettings(**{**given, **paths})
    if HTTP_SOURCE in auth.sources and not auth.http_url:
        section.fault("http_url", "is missing; write the URL of the service that sources names")
    check_ldap(section, auth, readers.ldap)
    _read(section, paths, "http_token_file", len, 0)
    _read(section, paths, "ldap_service_password_file", len, 0)
    authorities = _read(section, paths, "ca_keys", readers.authorities, frozenset[bytes]())
    revoked = _read(section, paths, "revoked_keys", readers.revoked, NOTHING_REVOKED)
    return auth, KeyTrust(authorities, revoked)


def _read(
    section: Section,
    paths: Mapping[str, str],
    key: str,
    read: Callable[[bytes], Value],
    nothing: Value,
) -> Value:
    path = paths.get(key)
    if path is None:
        return nothing
    try:
        with Path(path).open("rb") as file:
            data = file.read(LARGEST_BYTES + 1)
        if len(data) > LARGEST_BYTES:
            raise ValueError(f"is over {LARGEST_BYTES // MIB}MiB")
        return read(data)
    except OSError as error:
        section.fault(key, f"{path} cannot be read: {error.strerror}")
    except ValueError as error:
        section.fault(key, f"{path}: {error}")
    return nothing
