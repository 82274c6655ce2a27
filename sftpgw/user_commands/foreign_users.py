"""Users of other programs, as sections of users.ini: AWS Transfer Family and SFTPGo.

Knows: what ``aws transfer list-users`` and ``describe-user`` print (API reference, DescribedUser),
and what SFTPGo's ``dumpdata`` writes (its OpenAPI schema, User).
Must not know: files, or how users.ini is edited.

What has no counterpart is reported, never guessed. A user does not get more than before: where it
cannot be told what the user could reach, the section lacks ``key_prefix``, which the loader
refuses. Where a restriction has no counterpart, the user is disabled until the operator has looked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sftpgw.user_commands.arguments import FORMATS

AWS_TRANSFER, SFTPGO = FORMATS
S3_PROVIDER = 1
"""SFTPGo's number of the storage provider S3."""

SSH_PROTOCOL = "SSH"
"""SFTPGo's name for SFTP and SCP."""

DISABLED_LINE = "disabled = yes"

_AWS_NAME = "${transfer:UserName}"


@dataclass(slots=True)
class ForeignUser:
    """A user of another program.

    :ivar name: the name.
    :ivar lines: what stands in the section.
    :ivar left_out: what could not be carried over, one sentence each.
    """

    name: str
    lines: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def disable(self, reason: str) -> None:
        """Keep the user out until the operator has looked.

        :param reason: which restriction could not be carried over.
        """
        if DISABLED_LINE not in self.lines:
            self.lines.append(DISABLED_LINE)
        self.left_out.append(f"{reason}; the user is disabled until you have looked")

    def say(self, key: str, value: object) -> None:
        """Add a key with a value of one line."""
        text = str(value)
        if text.isprintable():
            self.lines.append(f"{key} = {text}")
        else:
            self.left_out.append(f"{key}: the value has unprintable characters")

    def say_all(self, key: str, values: Iterable[str]) -> None:
        """Add a key with a line for each value, if there are any."""
        lines = [value.strip() for value in values if value.strip()]
        if lines:
            self.lines += [f"{key} =", *(f"    {line}" for line in lines)]


def read_foreign_users(text: str, source: str) -> list[ForeignUser]:
    """The users that another program has written out.

    :param text: one JSON document or several behind each other.
    :param source: `AWS_TRANSFER` or `SFTPGO`.
    :raises ValueError: it is not what that program writes.
    """
    read = _aws_users if source == AWS_TRANSFER else _sftpgo_users
    users = [user for document in _documents(text) for user in read(document)]
    if not users:
        raise ValueError(f"there are no users of {source} in it")
    return users


def _documents(text: str) -> Iterator[Mapping[str, Any]]:
    decoder, position = json.JSONDecoder(), 0
    while text[position:].strip():
        position += len(text[position:]) - len(text[position:].lstrip())
        document, position = decoder.raw_decode(text, position)
        for each in document if isinstance(document, list) else [document]:
            if not isinstance(each, dict):
                raise ValueError("it is not a JSON object")
            yield each


def _name_of(record: Mapping[str, Any], key: str) -> str:
    name = record.get(key)
    if not isinstance(name, str) or not name.isprintable() or name.startswith("*"):
        raise ValueError(f"a user has no proper {key}")
    return name


# AWS Transfer Family.


def _aws_users(document: Mapping[str, Any]) -> Iterator[ForeignUser]:
    if isinstance(document.get("Users"), list):
        for record in document["Users"]:
            user = ForeignUser(_name_of(record, "UserName"))
            user.left_out.append(
                "list-users has no keys; run aws transfer describe-user for this user"
            )
            _aws_home(user, record)
            yield user
    elif isinstance(document.get("User"), dict):
        yield _aws_user(document["User"])


def _aws_user(record: Mapping[str, Any]) -> ForeignUser:
    user = ForeignUser(_name_of(record, "UserName"))
    _aws_home(user, record)
    keys = record.get("SshPublicKeys") or []
    user.say_all("authorized_keys", (str(each.get("SshPublicKeyBody", "")) for each in keys))
    if record.get("Policy"):
        user.left_out.append("Policy: compare it with permissions, which are all for now")
    if record.get("Role"):
        user.left_out.append(f"Role {record['Role']}: the gateway's own role applies")
    if record.get("PosixProfile"):
        user.left_out.append("PosixProfile: EFS is not supported")
    if record.get("Tags"):
        user.left_out.append("Tags")
    return user


def _aws_home(user: ForeignUser, record: Mapping[str, Any]) -> None:
    if record.get("HomeDirectoryType") == "LOGICAL":
        _aws_mappings(user, record.get("HomeDirectoryMappings") or [])
        if record.get("HomeDirectory") not in (None, "", "/"):
            user.left_out.append(f"HomeDirectory {record['HomeDirectory']}: logins begin at /")
        return
    home = _aws_target(user, str(record.get("HomeDirectory") or ""))
    if home is None:
        user.left_out.append("HomeDirectory is missing: give key_prefix")
        return
    _say_home(user, *home)
    user.left_out.append(
        f"HomeDirectoryType PATH: the user saw /{home[0]}/{home[1]}, and sees / now"
    )


def _aws_mappings(user: ForeignUser, mappings: Sequence[Mapping[str, Any]]) -> None:
    mounts = []
    for mapping in mappings:
        entry, target = str(mapping.get("Entry", "")), str(mapping.get("Target", ""))
        place = _aws_target(user, target)
        if place is None or mapping.get("Type") == "FILE" or not entry.startswith("/"):
            user.left_out.append(f"mapping {entry} to {target}")
        elif entry == "/":
            _say_home(user, *place)
        else:
            mounts.append(_mount_line(entry, *place))
    user.say_all("mount", mounts)


def _aws_target(user: ForeignUser, path: str) -> tuple[str, str] | None:
    """Bucket and prefix of ``/bucket/prefix``; None for other texts."""
    filled = path.replace(_AWS_NAME, user.name)
    bucket, _, prefix = filled.removeprefix("/").partition("/")
    if not filled.startswith("/") or not bucket or "${" in filled:
        return None
    return bucket, prefix.strip("/")


def _say_home(user: ForeignUser, bucket: str, prefix: str) -> None:
    user.say("bucket", _escaped(bucket))
    user.say("key_prefix", f"{_escaped(prefix)}/" if prefix else "/")


def _mount_line(entry: str, bucket: str, prefix: str) -> str:
    target = f"s3://{_escaped(bucket)}/{_escaped(prefix)}{'/' if prefix else ''}"
    return f"{_quoted(_escaped(entry))} {_quoted(target)}"


def _escaped(text: str) -> str:
    """Braces stand for themselves."""
    return text.replace("{", "{{").replace("}", "}}")


def _quoted(text: str) -> str:
    return f'"{text}"' if " " in text else text


# SFTPGo.

_PERMISSIONS = {
    "list": {"list"},
    "download": {"download"},
    "upload": {"upload"},
    "overwrite": {"overwrite"},
    "delete": {"delete"},
    "rename": {"rename"},
    "create_dirs": {"mkdir"},
    "chtimes": {"setstat"},
}
"""Those of SFTPGo that mean the same here."""

_ORDER = ("list", "download", "upload", "overwrite", "delete", "rename", "mkdir", "setstat")


def _sftpgo_users(document: Mapping[str, Any]) -> Iterator[ForeignUser]:
    for record in document.get("users") or []:
        yield _sftpgo_user(record)


def _sftpgo_user(record: Mapping[str, Any]) -> ForeignUser:
    user = ForeignUser(_name_of(record, "username"))
    _sftpgo_home(user, record.get("filesystem") or {})
    for path, names in (record.get("permissions") or {}).items():
        _sftpgo_permissions(user, path, names)
    if record.get("status") == 0:
        user.lines.append(DISABLED_LINE)
    _sftpgo_limits(user, record)
    _sftpgo_filters(user, record.get("filters") or {})
    for folder in record.get("virtual_folders") or []:
        user.left_out.append(f"virtual folder {folder.get('virtual_path')}: give a mount")
    for group in record.get("groups") or []:
        user.left_out.append(f"group {group.get('name')}: give groups")
    if password := record.get("password"):
        user.say("password_hash", password)
    user.say_all("authorized_keys", map(str, record.get("public_keys") or []))
    return user


def _sftpgo_home(user: ForeignUser, filesystem: Mapping[str, Any]) -> None:
    if filesystem.get("provider") != S3_PROVIDER:
        user.left_out.append("the files are not in S3: copy them, and give bucket and key_prefix")
        return
    s3 = filesystem.get("s3config") or {}
    _say_home(user, str(s3.get("bucket", "")), str(s3.get("key_prefix", "")).strip("/"))
    for key in ("region", "endpoint", "access_key", "role_arn", "storage_class", "acl"):
        if s3.get(key):
            shown = "" if key == "access_key" else f" {s3[key]}"
            user.left_out.append(f"s3config {key}{shown}: that is for [s3] or [store NAME]")


def _sftpgo_permissions(user: ForeignUser, path: str, names: Sequence[str]) -> None:
    given = set(names)
    granted: set[str] = set(_ORDER) if "*" in given else set()
    for name in given - {"*"}:
        granted |= _PERMISSIONS.get(name, set())
    if {"delete_files", "delete_dirs"} <= given:
        granted.add("delete")
    if {"rename_files", "rename_dirs"} <= given:
        granted.add("rename")
    pairs = {"delete_files", "delete_dirs", "rename_files", "rename_dirs"}
    halves = {half for half in given & pairs if half.partition("_")[0] not in granted}
    for name in sorted((given - set(_PERMISSIONS) - {"*"} - pairs) | halves):
        user.left_out.append(f"permission {name} of {path}")
    key = "permissions" if path == "/" else f"permissions {_quoted(_escaped(path))}"
    if granted:
        user.say(key, " ".join(name for name in _ORDER if name in granted))
    else:
        user.left_out.append(f"permissions of {path}: none of them exists here; give some")


def _sftpgo_limits(user: ForeignUser, record: Mapping[str, Any]) -> None:
    if expiry := record.get("expiration_date"):
        moment = datetime.fromtimestamp(expiry / 1000, UTC)
        user.say("expires", f"{moment:%Y-%m-%dT%H:%M:%S}Z")
    for theirs, ours in (("max_sessions", "max_sessions"), ("quota_files", "quota_files")):
        if record.get(theirs):
            user.say(ours, record[theirs])
    if record.get("quota_size"):
        user.say("quota_bytes", f"{-(-record['quota_size'] // 1024)}KiB")
    for theirs, ours in (
        ("upload_bandwidth", "max_upload_rate"),
        ("download_bandwidth", "max_download_rate"),
    ):
        if record.get(theirs):
            user.say(ours, f"{record[theirs]}KiB")


def _sftpgo_filters(user: ForeignUser, filters: Mapping[str, Any]) -> None:
    if networks := filters.get("allowed_ip"):
        user.say("networks", " ".join(networks))
    if size := filters.get("max_upload_file_size"):
        user.say("max_file_size", f"{max(1, size // 1024)}KiB")
    for patterns in filters.get("file_patterns") or []:
        _sftpgo_patterns(user, patterns)
    _sftpgo_methods(user, set(filters.get("denied_login_methods") or []))
    _sftpgo_codes(user, filters)
    if networks := filters.get("denied_ip"):
        user.disable(f"filter denied_ip ({' '.join(networks)})")
    if SSH_PROTOCOL in (filters.get("denied_protocols") or []):
        user.disable("filter denied_protocols has SSH")
    for key in ("access_time", "password_expiration"):
        if filters.get(key):
            user.disable(f"filter {key}")
    for key in sorted(set(filters) - _JUDGED_FILTERS):
        if filters[key]:
            user.left_out.append(f"filter {key}")


_JUDGED_FILTERS = frozenset(
    {
        "access_time",
        "allowed_ip",
        "denied_ip",
        "denied_login_methods",
        "denied_protocols",
        "file_patterns",
        "hooks",
        "max_upload_file_size",
        "password_expiration",
        "tls_username",
        "totp_config",
        "two_factor_protocols",
    }
)


def _sftpgo_methods(user: ForeignUser, denied: set[str]) -> None:
    """``require`` for the methods that are left. A prompt asks for the password here, too."""
    if not denied:
        return
    ways = [] if "publickey" in denied else ["publickey"]
    if not denied & {"password", "password-over-SSH"}:
        ways.append("password")
    if "publickey" in denied and not denied >= {
        "publickey+password",
        "publickey+keyboard-interactive",
    }:
        ways.append("publickey+password")
    if ways:
        user.say("require", " ".join(ways))
    else:
        user.disable("filter denied_login_methods leaves none")


def _sftpgo_codes(user: ForeignUser, filters: Mapping[str, Any]) -> None:
    codes = filters.get("totp_config") or {}
    is_asked = codes.get("enabled") and SSH_PROTOCOL in (codes.get("protocols") or [SSH_PROTOCOL])
    if is_asked or SSH_PROTOCOL in (filters.get("two_factor_protocols") or []):
        user.disable("one-time codes: run sftpgw user totp for this user, and give require")


def _of_any_case(pattern: str) -> str:
    """A pattern that matches in either case, as those of SFTPGo do."""
    is_in_set = False
    found = ""
    for letter in pattern:
        other = letter.swapcase()
        is_pair = len(other) == 1 and other != letter and other.swapcase() == letter
        found += f"[{letter}{other}]" if is_pair and not is_in_set else letter
        is_in_set = letter == "[" or (is_in_set and letter != "]")
    return found


def _sftpgo_patterns(user: ForeignUser, patterns: Mapping[str, Any]) -> None:
    path = str(patterns.get("path", "/"))
    behind = "" if path == "/" else f" {_quoted(_escaped(path))}"
    for theirs, ours in (("allowed_patterns", "allow"), ("denied_patterns", "deny")):
        if names := patterns.get(theirs):
            user.say(f"{ours}{behind}", " ".join(map(_of_any_case, names)))
    if patterns.get("deny_policy") == 1:
        user.say(f"deny_hidden{behind}", "yes")
