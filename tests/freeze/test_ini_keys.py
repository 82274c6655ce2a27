"""The keys of both ini files, with their bounds and defaults, against ``ini_keys.txt``.

What the table says is tried out: the bounds are accepted and what lies just outside is refused, and
a default that is written into the file means the same as the key left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum, Flag
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from sftpgw.config import load_settings
from sftpgw.config.tables import DEFAULT_KEYS, SECTIONS, USER_KEYS
from sftpgw.errors import ConfigError
from sftpgw.model.mounts import ALL_PERMISSIONS, Mount, Permission
from sftpgw.model.settings import HOST_KEY_NAMES, PenaltySettings, Settings, StartupLimits
from sftpgw.model.store import Capabilities
from sftpgw.model.units import GIB, KIB, MIB
from sftpgw.model.users import AuthorizedKey, QuotaLimits, User
from sftpgw.ssh.algorithms import KNOWN, Offer
from tests.freeze.tables import demand_same, rows_of

TABLE = "ini_keys.txt"
NONSENSE = "!nonsense!"
UNIT_BYTES = {"KiB": KIB, "MiB": MIB, "GiB": GIB}
UNIT_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEH"

EXAMPLES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "lines": ({"one": ("one",), "one\n two": ("one", "two")}, []),
    "printable": ({"text": "text"}, ["a\tb", "${HOME}"]),
    "names": ({"one two,three": ("one", "two", "three")}, []),
    "user-sources": ({"file": ("file",)}, ["http file", "file file", "elsewhere"]),
    "service-url": (
        {
            "https://idp.example:8443/a/b/": "https://idp.example:8443/a/b",
            "http://[::1]:1": "http://[::1]:1",
        },
        ["http://idp.example", "idp", "ftp://h", "https://u:p@h", "https://h/?a=b", "https://h:0"],
    ),
    "ldap-urls": (
        {
            "ldap://a ldaps://b:1636/": ("ldap://a", "ldaps://b:1636"),
            "ldap://[::1]": ("ldap://[::1]",),
        },
        ["a", "http://a", "ldap://", "ldap://u:p@a", "ldap://a/dc=x", "ldap://a?x", "ldap://a:0"],
    ),
    "plain-text": ({"ou=a b,dc={username}": "ou=a b,dc={username}"}, ["a\tb"]),
    "attribute": ({"sAMAccountName": "sAMAccountName", "x-1": "x-1"}, ["a b", "1a", "a;binary"]),
    "attribute-or-none": ({"pubKey": "pubKey", "none": ""}, ["a b", "1a", "a;binary"]),
    "ldap-groups": (
        {"a b: c\n cn=x,dc=y: d": (("a b", "c"), ("cn=x,dc=y", "d"))},
        ["a", "a:", ": b", "a: b\n a: c"],
    ),
    "ldap-attributes": (
        {
            "bucket = sftpBucket\n mount=sftpMount": (
                ("bucket", "sftpBucket"),
                ("mount", "sftpMount"),
            )
        },
        ["bucket", "= x", "bucket = x\n bucket = y", "no_key = x", "password_hash = x"],
    ),
    "table-name": ({"sftp-users_1.2": "sftp-users_1.2"}, ["ab", "a/b", "x" * 256]),
    "table-endpoint": (
        {
            "https://dynamodb.example:8443/": "https://dynamodb.example:8443",
            "http://localhost:8000": "http://localhost:8000",
        },
        ["http://dynamodb.example", "https://h/path", "ftp://h", "https://u:p@h"],
    ),
    "groups": ({"staff": 7, "staff, visitors": 3, "visitors staff": 7}, ["nobody-has-it"]),
    "patterns": ({"*.exe ~$*, [a-c]?": ("*.exe", "~$*", "[a-c]?")}, ["a/b"]),
    "expiry": (
        {
            "2027-03-31": 1806451200.0,
            "2027-03-31T02:00+02:00": 1806451200.0,
            "2027-03-31T00:00:01Z": 1806451201.0,
            "never": None,
        },
        ["2027-02-30", "31.3.2027", "tomorrow"],
    ),
    "mount-lines": (
        {
            "/in s3://abc/in": (Mount("abc", "in/", path=("in",)),),
            '"/a b/c" s3://abc/ list download': (
                Mount(
                    "abc",
                    "",
                    path=("a b", "c"),
                    permissions=Permission.LIST | Permission.DOWNLOAD,
                ),
            ),
            "\n /a s3://abc/{username}/\n /b s3://arn:aws:s3:r:123456789012:accesspoint/ab1/p/": (
                Mount("abc", "alice/", path=("a",)),
                Mount("arn:aws:s3:r:123456789012:accesspoint/ab1", "p/", path=("b",)),
            ),
        },
        [
            "/in",
            "in s3://abc/",
            "/in abc/in",
            "/in s3://abc",
            "/in s3://a/",
            "/in s3://abc/ fly",
            "/in s3://abc/../x",
            "/a/../b s3://abc/",
            "/in other:abc/in/",
            "/in s3://abc/.sftpgw/x/",
            "/in s3://abc/{user}/",
            "/ s3://abc/\n / s3://def/",
        ],
    ),
    "secret": ({"s3cr%t;#": "s3cr%t;#"}, ["${SECRET}", "<secret>"]),
    "text": ({"$2b$04$abc": "$2b$04$abc"}, []),
    "yes-or-no": (
        dict.fromkeys(("yes", "true", "on", "1", "YES"), True)
        | dict.fromkeys(("no", "false", "off", "0", "NO"), False),
        ["maybe"],
    ),
    "mode": ({"0644": 0o644, "755": 0o755}, ["0999", "1777", "rwx"]),
    "networks": (
        {
            "192.0.2.0/24, 2001:db8::/32 10.1.2.3": (
                ip_network("192.0.2.0/24"),
                ip_network("2001:db8::/32"),
                ip_network("10.1.2.3"),
            )
        },
        ["192.0.2.1/24", "host"],
    ),
    "startup-limits": (
        {"1:1:1": StartupLimits(1, 1, 1), "10:100:100": StartupLimits(10, 100, 100)},
        ["0:30:60", "10:0:60", "10:101:60", "61:30:60", "10:30"],
    ),
    "penalties": (
        {
            "authfail:1m": PenaltySettings(failed_attempt_seconds=60.0),
            "noauth:0s max:1d,min:2s grace-exceeded:3s authfail:4s": PenaltySettings(
                4.0, 0.0, 3.0, 2.0, 86400.0
            ),
        },
        ["authfail", "authfail:5", "crash:90s", "min:20s max:10s", "max:2d", "min:1s min:1s"],
    ),
    "bucket-name": (
        {
            name: name
            for name in (
                "abc",
                "a" * 63,
                "My.Bucket-1_x",
                "arn:aws:s3:eu-west-1:123456789012:accesspoint/name",
            )
        },
        ["ab", "a" * 64, "-abc", "a/b", "arn:aws:s3::123456789012:accesspoint/name.mrap"],
    ),
    "region": ({"eu-west-1": "eu-west-1", "a" * 64: "a" * 64}, ["eu west", "a" * 65]),
    "endpoint": (
        {
            "http://h": "http://h",
            "https://h:1/": "https://h:1",
            "https://[::1]:9000": "https://[::1]:9000",
        },
        ["h:1", "ftp://h", "http://h/path", "http://u:p@h", "http://h:0"],
    ),
    "role-arn": ({"arn:aws:iam::1:role/r": "arn:aws:iam::1:role/r"}, ["role/r"]),
    "storage-class": ({"STANDARD_IA": "STANDARD_IA"}, ["standard"]),
    "kms-key": ({"alias/mine": "alias/mine"}, ["a b", "k" * 2049]),
    "kms-context": ({'{"a": "b"}': '{"a":"b"}'}, ["a=b", "[1]", '{"a": 1}']),
    "customer-key": ({}, ["missing.key"]),
    "key-variable": ({}, ["MISSING_VARIABLE_OF_A_KEY", "a-b"]),
    "acl": ({"bucket-owner-full-control": "bucket-owner-full-control"}, ["mine", "Private"]),
    "tags": (
        {
            "project=x user={username}": (("project", "x"), ("user", "{username}")),
            "a=": (("a", ""),),
        },
        ["project", "=x", "a=1 a=2", "a={home}", " ".join(f"t{n}=x" for n in range(11))],
    ),
    "session-tags": (
        {"team=x user={username}": (("team", "x"), ("user", "{username}"))},
        ["team", "ip={client_ip}", "a=1 A=2", "aws:a=1"],
    ),
    "account": ({"123456789012": "123456789012"}, ["1234", "a" * 12]),
    "state-prefix": (
        {".gw": ".gw/", "/a/b/": "a/b/", "p" * 900: "p" * 900 + "/"},
        ["/", "a//b", "../a", "{username}", "p" * 901],
    ),
    "key-prefix": (
        {"/": "", "a": "a/", "/a/b/": "a/b/", "{username}/x": "alice/x/", "{{a}}": "{a}/"},
        ["a//b", "a/../b", "{user}", "$USER/", "p" * 901],
    ),
    "login-alternatives": (
        {
            "any": (),
            "publickey": (("publickey",),),
            "publickey+password": (("publickey", "password"),),
            "password+publickey+totp": (("password", "publickey", "totp"),),
            "publickey+totp password+totp": (("publickey", "totp"), ("password", "totp")),
        },
        ["totp", "totp+password", "any password", "publickey+any", "password+password", "key", "+"],
    ),
    "totp-secret": (
        {
            SECRET: SECRET,
            "jbsw y3dp ehpk 3pxp-JBSW Y3DP EH====": SECRET,
            "A" * 103: "A" * 103,
        },
        ["JBSWY3DPEHPK3PXP", "A" * 105, "1" * 32, "A" * 33],
    ),
}
"""By type: texts with what they mean, and texts that are refused."""

COMPANIONS = {
    "[s3] session_token": "[s3]\naccess_key = a\nsecret_key = b\n",
    "[s3] access_key": "[s3]\nsecret_key = b\n",
    "[s3] secret_key": "[s3]\naccess_key = a\n",
    "[auth] dynamodb_access_key": "[auth]\ndynamodb_secret_key = b\n",
    "[auth] dynamodb_secret_key": "[auth]\ndynamodb_access_key = a\n",
    "[s3] sse_kms_key": "[s3]\nsse = kms\n",
    "[s3] sse_bucket_key": "[s3]\nsse = kms\n",
    "[s3] sse_kms_context": "[s3]\nsse = kms-dsse\n",
    **{
        f"[{section}] {key}": "[s3]\nsse = kms\n"
        for section in ("*", "USER")
        for key in ("sse_kms_key", "sse_bucket_key", "sse_kms_context")
    },
    "[s3] part_size": "[limits]\nmemory = 16GiB\n",
    "[s3] download_part_size": "[limits]\nmemory = 16GiB\n",
    "[limits] reorder_allowance": "[limits]\nmemory = 16GiB\n",
    "[lockout] ban_time": "[lockout]\nmax_ban_time = 365d\n",
    "[lockout] max_ban_time": "[lockout]\nban_time = 1s\n",
    "[limits] memory": "[limits]\nreorder_allowance = 1MiB\n",
    **dict.fromkeys(
        ("[s3] session_tags", "[*] role_arn", "[USER] role_arn"),
        "[s3]\nscoped_credentials = yes\n",
    ),
    "[ssh] max_connections": "[ssh]\nmax_startups = 1:1:1\n",
    "[ssh] balancer_networks": "[gateway]\nlisten = haproxy:tcp:2022\n",
}
"""What else has to be given for a key to make sense."""


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    name: str
    kind: str
    default: str

    @property
    def section(self) -> str:
        return self.name[1:].partition("] ")[0]

    @property
    def key(self) -> str:
        return self.name.partition("] ")[2]

    @property
    def is_of_users(self) -> bool:
        return self.section in ("*", "USER")


ROWS = [Row(*line.split(" | ")) for line in rows_of(TABLE)]


@dataclass(frozen=True)
class Loader:
    """Loads configurations in which one key varies."""

    folder: Path

    def load(self, row: Row, text: str | None, *, is_alone: bool = False) -> Settings:
        """Load a configuration.

        :param text: the value of the row's key; None leaves it out.
        :param is_alone: leave out its companions, too.
        """
        line = "" if text is None else f"{row.key} = {text}\n"
        given = {"USER": "", "*": ""} | dict.fromkeys(SECTIONS, "")
        companions = "" if is_alone else COMPANIONS.get(row.name, "")
        for block in re.findall(r"\[\w+\]\n[^\[]+", companions):
            given[block[1:].partition("]")[0]] += block.partition("\n")[2]
        given[row.section] += line
        if row.name != "[gateway] host_keys":
            given["gateway"] += "host_keys = host_key\n"
        if row.name != "[gateway] create_host_keys":
            given["gateway"] += "create_host_keys = yes\n"
        if not (row.is_of_users and row.key == "bucket") and row.name != "[s3] bucket":
            given["s3"] += "bucket = uploads\n"
        if not (row.is_of_users and row.key == "key_prefix"):
            given["*"] += "key_prefix = home/\n"
        if row.key not in ("password_hash", "authorized_keys"):
            given["USER"] += "authorized_keys = key\n"
        if row.key == "require":
            given["USER"] += f"password_hash = hash\ntotp_secret = {SECRET}\n"
        if row.name == "[s3] bucket":
            given["*"] += "bucket = other\n"
        if row.name == "[USER] password_hash" and text is None:
            given["USER"] += "authorized_keys = key\n"
        if row.name == "[USER] authorized_keys" and not text:
            given["USER"] += "password_hash = hash\n"
        users = f"[*]\n{given.pop('*')}[alice]\n{given.pop('USER')}"
        users += "[*staff]\nweight = 7\n[*visitors]\nweight = 3\n"
        gateway = "".join(f"[{name}]\n{lines}" for name, lines in given.items())
        (self.folder / "users.ini").write_text(users, encoding="utf-8")
        (self.folder / "sftpgw.ini").write_text(gateway, encoding="utf-8")
        return load_settings(
            self.folder / "sftpgw.ini",
            read_key=lambda line: AuthorizedKey(line.encode()),
            check_hash=str,
            known_algorithms=KNOWN,
        )

    def value(self, row: Row, text: str | None, *, is_alone: bool = False) -> Any:
        """What a text of the row's key means."""
        settings = self.load(row, text, is_alone=is_alone)
        if row.is_of_users:
            return _of_user(settings.users["alice"], USER_KEYS[row.key].field)
        if row.name == "[gateway] users":
            return tuple(settings.users)
        if row.key in KNOWN:
            offered = getattr(Offer.of(settings.ssh), row.key)
            return tuple(name.decode() for name in offered)
        return getattr(getattr(settings, row.section), SECTIONS[row.section][row.key].field)

    def is_refused(self, row: Row, text: str) -> bool:
        """Whether a text is a fault, and one of this key."""
        section = "alice" if row.section == "USER" else row.section
        try:
            self.load(row, text)
        except ConfigError as error:
            return any(f" [{section}] {row.key}: " in fault for fault in error.faults)
        return False


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Loader:
    folder = tmp_path_factory.mktemp("ini")
    for name in ("host_key", *HOST_KEY_NAMES):
        (folder / name).touch(0o600)
    (folder / "text").write_text("Members only.\n", encoding="utf-8")
    return Loader(folder)


def test_every_key_is_in_the_table() -> None:
    found = {f"[{section}] {key}" for section, keys in SECTIONS.items() for key in keys}
    found |= {f"[*] {key}" for key in DEFAULT_KEYS} | {f"[USER] {key}" for key in USER_KEYS}
    demand_same(TABLE, {row.name for row in ROWS}, found, "a key of an ini file")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_default_is_what_the_table_says(row: Row, loader: Loader) -> None:
    if row.is_of_users:
        demand_user_default(row, loader)
        return
    absent = loader.value(row, None, is_alone=True)
    assert loader.value(row, "", is_alone=True) == absent, (
        f"{row.name}: a blank value is the default"
    )
    if row.default == "-":
        assert absent in ("", (), None, Capabilities()), f"{row.name} has a default now: {absent!r}"
    else:
        default = row.default.replace(" ", "\n ") if row.kind == "lines" else row.default
        written = loader.value(row, default, is_alone=True)
        assert absent == written, f"{row.name}: the default is no longer {row.default}"


def _of_user(user: User, field: str) -> Any:
    """The value of a field of `USER_KEYS`, wherever in the user it is."""
    if field in ("deny", "allow", "hides_denied"):
        return getattr(user.mounts[0].access_at(()), field)
    if field == "mount":
        return tuple(mount for mount in user.mounts if mount.path)
    if field in ("groups", "role_arn"):
        role = user.role.arn if user.role is not None else ""
        return role if field == "role_arn" else user.weight if user.weight != 1 else ()
    if field in ("quota_bytes", "quota_files"):
        quota = user.limits.quotas[0] if user.limits.quotas else QuotaLimits()
        return quota.max_bytes if field == "quota_bytes" else quota.max_files
    value = next(
        getattr(part, field)
        for part in (user.mounts[0], user.mounts[0].objects, user.login, user.limits, user)
        if hasattr(part, field)
    )
    if field == "require":
        return tuple(tuple(method.value for method in series) for series in value)
    return frozenset(value) if field == "authorized_keys" else value


def demand_user_default(row: Row, loader: Loader) -> None:
    if row.key == "bucket":
        alice = loader.load(Row("[s3] region", "", ""), None).users["alice"]
        assert alice.mounts[0].bucket == "uploads"
    elif row.key == "key_prefix":
        with pytest.raises(ConfigError, match=r"key_prefix: is missing"):
            loader.load(row, None)
    elif row.key == "permissions":
        assert loader.value(row, None) == ALL_PERMISSIONS
        assert {str(each.name).lower() for each in ALL_PERMISSIONS} == set(row.kind.split()[2:])
    elif row.key == "weight":
        assert loader.value(row, None) == 1
    else:
        assert not loader.value(row, None)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_values_are_written_as_the_table_says(row: Row, loader: Loader) -> None:
    demand_kind(row, row.kind, loader)


def demand_kind(row: Row, kind: str, loader: Loader) -> None:
    word, _, bounds = kind.partition(" ")
    if word.startswith(("never-or-", "off-or-", "auto-or-")):
        special, _, rest = kind.partition("-or-")
        assert loader.value(row, {"never": "0"}.get(special, special)) in (0.0, None)
        demand_kind(row, rest, loader)
    elif word in ("size", "time", "count"):
        smallest, largest = bounds.split(" to ")
        demand_bounds(row, word, smallest, largest, loader)
    elif word in ("one", "some"):
        demand_words(row, bounds.removeprefix("of ").split(), loader)
    else:
        demand_examples(row, kind, loader)


def demand_bounds(row: Row, kind: str, smallest: str, largest: str, loader: Loader) -> None:
    for text in (smallest, largest):
        assert loader.value(row, text) == amount(text), f"{row.name} = {text}"
    least, most = amount(smallest), amount(largest)
    step = {"size": KIB, "time": 0.001, "count": 1}[kind]
    outside = [most + step, *([least - step] if least >= step else [])]
    for number in outside:
        text = written(number, kind)
        assert amount(text) == number
        assert loader.is_refused(row, text), f"{row.name} = {text} is out of bounds"
    assert loader.is_refused(row, NONSENSE)


def amount(text: str) -> float:
    number, unit = re.fullmatch(r"([0-9.]+)(\D*)", text).groups()  # type: ignore[union-attr]
    return float(number) * (UNIT_BYTES | UNIT_SECONDS | {"": 1})[unit]


def written(number: float, kind: str) -> str:
    if kind == "size":
        return f"{int(number) // KIB}KiB"
    return f"{number:.3f}s" if kind == "time" else f"{int(number)}"


def demand_words(row: Row, words: list[str], loader: Loader) -> None:
    assert loader.is_refused(row, NONSENSE)
    values = [loader.value(row, word) for word in words]
    known = words_of(values[0], row.key)
    assert known == set(words), f"{row.name}: these words are known now"
    if isinstance(values[0], Enum) and not isinstance(values[0], Flag):
        assert [value.value for value in values] == words
    else:
        assert len(set(values)) == len(words), f"{row.name}: two words mean the same"
        assert not loader.is_refused(row, ", ".join(words))


def words_of(value: object, key: str) -> set[str]:
    """All words that are known beside the one that means `value`."""
    if isinstance(value, Permission):
        return {str(each.name).lower() for each in Permission}
    if isinstance(value, Enum):
        return {str(each.value) for each in type(value)}
    if isinstance(value, Capabilities):
        return {field.name.replace("_", "-") for field in fields(Capabilities)}
    return set(KNOWN[key])


def demand_examples(row: Row, kind: str, loader: Loader) -> None:
    accepted, refused = EXAMPLES[kind]
    for text in refused:
        assert loader.is_refused(row, text), f"{row.name} = {text}"
    for text, value in adapted(row, accepted).items():
        assert loader.value(row, text) == value, f"{row.name} = {text}"


FILES_OF_AUTH = tuple(
    f"[auth] {key}"
    for key in (
        "ca_keys",
        "revoked_keys",
        "http_ca_file",
        "ldap_ca_file",
        "ldap_service_password_file",
        "http_token_file",
    )
)


def adapted(row: Row, accepted: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values as this key has them."""
    of_folder = ("[gateway] host_keys", "[gateway] control", "[s3] ca_file", *FILES_OF_AUTH)
    if row.name in ("[gateway] users", "[ssh] banner_file"):
        return {}  # their values are what is in the file
    if row.key == "authorized_keys":
        return {text: frozenset(line.encode() for line in v) for text, v in accepted.items()}
    if row.name in of_folder:
        return {}  # absolute, and tested in test_files_are_relative_to_the_configuration
    return accepted


def test_files_are_relative_to_the_configuration(loader: Loader) -> None:
    rows = {row.name: row for row in ROWS}
    folder = loader.folder
    host_keys = loader.value(rows["[gateway] host_keys"], "a\n b/c")
    assert host_keys == (str(folder / "a"), str(folder / "b/c"))
    assert loader.value(rows["[s3] ca_file"], "text") == str(folder / "text")
    for name in FILES_OF_AUTH:
        assert loader.value(rows[name], "text") == str(folder / "text")
    assert loader.value(rows["[ssh] banner_file"], "text") == "Members only.\r\n"
    assert loader.value(rows["[gateway] users"], "./users.ini") == ("alice",)
