"""The settings of the gateway, as read from its two ini files."""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from sftpgw.model.addresses import Network
from sftpgw.model.bucket_names import store_of_bucket
from sftpgw.model.key_trust import NO_TRUST, KeyTrust
from sftpgw.model.object_settings import Encryption, ObjectSettings, Tags
from sftpgw.model.steps import Steps
from sftpgw.model.store import Capabilities
from sftpgw.model.units import GIB, KIB, MIB
from sftpgw.model.users import User

# Settings: one class per section of sftpgw.ini, defaults as documented there.

PROXIED = "haproxy:"


"""What an endpoint of `listen` begins with where load balancers connect (PROXY protocol)."""


HOST_KEY_NAMES = ("ssh_host_ed25519_key", "ssh_host_ecdsa_key", "ssh_host_rsa_key")
"""The files of host keys by default: clients exist that know just one of these types."""


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """[gateway]. Paths are absolute; the loader puts `HOST_KEY_NAMES` into `host_keys` if none are
    named. `control` is empty where there is no control socket."""

    listen: tuple[str, ...] = ("tcp:2022",)
    host_keys: tuple[str, ...] = ()
    create_host_keys: bool = False
    control: str = ""


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
    """[s3], or [store NAME]. Blank `access_key`: the usual AWS chain finds credentials.
    `max_requests` None: `startup` derives it; that of [s3] is for all stores together.

    :ivar name: the NAME; empty for [s3].
    :ivar scoped_credentials: whether each user's sessions assume a role of their own.
    :ivar session_tags: the tags of such a session; values may have ``{username}``.
    :ivar sse_c_key: the key that `sse_c_key_file` or `sse_c_key_env` name.
    """

    name: str = ""
    bucket: str = ""
    region: str = "us-east-1"
    endpoint: str = ""
    addressing: Addressing = Addressing.AUTO
    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    role_arn: str = ""
    scoped_credentials: bool = False
    session_tags: Tags = ()
    ca_file: str = ""
    proxy: str = field(default="", repr=False)
    storage_class: str = ""
    sse: Encryption | None = None
    sse_kms_key: str = ""
    sse_bucket_key: bool | None = None
    sse_kms_context: str = ""
    sse_c_key_file: str = ""
    sse_c_key_env: str = ""
    sse_c_key: bytes = field(default=b"", repr=False)
    acl: str = ""
    tags: Tags = ()
    request_payer: bool = False
    expected_bucket_owner: str = ""
    accelerate: bool = False
    dual_stack: bool = False
    fips: bool = False
    state_prefix: str = ".sftpgw/"
    sign_payload: SignPayload = SignPayload.AUTO
    checksum: ChecksumChoice = ChecksumChoice.AUTO
    part_size_bytes: int = 8 * MIB
    upload_concurrency: int = 6
    download_part_size_bytes: int = 8 * MIB
    download_concurrency: int = 4
    max_requests: int | None = None
    connect_timeout_seconds: float = 10.0
    read_timeout_seconds: float = 60.0
    max_attempts: int = 20
    retry_time_seconds: float = 180.0
    probe: Probe = Probe.AUTO
    abort_stale_uploads_seconds: float | None = None
    capabilities: Capabilities = field(default_factory=Capabilities)

    @property
    def objects(self) -> ObjectSettings:
        """How objects are stored, as far as no mount says it."""
        return ObjectSettings(
            self.storage_class,
            self.sse,
            self.sse_kms_key,
            self.sse_bucket_key,
            self.sse_kms_context,
            self.acl,
            self.tags,
        )

    @property
    def section(self) -> str:
        """The section of sftpgw.ini that these are, for messages."""
        return f"[store {self.name}]" if self.name else "[s3]"


NO_STORES: Mapping[str, StoreSettings] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Stores:
    """The settings of all stores.

    :ivar s3: those of [s3].
    :ivar named: those of each [store NAME], by name.
    """

    s3: StoreSettings
    named: Mapping[str, StoreSettings] = field(default_factory=lambda: NO_STORES)

    @property
    def all(self) -> tuple[StoreSettings, ...]:
        """Those of [s3] first."""
        return (self.s3, *self.named.values())

    def of(self, bucket: str) -> StoreSettings:
        """Those of the store that a bucket is in.

        :param bucket: the bucket, as the gateway names it.
        """
        named = self.named
        return named.get(store_of_bucket(bucket, named), self.s3) if named else self.s3


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
class PenaltySettings:
    """How long an address is refused whose clients do not log in (sshd_config,
    PerSourcePenalties). `ssh.penalties` tells how the times add up.
    """

    failed_attempt_seconds: float = 5.0
    no_attempt_seconds: float = 1.0
    grace_exceeded_seconds: float = 20.0
    min_seconds: float = 15.0
    max_seconds: float = 600.0


class Policy(enum.Enum):
    """Which algorithms are offered where [ssh] does not list them; `ssh.algorithms` has the lists.

    In order: each lets in all clients that the one before it lets in.
    """

    MODERN = "modern"
    COMPATIBLE = "compatible"
    LEGACY = "legacy"


@dataclass(frozen=True, slots=True)
class SshSettings:
    """[ssh]. A list of algorithms that is empty stands for that of `policy`.

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
    penalties: PenaltySettings | None = PenaltySettings()
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
    policy: Policy = Policy.COMPATIBLE
    key_exchanges: tuple[str, ...] = ()
    ciphers: tuple[str, ...] = ()
    macs: tuple[str, ...] = ()
    host_key_algorithms: tuple[str, ...] = ()
    login_key_algorithms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """[limits]. None: `startup` derives the number."""

    memory_bytes: int = 512 * MIB
    reorder_allowance_bytes: int = 32 * MIB
    requests_per_user: int | None = None
    drain_seconds: float = 30.0
    sessions_per_user: int = 400
    handles_per_user: int = 4096
    directory_renames_per_user: int = 4


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


FILE_SOURCE = "file"
HTTP_SOURCE = "http"
LDAP_SOURCE = "ldap"
DYNAMODB_SOURCE = "dynamodb"
"""The names of sources of users in ``[auth] sources``."""


class HttpDialect(enum.Enum):
    """How a web service that knows the users speaks."""

    SFTPGW = "sftpgw"
    AWS_TRANSFER = "aws-transfer"  # a GET for each user, as from an API Gateway
    AWS_LAMBDA = "aws-lambda"  # the event of a Lambda function, as a POST to its URL


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
    quota_recount_seconds: float = 3600.0
    keep_empty_directories: bool = False
    strict_parents: bool = False
    hadoop_markers: bool = False
    uid: int = 0
    gid: int = 0
    file_mode: int = 0o644
    directory_mode: int = 0o755


class OnChange(enum.Enum):
    """What becomes of the sessions of a user whom a reload changes or removes."""

    DISCONNECT = "disconnect"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """``[auth]``: how users log in.

    :ivar ca_keys: the path of a file with authorities; empty for none.
    :ivar revoked_keys: the path of a revocation list; empty for none.
    :ivar on_change: what becomes of sessions whose user is changed or removed.
    :ivar sources: where users come from, in the order in which they are asked.
    :ivar allowed_buckets: patterns of the buckets that other sources may name; empty for all.
    :ivar http_url: where the web service is that knows users; empty for none.
    :ivar http_dialect: how it speaks.
    :ivar http_token_file: the path of a file with a token for it; empty for none.
    :ivar http_server_id: what AWS's dialects call this server.
    :ivar http_ca_file: the path of a file with authorities for its certificate; empty for those of
        the system.
    :ivar http_timeout_seconds: how long an answer may take.
    :ivar http_cache_seconds: how long an answer that lets a user in counts.
    :ivar http_stale_seconds: how long it counts while the service is away.
    :ivar ldap_urls: the servers that know users, in their order; none for no servers.
    :ivar ldap_starttls: whether TLS is required on ``ldap:`` URLs.
    :ivar ldap_ca_file: as ``http_ca_file``, for these servers.
    :ivar ldap_bind_dn: the name of a user's entry, with ``{username}``; empty to search for it.
    :ivar ldap_search_base: the name of the entry below which users are searched for.
    :ivar ldap_filter: the filter by which they are; empty for one by ``ldap_name_attribute``.
    :ivar ldap_service_dn: as whom entries are read; empty for no name.
    :ivar ldap_service_password_file: the path of the file with its password.
    :ivar ldap_service_password_env: the environment variable with its password.
    :ivar ldap_name_attribute: the attribute with the name of a user.
    :ivar ldap_keys_attribute: the attribute with public keys; empty for none.
    :ivar ldap_groups_attribute: the attribute with the names of groups' entries; empty for none.
    :ivar ldap_group_base: the name of the entry below which groups count; empty for all.
    :ivar ldap_group_filter: the filter by which groups are searched for; empty for no search.
    :ivar ldap_groups: names of groups' entries, and the groups of users.ini that they stand for;
        none for groups of the same names.
    :ivar ldap_attributes: keys of users.ini, and the attributes that have their values.
    :ivar ldap_timeout_seconds: how long an answer may take.
    :ivar ldap_cache_seconds: as ``http_cache_seconds``.
    :ivar ldap_stale_seconds: as ``http_stale_seconds``.
    :ivar dynamodb_table: the name of the table that has users; empty for none.
    :ivar dynamodb_region: its region; empty for that of [s3].
    :ivar dynamodb_endpoint: where it is; empty for AWS.
    :ivar dynamodb_access_key: the access key for it; empty for the credentials of [s3] or AWS.
    :ivar dynamodb_secret_key: the secret key that belongs to it.
    :ivar dynamodb_role_arn: a role to assume with these credentials; empty for none.
    :ivar dynamodb_timeout_seconds: how long reading an item may take.
    :ivar dynamodb_cache_seconds: how long an item counts.
    :ivar dynamodb_stale_seconds: how long it counts while the table cannot be read.
    """

    ca_keys: str = ""
    revoked_keys: str = ""
    on_change: OnChange = OnChange.DISCONNECT
    sources: tuple[str, ...] = (FILE_SOURCE,)
    allowed_buckets: tuple[str, ...] = ()
    http_url: str = ""
    http_dialect: HttpDialect = HttpDialect.SFTPGW
    http_token_file: str = ""
    http_server_id: str = "sftpgw"
    http_ca_file: str = ""
    http_timeout_seconds: float = 10.0
    http_cache_seconds: float = 60.0
    http_stale_seconds: float = 3600.0
    dynamodb_table: str = ""
    dynamodb_region: str = ""
    dynamodb_endpoint: str = ""
    dynamodb_access_key: str = ""
    dynamodb_secret_key: str = field(default="", repr=False)
    dynamodb_role_arn: str = ""
    dynamodb_timeout_seconds: float = 5.0
    dynamodb_cache_seconds: float = 60.0
    dynamodb_stale_seconds: float = 3600.0
    ldap_urls: tuple[str, ...] = ()
    ldap_starttls: bool = True
    ldap_ca_file: str = ""
    ldap_bind_dn: str = ""
    ldap_search_base: str = ""
    ldap_filter: str = ""
    ldap_service_dn: str = ""
    ldap_service_password_file: str = ""
    ldap_service_password_env: str = ""
    ldap_name_attribute: str = "uid"
    ldap_keys_attribute: str = "sshPublicKey"
    ldap_groups_attribute: str = "memberOf"
    ldap_group_base: str = ""
    ldap_group_filter: str = ""
    ldap_groups: tuple[tuple[str, str], ...] = ()
    ldap_attributes: tuple[tuple[str, str], ...] = ()
    ldap_timeout_seconds: float = 10.0
    ldap_cache_seconds: float = 60.0
    ldap_stale_seconds: float = 3600.0

    @property
    def http_times(self) -> tuple[float, float]:
        """How long an answer of the service counts, and while it is away, in seconds."""
        return self.http_cache_seconds, self.http_stale_seconds

    @property
    def dynamodb_times(self) -> tuple[float, float]:
        """How long an item counts, and while the table cannot be read, in seconds."""
        return self.dynamodb_cache_seconds, self.dynamodb_stale_seconds

    @property
    def ldap_times(self) -> tuple[float, float]:
        """How long what a server says counts, and while none answers, in seconds."""
        return self.ldap_cache_seconds, self.ldap_stale_seconds


DEFAULT_AUTH = AuthSettings()


@dataclass(frozen=True, slots=True)
class LockoutSettings:
    """``[lockout]``: who is kept out after failed logins. `auth.lockout.plan` has the rules.

    :ivar enabled: whether failures are counted at all.
    :ivar allow_networks: networks that are never banned, beside those of ``exempt_networks``.
    :ivar window_seconds: how long failures add up.
    :ivar delay_after: after how many failures the next attempt is delayed.
    :ivar max_delay_seconds: the longest delay; 0 for none.
    :ivar user_score: how many points ban a user at an address.
    :ivar address_score: how many points ban an address.
    :ivar ban_seconds: how long the first ban lasts.
    :ivar max_ban_seconds: how long the longest ban lasts.
    :ivar known_seconds: how long after a login its address is known for its user.
    """

    enabled: bool = True
    allow_networks: tuple[Network, ...] = ()
    window_seconds: float = 600.0
    delay_after: int = 3
    max_delay_seconds: float = 8.0
    user_score: int = 10
    address_score: int = 20
    ban_seconds: float = 600.0
    max_ban_seconds: float = 86400.0
    known_seconds: float = 30 * 86400.0


DEFAULT_LOCKOUT = LockoutSettings()

MakeUser = Callable[[str, Mapping[str, str], str, Sequence[str]], User]
"""Takes a name, the texts of keys of users.ini, the name of the source, and groups, of which those
count that users.ini has. Raises ConfigError."""


@dataclass(frozen=True, slots=True)
class FileUsers:
    """What files say of users, as it may be exchanged while the gateway runs.

    :ivar users: the users of files by name.
    :ivar trust: what the files of ``[auth]`` say.
    :ivar make_user: makes users of what other sources say; None without such sources. Another one
        makes others.
    """

    users: Mapping[str, User]
    trust: KeyTrust = field(default=NO_TRUST, repr=False)
    make_user: MakeUser | None = field(default=None, repr=False, compare=False)


class ReadableUsers(Protocol):
    """The files that say something of users: read at the start, and again when one changes."""

    @property
    def read_state(self) -> Hashable:
        """What `state` was when the files were read last."""

    def state(self) -> Hashable:
        """What changes whenever a file does. Blocks."""

    def paths(self) -> Sequence[Path]:
        """The files. Blocks."""

    def folder(self) -> Path | None:
        """The directory of files of users; None if there is none. Blocks."""

    def load(self) -> Any:
        """Read the files. Blocks."""

    def steps(self, loaded: Any) -> Steps[FileUsers]:
        """Judge what was read.

        :param loaded: what `load` has returned.
        :raises ConfigError: with every fault of all files.
        """


@dataclass(frozen=True, slots=True)
class Settings:
    """All that the two ini files say, and the files that they name.

    :ivar key_trust: as of `FileUsers`, at the start.
    :ivar make_user: the same.
    :ivar user_files: the files of users, to read them again; None where nothing can be reloaded.
    :ivar lockout: who is kept out after failed logins.
    """

    gateway: GatewaySettings
    s3: StoreSettings
    ssh: SshSettings
    limits: LimitSettings
    files: FilesSettings
    users: Mapping[str, User]
    warnings: tuple[str, ...] = ()
    stores: Mapping[str, StoreSettings] = field(default_factory=lambda: NO_STORES)
    auth: AuthSettings = DEFAULT_AUTH
    key_trust: KeyTrust = field(default=NO_TRUST, repr=False)
    make_user: MakeUser | None = field(default=None, repr=False, compare=False)
    user_files: ReadableUsers | None = field(default=None, repr=False, compare=False)
    lockout: LockoutSettings = DEFAULT_LOCKOUT

    @property
    def all_stores(self) -> tuple[StoreSettings, ...]:
        """Those of [s3], then those of each [store NAME]."""
        return Stores(self.s3, self.stores).all

    def store_of(self, bucket: str) -> StoreSettings:
        """The settings of the store that a bucket is in.

        :param bucket: the bucket, as the gateway names it.
        """
        return Stores(self.s3, self.stores).of(bucket)

    def weight_of(self, user: str) -> float:
        """The share of a user in what users compete for; 1 for all that is no user.

        :param user: the name of a user, or another name in a queue, such as an address.
        """
        found = self.users.get(user)
        return 1.0 if found is None else float(found.weight)
