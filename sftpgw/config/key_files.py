"""The files that ``[auth]`` names: authorities, and what is revoked.

Knows: where they are, how large they may be, and how a fault of one is told.
Must not know: how they are written; the readers are arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from sftpgw.config.ini_file import Faults, Section
from sftpgw.config.ldap_settings import ANY_LDAP, LdapReaders, check_ldap
from sftpgw.model.key_trust import NO_TRUST, NOTHING_REVOKED, KeyTrust, RevokedKeys
from sftpgw.model.settings import DYNAMODB_SOURCE, HTTP_SOURCE, AuthSettings
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
    :ivar region: judges a region of AWS.
    """

    authorities: Callable[[bytes], frozenset[bytes]]
    revoked: Callable[[bytes], RevokedKeys]
    ldap: LdapReaders = ANY_LDAP
    region: Callable[[str], object] = str


NO_READERS = KeyFileReaders(lambda data: frozenset(), lambda data: NOTHING_REVOKED)
"""Take any file."""


class TrustFiles:
    """The files of ``ca_keys`` and ``revoked_keys``, as often as they are read.

    :param section: ``[auth]``, whose faults are told.
    :param auth: names the files.
    :param readers: understand them.
    """

    def __init__(self, section: Section, auth: AuthSettings, readers: KeyFileReaders) -> None:
        self._section = section
        self._auth = auth
        self._readers = readers
        self._known: dict[str, tuple[bytes, Any]] = {}
        self._trust = NO_TRUST

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files."""
        return tuple(Path(path) for path in (self._auth.ca_keys, self._auth.revoked_keys) if path)

    def read(self, faults: Faults) -> KeyTrust:
        """What the files say; the same value if they say the same as before. Blocks.

        :param faults: takes what is wrong; a file at fault says nothing.
        """
        section, auth, readers = replace(self._section, faults=faults), self._auth, self._readers
        read_authorities = self._once("ca_keys", readers.authorities)
        authorities = _read(
            section, "ca_keys", auth.ca_keys, NO_TRUST.authorities, read_authorities
        )
        read_revoked = self._once("revoked_keys", readers.revoked)
        revoked = _read(section, "revoked_keys", auth.revoked_keys, NOTHING_REVOKED, read_revoked)
        is_same = authorities is self._trust.authorities and revoked is self._trust.revoked
        if not is_same:
            self._trust = KeyTrust(authorities, revoked)
        return self._trust

    def _once(self, key: str, read: Callable[[bytes], Value]) -> Callable[[bytes], Value]:
        """Understands a file, unless it is the same as last time: that may take seconds."""

        def read_once(data: bytes) -> Value:
            digest = sha256(data).digest()
            known = self._known.get(key)
            if known is None or known[0] != digest:
                known = self._known[key] = digest, read(data)
            value: Value = known[1]
            return value

        return read_once


def read_auth_settings(
    section: Section, given: Mapping[str, Any], readers: KeyFileReaders, s3_region: str
) -> AuthSettings:
    """``[auth]``, without what its files say.

    :param section: takes the faults.
    :param given: the values of its keys, by field.
    :param readers: judge what is said of LDAP servers, and regions.
    :param s3_region: the region of ``[s3]``.
    """
    paths = {key: str(section.file.parent / given[key]) for key in PATHS if key in given}
    auth = AuthSettings(**{**given, **paths})
    if HTTP_SOURCE in auth.sources and not auth.http_url:
        section.fault("http_url", "is missing; write the URL of the service that sources names")
    _check_table(section, auth)
    if DYNAMODB_SOURCE in auth.sources and not auth.dynamodb_endpoint:
        _check_region(section, auth.dynamodb_region, s3_region, readers.region)
    check_ldap(section, auth, readers.ldap)
    _read(section, "http_token_file", auth.http_token_file, 0, len)
    _read(section, "ldap_ca_file", auth.ldap_ca_file, 0, len)
    _read(section, "ldap_service_password_file", auth.ldap_service_password_file, 0, len)
    return auth


def _check_table(section: Section, auth: AuthSettings) -> None:
    if DYNAMODB_SOURCE in auth.sources and not auth.dynamodb_table:
        section.fault("dynamodb_table", "is missing; write the name of the table of users")
    if bool(auth.dynamodb_access_key) != bool(auth.dynamodb_secret_key):
        missing = "dynamodb_secret_key" if auth.dynamodb_access_key else "dynamodb_access_key"
        section.fault(missing, "is missing; set both keys of the table, or neither")


def _check_region(
    section: Section, region: str, s3_region: str, check: Callable[[str], object]
) -> None:
    try:
        check(region or s3_region)
    except ValueError as error:
        why = str(error) if region else f"is missing; [s3] region will not do: {error}"
        section.fault("dynamodb_region", f"{why}; write that of the table, or dynamodb_endpoint")


def _read(
    section: Section, key: str, path: str, nothing: Value, read: Callable[[bytes], Value]
) -> Value:
    if not path:
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
