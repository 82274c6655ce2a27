"""The keys of ``[s3]`` and of ``[store NAME]``."""

from __future__ import annotations

from collections.abc import Mapping

from sftpgw.config.ini_file import Key
from sftpgw.config.scalars import places, urls
from sftpgw.config.scalars.object_values import (
    CAPABILITY_NAMES,
    capabilities,
    encryption_context,
    session_tags,
    tags,
)
from sftpgw.config.scalars.quantities import count, size, time
from sftpgw.config.scalars.value_format import ValueFormat, auto_or, matching, off_or, one_of
from sftpgw.config.tables.formats import BUCKET, DAY, FLAG, PATH, ROLE, SECRET, TEXT
from sftpgw.model.limits import MAX_PART_BYTES, MIN_PART_BYTES
from sftpgw.model.object_settings import Encryption
from sftpgw.model.settings import Addressing, ChecksumChoice, Probe, SignPayload
from sftpgw.model.units import GIB, KIB

CAPABILITIES = ValueFormat(capabilities, "names", " ".join(CAPABILITY_NAMES))
ENDPOINT = ValueFormat(urls.endpoint, "URL", "http://HOST[:PORT] or https://HOST[:PORT]")
STATE_PREFIX = ValueFormat(places.state_prefix, "prefix", "not the whole bucket")
STORAGE_CLASS = matching(r"[A-Z0-9_]+", "one like STANDARD_IA")
CANNED_ACL = matching(
    "private|public-read|public-read-write|authenticated-read|aws-exec-read|bucket-owner-read|"
    "bucket-owner-full-control",
    "a canned ACL of S3 such as bucket-owner-full-control",
)
TAGS = ValueFormat(tags, "text", "name=value, with blanks between tags")
SESSION_TAGS = ValueFormat(session_tags, "text", "name=value, with blanks between tags")

ENCRYPTION_KEYS: Mapping[str, Key] = {
    "sse": Key(
        "sse",
        one_of(Encryption),
        "Who encrypts new objects, also copies: S3, or KMS once or twice. ``none`` asks for "
        "nothing. If it is blank, the bucket decides, and an object that is changed or renamed "
        "keeps the encryption that it has.",
    ),
    "sse_kms_key": Key(
        "sse_kms_key",
        matching(r"[A-Za-z0-9:/_-]{1,2048}", "the ARN, id or alias of a key"),
        "The key of KMS, with ``sse = kms`` or ``kms-dsse``. If it is blank, AWS's own.",
    ),
    "sse_bucket_key": Key(
        "sse_bucket_key",
        FLAG,
        "Whether S3 asks KMS for one key for many objects, which costs less (``sse = kms``). If it "
        "is blank, the bucket decides.",
    ),
    "sse_kms_context": Key(
        "sse_kms_context",
        ValueFormat(encryption_context, "text", "a JSON object of texts"),
        "The encryption context that KMS compares and logs.",
    ),
}

S3_KEYS: Mapping[str, Key] = {
    "bucket": Key(
        "bucket",
        BUCKET,
        "The bucket of all users who do not name another one. An ARN names the region, too.",
    ),
    "region": Key(
        "region",
        matching(r"[A-Za-z0-9_-]{1,64}", "a region such as eu-west-1"),
        "The region of the bucket. A bucket in another region is followed there, and the log says "
        "so.",
    ),
    "endpoint": Key("endpoint", ENDPOINT, "The address of a store other than AWS."),
    "addressing": Key(
        "addressing",
        one_of(Addressing),
        "Whether the bucket is named in the host (``virtual``) or in the path (``path``). "
        "``auto`` is ``virtual`` on AWS and ``path`` at an ``endpoint``.",
    ),
    "access_key": Key(
        "access_key",
        TEXT,
        "The access key. If it is blank, the AWS chain finds the credentials: environment, "
        "profile, web identity, ECS, EC2.",
    ),
    "secret_key": Key("secret_key", SECRET, "The secret key that belongs to ``access_key``."),
    "session_token": Key(
        "session_token", SECRET, "The session token, if the two keys are temporary."
    ),
    "role_arn": Key(
        "role_arn",
        ROLE,
        "A role that the gateway assumes with those credentials.",
    ),
    "scoped_credentials": Key(
        "scoped_credentials",
        FLAG,
        "Whether each user's sessions assume ``role_arn`` on their own, with a session policy "
        "that is made of the user's mounts and permissions. Then S3 itself refuses what is not "
        "theirs, whatever the gateway does. The gateway's own records are reached without that "
        "policy.",
    ),
    "session_tags": Key(
        "session_tags",
        SESSION_TAGS,
        "Tags of these sessions, for policies (``aws:PrincipalTag``). ``{username}`` stands for "
        "the user's name. The role must allow ``sts:TagSession``.",
    ),
    "ca_file": Key(
        "ca_file",
        PATH,
        "The authorities that may sign the certificate of an https endpoint, as PEM. It is read "
        "again when it changes. If it is blank: ``AWS_CA_BUNDLE``, ``ca_bundle`` of the AWS "
        "profile or ``REQUESTS_CA_BUNDLE``, else the authorities of the system.",
    ),
    "proxy": Key(
        "proxy",
        SECRET,
        "The HTTP proxy for all requests to the store, ``http://[USER:PASSWORD@]HOST:PORT``, or "
        "``none``. If it is blank, ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY`` decide.",
    ),
    "storage_class": Key(
        "storage_class",
        STORAGE_CLASS,
        "The storage class of new objects. If it is blank, the bucket decides.",
    ),
    **ENCRYPTION_KEYS,
    "sse_c_key_file": Key(
        "sse_c_key_file",
        PATH,
        "A file with the key with which all objects of the store are encrypted (SSE-C): 32 bytes, "
        "as they are or in base64. S3 does not keep it: if it is lost, so are the files. Objects "
        "that were stored without it cannot be read.",
    ),
    "sse_c_key_env": Key(
        "sse_c_key_env",
        matching(r"[A-Za-z_][A-Za-z0-9_]*", "the name of a variable"),
        "The variable of the environment that has that key in base64, instead of a file.",
    ),
    "acl": Key(
        "acl",
        CANNED_ACL,
        "The canned ACL of new objects, and of copies. If it is blank, none is sent, which buckets "
        "without ACLs need.",
    ),
    "tags": Key(
        "tags",
        TAGS,
        "Tags of the objects that users make. ``{username}``, ``{client_ip}`` and ``{session}`` "
        "stand for those of the session. An object that is changed keeps the tags that it has.",
    ),
    "request_payer": Key(
        "request_payer", FLAG, "Pay for the requests to buckets whose owner does not (AWS)."
    ),
    "expected_bucket_owner": Key(
        "expected_bucket_owner",
        matching(r"[0-9]{12}", "an account of AWS, 12 digits"),
        "The account that must own the buckets; S3 refuses each request to one of another.",
    ),
    "accelerate": Key("accelerate", FLAG, "Use S3 Transfer Acceleration. AWS only."),
    "dual_stack": Key(
        "dual_stack", FLAG, "Use AWS's endpoints that have IPv6 addresses as well. AWS only."
    ),
    "fips": Key(
        "fips",
        FLAG,
        "Use AWS's endpoints with cryptography by FIPS 140, also for ``role_arn``. AWS has them in "
        "its regions of the United States and Canada, and not with ``accelerate``.",
    ),
    "state_prefix": Key(
        "state_prefix",
        STATE_PREFIX,
        "Where the gateway keeps its own records in each bucket. No user can see it.",
    ),
    "sign_payload": Key(
        "sign_payload",
        one_of(SignPayload),
        "Sign a SHA-256 of every byte that is sent. ``auto`` is ``yes`` over http and ``no`` over "
        "https.",
    ),
    "checksum": Key(
        "checksum",
        one_of(ChecksumChoice),
        "The checksum of every part and object, which the store compares and keeps. ``auto`` is "
        "``crc64nvme`` where the store can do it, else ``md5``, which costs 1.5 CPU seconds per "
        "GiB.",
    ),
    "part_size": Key(
        "part_size_bytes",
        size(MIN_PART_BYTES, MAX_PART_BYTES),
        "The size of the first parts of an upload. Large files get larger parts.",
    ),
    "upload_concurrency": Key(
        "upload_concurrency", count(1, 64), "How many parts of one upload are sent at once."
    ),
    "download_part_size": Key(
        "download_part_size_bytes",
        size(64 * KIB, GIB),
        "The size of the largest range that one GET of a download asks for.",
    ),
    "download_concurrency": Key(
        "download_concurrency",
        count(1, 64),
        "How many ranges of one download are fetched ahead at once.",
    ),
    "max_requests": Key(
        "max_requests",
        auto_or(count(1, 100_000)),
        "How many requests to the store are under way at once; more wait, and users take turns. "
        "Each needs a connection and so a file descriptor. ``auto`` is what the limit of file "
        "descriptors leaves beside ``max_connections``, from 16 to 1024. A larger number counts "
        "only as far as descriptors are left.",
    ),
    "connect_timeout": Key(
        "connect_timeout_seconds",
        time(0.1, 600),
        "How long the connection to the store may take.",
    ),
    "read_timeout": Key(
        "read_timeout_seconds",
        time(0.1, 3600),
        "How long the store may stay silent during a request, or move less than 16 KiB of a body "
        "that is not over.",
    ),
    "retry_time": Key(
        "retry_time_seconds",
        time(0, 3600),
        "How long a request is retried while the store is away or refuses for now. The default "
        "outlasts a restart of the store.",
    ),
    "max_attempts": Key(
        "max_attempts",
        count(1, 1000),
        "How often a request is sent at most. The limit that is reached first ends it.",
    ),
    "probe": Key(
        "probe",
        one_of(Probe),
        "Try out what the store can do, once for each bucket when it is first written to, with a "
        "few tiny objects and at most one of 5 MiB under ``state_prefix``. With ``no`` the "
        "gateway believes ``unsupported``.",
    ),
    "abort_stale_uploads": Key(
        "abort_stale_uploads_seconds",
        off_or(time(3600, 365 * DAY)),
        "Abort multipart uploads under the users' prefixes that are older than this and have no "
        "record, no matter which program began them. 7d is a good value. No upload of another "
        "gateway may take longer than this.",
    ),
    "unsupported": Key(
        "capabilities",
        CAPABILITIES,
        "What the store lacks. ``sftpgw check`` tells; the gateway finds out by itself unless "
        "``probe`` is ``no``.",
    ),
}

OF_ALL_STORES: Mapping[str, str] = {
    "bucket": "is a key of [s3] only; write the bucket of a user as NAME:bucket in users.ini",
    "max_requests": "is a key of [s3] only; it counts the requests to all stores together",
}
"""The keys of ``[s3]`` that ``[store NAME]`` cannot have, with what to do instead."""

STORE_KEYS: Mapping[str, Key] = {
    name: key for name, key in S3_KEYS.items() if name not in OF_ALL_STORES
}
"""The keys of ``[store NAME]``. They have the same defaults as those of ``[s3]``."""
