"""Both ini files: what they mean, and every way in which they can be wrong."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import fields, replace
from enum import Enum
from ipaddress import ip_network
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from sftpgw.config import load_settings
from sftpgw.config.key_files import NO_READERS, KeyFileReaders
from sftpgw.config.tables import SECTIONS
from sftpgw.errors import ConfigError
from sftpgw.model.mounts import ALL_PERMISSIONS, Permission
from sftpgw.model.object_settings import Encryption, ObjectSettings
from sftpgw.model.settings import LimitSettings, Settings, SshSettings, StartupLimits, StoreSettings
from sftpgw.model.store import Capabilities
from sftpgw.model.units import GIB, KIB, MIB
from sftpgw.model.users import AuthorizedKey, QuotaLimits
from sftpgw.ssh.algorithms import KNOWN
from sftpgw.ssh.channels import MAX_PACKET_BYTES
from sftpgw.startup import LDAP_READERS

REPOSITORY = Path(__file__).parent.parent

GATEWAY_INI = """
[gateway]
host_keys = host_key
[s3]
bucket = uploads
"""
USERS_INI = """
[*]
key_prefix = home/{username}/
[alice]
authorized_keys = ssh-ed25519 AAAA alice@laptop
"""


def read_key(line: str) -> AuthorizedKey:
    if not line.startswith("ssh-"):
        raise ValueError("is not a key")
    return AuthorizedKey(line.encode())


def check_hash(text: str) -> None:
    if not text.startswith("$2b$"):
        raise ValueError("is not a hash")


def check_endpoint(text: str) -> None:
    if not text.startswith(("tcp:", "haproxy:")):
        raise ValueError("unknown endpoint type")


Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load settings from the text of both files."""

    def load(gateway_ini: str = GATEWAY_INI, users_ini: str | None = USERS_INI) -> Settings:
        (tmp_path / "host_key").touch()
        (tmp_path / "banner.txt").write_text("Members only.\n")
        (tmp_path / "sftpgw.ini").write_text(gateway_ini, encoding="utf-8")
        if users_ini is not None:
            (tmp_path / "users.ini").write_text(users_ini, encoding="utf-8")
        return load_settings(
            tmp_path / "sftpgw.ini",
            read_key=read_key,
            check_hash=check_hash,
            check_endpoint=check_endpoint,
            known_algorithms=KNOWN,
        )

    return load


def placed_faults_of(load: Load, *texts: str | None) -> list[str]:
    """The faults, without the folder in front."""
    with pytest.raises(ConfigError) as caught:
        load(*texts)
    return [re.sub(r"^/.*/(?=\w+\.ini:)", "", line) for line in caught.value.faults]


def faults_of(load: Load, *texts: str | None) -> list[str]:
    """The faults, without the folder in front and the number of the line."""
    return [re.sub(r"^(\w+\.ini):[0-9]+:", r"\1:", line) for line in placed_faults_of(load, *texts)]


def gateway_faults(load: Load, section: str, line: str) -> list[str]:
    if section in ("gateway", "s3"):
        return faults_of(load, GATEWAY_INI.replace(f"[{section}]", f"[{section}]\n{line}"))
    return faults_of(load, GATEWAY_INI + f"[{section}]\n{line}\n")


def test_a_minimal_file_leaves_the_defaults(load: Load, tmp_path: Path) -> None:
    settings = load()
    assert settings.gateway.listen == ("tcp:2022",)
    assert settings.gateway.host_keys == (str(tmp_path / "host_key"),)
    assert settings.s3.bucket == "uploads"
    assert settings.s3.part_size_bytes == 8 * MIB
    assert settings.ssh == SshSettings()
    assert settings.limits == LimitSettings()
    alice = settings.users["alice"]
    assert alice.mounts[0].bucket == "uploads"
    assert alice.mounts[0].key_prefix == "home/alice/"
    assert alice.mounts[0].permissions == ALL_PERMISSIONS
    assert alice.login.authorized_keys.keys() == {b"ssh-ed25519 AAAA alice@laptop"}
    assert alice.login.password_hash is None


def test_stale_uploads_may_be_left_alone(load: Load) -> None:
    ini = GATEWAY_INI.replace("[s3]", "[s3]\nabort_stale_uploads = off")
    assert load(ini).s3.abort_stale_uploads_seconds is None


KEYS = [(section, name) for section in SECTIONS for name in SECTIONS[section] if name != "users"]

SAMPLES = (
    "authfail:7s",
    *("yes", "no", "64MiB", "512KiB", "90s", "5s", "7d", "250", "7", "10:50:20", "10.0.0.0/8"),
    *("file http", "http://elsewhere:9000", "arn:aws:iam::123456789012:role/gateway", "part-copy"),
)
"""Each key takes one of these, or a member of its enumeration or list of algorithms."""

JUDGED = {"listen": "tcp:2222", "host_keys": "other_key", "banner_file": "banner.txt"}
FILES_OF_AUTH = (
    *("ca_keys", "revoked_keys", "http_ca_file", "http_token_file"),
    *("ldap_ca_file", "ldap_service_password_file"),
)
JUDGED |= dict.fromkeys(FILES_OF_AUTH, "banner.txt")
JUDGED |= {
    "http_url": "https://idp.example/users",
    "ldap_url": "ldap://ldap.example",
    "ldap_service_password_env": "LDAP_PASSWORD",
    "ldap_name_attribute": "sAMAccountName",
    "ldap_groups": "cn=partners,dc=example: others",
    "ldap_attributes": "bucket = sftpBucket",
    "dynamodb_endpoint": "https://dynamodb.example",
    "dynamodb_timeout": "3s",
}
JUDGED |= {
    "sse": "kms",
    "sse_kms_key": "alias/mine",
    "sse_bucket_key": "yes",
    "sse_kms_context": '{"a":"b"}',
    "acl": "private",
    "tags": "a=b",
    "session_tags": "a=b",
    "expected_bucket_owner": "123456789012",
}
"""Text for keys whose values are judged after they were parsed."""

COMPANIONS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "host_keys": (("gateway", "create_host_keys", "yes"),),
    "access_key": (("s3", "secret_key", "hush"),),
    "secret_key": (("s3", "access_key", "AKIA"),),
    "dynamodb_access_key": (("auth", "dynamodb_secret_key", "hush"),),
    "dynamodb_secret_key": (("auth", "dynamodb_access_key", "AKIA"),),
    "session_token": (("s3", "access_key", "AKIA"), ("s3", "secret_key", "hush")),
    "max_ban_time": (("lockout", "ban_time", "1s"),),
    "sources": (("auth", "http_url", "https://idp.example/users"),),
    **dict.fromkeys(("sse_kms_key", "sse_bucket_key"), (("s3", "sse", "kms"),)),
    "sse_kms_context": (("s3", "sse", "kms"),),
    "session_tags": (("s3", "scoped_credentials", "yes"),),
    "balancer_networks": (("gateway", "listen", "haproxy:tcp:2022"),),
}
"""What has to be given beside a key that is of no use alone."""


def ini_text(*lines: tuple[str, str, str]) -> str:
    """sftpgw.ini with these sections, keys and values, and the two keys that every one needs."""
    ini: dict[str, dict[str, str]] = {
        "gateway": {"host_keys": "host_key"},
        "s3": {"bucket": "uploads"},
    }
    for section, name, text in lines:
        ini.setdefault(section, {})[name] = text
    return "\n".join(
        line
        for section, values in ini.items()
        for line in (f"[{section}]", *(f"{name} = {text}" for name, text in values.items()))
    )


def text_unlike(default: object, name: str, parse: Callable[[str], object]) -> str:
    """Text that `parse` takes for another value than the default."""
    if name in JUDGED:
        return JUDGED[name]
    members = [member.value for member in type(default)] if isinstance(default, Enum) else []
    for text in (*members, *KNOWN.get(name, ()), *SAMPLES):
        try:
            if parse(text) != default:
                return str(text)
        except ValueError:
            continue
    raise AssertionError(f"no sample is a value of {name}: add one to SAMPLES")


@pytest.mark.parametrize(
    ("section", "name"), [each for each in KEYS if not each[1].startswith("sse_c_")]
)
def test_each_key_sets_its_field_and_no_other(
    load: Load, tmp_path: Path, section: str, name: str
) -> None:
    keys, companions = SECTIONS[section], COMPANIONS.get(name, ())
    before = getattr(load(), section)
    text = text_unlike(getattr(before, keys[name].field), name, keys[name].parse)
    after = getattr(load(ini_text(*companions, (section, name, text))), section)
    expected = {
        keys[beside].field: keys[beside].parse(given)
        for its_section, beside, given in companions
        if its_section == section
    }
    expected[keys[name].field] = {
        "host_keys": (str(tmp_path / text),),
        **{file: str(tmp_path / text) for file in ("ca_file", "control", *FILES_OF_AUTH)},
        "banner_file": "Members only.\r\n",
    }.get(name, keys[name].parse(text))
    assert getattr(after, keys[name].field) != getattr(before, keys[name].field)
    assert after == replace(before, **expected)


def test_each_field_of_the_settings_has_a_key(load: Load) -> None:
    settings = load()
    for section, keys in SECTIONS.items():
        named = [key.field for key in keys.values()]
        if section == "gateway":
            named.remove("users")
        assert sorted(named) == sorted(
            each.name
            for each in fields(getattr(settings, section))
            if each.name not in ("name", "sse_c_key")
        )


def test_the_users_file_is_the_one_that_is_named(load: Load, tmp_path: Path) -> None:
    (tmp_path / "partners.ini").write_text(USERS_INI.replace("alice", "bob"))
    assert list(load(ini_text(("gateway", "users", "partners.ini"))).users) == ["bob"]


@pytest.mark.parametrize(
    ("section", "lines", "field", "value"),
    [
        (
            "gateway",
            "listen =\n    tcp:2022\n    tcp:2222:interface=127.0.0.1",
            "listen",
            ("tcp:2022", "tcp:2222:interface=127.0.0.1"),
        ),
        ("s3", "endpoint = http://localhost:9000/", "endpoint", "http://localhost:9000"),
        ("s3", "secret_key = 50%;#= hush\naccess_key = A", "secret_key", "50%;#= hush"),
        (
            "s3",
            "proxy = http://u:50%;#= hush@proxy:3128",
            "proxy",
            "http://u:50%;#= hush@proxy:3128",
        ),
        ("s3", "state_prefix = /state", "state_prefix", "state/"),
        ("s3", "part_size = 16 MiB", "part_size_bytes", 16 * MIB),
        ("s3", "read_timeout = 1.5m", "read_timeout_seconds", 90.0),
        ("s3", "retry_time = 90s", "retry_time_seconds", 90.0),
        ("s3", "abort_stale_uploads = 7d", "abort_stale_uploads_seconds", 7 * 86400.0),
        (
            "s3",
            "unsupported = conditional-copy, part-copy",
            "capabilities",
            Capabilities(conditional_copy=False, part_copy=False),
        ),
        ("ssh", "max_startups = 10:50:20", "max_startups", StartupLimits(10, 50, 20)),
        (
            "ssh",
            "exempt_networks = 10.0.0.0/8, 2001:db8::1",
            "exempt_networks",
            (ip_network("10.0.0.0/8"), ip_network("2001:db8::1/128")),
        ),
        ("ssh", "keepalive_interval = 0", "keepalive_interval_seconds", 0.0),
        ("ssh", "idle_timeout = 0s", "idle_timeout_seconds", 0.0),
        ("ssh", "ciphers = aes128-ctr,aes256-ctr", "ciphers", ("aes128-ctr", "aes256-ctr")),
        (
            "ssh",
            "macs =\n    hmac-sha2-256-etm@openssh.com\n    hmac-sha2-256",
            "macs",
            ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-256"),
        ),
        ("files", "partials_kept = 36h", "partials_kept_seconds", 36 * 3600.0),
        ("files", "gid = 4294967294", "gid", 2**32 - 2),
        ("files", "file_mode = 0600", "file_mode", 0o600),
        ("files", "directory_mode = 750", "directory_mode", 0o750),
    ],
)
def test_values_in_each_spelling(
    load: Load, section: str, lines: str, field: str, value: object
) -> None:
    name, _, text = lines.partition(" =")
    settings = load(ini_text((section, name, text.strip(" "))))
    assert getattr(getattr(settings, section), field) == value
    assert "hush" not in repr(settings)


def test_each_unknown_algorithm_is_a_fault(load: Load) -> None:
    faults = faults_of(load, GATEWAY_INI + "[ssh]\nciphers = aes128-ctr none 3des-cbc\nmacs = x\n")
    assert [fault.partition(" is unknown")[0] for fault in faults] == [
        "sftpgw.ini: [ssh] ciphers: 'none'",
        "sftpgw.ini: [ssh] ciphers: '3des-cbc'",
        "sftpgw.ini: [ssh] macs: 'x'",
    ]


def test_the_smallest_packet_after_login_holds_what_a_channel_announces() -> None:
    parse = SECTIONS["ssh"]["packet_after_login"].parse
    assert parse("257KiB") == MAX_PACKET_BYTES + KIB
    assert SshSettings().packet_after_login_bytes == MAX_PACKET_BYTES + KIB


def test_paths_are_relative_to_the_file(load: Load, tmp_path: Path) -> None:
    ini = GATEWAY_INI.replace("[s3]", "[s3]\nca_file = ca/store.pem")
    assert load(ini).s3.ca_file == str(tmp_path / "ca" / "store.pem")
    ini = GATEWAY_INI.replace("[s3]", "[s3]\nca_file = /etc/ssl/store.pem")
    assert load(ini).s3.ca_file == "/etc/ssl/store.pem"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://bücher.example:9000", "https://xn--bcher-kva.example:9000"),
        ("https://BÜCHER.example", "https://xn--bcher-kva.example"),
        ("https://[2001:db8::7]:9000", "https://[2001:db8::7]:9000"),
    ],
)
def test_international_names_of_stores(load: Load, given: str, kept: str) -> None:
    ini = GATEWAY_INI.replace("[s3]", f"[s3]\nendpoint = {given}")
    assert load(ini).s3.endpoint == kept


def test_blank_values_are_defaults(load: Load) -> None:
    settings = load(GATEWAY_INI + "endpoint =\nregion =\n[limits]\nmemory =\n")
    assert settings.s3.endpoint == ""
    assert settings.s3.region == "us-east-1"
    assert settings.limits == LimitSettings()


def test_secrets_are_not_in_the_repr(load: Load) -> None:
    settings = load(
        GATEWAY_INI + "access_key = AKIA\nsecret_key = hush1\nsession_token = hush2\n",
        USERS_INI + "password_hash = $2b$hush3\n",
    )
    assert settings.users["alice"].login.password_hash == "$2b$hush3"
    assert "hush" not in repr(settings)


@pytest.mark.parametrize(
    ("section", "line", "fault"),
    [
        ("s3", "part_size = 8MB", "[s3] part_size: '8MB' is not a size"),
        ("s3", "part_size = 8388608", "[s3] part_size: '8388608' is not a size"),
        ("s3", "part_size = -8MiB", "[s3] part_size: '-8MiB' is not a size"),
        ("s3", "part_size = 4MiB", "[s3] part_size: 4MiB is out of bounds; write 5MiB to 5GiB"),
        ("s3", "part_size = 6GiB", "[s3] part_size: 6GiB is out of bounds"),
        ("s3", "part_size = ٨MiB", "[s3] part_size: '٨MiB' is not a size"),
        ("s3", "upload_concurrency = 0", "[s3] upload_concurrency: '0' is not a whole number from"),
        ("s3", "upload_concurrency = two", "[s3] upload_concurrency: 'two' is not a whole number"),
        (
            "s3",
            "abort_stale_uploads = 5m",
            "[s3] abort_stale_uploads: 5m is out of bounds; write 3600s to 365d, or off",
        ),
        ("s3", "read_timeout = 60", "[s3] read_timeout: '60' is not a time"),
        ("s3", "endpoint = localhost:9000", "[s3] endpoint: 'localhost:9000' is not an endpoint"),
        ("s3", "endpoint = http://bü..cher", "[s3] endpoint: has a host that is no name"),
        ("s3", "endpoint = http://h/path", "[s3] endpoint: 'http://h/path' is not an endpoint"),
        ("s3", "endpoint = http://h:99999", "[s3] endpoint: is not a URL"),
        ("s3", "addressing = paths", "[s3] addressing: 'paths' is not one of auto, path, virtual"),
        ("s3", "accelerate = maybe", "[s3] accelerate: 'maybe' is neither yes nor no"),
        ("s3", "state_prefix = /", "[s3] state_prefix: cannot be the whole bucket"),
        ("s3", "state_prefix = a//b", "[s3] state_prefix: 'a//b' has a segment ''"),
        ("s3", "role_arn = gateway", "[s3] role_arn: 'gateway' is not arn:aws:iam::"),
        ("s3", "unsupported = part-copies", "[s3] unsupported: 'part-copies' is unknown, did you"),
        ("s3", "access_key = AKIA", "[s3] secret_key: is missing; set both"),
        ("s3", "secret_key = hush", "[s3] access_key: is missing; set both"),
        ("s3", "session_token = hush", "[s3] session_token: needs the access_key"),
        ("s3", "endpoint = http://h\naccelerate = yes", "[s3] accelerate: works on AWS only"),
        ("s3", "endpoint = http://h\nfips = yes", "[s3] fips: works on AWS only"),
        ("s3", "endpoint = http://h\ndual_stack = yes", "[s3] dual_stack: works on AWS only"),
        ("s3", "accelerate = yes\nfips = yes", "[s3] fips: AWS has no FIPS endpoint with"),
        ("s3", "region = eu\x07", "[s3] region: 'eu\\x07' is not a region"),
        ("s3", "buckett = b", "[s3] buckett: is not a known key, did you mean 'bucket'?"),
        ("s3", "Region = b", "[s3] Region: is not a known key, did you mean 'region'?"),
        ("s3", "xyzzy = b", "[s3] xyzzy: is not a known key; known: bucket, region,"),
        ("gateway", "listen = 2022", "[gateway] listen: '2022' is not a Twisted endpoint"),
        ("ssh", "login_grace = 0s", "[ssh] login_grace: 0s is out of bounds; write 1s to 3600s"),
        ("ssh", "login_grace = 60 sec", "[ssh] login_grace: '60 sec' is not a time"),
        ("ssh", "idle_timeout = 0.5s", "[ssh] idle_timeout: 0.5s is out of bounds"),
        ("ssh", "rekey_bytes = 64GiB", "[ssh] rekey_bytes: 64GiB is out of bounds"),
        ("ssh", "rekey_interval = 0", "[ssh] rekey_interval: '0' is not a time"),
        ("ssh", "packet_after_login = 256KiB", "[ssh] packet_after_login: 256KiB is out of bounds"),
        ("ssh", "max_startups = 50", "[ssh] max_startups: '50' is not start:percent:full"),
        ("ssh", "max_startups = 50:30:20", "[ssh] max_startups: '50:30:20' is out of bounds"),
        ("ssh", "max_startups = 0:30:20", "[ssh] max_startups: '0:30:20' is out of bounds"),
        ("ssh", "max_startups = 5:0:20", "[ssh] max_startups: '5:0:20' is out of bounds"),
        ("ssh", "max_startups = 5:101:20", "[ssh] max_startups: '5:101:20' is out of bounds"),
        ("ssh", "max_connections = 199", "[ssh] max_connections: 199 is less than the third"),
        ("ssh", "max_startups = 5:9:501", "[ssh] max_connections: 500 is less than the third"),
        ("ssh", "connections_per_user = 0", "[ssh] connections_per_user: '0' is not a whole"),
        ("ssh", "exempt_networks = 10.0.0.1/8", "[ssh] exempt_networks: '10.0.0.1/8' is not a net"),
        ("ssh", "exempt_networks = ::1 home", "[ssh] exempt_networks: 'home' is not a network"),
        (
            "ssh",
            "balancer_networks = 10.0.0.0/8",
            "[ssh] balancer_networks: is of no use; write listen = haproxy:tcp:2022",
        ),
        (
            "gateway",
            "listen = haproxy:tcp:2022",
            "[ssh] balancer_networks: is missing; on haproxy:tcp:2022 clients could",
        ),
        ("ssh", "ciphers = 3des-cbc", "[ssh] ciphers: '3des-cbc' is unknown, did you mean 'ae"),
        ("ssh", "macs = md5", "[ssh] macs: 'md5' is unknown; known: hmac-sha2-256-etm@openssh.com"),
        ("ssh", "key_exchanges = ssh-rsa", "[ssh] key_exchanges: 'ssh-rsa' is unknown"),
        ("ssh", "host_key_algorithms = ssh-dss", "[ssh] host_key_algorithms: 'ssh-dss' is unknown"),
        ("ssh", "login_key_algorithms = *", "[ssh] login_key_algorithms: '*' is unknown; known: "),
        ("limits", "handles_per_session = 5", "[limits] handles_per_session: is not a known key"),
        ("limits", "memory = 1MiB", "[limits] memory: 1MiB is out of bounds"),
        ("files", "exact_times = maybe", "[files] exact_times: "),
        ("files", "file_mode = rw", "[files] file_mode: 'rw' is not a mode; write octal"),
        ("files", "rename_max_objects = 0", "[files] rename_max_objects: '0' is not a whole"),
        ("limits", "memory = 16MiB\nreorder_allowance = 17MiB", "[limits] reorder_allowance: must"),
        ("limitz", "memory = 1GiB", "[limitz]: is not a known section, did you mean 'limits'?"),
        ("DEFAULT", "memory = 1GiB", "[DEFAULT]: is not a known section; known: gateway, s3"),
    ],
)
def test_a_wrong_line_is_one_fault(load: Load, section: str, line: str, fault: str) -> None:
    faults = gateway_faults(load, section, line)
    assert len(faults) == 1
    assert faults[0].startswith(f"sftpgw.ini: {fault}")
    assert "hush" not in faults[0]


def test_memory_must_hold_two_parts(load: Load) -> None:
    (fault,) = faults_of(load, GATEWAY_INI + "part_size = 1GiB\n")
    assert fault == "sftpgw.ini: [limits] memory: must hold two parts of [s3]; write 2GiB or more"


def test_as_many_connections_as_may_begin_are_enough(load: Load) -> None:
    assert load(GATEWAY_INI + "[ssh]\nmax_connections = 200\n").ssh.max_connections == 200


def test_five_faults_are_five_lines(load: Load) -> None:
    faults = faults_of(
        load,
        """
[gateway]
listen = 2022
host_keys = missing_key
[s3]
bucket = b
region = somewhere
region = elsewhere
[limit]
""",
        "[alice]\nkey_prefix = a\n",
    )
    assert [fault.split(": ")[:2] for fault in faults] == [
        ["sftpgw.ini", "[s3] region"],
        ["sftpgw.ini", "[limit]"],
        ["sftpgw.ini", "[s3] bucket"],
        ["sftpgw.ini", "[gateway] listen"],
        ["sftpgw.ini", "[gateway] host_keys"],
        ["users.ini", "[alice]"],
    ]


NO_LINE = (
    "is neither [section] nor key = value; "
    "a line that goes on with the value above begins with a blank"
)


def test_each_fault_has_its_line(load: Load) -> None:
    users_ini = """\
# The users.
[*]
key_prefix = home/{username}/
permissions = lst

[*partners]
mount =
    /shared s3://uploads/shared/
    # The next one is wrong.
    /other elsewhere

[alice]
groups = partners friends
authorized_keys =
    ssh-ed25519 AAAA

    # an old one
    junk
    ssh-ed25519 BBBB
    rubbish
permissions /nowhere/at/all = list
mount = /a s3://uploads/a/
    /a s3://uploads/b/

[bob]
weigth = 3

[bob]
"""
    found = placed_faults_of(load, GATEWAY_INI.replace("bucket = uploads", ""), users_ini)
    assert [re.sub(r"(\]| [a-z_]+): .*", r"\1", fault) for fault in found] == [
        "users.ini:28: [bob]",
        "users.ini:4: [*] permissions",
        "users.ini:10: [*partners] mount",
        "users.ini:13: [alice] groups",
        "users.ini:23: [alice] mount",
        "users.ini:18: [alice] authorized_keys",
        "users.ini:20: [alice] authorized_keys",
        "users.ini:26: [bob] weigth",
        "users.ini:25: [bob]",
        "sftpgw.ini:4: [s3] bucket",
    ]


def test_lines_that_do_not_parse_hide_nothing(load: Load) -> None:
    faults = placed_faults_of(
        load,
        "stray = 1\n[s3]\nbucket = uploads\njunk\nbucket = twice\n[gateway]\nhost_keys = host_key\n"
        "[s3]\npart_size = 1MiB\n[]\n[ssh]\nauth_tries = 0\n",
    )
    assert faults == [
        "sftpgw.ini:1: comes before any [section]; move it into one",
        f"sftpgw.ini:4: {NO_LINE}",
        (
            "sftpgw.ini:5: [s3] bucket: comes again; keep one (the first is in line 3); "
            "further lines of a value are below its first one, indented"
        ),
        f"sftpgw.ini:10: {NO_LINE}",
        "sftpgw.ini:8: [s3]: comes again; keep one (the first is in line 2)",
        "sftpgw.ini:12: [ssh] auth_tries: '0' is not a whole number from 1 to 100",
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("ssh-ed25519 AAAAC3Nza alice@laptop", "users.ini: "),
        ("ecdsa-sha2-nistp256 AAAAE2Vjx alice", "users.ini: "),
        ("ssh-rsa AAAAB3NzaC1yc2EAAA= alice", "users.ini: [alice]: ssh-rsa AAAAB3NzaC1yc2EAAA… "),
    ],
)
def test_keys_that_are_not_indented_are_told_so(load: Load, line: str, told: str) -> None:
    users = f"[alice]\nkey_prefix = a\nauthorized_keys =\n{line}\n"
    assert faults_of(load, GATEWAY_INI, users)[0] == (
        f"{told}is a public key at the beginning of a line; "
        "put a blank in front of each line that belongs to authorized_keys"
    )


def test_files_that_cannot_be_read(load: Load, tmp_path: Path) -> None:
    assert faults_of(load, GATEWAY_INI, None) == [
        "users.ini: cannot be read: No such file or directory"
    ]
    (tmp_path / "users.ini").write_bytes(b"[alice]\n# \xff\n")
    assert faults_of(load, GATEWAY_INI, None) == [
        "users.ini: is not UTF-8 at byte 10; save it as UTF-8"
    ]
    with pytest.raises(ConfigError, match=r"nowhere\.ini: cannot be read: No such file"):
        load_settings(tmp_path / "nowhere.ini", read_key=read_key, check_hash=check_hash)


def test_a_byte_order_mark_and_windows_line_ends_are_fine(load: Load) -> None:
    settings = load("\ufeff" + GATEWAY_INI.replace("\n", "\r\n"))
    assert settings.s3.bucket == "uploads"


def test_users_have_defaults_and_own_values(load: Load) -> None:
    users = load(
        GATEWAY_INI,
        """
[*]
bucket = team-{username}
key_prefix = home/{username}/
permissions = list, download

[alice]
authorized_keys =
    ssh-ed25519 AAAA alice@laptop
    # an old one
    ssh-rsa BBBB alice@desk
password_hash = $2b$12$abc%;#

[bob]
bucket = uploads
key_prefix = /partners/bob
permissions = list upload
password_hash = $2b$

[jürgen weiß]
bucket = other
key_prefix = /
password_hash = $2b$
""",
    ).users
    assert users["alice"].mounts[0].bucket == "team-alice"
    assert users["alice"].mounts[0].key_prefix == "home/alice/"
    assert users["alice"].mounts[0].permissions == Permission.LIST | Permission.DOWNLOAD
    assert len(users["alice"].login.authorized_keys) == 2
    assert users["alice"].login.password_hash == "$2b$12$abc%;#"
    assert users["bob"].mounts[0].bucket == "uploads"
    assert users["bob"].mounts[0].key_prefix == "partners/bob/"
    assert users["bob"].mounts[0].permissions == Permission.LIST | Permission.UPLOAD
    assert users["jürgen weiß"].mounts[0].key_prefix == ""


@pytest.mark.parametrize(
    ("users_ini", "fault"),
    [
        ("[al/ice]\nkey_prefix = a\npassword_hash = $2b$", "[al/ice]: is not a user name"),
        ("[..]\nkey_prefix = a\npassword_hash = $2b$", "[..]: is not a user name"),
        ("[ al]\nkey_prefix = a\npassword_hash = $2b$", "[ al]: is not a user name"),
        ("[a\0l]\nkey_prefix = a\npassword_hash = $2b$", "[a\0l]: is not a user name"),
        ("[al]\npassword_hash = $2b$", "[al] key_prefix: is missing"),
        ("[al]\nkey_prefix =\npassword_hash = $2b$", "[al] key_prefix: is blank; write /"),
        ("[al]\nkey_prefix = ../b\npassword_hash = $2b$", "[al] key_prefix: '../b' has a segment"),
        ("[al]\nkey_prefix = a/./b\npassword_hash = $2b$", "[al] key_prefix: 'a/./b' has a segm"),
        ("[al]\nkey_prefix = .sftpgw/x\npassword_hash = $2b$", "[al] key_prefix: lies in .sftpgw/"),
        ("[al]\nkey_prefix = a\npassword_hash = plain", "[al] password_hash: is not a hash"),
        (
            "[al]\nkey_prefix = a\nauthorized_keys =\n ssh-a\n junk",
            "[al] authorized_keys: key 2: ",
        ),
        ("[al]\nkey_prefix = a", "[al]: cannot log in; give authorized_keys or password_hash"),
        (
            (
                "[b]\nkey_prefix = b\npassword_hash = $2b$\n[al]\nkey_prefix = a\n"
                "authorized_keys = junk"
            ),
            "[al] authorized_keys: key 1: is not a key",
        ),
        (
            (
                "[*]\nkey_prefix = a\n[j\u00f6rg]\npassword_hash = $2b$\n"
                "[jo\u0308rg]\npassword_hash = $2b$"
            ),
            "[jo\u0308rg]: is the same name as one above it, whose letters are put",
        ),
        ("[al]\nkey_prefix = a\npasword_hash = $2b$\nauthorized_keys = ssh-a", "[al] pasword_hash"),
        (
            "[al]\nkey_prefix = a\npassword_hash = $2b$\npermissions = lsit",
            "[al] permissions: 'lsi",
        ),
        ("[al]\nkey_prefix = a\npassword_hash = $2b$\npermissions =", "[al] permissions: grants n"),
        ("[al]\nkey_prefix = a\npassword_hash = $2b$\nbucket = b", "[al] bucket: 'b' is not a buc"),
        ("[*]\nkey_prefix = ..\n[al]\npassword_hash = $2b$", "[*] key_prefix: '..' has a segment"),
        (
            "[*]\npassword_hash = $2b$\n[a]\nkey_prefix = a\nauthorized_keys = ssh-a",
            "[*] password_",
        ),
        ("[*]\nkey_prefix = home/{username}", "has no user; add a section [name] for each"),
    ],
)
def test_a_wrong_user_is_one_fault(load: Load, users_ini: str, fault: str) -> None:
    (line,) = faults_of(load, GATEWAY_INI, users_ini)
    assert line.startswith(f"users.ini: {fault}")


def test_a_bucket_is_needed_unless_every_user_has_one(load: Load) -> None:
    no_bucket = GATEWAY_INI.replace("bucket = uploads", "bucket =")
    assert faults_of(load, no_bucket) == [
        "sftpgw.ini: [s3] bucket: is missing; name the bucket for users without their own"
    ]
    assert (
        load(no_bucket, USERS_INI + "bucket = own-bucket\n").users["alice"].mounts[0].bucket
        == "own-bucket"
    )


ARN = "arn:aws:s3:eu-west-1:123456789012:accesspoint/mine"


@pytest.mark.parametrize(
    "bucket",
    [
        ARN,
        ARN.replace("accesspoint/", "accesspoint:"),
        ARN.replace("arn:aws:", "arn:aws-us-gov:"),
        "mine-aqfqprnstn7aefdfbarligizwgyfouse1a-s3alias",
        "acme:docs",
        "acme_2:docs",
        ":docs",
    ],
)
def test_buckets_that_are_not_just_names(load: Load, bucket: str) -> None:
    """The access point of AWS, by its ARN or alias, and Ceph's tenants."""
    at_a_store = f"bucket = {bucket}\nendpoint = http://ceph"
    settings = load(GATEWAY_INI.replace("bucket = uploads", at_a_store), USERS_INI)
    assert settings.s3.bucket == settings.users["alice"].mounts[0].bucket == bucket
    stored = GATEWAY_INI.replace("uploads", "uploads\nendpoint = http://ceph")
    assert load(stored, USERS_INI + f"bucket = {bucket}").users["alice"].mounts[0].bucket == bucket


@pytest.mark.parametrize(
    ("bucket", "why"),
    [
        (
            "arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap",
            "is a multi-region access point, whose signatures (SigV4A) the gateway cannot make",
        ),
        (ARN.replace(":s3:", ":s3-outposts:"), "is not the ARN of an access point; write arn:aws"),
        (ARN.replace("accesspoint/mine", "bucket/mine"), "is not the ARN of an access point"),
        (ARN.replace("123456789012", "1234"), "is not the ARN of an access point"),
        ("arn:aws:s3:::uploads", "is not the ARN of an access point"),
        ("acme:docs:more", "is not a bucket name"),
        ("ac-me:docs", "is not a bucket name"),
        ("docs/sub", "is not a bucket name"),
    ],
)
def test_buckets_that_are_none(load: Load, bucket: str, why: str) -> None:
    ini = GATEWAY_INI.replace("bucket = uploads", f"bucket = {bucket}")
    (line,) = [line for line in faults_of(load, ini) if "is missing" not in line]
    assert line.startswith("sftpgw.ini: [s3] bucket: ")
    assert why in line


ARCHIVE = (
    GATEWAY_INI
    + """
[store archive]
endpoint = https://archive.example
part_size = 16 MiB
state_prefix = .gateway/
ca_file = ca.pem
"""
)


def test_a_store_has_its_own_settings_and_the_defaults_of_the_table(
    load: Load, tmp_path: Path
) -> None:
    ini = ARCHIVE.replace("[s3]", "[s3]\npart_size = 32 MiB\nregion = eu-west-1")
    settings = load(ini, USERS_INI + "bucket = archive:old")
    store = settings.stores["archive"]
    assert store.name == "archive"
    assert store.section == "[store archive]"
    assert (store.part_size_bytes, settings.s3.part_size_bytes) == (16 * MIB, 32 * MIB)
    assert store.region == "us-east-1"
    assert store.ca_file == str(tmp_path / "ca.pem")
    (mount,) = settings.users["alice"].mounts
    assert (mount.bucket, mount.state_prefix) == ("archive:old", ".gateway/")
    assert settings.store_of("archive:old") is store
    assert settings.store_of("old") is settings.store_of("other:old") is settings.s3


@pytest.mark.parametrize("bucket", ["archive:tenant:old", f"archive:{ARN}"])
def test_a_bucket_of_a_store_may_be_of_each_kind(load: Load, bucket: str) -> None:
    settings = load(ARCHIVE, USERS_INI + f"bucket = {bucket}")
    assert settings.store_of(settings.users["alice"].mounts[0].bucket).name == "archive"


@pytest.mark.parametrize(
    ("section", "line", "fault"),
    [
        ("store arn", "", "arn cannot be the name of a store"),
        ("store s3", "", "s3 cannot be the name of a store"),
        ("store", "", "has no good name"),
        ("store a:b", "", "has no good name"),
        ("store two", "bucket = b12", "bucket: is a key of [s3] only"),
        ("store two", "max_requests = 5", "max_requests: is a key of [s3] only"),
        ("store two", "access_key = AKIA", "secret_key: is missing"),
        ("store two", "part_size = 1", "part_size: "),
        ("store two", "colour = red", "colour: is not a known key"),
        ("store two", "state_prefix = home/\nendpoint = https://two.example", ""),
    ],
)
def test_a_store_is_judged_as_that_of_s3(load: Load, section: str, line: str, fault: str) -> None:
    ini = f"{GATEWAY_INI}\n[{section}]\n{line}\n"
    if not fault:
        (told,) = faults_of(load, ini, USERS_INI + "bucket = two:files")
        assert "lies in home/, the state_prefix of [store two]" in told
        return
    found = faults_of(load, ini)
    assert any(f"[{section}]" in told and fault in told for told in found)
    assert len(found) <= 2


def test_a_store_cannot_have_the_name_of_a_tenant(load: Load) -> None:
    ini = GATEWAY_INI.replace("uploads", "acme:docs\nendpoint = http://ceph")
    (line,) = faults_of(load, ini + "[store acme]\n")
    assert "cannot be that of a tenant of Ceph, too" in line


def test_a_bucket_of_no_store_is_told(load: Load) -> None:
    (line,) = faults_of(load, ARCHIVE, USERS_INI + "bucket = arch-ive:docs")
    assert line == (
        "users.ini: [alice] bucket: arch-ive:docs: there is no section [store arch-ive] in "
        "sftpgw.ini"
    )


def test_the_parts_of_each_store_fit_into_memory(load: Load) -> None:
    ini = ARCHIVE.replace("16 MiB", "1 GiB")
    (line,) = faults_of(load, ini)
    assert "must hold two parts of [store archive]" in line


def test_a_tenants_bucket_needs_an_endpoint(load: Load) -> None:
    (line,) = faults_of(load, GATEWAY_INI, USERS_INI + "bucket = acme:docs")
    assert line.startswith("users.ini: [alice] bucket: acme:docs: is Ceph's tenant:bucket;")


def test_a_bucket_that_cannot_be_addressed_is_one_fault(tmp_path: Path) -> None:
    """Two users have it; the code that addresses buckets says why not."""
    (tmp_path / "host_key").touch()
    (tmp_path / "sftpgw.ini").write_text(GATEWAY_INI)
    bob = "[bob]\npassword_hash = $2b$\nbucket = other\n"
    (tmp_path / "users.ini").write_text(f"{USERS_INI}bucket = other\n{bob}")
    asked: list[tuple[str, str]] = []

    def bucket_check(store: StoreSettings) -> Callable[[str], None]:
        def check(bucket: str) -> None:
            asked.append((store.bucket, bucket))
            if bucket == "other":
                raise ValueError("no endpoint for other")

        return check

    with pytest.raises(ConfigError) as caught:
        load_settings(
            tmp_path / "sftpgw.ini",
            read_key=read_key,
            check_hash=check_hash,
            bucket_check=bucket_check,
        )
    (line,) = caught.value.faults
    assert line.endswith("users.ini:6: [alice] bucket: no endpoint for other")
    assert sorted(asked) == [("uploads", "other"), ("uploads", "uploads")]


def test_the_examples_need_nothing_but_a_bucket(tmp_path: Path) -> None:
    for name in ("sftpgw.ini", "users.ini"):
        text = (REPOSITORY / "etc" / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_settings(tmp_path / "sftpgw.ini", read_key=read_key, check_hash=check_hash)
    (fault,) = caught.value.faults
    assert "[s3] bucket: is missing" in fault
    text = (tmp_path / "sftpgw.ini").read_text(encoding="utf-8")
    (tmp_path / "sftpgw.ini").write_text(text.replace("bucket =", "bucket = uploads", 1))
    settings = load_settings(tmp_path / "sftpgw.ini", read_key=read_key, check_hash=check_hash)
    assert settings.s3.bucket == "uploads"


# The banner.

BANNER_INI = GATEWAY_INI + "[ssh]\nbanner_file = own.txt\n"


@pytest.mark.parametrize(
    ("content", "banner"),
    [
        (b"one", "one\r\n"),
        (b"one\n\n  two\t\n\n", "one\r\n\r\n  two\t\r\n"),
        (b"one\r\ntwo\r\n", "one\r\ntwo\r\n"),
        ("\ufeffStra\u00dfe\u3000\u6f22".encode(), "Stra\u00dfe\u3000\u6f22\r\n"),
        (b"{username} $HOME %u", "{username} $HOME %u\r\n"),
    ],
)
def test_a_banner_is_sent_as_the_rfc_has_it(
    load: Load, tmp_path: Path, content: bytes, banner: str
) -> None:
    (tmp_path / "own.txt").write_bytes(content)
    assert load(BANNER_INI).ssh.banner == banner


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"\xff", "is not UTF-8 at byte 0"),
        (b" \n", "is empty"),
        (b"x" * 16 * 1024, "is over 16KiB"),
        (b"\n" * 9000 + b"x", "is over 16KiB"),
        (b"one\n\x1b[2Jtwo", "has the control character U+001B in line 2"),
        (b"one\0", "has the control character U+0000 in line 1"),
        ("\u0085".encode(), "is empty"),
        ("a\u009bb".encode(), "has the control character U+009B in line 1"),
    ],
)
def test_a_banner_that_cannot_be_shown_is_a_fault(
    load: Load, tmp_path: Path, content: bytes | None, fault: str
) -> None:
    if content is not None:
        (tmp_path / "own.txt").write_bytes(content)
    (found,) = faults_of(load, BANNER_INI)
    assert found.startswith("sftpgw.ini: [ssh] banner_file: ")
    assert f"own.txt {fault}" in found


# Placeholders, and files that are open to all.


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("key_prefix = home/{user}/", "'{user}' is no placeholder that is known here; write {user"),
        ("key_prefix = {Username}/", "'{Username}' is no placeholder"),
        ("key_prefix = home/{}/", "'{}' is no placeholder"),
        ("key_prefix = home/${username}/{x", "'{' is no placeholder"),
        ("key_prefix = ${aws:username}/", "'{aws:username}' is no placeholder"),
        ("key_prefix = ${transfer:UserName}/", "'{transfer:UserName}' is no placeholder"),
        ("key_prefix = home/$USER/", "'$USER' would be taken literally; write {username}"),
        ("key_prefix = home/%u", "'%u' would be taken literally; write {username}"),
        ("key_prefix = %(username)s/", "'%(username)s' would be taken literally"),
        ("key_prefix = home/<username>/", "'<username>' would be taken literally"),
        ("key_prefix = a\nbucket = {user}-files", "'{user}' is no placeholder"),
    ],
)
@pytest.mark.parametrize("section", ["*", "alice"])
def test_a_placeholder_that_is_not_known_is_one_fault(
    load: Load, section: str, line: str, fault: str
) -> None:
    login = "authorized_keys = ssh-ed25519 AAAA"
    own = {"*": f"[*]\n{line}\n[alice]\n{login}\n", "alice": f"[alice]\n{login}\n{line}\n"}
    (found,) = faults_of(load, GATEWAY_INI, own[section])
    assert found.startswith(f"users.ini: [{section}] ")
    assert fault in found


@pytest.mark.parametrize(
    ("prefix", "key_prefix"),
    [
        ("home/{username}/", "home/al{ice}/"),
        ("{{username}}/{username}", "{username}/al{ice}/"),
        ("100%user/a$b/50%/<", "100%user/a$b/50%/</"),
    ],
)
def test_braces_that_are_no_placeholder_stay(load: Load, prefix: str, key_prefix: str) -> None:
    users = f"[*]\nkey_prefix = {prefix}\n[al{{ice}}]\nauthorized_keys = ssh-ed25519 AAAA\n"
    assert load(GATEWAY_INI, users).users["al{ice}"].mounts[0].key_prefix == key_prefix


@pytest.mark.parametrize("name", ["alice upload", "alice", 'al"ice" list', "Acme Corp"])
@pytest.mark.parametrize("target", ["s3://drops/{username}", '"s3://drops/in/{username}/"'])
def test_a_name_with_blanks_and_quotes_is_one_word_of_a_mount(
    load: Load, name: str, target: str
) -> None:
    """Else "alice upload" would have the mount of alice, and another permission."""
    users = (
        f'[*]\nmount = "/to {{username}}" {target} list\n[{name}]\n'
        "authorized_keys = ssh-ed25519 AAAA\n"
    )
    (mount,) = load(GATEWAY_INI, users).users[name].mounts
    assert mount.key_prefix.removeprefix("in/") == f"{name}/"
    assert mount.path == (f"to {name}",)
    assert mount.permissions == Permission.LIST


def test_a_name_with_blanks_is_one_principal(load: Load) -> None:
    """Else the certificate of eve would let in as "eve admin", and that of admin, too."""
    users = (
        "[*]\nkey_prefix = /\nprincipals = {username}, at-{username} all\n"
        "[eve admin]\nauthorized_keys = ssh-ed25519 AAAA\n"
    )
    found = load(GATEWAY_INI, users).users["eve admin"].login.principals
    assert found == ("eve admin", "at-eve admin", "all")


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("endpoint = https://{region}.example.org", "endpoint"),
        ("state_prefix = {username}/", "state_prefix"),
        ("access_key = ${AWS_ACCESS_KEY_ID}\nsecret_key = hush", "access_key"),
        ("access_key = AKIA\nsecret_key = ${HUSH}", "secret_key"),
        ("access_key = AKIA\nsecret_key = $HUSH", "secret_key"),
        ("access_key = AKIA\nsecret_key = <hush hush>", "secret_key"),
        ("access_key = AKIA\nsecret_key = a\nsession_token = {{ hush }}", "session_token"),
    ],
)
def test_nothing_is_replaced_in_the_store(load: Load, line: str, key: str) -> None:
    found = [fault for fault in faults_of(load, GATEWAY_INI + line) if "is missing" not in fault]
    assert len(found) == 1
    assert found[0].startswith(f"sftpgw.ini: [s3] {key}: ")
    assert "hush" not in found[0].lower()


@pytest.fixture
def open_folder():
    """A folder that every account can enter; a test's own `tmp_path` is closed to others."""
    with TemporaryDirectory(prefix="sftpgw-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def write_files(folder: Path, mode: int) -> None:
    secrets = "access_key = AKIA\nsecret_key = hush\n"
    (folder / "sftpgw.ini").write_text(GATEWAY_INI + secrets)
    (folder / "users.ini").write_text(USERS_INI + "password_hash = $2b$hush\n")
    (folder / "host_key").touch()
    for file in folder.iterdir():
        file.chmod(mode)


def warnings_of(folder: Path) -> tuple[str, ...]:
    settings = load_settings(folder / "sftpgw.ini", read_key=read_key, check_hash=check_hash)
    return settings.warnings


def test_secrets_that_all_can_read_are_a_warning(open_folder: Path) -> None:
    write_files(open_folder, 0o644)
    warnings = warnings_of(open_folder)
    assert [warning.split(": ")[0] for warning in warnings] == [
        str(open_folder / name) for name in ("host_key", "users.ini", "sftpgw.ini")
    ]
    assert all("chmod o-r" in warning and "hush" not in warning for warning in warnings)
    open_folder.chmod(0o750)
    assert warnings_of(open_folder) == ()


def test_secrets_that_a_group_can_read_are_none(open_folder: Path) -> None:
    write_files(open_folder, 0o640)
    assert warnings_of(open_folder) == ()


def test_files_without_secrets_may_be_read(open_folder: Path) -> None:
    write_files(open_folder, 0o644)
    (open_folder / "sftpgw.ini").write_text(GATEWAY_INI)
    (open_folder / "users.ini").write_text(USERS_INI)
    (open_folder / "host_key").chmod(0o600)
    assert warnings_of(open_folder) == ()


class TestCustomerKeys:
    """The key of SSE-C, which no message shows."""

    KEY = bytes(range(65, 97))

    @pytest.mark.parametrize("is_text", [True, False])
    def test_it_is_read_from_a_file(self, load: Load, tmp_path: Path, is_text: bool) -> None:
        text = base64.b64encode(self.KEY) + b"\n" if is_text else self.KEY
        (tmp_path / "key").write_bytes(text)
        settings = load(GATEWAY_INI.replace("[s3]", "[s3]\nsse_c_key_file = key"))
        assert settings.s3.sse_c_key == self.KEY
        assert str(self.KEY) not in repr(settings)

    def test_it_is_read_from_the_environment(
        self, load: Load, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SFTPGW_TEST_KEY", base64.b64encode(self.KEY).decode())
        settings = load(GATEWAY_INI.replace("[s3]", "[s3]\nsse_c_key_env = SFTPGW_TEST_KEY"))
        assert settings.s3.sse_c_key == self.KEY

    @pytest.mark.parametrize(
        ("lines", "fault"),
        [
            ("sse_c_key_file = gone", "sse_c_key_file: "),
            ("sse_c_key_file = short", "is no key of 32 bytes"),
            ("sse_c_key_env = SFTPGW_NO_SUCH_KEY", "there is no variable SFTPGW_NO_SUCH_KEY"),
            ("sse_c_key_file = key\nsse_c_key_env = X", "comes with sse_c_key_file"),
            ("sse_c_key_file = key\nsse = s3", "cannot go together with a key of your own"),
            ("sse_c_key_file = key\nendpoint = http://h", "over https only"),
            ("sse_kms_key = k\nsse = s3", "is of no use without sse = kms"),
        ],
    )
    def test_what_cannot_be_used_is_a_fault(
        self, load: Load, tmp_path: Path, lines: str, fault: str
    ) -> None:
        (tmp_path / "key").write_bytes(self.KEY)
        (tmp_path / "short").write_bytes(b"SECRETSECRET")
        (line,) = faults_of(load, GATEWAY_INI.replace("[s3]", f"[s3]\n{lines}"))
        assert fault in line
        assert "SECRET" not in line


class TestObjectsOfMounts:
    """What users.ini says of how objects are stored."""

    MOUNTS = USERS_INI + "mount = /box s3://boxes/\n"

    def test_two_mounts_of_one_prefix_may_say_the_same(self, load: Load) -> None:
        lines = "   /twin s3://boxes/\nsse /twin = s3\nsse /box = s3\nstorage_class = GLACIER_IR"
        users = load(GATEWAY_INI, self.MOUNTS + lines).users
        assert len({mount.objects for mount in users["alice"].mounts if mount.path}) == 1

    def test_a_mount_wins_over_its_user(self, load: Load) -> None:
        lines = (
            "sse = kms\nsse_kms_key = k\ntags = by={username}\nsse /box = s3\nacl /box = private"
        )
        by_path = {
            mount.path: mount.objects
            for mount in load(GATEWAY_INI, self.MOUNTS + lines).users["alice"].mounts
        }
        tags = (("by", "{username}"),)
        kms = ObjectSettings(sse=Encryption.KMS, sse_kms_key="k", tags=tags)
        assert by_path[()] == kms
        assert by_path["box",] == ObjectSettings(sse=Encryption.S3, acl="private", tags=tags)

    @pytest.mark.parametrize(
        ("line", "fault"),
        [
            ("sse_kms_key = k", "is of no use without sse = kms"),
            ("sse /box/in = s3", "is about a part of a mount"),
            ("tags = by={home}", "is no placeholder"),
            (
                "   /twin s3://boxes/\nacl /twin = private\ntags /twin = a=b",
                "has the prefix that /box has, too; acl, tags must be the same at /twin",
            ),
            (
                "   /twin s3://boxes/\nsse /box = s3\nsse /twin = kms",
                "has the prefix that /box has, too; sse must be the same at /twin",
            ),
        ],
    )
    def test_what_cannot_be_used_is_a_fault(self, load: Load, line: str, fault: str) -> None:
        (told, *_) = faults_of(load, GATEWAY_INI, self.MOUNTS + line)
        assert fault in told


LDAP = "sources = file ldap\nldap_url = ldap://a\n"


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ("sources = file ldap\nldap_search_base = dc=x", "ldap_url: is missing"),
        (LDAP, "ldap_search_base: is missing"),
        (f"{LDAP}ldap_search_base = dc=x\nldap_bind_dn = uid={{username}},dc=x", "keep one"),
        (f"{LDAP}ldap_search_base = dc=x\nldap_service_dn = cn=x", "ldap_service_dn: needs"),
        (
            f"{LDAP}ldap_search_base = dc=x\nldap_service_password_env = X",
            "ldap_service_dn: is mis",
        ),
        (f"{LDAP}ldap_search_base = dc=x\nldap_group_filter = (member={{dn}})", "ldap_group_base"),
        (f"{LDAP}ldap_search_base = dc=x\nldap_attributes = groups = a", "cannot come from"),
        (f"{LDAP}ldap_search_base = dc=x\nldap_attributes = bukket = a", "did you mean 'bucket'"),
        (f"{LDAP}ldap_search_base = people", "ldap_search_base: 'people' is not the name"),
        (f"{LDAP}ldap_bind_dn = uid=x,dc=x", "ldap_bind_dn: 'uid=x,dc=x' must have {username}"),
        (f"{LDAP}ldap_search_base = dc=x\nldap_filter = uid=x", "ldap_filter: 'uid=x' has no '('"),
        (f"{LDAP}ldap_search_base = dc=x\nldap_filter = (member={{dn}})", "ldap_filter"),
        (f"{LDAP}ldap_search_base = dc=x\nldap_groups = cn=,x: y", "ldap_groups: 'cn=,x'"),
        (
            (
                f"{LDAP}ldap_search_base = dc=x\nldap_service_dn = cn=x\n"
                "ldap_service_password_file = missing"
            ),
            "ldap_service_password_file: ",
        ),
    ],
)
def test_faults_of_ldap(tmp_path: Path, lines: str, fault: str) -> None:
    (tmp_path / "host_key").touch()
    (tmp_path / "sftpgw.ini").write_text(f"{GATEWAY_INI}[auth]\n{lines}\n")
    (tmp_path / "users.ini").write_text(USERS_INI)
    with pytest.raises(ConfigError) as caught:
        load_settings(
            tmp_path / "sftpgw.ini",
            read_key=read_key,
            check_hash=check_hash,
            key_files=KeyFileReaders(lambda data: frozenset(), NO_READERS.revoked, LDAP_READERS),
        )
    (found,) = caught.value.faults
    assert fault in found


def test_passwords_in_the_clear_are_a_warning(load: Load) -> None:
    lines = f"{LDAP}ldap_search_base = dc=x\nldap_starttls = no\n"
    (warning,) = load(f"{GATEWAY_INI}[auth]\n{lines}").warnings
    assert warning == "[auth] ldap_starttls = no: passwords go to a in the clear"
    at_home = lines.replace("ldap://a", "ldap://localhost ldap://[::1]:1389 ldaps://b")
    assert load(f"{GATEWAY_INI}[auth]\n{at_home}").warnings == ()


def test_groups_of_a_directory_count_if_there_is_a_section(load: Load) -> None:
    settings = load(
        f"{GATEWAY_INI}[auth]\n{LDAP}ldap_search_base = dc=x\n",
        "[*]\nkey_prefix = home/{username}/\n[*b]\nweight = 2\n[*a]\nweight = 3\n",
    )
    assert settings.users == {}
    make_user = settings.make_user
    assert make_user is not None
    assert make_user("alice", {}, "ldap", ("a", "unknown", "b")).weight == 3
    assert make_user("alice", {}, "ldap", ("b", "*")).weight == 2
    assert make_user("alice", {"groups": "b"}, "ldap", ("a",)).weight == 2
    assert make_user("alice", {}, "ldap", ()).weight == 1


class TestQuotas:
    """How much users.ini lets a user store."""

    def test_a_mount_has_its_own_or_that_of_the_user(self, load: Load) -> None:
        common = (
            "[*]\nkey_prefix = h/\nquota_bytes = 1GiB\nquota_bytes /box = 2GiB\n"
            "quota_files /gone = 3\n"
            "[*small]\nquota_bytes = 1MiB\nquota_files /box = 7\n"
        )
        own = "[alice]\nauthorized_keys = ssh-ed25519 AAAA\ngroups = small\nmount =\n"
        own += "    /box s3://boxes/\n    /free s3://free/\nquota_bytes /free = off\n"
        limits = load(GATEWAY_INI, common + own).users["alice"].limits
        assert set(limits.quotas) == {
            QuotaLimits(max_bytes=MIB),
            QuotaLimits(("box",), max_bytes=2 * GIB, max_files=7),
            QuotaLimits(("free",)),
        }

    def test_there_is_none_by_default(self, load: Load) -> None:
        assert load(GATEWAY_INI, USERS_INI).users["alice"].limits.quotas == ()
        lines = "quota_bytes = off\nquota_files = off\n"
        assert load(GATEWAY_INI, USERS_INI + lines).users["alice"].limits.quotas == ()

    def test_a_part_of_a_mount_has_none(self, load: Load) -> None:
        lines = "mount = /box s3://boxes/\nquota_files /box/in = 5\n"
        (told, *_) = faults_of(load, GATEWAY_INI, USERS_INI + lines)
        assert "is about a part of a mount" in told
