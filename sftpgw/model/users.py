"""Users: how they log in, which mounts they see, and what is limited for each."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sftpgw.model.address_patterns import AddressPatterns
from sftpgw.model.addresses import Network
from sftpgw.model.mounts import ALL_PERMISSIONS, Mount, Permission

LONGEST_NAME = 128


def is_user_name(name: str) -> bool:
    """Whether a user may have this name.

    It becomes a part of prefixes, URLs and lines of the log. One that begins with a star is that of
    a group, or of what all users have in common.

    :param name: what a client, or a section of users.ini, calls the user.
    """
    is_plain = name.isprintable() and "/" not in name and name == name.strip()
    return is_plain and 0 < len(name) <= LONGEST_NAME and name not in (".", "..") and name[0] != "*"


class LoginMethod(enum.Enum):
    """A proof that a login may require."""

    PUBLICKEY = "publickey"
    PASSWORD = "password"
    TOTP = "totp"


@dataclass(frozen=True, slots=True)
class KeyOptions:
    """The options of a line of ``authorized_keys`` (sshd(8)).

    :ivar sources: what ``from=`` admits; None for any address.
    :ivar expires_seconds: when the key stops to be valid, seconds since 1970; None for never.
    :ivar needs_touch: whether a FIDO key must tell that it was touched.
    :ivar needs_verification: whether a FIDO key must tell that it has verified its owner.
    :ivar principals: of an authority: the names in its certificates that stand for the user; empty
        for those of `LoginRules.principals`.
    """

    sources: AddressPatterns | None = None
    expires_seconds: float | None = None
    needs_touch: bool = True
    needs_verification: bool = False
    principals: tuple[str, ...] = ()


NO_OPTIONS = KeyOptions()


@dataclass(frozen=True, slots=True)
class AuthorizedKey:
    """A line of ``authorized_keys``.

    :ivar blob: the public key in its only encoding (RFC 4253, section 6.6).
    :ivar options: what restricts it.
    :ivar is_authority: whether it signs certificates of the user (``cert-authority``), and does
        not log in itself.
    """

    blob: bytes
    options: KeyOptions = NO_OPTIONS
    is_authority: bool = False


NO_KEYS: Mapping[bytes, KeyOptions] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class LoginRules:
    """How a user may log in.

    :ivar authorized_keys: the options of each public key, by its only encoding (RFC 4253, section
        6.6).
    :ivar authorities: the options of each key that may sign the user's certificates, beside those
        that may sign certificates of all users.
    :ivar password_hash: the hash of the password, as `auth.passwords` knows it; None without one.
    :ivar totp_secret: the secret of one-time codes in base32 (RFC 6238); None without one.
    :ivar require: the alternatives: each is a series of methods that must all succeed, in their
        order (`auth.plan`). Empty: a key or a password.
    :ivar principals: the names in certificates that stand for the user, in the normal form of
        Unicode; empty for the user's name.
    :ivar networks: where the user may connect from; empty for anywhere.
    :ivar expires_seconds: when the account ends, seconds since 1970; None for never.
    :ivar is_disabled: whether the user may not log in at all, for now.
    """

    authorized_keys: Mapping[bytes, KeyOptions] = field(default_factory=lambda: NO_KEYS, hash=False)
    password_hash: str | None = field(default=None, repr=False)
    totp_secret: str | None = field(default=None, repr=False)
    require: tuple[tuple[LoginMethod, ...], ...] = ()
    principals: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()
    expires_seconds: float | None = None
    is_disabled: bool = False
    authorities: Mapping[bytes, KeyOptions] = field(default_factory=lambda: NO_KEYS, hash=False)


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """How much may be stored in some mounts of a user; None for what is not limited.

    :ivar path: the path of the mount that has this quota of its own; none for all mounts that have
        none of their own.
    :ivar max_bytes: how many bytes.
    :ivar max_files: how many files.
    """

    path: tuple[str, ...] = ()
    max_bytes: int | None = None
    max_files: int | None = None

    @property
    def is_off(self) -> bool:
        """Whether nothing is limited."""
        return self.max_bytes is None and self.max_files is None


@dataclass(frozen=True, slots=True)
class UserLimits:
    """What one user may have or do; None for what is not limited.

    :ivar sessions: how many connections at once.
    :ivar file_bytes: the size of the largest file.
    :ivar upload_rate_bytes: bytes per second, of all sessions together.
    :ivar download_rate_bytes: bytes per second, of all sessions together.
    :ivar quotas: how much may be stored.
    """

    sessions: int | None = None
    file_bytes: int | None = None
    upload_rate_bytes: int | None = None
    download_rate_bytes: int | None = None
    quotas: tuple[QuotaLimits, ...] = ()


@dataclass(frozen=True, slots=True)
class AssumedRole:
    """The role that a user's sessions assume, in stores that scope credentials.

    :ivar arn: the role; empty for that of the store.
    :ivar policy: the session policy, in place of that which is made of the mounts; empty for none.
    """

    arn: str = ""
    policy: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class User:
    """A user.

    :ivar name: the user's name, in the normal form of its source.
    :ivar mounts: what the user sees; at least one, no two at the same path.
    :ivar weight: the user's share of what users compete for; most have 1.
    :ivar login: how the user may log in.
    :ivar limits: what is limited for this user.
    :ivar source: the source that has named the user; empty for users of files.
    :ivar is_of_password: whether the source has named the user for a password that it has verified.
    :ivar role: the role of the user's sessions; None for that of the store.
    """

    name: str
    mounts: tuple[Mount, ...]
    weight: int = 1
    login: LoginRules = LoginRules()
    limits: UserLimits = UserLimits()
    source: str = field(default="", compare=False)
    is_of_password: bool = field(default=False, compare=False)
    role: AssumedRole | None = None

    @classmethod
    def with_home(
        cls,
        name: str,
        bucket: str,
        key_prefix: str,
        permissions: Permission = ALL_PERMISSIONS,
        *,
        login: LoginRules = LoginRules(),
    ) -> User:
        """A user with one mount, at ``/``.

        :param name: the user's name.
        :param bucket: the bucket of the user's files.
        :param key_prefix: the prefix of their keys; empty, or ends with a slash.
        :param permissions: what the user may do.
        :param login: how the user may log in.
        """
        return cls(name, (Mount(bucket, key_prefix, permissions=permissions),), login=login)


@dataclass(frozen=True, slots=True)
class SessionLabels:
    """How the log names the connection of a session.

    :ivar session: the label that every event of the session carries.
    :ivar peer: the client's address and port, ``local`` for a UNIX socket.
    """

    session: str
    peer: str
