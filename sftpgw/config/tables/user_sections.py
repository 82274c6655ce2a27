"""The keys of users.ini: of ``[*]``, of ``[*GROUP]`` and of a user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sftpgw.config.ini_file import Key
from sftpgw.config.scalars import places, user_rights, words
from sftpgw.config.scalars.quantities import count, size
from sftpgw.config.scalars.value_format import ValueFormat, off_or
from sftpgw.config.tables.formats import BUCKET, FLAG, NAMES, NETWORKS, ROLE
from sftpgw.config.tables.s3_section import S3_KEYS
from sftpgw.model.units import GIB, KIB

ANY_BUCKET = ValueFormat(places.bucket_of_any_store, BUCKET.kind, BUCKET.bounds)
COUNT_OR_OFF = off_or(count(1, 1_000_000_000))
EXPIRY = ValueFormat(
    user_rights.expiry, "day", "2027-03-31, or a time such as 2027-03-31T18:00+02:00, or never"
)
HASH = ValueFormat(
    str, "secret", "an argon2 or bcrypt hash; of other programs also sha512-crypt, pbkdf2 or {SSHA}"
)
MOUNTS = ValueFormat(
    words.lines, "lines", "PATH s3://BUCKET/PREFIX/ PERMISSIONS, or PATH STORE:BUCKET/PREFIX/ …"
)
PATTERNS = ValueFormat(
    words.patterns, "patterns", "``*`` and ``?`` stand for characters: ``*.csv``"
)
PERMISSIONS = ValueFormat(user_rights.permissions, "names", " ".join(user_rights.PERMISSION_NAMES))
PREFIX = ValueFormat(places.key_prefix, "prefix", "names between single slashes, up to 900 bytes")
PUBLIC_KEYS = ValueFormat(words.lines, "lines", "public keys of OpenSSH, one a line")
REQUIREMENTS = ValueFormat(
    user_rights.login_alternatives, "words", "any, or publickey, password, totp with + between"
)
TOTP_SECRET = ValueFormat(user_rights.totp_secret, "secret", "base32, 16 bytes or more")

DEFAULT_KEYS: Mapping[str, Key] = {
    "bucket": Key(
        "bucket",
        ANY_BUCKET,
        "The bucket of the user. ``{username}`` stands for the user's name. The default is the "
        "bucket of ``[s3]``. One of ``[store NAME]`` is written ``NAME:bucket``.",
    ),
    "key_prefix": Key(
        "key_prefix",
        PREFIX,
        "The prefix under which all that the user sees lies, as if it were the root of a disk. It "
        "need not exist. ``/`` is the whole bucket. ``{username}`` stands for the user's name; "
        "``{{`` and ``}}`` stand for braces. A user with ``mount`` lines may do without.",
        if_blank="is blank; write / for the whole bucket, or leave the key out for the default",
    ),
    "mount": Key(
        "mount",
        MOUNTS,
        "What the user sees besides: a line for each mount, with the path at which the user sees "
        "it, the prefix of a bucket, and what the user may do there (the default is "
        "``permissions``). ``{username}`` is replaced. ``STORE:BUCKET/PREFIX/`` is in the store of "
        "``[store STORE]``. A path or prefix with blanks stands in double quotes. Lines of "
        "``[*]``, of groups and of the user count together; of those for one path, the last one.",
    ),
    "permissions": Key(
        "permissions",
        PERMISSIONS,
        "What the user may do. The default is all of it. ``permissions /incoming`` is for this "
        "path and all below; the longest path counts.",
        if_blank="grants nothing; name some, or leave the key out for the default",
        takes_path=True,
    ),
    "deny": Key(
        "deny",
        PATTERNS,
        "Names that the user may not use, whatever ``allow`` says. ``deny /incoming`` is for this "
        "path and all below, in the place of what a shorter path has.",
        takes_path=True,
    ),
    "allow": Key(
        "allow",
        PATTERNS,
        "The names of files that the user may use; by default all. ``allow /incoming`` as for "
        "``deny``.",
        takes_path=True,
    ),
    "deny_hidden": Key(
        "hides_denied",
        FLAG,
        "Whether listings leave out the names that are denied. ``deny_hidden /incoming`` as for "
        "``deny``.",
        takes_path=True,
    ),
    "networks": Key(
        "networks",
        NETWORKS,
        "Where the user may connect from. The default is anywhere.",
    ),
    "expires": Key(
        "expires_seconds",
        EXPIRY,
        "When the account ends: with the beginning of this day in UTC, or at this time. Sessions "
        "end then, too.",
    ),
    "disabled": Key(
        "is_disabled",
        FLAG,
        "``yes``: the user cannot log in, as if the section were not there.",
    ),
    "principals": Key(
        "principals",
        NAMES,
        "The names in SSH certificates that stand for the user. ``{username}`` is replaced. The "
        "default is the user's name.",
    ),
    "max_sessions": Key(
        "sessions",
        COUNT_OR_OFF,
        "How many sessions the user may have at once. ``off``, like the following ones: no limit "
        "but those of ``[ssh]`` and ``[limits]``.",
    ),
    "max_file_size": Key(
        "file_bytes", off_or(size(KIB, 48 * 1024 * GIB)), "The size of the largest file."
    ),
    "quota_bytes": Key(
        "quota_bytes",
        off_or(size(KIB, 1024**2 * GIB)),
        "How much may be stored in all mounts of the user together, by all users and programs. "
        "With the path of a mount behind the key, it is about that mount, which then does not "
        "count in the quota of the others. :ref:`quotas` has more.",
        takes_path=True,
    ),
    "quota_files": Key(
        "quota_files",
        COUNT_OR_OFF,
        "How many files may be stored there.",
        takes_path=True,
    ),
    "max_upload_rate": Key(
        "upload_rate_bytes",
        off_or(size(KIB, 1024 * GIB)),
        "How fast the user may upload, in all sessions together, per second.",
    ),
    "max_download_rate": Key(
        "download_rate_bytes",
        off_or(size(KIB, 1024 * GIB)),
        "How fast the user may download, in all sessions together, per second.",
    ),
    **{
        name: replace(S3_KEYS[name], takes_path=True, meaning=meaning)
        for name, meaning in {
            "storage_class": "The storage class of the user's new objects. What is blank here, and "
            "in the keys below, is as in ``[s3]`` or ``[store NAME]``. With the path of a mount "
            "behind the key, it is about that mount.",
            "sse": "Who encrypts them. With ``sse`` here, its keys in the store do not count.",
            "sse_kms_key": "The key of KMS.",
            "sse_bucket_key": "Whether S3 asks KMS for one key for many objects.",
            "sse_kms_context": "The encryption context that KMS compares and logs.",
            "acl": "The canned ACL of new objects, and of copies.",
            "tags": "Tags of new objects. ``{username}``, ``{client_ip}`` and ``{session}`` stand "
            "for those of the session.",
        }.items()
    },
    "role_arn": Key(
        "role_arn",
        ROLE,
        "The role of the user's sessions in stores with ``scoped_credentials``, in place of that "
        "of the store. ``{username}`` stands for the user's name.",
    ),
    "weight": Key(
        "weight",
        count(1, 100),
        "The share that the user gets while users compete for memory, requests to the store or "
        "CPU: a user with ``weight = 2`` gets twice as much as one with 1, the default.",
    ),
    "require": Key(
        "require",
        REQUIREMENTS,
        "What a login needs. ``publickey+totp`` needs a key, and then a one-time code; of several "
        "alternatives, ``publickey+totp password+totp``, any one. ``any``, the default: a key or a "
        "password.",
        if_blank="is blank; write any, or leave the key out for the default",
    ),
}
"""The keys of ``[*]`` and of ``[*GROUP]`` in users.ini."""

TEMPLATES = frozenset({"bucket", "key_prefix", "mount", "principals", "role_arn"})
"""The keys in whose values ``{username}`` is replaced, as it is in paths behind keys."""

USER_KEYS: Mapping[str, Key] = {
    **DEFAULT_KEYS,
    "groups": Key(
        "groups",
        NAMES,
        "The groups of the user: the keys of ``[*GROUP]`` hold for the user, too. Later groups win "
        "over earlier ones and over ``[*]``; what the user's section says wins over all.",
    ),
    "authorized_keys": Key(
        "authorized_keys",
        PUBLIC_KEYS,
        "The public keys with which the user may log in, as in OpenSSH's file, with options such "
        "as ``from=`` and ``expiry-time=``. A line with ``cert-authority`` has the key of an "
        "authority that signs certificates of this user.",
    ),
    "password_hash": Key(
        "password_hash",
        HASH,
        "The hash of the user's password. Without ``authorized_keys`` and ``password_hash`` a "
        "user cannot log in, which is a fault.",
    ),
    "totp_secret": Key(
        "totp_secret",
        TOTP_SECRET,
        "The secret of the user's one-time codes (TOTP). A phone app has the same one. "
        "``sftpgw user totp NAME`` makes it.",
    ),
}
"""The keys of a user's section in users.ini."""
