"""The keys of ``[auth]``."""

from __future__ import annotations

from collections.abc import Mapping

from sftpgw.config.ini_file import Key
from sftpgw.config.scalars import user_rights, words
from sftpgw.config.scalars.value_format import ValueFormat, one_of
from sftpgw.config.tables.formats import PATH
from sftpgw.config.tables.user_source_keys import DYNAMODB_KEYS, HTTP_KEYS, LDAP_KEYS
from sftpgw.model.settings import OnChange

BUCKET_PATTERNS = ValueFormat(
    words.names, "patterns", "``*`` and ``?`` stand for characters: ``partner-*``, ``STORE:*``"
)
USER_SOURCES = ValueFormat(user_rights.user_sources, "names", "file http ldap dynamodb")

AUTH_KEYS: Mapping[str, Key] = {
    "ca_keys": Key(
        "ca_keys",
        PATH,
        "A file with public keys, one a line, whose owners sign certificates of users (OpenSSH's "
        "``TrustedUserCAKeys``). A certificate opens the account of each user whose name, or one "
        "of whose ``principals``, is among its principals.",
    ),
    "revoked_keys": Key(
        "revoked_keys",
        PATH,
        "A file with keys and certificates that do not log in any more (OpenSSH's "
        "``RevokedKeys``): a KRL as ``ssh-keygen -k`` writes it, or public keys, one a line. It "
        "concerns keys of users, certificates, and keys of authorities.",
    ),
    "on_change": Key(
        "on_change",
        one_of(OnChange),
        "What becomes of the sessions of a user who is removed or disabled, or whose proofs, "
        "``networks``, ``expires``, mounts or permissions change: ``disconnect`` them, or ``keep`` "
        "them as they were until they end. The files of users, and those of ``ca_keys`` and "
        "``revoked_keys``, are read again on SIGHUP, and within some seconds of a change.",
    ),
    "sources": Key(
        "sources",
        USER_SOURCES,
        "Where users come from; the first source that knows the name decides. ``file`` is what "
        "``users`` of ``[gateway]`` names, and is asked first. ``http`` is the web service at "
        "``http_url``, ``ldap`` are the servers at ``ldap_url``, ``dynamodb`` the table "
        "``dynamodb_table``.",
    ),
    "allowed_buckets": Key(
        "allowed_buckets",
        BUCKET_PATTERNS,
        "The buckets that users of other sources than ``file`` may have, such as ``partner-*``. A "
        "user with another bucket is refused. The default is any bucket.",
    ),
    **HTTP_KEYS,
    **LDAP_KEYS,
    **DYNAMODB_KEYS,
}
