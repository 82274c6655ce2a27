"""Every key of both ini files: how it is written, its bounds, and what it does.

The loader reads the files by these tables. The configuration reference in ``docs/`` and the
annotated examples in ``etc/`` are made of them, so that the three cannot differ. Defaults are
those of the settings in `sftpgw.model.settings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sftpgw.config import scalars
from sftpgw.config.ini_file import Key
from sftpgw.config.scalars import (
    CAPABILITY_NAMES,
    PERMISSION_NAMES,
    ValueFormat,
    auto_or,
    count,
    matching,
    never_or,
    off_or,
    one_of,
    size,
    time,
)
from sftpgw.model.limits import MAX_PART_BYTES, MIN_PART_BYTES
from sftpgw.model.object_settings import Encryption
from sftpgw.model.settings import (
    Addressing,
    ChecksumChoice,
    ExactTimes,
    HttpDialect,
    LateTimes,
    OnChange,
    OnDisconnect,
    Policy,
    Probe,
    SetStat,
    SignPayload,
)
from sftpgw.model.units import GIB, KIB, MIB

DAY = 86400

BUCKET = ValueFormat(
    scalars.bucket_name,
    "text",
    "a bucket, an access point of AWS by its ARN or alias, or tenant:bucket of Ceph",
)
ANY_BUCKET = ValueFormat(scalars.bucket_of_any_store, BUCKET.kind, BUCKET.bounds)
CAPABILITIES = ValueFormat(scalars.capabilities, "names", " ".join(CAPABILITY_NAMES))
COUNT_OR_OFF = off_or(count(1, 1_000_000_000))
ENDPOINT = ValueFormat(scalars.endpoint, "URL", "http://HOST[:PORT] or https://HOST[:PORT]")
ENDPOINTS = ValueFormat(scalars.lines, "lines", "Twisted endpoint strings, one a line")
EXPIRY = ValueFormat(
    scalars.expiry, "day", "2027-03-31, or a time such as 2027-03-31T18:00+02:00, or never"
)
HTTP_URL = ValueFormat(
    scalars.service_url, "URL", "https://HOST/PATH; http only for localhost, 127.0.0.1 and [::1]"
)
FLAG = ValueFormat(scalars.yes_or_no, "yes or no")
HASH = ValueFormat(
    str, "secret", "an argon2 or bcrypt hash; of other programs also sha512-crypt, pbkdf2 or {SSHA}"
)
MODE = ValueFormat(scalars.mode, "mode", "three octal digits, as in chmod")
MOUNTS = ValueFormat(
    scalars.lines, "lines", "PATH s3://BUCKET/PREFIX/ PERMISSIONS, or PATH STORE:BUCKET/PREFIX/ …"
)
NAMES = ValueFormat(scalars.names, "names")
NETWORKS = ValueFormat(scalars.networks, "networks", "such as 192.0.2.0/24 2001:db8::/32")
PATH = ValueFormat(scalars.printable, "path")
PATHS = ValueFormat(scalars.lines, "lines", "paths, one a line")
PATTERNS = ValueFormat(
    scalars.patterns, "patterns", "``*`` and ``?`` stand for characters: ``*.csv``"
)
BUCKET_PATTERNS = ValueFormat(
    scalars.names, "patterns", "``*`` and ``?`` stand for characters: ``partner-*``, ``STORE:*``"
)
USER_SOURCES = ValueFormat(scalars.user_sources, "names", "file http ldap dynamodb")
TABLE_ENDPOINT = ValueFormat(
    scalars.table_endpoint,
    "URL",
    "https://HOST[:PORT]; http only for localhost, 127.0.0.1 and [::1]",
)
WORD = ValueFormat(scalars.printable, "word")
LDAP_URLS = ValueFormat(scalars.ldap_urls, "URLs", "ldap://HOST[:PORT] or ldaps://HOST[:PORT]")
LDAP_NAME = ValueFormat(scalars.plain_text, "name", "such as ``ou=people,dc=example,dc=com``")
LDAP_FILTER = ValueFormat(scalars.plain_text, "filter", "as in RFC 4515, in brackets")
LDAP_ATTRIBUTE = matching(r"[A-Za-z][A-Za-z0-9-]*", "the name of an attribute")
LDAP_ATTRIBUTE_OR_NONE = ValueFormat(
    scalars.attribute_or_none, "text", "the name of an attribute, or none"
)
LDAP_GROUPS = ValueFormat(scalars.pairs(":", "NAME: GROUP"), "lines", "NAME: GROUP")
LDAP_ATTRIBUTES = ValueFormat(scalars.pairs("=", "KEY = ATTRIBUTE"), "lines", "KEY = ATTRIBUTE")
PENALTIES = ValueFormat(
    scalars.penalties, "word:time …", " ".join(f"{word}:time" for word in scalars.PENALTY_FIELDS)
)
PERMISSIONS = ValueFormat(scalars.permissions, "names", " ".join(PERMISSION_NAMES))
PREFIX = ValueFormat(scalars.key_prefix, "prefix", "names between single slashes, up to 900 bytes")
PUBLIC_KEYS = ValueFormat(scalars.lines, "lines", "public keys of OpenSSH, one a line")
REQUIREMENTS = ValueFormat(
    scalars.login_alternatives, "words", "any, or publickey, password, totp with + between"
)
SECRET = ValueFormat(scalars.secret, "secret")
STARTUPS = ValueFormat(scalars.startup_limits, "start:percent:full", "percent: 1 to 100")
STATE_PREFIX = ValueFormat(scalars.state_prefix, "prefix", "not the whole bucket")
TOTP_SECRET = ValueFormat(scalars.totp_secret, "secret", "base32, 16 bytes or more")
TEXT = ValueFormat(scalars.printable, "text")

GATEWAY_KEYS: Mapping[str, Key] = {
    "listen": Key(
        "listen",
        ENDPOINTS,
        "Where the gateway listens. ``haproxy:tcp:2022`` is for load balancers that send the "
        "PROXY protocol, and needs ``balancer_networks``.",
    ),
    "host_keys": Key(
        "host_keys",
        PATHS,
        "The private keys with which the server proves its identity, one of each type. Some "
        "clients know RSA or ECDSA only. Where it is blank, those of the three that exist, or that "
        "``create_host_keys`` makes. A key that other accounts can read is refused, as sshd does.",
    ),
    "create_host_keys": Key(
        "create_host_keys",
        FLAG,
        "Make each host key that does not exist: RSA of 3072 bits if the file's name has ``rsa`` "
        "in it, ECDSA on P-256 if it has ``ecdsa``, else ed25519. An existing file is never "
        "touched. Where the file system does not last, make the keys once with ssh-keygen and "
        "leave this at ``no``.",
    ),
    "users": Key(
        "users",
        PATH,
        "The file that says who may log in; or a directory, of which all files ``*.ini`` do.",
    ),
    "control": Key(
        "control",
        PATH,
        "The socket on which commands such as ``sftpgw bans`` ask this gateway: "
        "``/run/sftpgw/control.sock``. Only the gateway's user and root can connect. No other user "
        "may be able to write into its folder. If it is blank, there is none.",
    ),
}

STORAGE_CLASS = matching(r"[A-Z0-9_]+", "one like STANDARD_IA")
CANNED_ACL = matching(
    "private|public-read|public-read-write|authenticated-read|aws-exec-read|bucket-owner-read|"
    "bucket-owner-full-control",
    "a canned ACL of S3 such as bucket-owner-full-control",
)
TAGS = ValueFormat(scalars.tags, "text", "name=value, with blanks between tags")
SESSION_TAGS = ValueFormat(scalars.session_tags, "text", "name=value, with blanks between tags")
ROLE = matching(r"arn:\S+:role/\S+", "arn:aws:iam::ACCOUNT:role/…")

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
        ValueFormat(scalars.encryption_context, "text", "a JSON object of texts"),
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

SSH_KEYS: Mapping[str, Key] = {
    "login_grace": Key(
        "login_grace_seconds",
        time(1, 3600),
        "How long a client has to log in, from the moment it connects.",
    ),
    "auth_tries": Key(
        "auth_tries",
        count(1, 100),
        "How many failed tries end a connection. Each key that an agent offers in vain is a try; "
        "the ``none`` with which clients begin is not.",
    ),
    "sessions_per_connection": Key(
        "sessions_per_connection", count(1, 1000), "How many SSH channels one connection may open."
    ),
    "handles_per_session": Key(
        "handles_per_session",
        count(1, 100_000),
        "How many files and directories one SFTP session may have open.",
    ),
    "max_connections": Key(
        "max_connections",
        count(1, 100_000),
        "How many clients may be connected at once, logged in or not. Each needs a file "
        "descriptor (``ulimit -n``). Not less than the last number of ``max_startups``.",
    ),
    "connections_per_user": Key(
        "connections_per_user",
        count(1, 100_000),
        "How many of those may be logged in as one user.",
    ),
    "max_startups": Key(
        "max_startups",
        STARTUPS,
        "Limits for clients that have not logged in: from ``start`` of them on, ``percent`` of "
        "new connections are refused. The share grows up to ``full`` of them, from where on all "
        "are refused. An address that has such clients already is refused sooner.",
    ),
    "startups_per_address": Key(
        "startups_per_address",
        count(1, 10_000),
        "How many clients that have not logged in may come from one IPv4 address or IPv6 /64.",
    ),
    "startup_rate_per_address": Key(
        "startup_rate_per_address",
        count(1, 10_000),
        "How many connections a second one address may make without a login, once it has made "
        "``startups_per_address`` of them.",
    ),
    "penalties": Key(
        "penalties",
        off_or(PENALTIES),
        "How long an address is refused whose clients do not log in, as OpenSSH's "
        "PerSourcePenalties: each connection that ends without a login adds the time of its worst "
        "offence. ``authfail``: a login that failed; ``noauth``: none was tried; "
        "``grace-exceeded``: ``login_grace`` has passed. From ``min`` on, the address is refused "
        "until all of its time has passed; it has at most ``max``. What is left out keeps its "
        "default.",
    ),
    "exempt_networks": Key(
        "exempt_networks",
        NETWORKS,
        "Networks without the limits per address and without ``penalties``: partners behind one "
        "NAT.",
    ),
    "balancer_networks": Key(
        "balancer_networks",
        NETWORKS,
        "Where load balancers connect from that tell the client's address (``listen = "
        "haproxy:…``).",
    ),
    "banner_file": Key(
        "banner",
        PATH,
        "A file whose text, in UTF-8 and up to 16 KiB, clients see before they log in.",
    ),
    "keepalive_interval": Key(
        "keepalive_interval_seconds",
        never_or(time(1, 86400)),
        "How long a client may be silent before the gateway sends it a keepalive request.",
    ),
    "keepalive_count": Key(
        "keepalive_count",
        count(1, 100),
        "The number of keepalive requests without a reply that ends the connection.",
    ),
    "idle_timeout": Key(
        "idle_timeout_seconds",
        never_or(time(1, 30 * 86400)),
        "How long nothing may move on a session for which nothing is under way, before it is "
        "ended. It may end up to a minute later.",
    ),
    "rekey_bytes": Key(
        "rekey_bytes",
        # Up to 32 GiB, packets cannot be counted out: `ssh.rekey` tells why.
        size(MIB, 32 * GIB),
        "The number of bytes, both directions together, after which new keys are exchanged.",
    ),
    "rekey_interval": Key(
        "rekey_interval_seconds", time(60, 86400), "The time after which new keys are exchanged."
    ),
    "key_exchange_timeout": Key(
        "key_exchange_timeout_seconds", time(1, 3600), "How long a key exchange may take."
    ),
    "packet_before_login": Key(
        "packet_before_login_bytes",
        size(8 * KIB, MIB),
        "The longest SSH packet that is taken from a client before it has logged in.",
    ),
    "packet_after_login": Key(
        "packet_after_login_bytes",
        # At least what a channel announces (`ssh.channels`), and 1 KiB.
        size(257 * KIB, 4 * MIB),
        "The longest SSH packet that is taken from a client that has logged in.",
    ),
    "policy": Key(
        "policy",
        one_of(Policy),
        "Which algorithms are offered where the five lists below do not say it. ``modern``: what "
        "clients of the last years have. ``compatible``: besides, the curves of NIST, fixed groups "
        "with SHA-2, and MACs of the clear text, for which no attack is known. ``legacy``: "
        "besides, SHA-1 and CBC, for clients that have nothing else; a warning tells of each login "
        "that uses them.",
    ),
    "key_exchanges": Key(
        "key_exchanges",
        NAMES,
        "The key exchange methods that are offered, the preferred one first. By default those of "
        "``policy``, like the other lists.",
    ),
    "ciphers": Key("ciphers", NAMES, "The ciphers that are offered, the preferred one first."),
    "macs": Key("macs", NAMES, "The MACs that are offered, the preferred one first."),
    "host_key_algorithms": Key(
        "host_key_algorithms",
        NAMES,
        "The signature algorithms of host keys that are offered, as far as there are such keys.",
    ),
    "login_key_algorithms": Key(
        "login_key_algorithms",
        NAMES,
        "The algorithms with which users' keys may sign.",
    ),
}

LIMITS_KEYS: Mapping[str, Key] = {
    "memory": Key(
        "memory_bytes",
        size(16 * MIB, 1024 * GIB),
        "How much memory all that clients do may hold together: the bytes of transfers, open files "
        "and directories, and requests under way. At least two parts.",
    ),
    "reorder_allowance": Key(
        "reorder_allowance_bytes",
        size(KIB, GIB),
        "How far the writes of one upload may be out of order. Not more than ``memory``.",
    ),
    "requests_per_user": Key(
        "requests_per_user",
        auto_or(count(1, 100_000)),
        "How many of ``max_requests`` one user may have under way; more wait. ``auto`` is half of "
        "them, so that no user alone makes others wait.",
    ),
    "drain": Key(
        "drain_seconds",
        time(0, 3600),
        "How long transfers may go on once the gateway has been told to stop.",
    ),
    "sessions_per_user": Key(
        "sessions_per_user",
        count(1, 1_000_000),
        "How many SSH channels all connections of one user may have open together: SFTP sessions "
        "and commands. ``connections_per_user`` and ``sessions_per_connection`` of ``[ssh]`` bound "
        "the same in other ways.",
    ),
    "handles_per_user": Key(
        "handles_per_user",
        count(1, 1_000_000),
        "How many files and directories all SFTP sessions of one user may have open together. "
        "``handles_per_session`` of ``[ssh]`` bounds those of each session.",
    ),
    "directory_renames_per_user": Key(
        "directory_renames_per_user",
        count(1, 1000),
        "How many folders of one user are renamed at once. Further ones wait, 256 times as many at "
        "most.",
    ),
}

FILES_KEYS: Mapping[str, Key] = {
    "exact_times": Key(
        "exact_times",
        one_of(ExactTimes),
        "Whether listings show the times that were stored with files and folders, for a HEAD "
        "request each unless the time is known. ``auto``: in directories that S3 lists in one "
        "page, 1,000 names.",
    ),
    "setstat": Key(
        "setstat",
        one_of(SetStat),
        "What happens when a client sets the time of a stored file that S3 cannot copy onto "
        "itself, since it is over 5 GiB or archived.",
    ),
    "rename_max_objects": Key(
        "rename_max_objects",
        count(1, 10_000_000),
        "A folder with more objects is not renamed; nothing of it is touched then.",
    ),
    "late_times": Key(
        "late_times",
        one_of(LateTimes),
        "What happens to a time that a client sets when its file is stored already, or its first "
        "part sent. ``apply``: S3 copies the object onto itself, which is a second version of it. "
        "``defer``: this process shows the time as long as it runs, for the last 65,536 files, "
        "and stores none. ``ignore``: the time is forgotten, as AWS Transfer's ``ENABLE_NO_OP`` "
        "does.",
    ),
    "late_times_wait": Key(
        "late_times_wait_seconds",
        time(0, 10),
        "How long CLOSE of a small file without a time waits for one that comes right behind it, "
        "and is stored with the file. With 0s it waits for what has been received by then.",
    ),
    "on_disconnect": Key(
        "on_disconnect",
        one_of(OnDisconnect),
        "What happens to an upload whose client is lost: ``discard`` it, or keep its parts for "
        "the client to ``resume``.",
    ),
    "partials_kept": Key(
        "partials_kept_seconds",
        time(60, 365 * DAY),
        "How long the parts of such an upload are kept, and paid for: at least so long. The "
        "next hourly look removes them.",
    ),
    "quota_recount": Key(
        "quota_recount_seconds",
        time(60, 30 * DAY),
        "How old a count may get of what is stored at a place with a quota. Counting costs a LIST "
        "for each 1,000 files, as long as something is stored there from time to time.",
    ),
    "keep_empty_directories": Key(
        "keep_empty_directories",
        FLAG,
        "Whether a folder outlives its last file, as on a disk. ``yes`` costs a LIST for each "
        "file or folder that is removed or renamed.",
    ),
    "strict_parents": Key(
        "strict_parents",
        FLAG,
        "Whether nothing new is ever put below a file. ``yes`` costs a HEAD for each folder above "
        "something new that the session has not seen yet. What is known to be a file is refused "
        "in any case.",
    ),
    "hadoop_markers": Key(
        "hadoop_markers",
        FLAG,
        "Whether a request looks for Hadoop's marker (``name_$folder$``) of a folder in which "
        "nothing is. ``yes`` costs a HEAD for each look at a name that does not exist. A folder "
        "that a listing has shown is found in any case.",
    ),
    "uid": Key(
        "uid",
        count(0, 2**32 - 1),
        "The owner that all files and folders show, under the user's name.",
    ),
    "gid": Key(
        "gid",
        count(0, 2**32 - 1),
        "The group that all files and folders show, under the user's name.",
    ),
    "file_mode": Key("file_mode", MODE, "The mode that all files show."),
    "directory_mode": Key("directory_mode", MODE, "The mode that all folders show."),
}

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
    "http_url": Key(
        "http_url",
        HTTP_URL,
        "The web service that knows users. See :doc:`users`.",
    ),
    "http_dialect": Key(
        "http_dialect",
        one_of(HttpDialect),
        "What the service understands. ``sftpgw``: our own JSON. ``aws-transfer``: what AWS "
        "Transfer Family asks a custom identity provider behind an API Gateway, a GET of "
        "``/servers/ID/users/NAME/config``. ``aws-lambda``: the event of its Lambda function, as a "
        "POST to the function's URL.",
    ),
    "http_token_file": Key(
        "http_token_file",
        PATH,
        "A file with a token, which is sent to the service as ``Authorization: Bearer``.",
    ),
    "http_server_id": Key(
        "http_server_id",
        WORD,
        "What the AWS dialects call this server.",
    ),
    "http_ca_file": Key(
        "http_ca_file",
        PATH,
        "The authorities that may sign the certificate of the service, as PEM. If it is blank: "
        "those of the system.",
    ),
    "http_timeout": Key(
        "http_timeout_seconds",
        time(0.1, 60),
        "How long the service may take for an answer.",
    ),
    "http_cache": Key(
        "http_cache_seconds",
        time(0, 86400),
        "How long an answer counts that lets a user in, or does not know a name for which a key is "
        "offered. Refused passwords are asked about again. Users who have logged in with a key are "
        "asked about as often while they have sessions open: see ``on_change``.",
    ),
    "http_stale": Key(
        "http_stale_seconds",
        time(0, 30 * 86400),
        "How old the last answer may be that counts while the service is away.",
    ),
    "ldap_url": Key(
        "ldap_urls",
        LDAP_URLS,
        "The LDAP servers that know users, with blanks between them. The first that answers is "
        "used. See :doc:`users`.",
    ),
    "ldap_starttls": Key(
        "ldap_starttls",
        FLAG,
        "Whether ``ldap:`` URLs require TLS (StartTLS). With ``no``, passwords are sent in the "
        "clear: for a server on this machine.",
    ),
    "ldap_ca_file": Key(
        "ldap_ca_file",
        PATH,
        "The authorities that may sign the certificates of the servers, as PEM. If it is blank: "
        "those of the system.",
    ),
    "ldap_bind_dn": Key(
        "ldap_bind_dn",
        LDAP_NAME,
        "The name of a user's entry, where it can be told from the user's name: "
        "``uid={username},ou=people,dc=example,dc=com``. Else leave it out, and write "
        "``ldap_search_base``.",
    ),
    "ldap_search_base": Key(
        "ldap_search_base",
        LDAP_NAME,
        "The name of the entry below which users are searched for.",
    ),
    "ldap_filter": Key(
        "ldap_filter",
        LDAP_FILTER,
        "Which entries may log in. If it is blank: ``(uid={username})``, with the attribute of "
        "``ldap_name_attribute``. With ``ldap_bind_dn`` it is blank, or what else must be so of "
        "the user's entry.",
    ),
    "ldap_service_dn": Key(
        "ldap_service_dn",
        LDAP_NAME,
        "The name of the entry as which the gateway reads others. If it is blank, entries are "
        "read without a name, and with ``ldap_bind_dn`` those of users with a password as "
        "themselves.",
    ),
    "ldap_service_password_file": Key(
        "ldap_service_password_file",
        PATH,
        "A file with the password of ``ldap_service_dn``. It is read again for each connection.",
    ),
    "ldap_service_password_env": Key(
        "ldap_service_password_env",
        WORD,
        "The environment variable with the password of ``ldap_service_dn``.",
    ),
    "ldap_name_attribute": Key(
        "ldap_name_attribute",
        LDAP_ATTRIBUTE,
        "The attribute with the name of a user. One of its values must be the name that the "
        "client gives, letter by letter. ``sAMAccountName`` for Active Directory.",
    ),
    "ldap_keys_attribute": Key(
        "ldap_keys_attribute",
        LDAP_ATTRIBUTE_OR_NONE,
        "The attribute with public keys, each as in ``authorized_keys`` of OpenSSH; or ``none``.",
    ),
    "ldap_groups_attribute": Key(
        "ldap_groups_attribute",
        LDAP_ATTRIBUTE_OR_NONE,
        "The attribute of a user's entry with the names of the entries of groups; or ``none``.",
    ),
    "ldap_group_base": Key(
        "ldap_group_base",
        LDAP_NAME,
        "The name of the entry below which groups count. If it is blank, all do.",
    ),
    "ldap_group_filter": Key(
        "ldap_group_filter",
        LDAP_FILTER,
        "The filter by which a user's groups are searched for below ``ldap_group_base``, such as "
        "``(member={dn})`` or ``(memberUid={username})``. If it is blank, they are not.",
    ),
    "ldap_groups": Key(
        "ldap_groups",
        LDAP_GROUPS,
        "Which sections ``[*GROUP]`` groups of the directory stand for. ``NAME`` is the whole name "
        "of a group's entry, or its first part alone. If it is blank, groups stand for sections of "
        "their own names. Groups without a section do not count.",
    ),
    "ldap_attributes": Key(
        "ldap_attributes",
        LDAP_ATTRIBUTES,
        "Which keys of ``users.ini`` have their values in which attributes, such as "
        "``bucket = sftpBucket``.",
    ),
    "ldap_timeout": Key(
        "ldap_timeout_seconds",
        time(0.1, 60),
        "How long all servers together may take for an answer.",
    ),
    "ldap_cache": Key(
        "ldap_cache_seconds",
        time(0, 86400),
        "How long an answer counts, as ``http_cache`` says.",
    ),
    "ldap_stale": Key(
        "ldap_stale_seconds",
        time(0, 30 * 86400),
        "How old the last answer may be that counts while no server answers.",
    ),
    "dynamodb_table": Key(
        "dynamodb_table",
        matching(r"[A-Za-z0-9_.-]{3,255}", "a name of 3 to 255 letters, digits, _ . and -"),
        "The table of DynamoDB that has users, with the partition key ``name``. See :doc:`users`.",
    ),
    "dynamodb_region": Key(
        "dynamodb_region",
        matching(r"[A-Za-z0-9_-]{1,64}", "a region such as eu-west-1"),
        "The region of the table. If it is blank: ``region`` of ``[s3]``.",
    ),
    "dynamodb_endpoint": Key(
        "dynamodb_endpoint",
        TABLE_ENDPOINT,
        "The address of the table where that is not AWS's own.",
    ),
    "dynamodb_access_key": Key(
        "dynamodb_access_key",
        TEXT,
        "The access key for the table. If it is blank: the credentials of ``[s3]``, with its role, "
        "where ``[s3]`` has no ``endpoint`` of its own; else the AWS chain finds some.",
    ),
    "dynamodb_secret_key": Key(
        "dynamodb_secret_key", SECRET, "The secret key that belongs to ``dynamodb_access_key``."
    ),
    "dynamodb_role_arn": Key(
        "dynamodb_role_arn",
        matching(r"arn:\S+:role/\S+", "arn:aws:iam::ACCOUNT:role/…"),
        "A role to assume for the table, such as one of another account.",
    ),
    "dynamodb_timeout": Key(
        "dynamodb_timeout_seconds",
        time(0.1, 60),
        "How long reading a user's item may take, with all tries.",
    ),
    "dynamodb_cache": Key(
        "dynamodb_cache_seconds",
        time(0, 86400),
        "How long an item counts, and that a name is unknown. Users with open sessions are looked "
        "at as often, every five seconds at most: see ``on_change``.",
    ),
    "dynamodb_stale": Key(
        "dynamodb_stale_seconds",
        time(0, 30 * 86400),
        "How old an item may be that counts while the table cannot be read.",
    ),
}

LOCKOUT_KEYS: Mapping[str, Key] = {
    "enabled": Key(
        "enabled",
        FLAG,
        "Whether failed logins are counted, delayed and lead to bans. ``penalties`` of ``[ssh]`` "
        "are apart from that.",
    ),
    "allow_networks": Key(
        "allow_networks",
        NETWORKS,
        "Networks that are never banned, beside ``exempt_networks`` of ``[ssh]``: partners whom "
        "you trust behind one NAT, monitors, your own office.",
    ),
    "window": Key(
        "window_seconds",
        time(10, DAY),
        "How long failures add up, from the first one on.",
    ),
    "delay_after": Key(
        "delay_after",
        count(0, 1000),
        "After so many failures of a user or an address, each further attempt waits before it is "
        "judged: a second, and twice as long each time.",
    ),
    "max_delay": Key(
        "max_delay_seconds",
        time(0, 30),
        "The longest such wait, but not more than a quarter of ``login_grace`` of ``[ssh]``. "
        "``0s``: none.",
    ),
    "user_score": Key(
        "user_score",
        count(1, 10_000),
        "How many points ban a user at an address. A wrong password costs one, a wrong code two, a "
        "key none. Points at other addresses do not count, so that an attacker locks out no user.",
    ),
    "address_score": Key(
        "address_score",
        count(1, 10_000),
        "How many points, of all users, ban an address, or the /64 of an IPv6 address. A name that "
        "no user has costs three the first time.",
    ),
    "ban_time": Key(
        "ban_seconds",
        time(1, 30 * DAY),
        "How long the first ban lasts; each further one is twice as long.",
    ),
    "max_ban_time": Key(
        "max_ban_seconds",
        time(1, 365 * DAY),
        "How long the longest ban lasts. After as much time without one, the next is a first one. "
        "Not less than ``ban_time``.",
    ),
    "known_for": Key(
        "known_seconds",
        time(0, 365 * DAY),
        "How long after a login its address counts as one of the user's, where the user is not "
        "banned.",
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

SECTIONS: Mapping[str, Mapping[str, Key]] = {
    "gateway": GATEWAY_KEYS,
    "s3": S3_KEYS,
    "ssh": SSH_KEYS,
    "auth": AUTH_KEYS,
    "lockout": LOCKOUT_KEYS,
    "limits": LIMITS_KEYS,
    "files": FILES_KEYS,
}
"""The keys of sftpgw.ini, by section."""

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
