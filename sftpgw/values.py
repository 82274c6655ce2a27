"""The words that the rooms exchange: small, frozen, without behaviour of their own.

Knows: names, sizes, times and settings, with their units.
Must not know: where they came from or where they go.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from types import MappingProxyType
from typing import TypeAlias

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

Buffer: TypeAlias = bytes | bytearray | memoryview
Body: TypeAlias = tuple[Buffer, ...]
"""Bytes to be sent, in order; whoever passes a body on does not join it."""

NO_METADATA: Mapping[str, str] = MappingProxyType({})


# Objects in a store.


@dataclass(frozen=True, slots=True)
class ObjectName:
    """Where an object is. Keys are text; S3 sees their UTF-8."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes from `start` up to, not including, `stop`."""

    start: int
    stop: int

    @property
    def size_bytes(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What HEAD, GET or a list say of an object.

    `etag` is as S3 sent it, quotes included. `metadata` is without the
    ``x-amz-meta-`` prefix, names in lower case; lists have none. `system_headers`
    are Cache-Control and its like, names in lower case, and `encryption` the
    ``x-amz-server-side-encryption`` ones: a rewrite must restate them, and the tags, if
    `tag_count` says that there are any (`ObjectStore.tags`). `checksum` is of the whole
    object, if it was asked for and the store has one.
    """

    name: ObjectName
    size_bytes: int
    etag: str
    modified_seconds: float
    storage_class: str = "STANDARD"
    metadata: Mapping[str, str] = field(default_factory=lambda: NO_METADATA)
    content_type: str = ""
    system_headers: Mapping[str, str] = field(default_factory=lambda: NO_METADATA)
    encryption: Mapping[str, str] = field(default_factory=lambda: NO_METADATA)
    tag_count: int = 0
    checksum: Checksum | None = None


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of ListObjectsV2, `next_token` None on the last."""

    objects: tuple[ObjectInfo, ...]
    prefixes: tuple[str, ...]
    next_token: str | None


@dataclass(frozen=True, slots=True)
class ObjectProperties:
    """What is fixed when an object, or its multipart upload, is created."""

    metadata: Mapping[str, str] = field(default_factory=lambda: NO_METADATA)
    content_type: str = ""
    storage_class: str = ""
    system_headers: Mapping[str, str] = field(default_factory=lambda: NO_METADATA)
    encryption: Mapping[str, str] = field(default_factory=lambda: NO_METADATA)
    tags: Mapping[str, str] = field(default_factory=lambda: NO_METADATA)


class ChecksumAlgorithm(enum.Enum):
    """How a checksum is made; all can be joined, so that parts' sums give the object's."""

    CRC64NVME = "crc64nvme"
    CRC32C = "crc32c"
    CRC32 = "crc32"


@dataclass(frozen=True, slots=True)
class Checksum:
    """The checksum of some bytes; `value` is a number of 64 or 32 bits."""

    algorithm: ChecksumAlgorithm
    value: int


class WriteCondition(enum.Enum):
    """Under which condition an object may be published."""

    NONE = "none"
    IF_ABSENT = "if-absent"  # If-None-Match: *


@dataclass(frozen=True, slots=True)
class MultipartUpload:
    """A multipart upload that S3 has opened.

    `checksum` is what was announced then; later requests must keep to it. Lists do not tell
    it; they say when an upload was opened, 0 is unknown. `may_refuse_copies`: nothing has shown
    yet that parts can be copied into it.
    """

    name: ObjectName
    upload_id: str
    checksum: ChecksumAlgorithm | None = field(default=None, compare=False)
    initiated_seconds: float = field(default=0.0, compare=False)
    may_refuse_copies: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part that S3 has confirmed; without `checksum` if none was sent or told."""

    number: int
    size_bytes: int
    etag: str
    checksum: Checksum | None = None


@dataclass(frozen=True, slots=True)
class UploadsPage:
    """One page of ListMultipartUploads; `next_marker` is (key marker, id marker).

    `is_ambiguous`: the store does not tell whether its keys are URL-encoded, and some may be.
    """

    uploads: tuple[MultipartUpload, ...]
    next_marker: tuple[str, str] | None
    is_ambiguous: bool = False


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store can do. AWS can do all; `[s3] unsupported` names what others lack.

    `conditional_copy`: CopyObject looks at If-None-Match and at If-Match of its target.
    `checksums`: CRC64NVME is checked with every PUT and part, and for the whole object.
    `object_size`: CompleteMultipartUpload does not mind being told the object's size.
    `copied_checksums`: parts are copied into uploads with checksums, too, and have the right one.
    `backslashes`: a key with a backslash is another key than the one with a slash there.
    """

    conditional_put: bool = True
    conditional_complete: bool = True
    conditional_copy: bool = True
    conditional_delete: bool = True
    copy_source_condition: bool = True
    part_copy: bool = True
    checksums: bool = True
    object_size: bool = True
    unequal_parts: bool = True
    copied_checksums: bool = True
    backslashes: bool = True


# Files, as a client sees them.


class FileKind(enum.Enum):
    FILE = "file"
    DIRECTORY = "directory"


@dataclass(frozen=True, slots=True)
class FileAttributes:
    """What STAT and READDIR tell of a file or directory; without a time where there is none."""

    kind: FileKind
    size_bytes: int = 0
    modified_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class DirectoryEntry:
    """A name in a directory, without any slash."""

    name: str
    attributes: FileAttributes


@dataclass(frozen=True, slots=True)
class AttributeChanges:
    """What SETSTAT, FSETSTAT, OPEN or MKDIR ask for; None leaves things as they are.

    Mode and owner are not here: an object has neither, they are accepted and ignored.
    """

    size_bytes: int | None = None
    modified_seconds: float | None = None


NO_CHANGES = AttributeChanges()


@dataclass(frozen=True, slots=True)
class WriteIntent:
    """What OPEN for writing asks for (draft-ietf-secsh-filexfer-02, section 6.3).

    `read`: what is written, and what stays of the old file, can be read meanwhile.
    `expected_bytes` is how long the file will be, where that is announced: scp does, SFTP cannot.
    """

    create: bool = True
    truncate: bool = True
    exclusive: bool = False
    append: bool = False
    expected_bytes: int | None = None
    read: bool = False


@dataclass(frozen=True, slots=True)
class Space:
    """What `df` shows. A bucket has no bounds, so the figures are nominal."""

    block_bytes: int
    total_blocks: int
    free_blocks: int
    name_bytes: int


# People and permissions.


class Permission(enum.Flag):
    """What users.ini can grant, by its names there in lower case."""

    LIST = enum.auto()
    DOWNLOAD = enum.auto()
    UPLOAD = enum.auto()
    OVERWRITE = enum.auto()
    DELETE = enum.auto()
    RENAME = enum.auto()
    MKDIR = enum.auto()
    SETSTAT = enum.auto()


ALL_PERMISSIONS = (
    Permission.LIST
    | Permission.DOWNLOAD
    | Permission.UPLOAD
    | Permission.OVERWRITE
    | Permission.DELETE
    | Permission.RENAME
    | Permission.MKDIR
    | Permission.SETSTAT
)


@dataclass(frozen=True, slots=True)
class User:
    """Who may log in, how, and where that leads.

    `key_prefix` is empty (the whole bucket) or ends with a slash.
    `authorized_keys` are public keys in their one encoding (RFC 4253, 6.6), parsed when the
    configuration is loaded; `password_hash` is bcrypt (``$2b$…``) or argon2 (``$argon2id$…``).
    """

    name: str
    bucket: str
    key_prefix: str
    permissions: Permission = ALL_PERMISSIONS
    authorized_keys: frozenset[bytes] = frozenset()
    password_hash: str | None = field(default=None, repr=False)


# Settings: one class per section of sftpgw.ini, defaults as documented there.

PROXIED = "haproxy:"
"""What an endpoint of `listen` begins with where load balancers connect (PROXY protocol)."""


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """[gateway]. `host_keys` are absolute paths."""

    listen: tuple[str, ...] = ("tcp:2022",)
    host_keys: tuple[str, ...] = ()
    create_host_keys: bool = False


class Addressing(enum.Enum):
    AUTO = "auto"
    PATH = "path"
    VIRTUAL = "virtual"


class SignPayload(enum.Enum):
    AUTO = "auto"  # over http yes, over https no
    YES = "yes"
    NO = "no"


class ChecksumChoice(enum.Enum):
    AUTO = "auto"  # CRC64NVME where the store can do it
    CRC64NVME = "crc64nvme"
    CRC32C = "crc32c"
    CRC32 = "crc32"
    MD5 = "md5"  # Content-MD5, which is also sent where the store can do none of the others
    NONE = "none"


class Probe(enum.Enum):
    AUTO = "auto"  # once per bucket, when it is first written to
    NO = "no"


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """[s3]. Blank `access_key`: the usual AWS chain finds credentials."""

    bucket: str = ""
    region: str = "us-east-1"
    endpoint: str = ""
    addressing: Addressing = Addressing.AUTO
    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    role_arn: str = ""
    ca_file: str = ""
    proxy: str = field(default="", repr=False)
    storage_class: str = ""
    accelerate: bool = False
    state_prefix: str = ".sftpgw/"
    sign_payload: SignPayload = SignPayload.AUTO
    checksum: ChecksumChoice = ChecksumChoice.AUTO
    part_size_bytes: int = 8 * MIB
    upload_concurrency: int = 6
    download_part_size_bytes: int = 8 * MIB
    download_concurrency: int = 4
    connect_timeout_seconds: float = 10.0
    read_timeout_seconds: float = 60.0
    max_attempts: int = 20
    retry_time_seconds: float = 180.0
    probe: Probe = Probe.AUTO
    abort_stale_uploads_seconds: float | None = None
    capabilities: Capabilities = Capabilities()


Network: TypeAlias = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class StartupLimits:
    """How many clients may be logging in: from `start` on, `drop_percent` of new ones are
    refused, and ever more of them up to `full`, where it is all (sshd_config, MaxStartups).
    `ssh.admission` tells how that depends on the address.
    """

    start: int
    drop_percent: int
    full: int


@dataclass(frozen=True, slots=True)
class SshSettings:
    """[ssh]. A list of algorithms that is empty stands for the default in `ssh.algorithms`.

    0 as `keepalive_interval_seconds` or `idle_timeout_seconds` means never.
    """

    login_grace_seconds: float = 60.0
    auth_tries: int = 6
    sessions_per_connection: int = 10
    handles_per_session: int = 256
    max_connections: int = 500
    connections_per_user: int = 100
    max_startups: StartupLimits = StartupLimits(50, 30, 200)
    startups_per_address: int = 20
    startup_rate_per_address: int = 2
    exempt_networks: tuple[Network, ...] = ()
    balancer_networks: tuple[Network, ...] = ()
    banner: str = ""
    keepalive_interval_seconds: float = 60.0
    keepalive_count: int = 3
    idle_timeout_seconds: float = 1800.0
    rekey_bytes: int = 1 * GIB
    rekey_interval_seconds: float = 3600.0
    key_exchange_timeout_seconds: float = 60.0
    packet_before_login_bytes: int = 35 * KIB
    packet_after_login_bytes: int = 257 * KIB
    key_exchanges: tuple[str, ...] = ()
    ciphers: tuple[str, ...] = ()
    macs: tuple[str, ...] = ()
    host_key_algorithms: tuple[str, ...] = ()
    login_key_algorithms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """[limits]."""

    memory_bytes: int = 512 * MIB
    reorder_allowance_bytes: int = 32 * MIB
    drain_seconds: float = 30.0


class SetStat(enum.Enum):
    """What becomes of times that are set on a stored file that S3 cannot copy onto itself."""

    IGNORE = "ignore"
    FAIL = "fail"


class LateTimes(enum.Enum):
    """What becomes of times that come when an object is stored, or its metadata are sent."""

    APPLY = "apply"  # the object is copied onto itself
    DEFER = "defer"  # the process remembers them, as long as it lives
    IGNORE = "ignore"


class ExactTimes(enum.Enum):
    """Whether listings show the times that were stored with files, for a HEAD each."""

    AUTO = "auto"  # in directories that are one page of a list
    YES = "yes"
    NO = "no"


class OnDisconnect(enum.Enum):
    """What becomes of an upload whose client is lost."""

    DISCARD = "discard"
    RESUME = "resume"


@dataclass(frozen=True, slots=True)
class FilesSettings:
    """[files]. Modes are the nine permission bits."""

    setstat: SetStat = SetStat.IGNORE
    late_times: LateTimes = LateTimes.APPLY
    late_times_wait_seconds: float = 0.0
    exact_times: ExactTimes = ExactTimes.AUTO
    rename_max_objects: int = 100_000
    on_disconnect: OnDisconnect = OnDisconnect.DISCARD
    partials_kept_seconds: float = 7 * 86400.0
    keep_empty_directories: bool = False
    strict_parents: bool = False
    hadoop_markers: bool = False
    uid: int = 0
    gid: int = 0
    file_mode: int = 0o644
    directory_mode: int = 0o755


@dataclass(frozen=True, slots=True)
class Settings:
    """All that the two ini files say."""

    gateway: GatewaySettings
    s3: StoreSettings
    ssh: SshSettings
    limits: LimitSettings
    files: FilesSettings
    users: Mapping[str, User]
    warnings: tuple[str, ...] = ()
