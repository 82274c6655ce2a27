"""``sftpgw user``, through its command line, on files of a folder."""

from __future__ import annotations

import fcntl
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import bcrypt
import pyotp
import pytest

from sftpgw.auth.passwords import matches
from sftpgw.cli import main
from sftpgw.config import ini_edits, ini_grammar
from sftpgw.config.users_editor import EditRefused, UsersEditor
from sftpgw.model.users import QuotaLimits
from sftpgw.startup import faults_with_users, read_settings
from sftpgw.testing.ssh_pairs import new_key
from sftpgw.user_commands.actions import OperatorTerminal, UserActions
from sftpgw.user_commands.foreign_users import ForeignUser

KEYS = [new_key().public().toString("OPENSSH", comment=name).decode() for name in ("one", "two")]
BEGINNING = f"""\
# Ours.
[*]
key_prefix = home/{{username}}/

# Bob is a partner.
[bob]
authorized_keys =
    {KEYS[0]}
"""


class Operator:
    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.users = folder / "users.ini"
        self._capsys = capsys
        (folder / "sftpgw.ini").write_text(
            "[gateway]\ncreate_host_keys = yes\n[s3]\nbucket = uploads\n", encoding="utf-8"
        )

    def run(self, *arguments: str, status: int = 0, typed: str = "") -> str:
        """What the command prints."""
        read, stdin = io.TextIOWrapper(io.BytesIO(typed.encode())), sys.stdin
        sys.stdin = read
        try:
            command, *rest = arguments
            found = main(["user", command, "--config", str(self.folder / "sftpgw.ini"), *rest])
        finally:
            sys.stdin = stdin
        shown = self._capsys.readouterr()
        assert found == status, shown
        return shown.out

    @property
    def text(self) -> str:
        return self.users.read_text(encoding="utf-8")

    def login(self, name: str):
        return read_settings(str(self.folder / "sftpgw.ini"), is_start=False).users[name].login


@pytest.fixture
def operator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Operator:
    operator = Operator(tmp_path, capsys)
    operator.users.write_text(BEGINNING, encoding="utf-8")
    operator.users.chmod(0o640)
    return operator


def test_a_user_is_added_behind_the_others(operator: Operator) -> None:
    operator.run("add", "alice", "--key", KEYS[1])
    assert operator.text == f"{BEGINNING}\n[alice]\nauthorized_keys =\n    {KEYS[1]}\n"
    assert operator.users.stat().st_mode & 0o777 == 0o640
    assert len(operator.login("alice").authorized_keys) == 1


def test_the_first_user_makes_a_file_for_its_owner_only(operator: Operator) -> None:
    operator.users.unlink()
    operator.run("add", "alice", "--password", "--prefix", "home/alice/", typed="secret\n")
    assert operator.users.stat().st_mode & 0o777 == 0o600
    hashed = operator.login("alice").password_hash
    assert hashed is not None
    assert matches(b"secret", hashed)


def test_a_user_with_a_password_and_codes_at_once(operator: Operator) -> None:
    rule = ("--require", "password+totp")
    assert operator.run("add", "alice", "--password", *rule, typed="secret\n", status=1) == ""
    shown = operator.run("add", "alice", "--password", *rule, "--totp", typed="secret\n")
    secret = operator.login("alice").totp_secret
    assert f"otpauth://totp/sftpgw:alice?secret={secret}&issuer=sftpgw" in shown
    assert "No code is asked for yet" not in shown


def test_a_secret_is_shown_to_the_app(operator: Operator) -> None:
    shown = operator.run("totp", "bob", "--issuer", "Files Ltd")
    secret = operator.login("bob").totp_secret
    assert secret is not None
    (uri,) = [line for line in shown.splitlines() if line.startswith("otpauth://")]
    parsed = pyotp.parse_uri(uri)
    assert (parsed.secret, parsed.name, parsed.issuer) == (secret, "bob", "Files Ltd")
    assert "█" in shown
    assert "No code is asked for yet" in shown
    operator.run("totp", "bob", status=1)
    operator.run("totp", "bob", "--replace")
    assert operator.login("bob").totp_secret != secret
    operator.run("totp", "bob", "--remove")
    assert operator.text == BEGINNING


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "alice"),
        ("add", "bob", "--key", KEYS[1]),
        ("add", "*team", "--key", KEYS[1]),
        ("add", "a/b", "--key", KEYS[1]),
        ("add", "a\nb", "--key", KEYS[1]),
        ("add", "alice", "--key", "no.such.file"),
        ("add", "alice", "--key", KEYS[1], "--permissions", "all"),
        ("add", "alice", "--key", KEYS[1], "--prefix", "a\n[root]"),
        ("key", "bob", "--remove", "one"),
        ("key", "bob", "--remove", "nothing"),
        ("key", "nobody"),
        ("disable", "*"),
        ("remove", "nobody"),
        ("passwd", "nobody"),
        ("passwd", "bob", "--rehash"),
        ("show", "nobody"),
    ],
)
def test_what_would_not_load_is_refused(operator: Operator, arguments: tuple[str, ...]) -> None:
    operator.run(*arguments, status=1)
    assert operator.text == BEGINNING
    assert sorted(each.name for each in operator.folder.iterdir()) == ["sftpgw.ini", "users.ini"]


def test_keys_come_and_go(operator: Operator) -> None:
    (operator.folder / "new.pub").write_text(f"# mine\n{KEYS[1]}\n{KEYS[0]}\n", encoding="utf-8")
    shown = operator.run("key", "bob", "--add", str(operator.folder / "new.pub"))
    assert shown.count("is new") == 1
    assert shown.count("already") == 1
    assert len(operator.login("bob").authorized_keys) == 2
    fingerprint = operator.run("key", "bob").splitlines()[0].split()[0]
    operator.run("key", "bob", "--remove", fingerprint)
    operator.run("key", "bob", "--remove", fingerprint, status=1)
    assert len(operator.login("bob").authorized_keys) == 1


def test_a_user_is_kept_out_and_let_in_again(operator: Operator) -> None:
    operator.run("disable", "bob")
    assert operator.login("bob").is_disabled
    assert "DISABLED" in operator.run("list")
    operator.run("enable", "bob")
    assert operator.text == BEGINNING


def test_a_section_is_removed_and_the_rest_stays(operator: Operator) -> None:
    operator.run("add", "alice", "--key", KEYS[1])
    operator.run("remove", "bob")
    assert operator.text.startswith(BEGINNING[: BEGINNING.index("[bob]")])
    assert "[alice]" in operator.text


def test_an_old_hash_is_replaced_by_one_of_the_same_password(operator: Operator) -> None:
    old = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    operator.users.write_text(f"{BEGINNING}password_hash = {old}\n", encoding="utf-8")
    assert "--rehash" in operator.run("show", "bob")
    operator.run("passwd", "bob", "--rehash", typed="wrong\n", status=1)
    operator.run("passwd", "bob", "--rehash", typed="secret\n")
    new = operator.login("bob").password_hash
    assert new is not None
    assert new.startswith("$argon2id$")
    assert matches(b"secret", new)
    operator.run("passwd", "bob", typed="other\n")
    assert matches(b"other", operator.login("bob").password_hash or "")


def test_show_tells_what_applies_and_where_it_is_written(operator: Operator) -> None:
    operator.users.write_text(
        "[*]\nkey_prefix = home/{username}/\nweight = 1\n[*team]\nweight = 3\nmax_sessions = 2\n"
        "mount = /box s3://boxes/\nquota_bytes = 10GiB\nquota_files /box = 100\n"
        f"[bob]\ngroups = team\nmax_sessions = 5\nauthorized_keys =\n    {KEYS[0]}\n"
        "totp_secret = JBSWY3DPEHPK3PXPJBSWY3DPEH\n",
        encoding="utf-8",
    )
    shown = operator.run("show", "bob")
    assert "key_prefix = home/bob/    # [*] in users.ini" in shown
    assert "weight = 3    # [*team] in users.ini" in shown
    assert "max_sessions = 5    # [bob] in users.ini" in shown
    assert "quota_bytes = 10GiB    # [*team] in users.ini" in shown
    assert "quota_files /box = 100    # [*team] in users.ini" in shown
    assert "JBSW" not in shown
    assert "totp_secret = (set)" in shown


def test_faults_that_were_there_before_are_not_in_the_way(operator: Operator) -> None:
    operator.users.write_text(f"{BEGINNING}\n[broken]\nweight = 0\n", encoding="utf-8")
    operator.run("add", "alice", "--key", KEYS[1])
    assert "[alice]" in operator.text
    operator.run("disable", "bob")  # which moves the faults to other lines
    operator.run("remove", "broken")
    assert set(operator.login("alice").authorized_keys)


def test_a_directory_has_a_file_for_each_new_user(operator: Operator) -> None:
    folder = operator.folder / "users.d"
    folder.mkdir()
    (folder / "all.ini").write_text(BEGINNING, encoding="utf-8")
    (operator.folder / "sftpgw.ini").write_text(
        "[gateway]\ncreate_host_keys = yes\nusers = users.d\n[s3]\nbucket = uploads\n"
    )
    operator.run("add", "alice", "--key", KEYS[1])
    operator.run("add", "alice", "--key", KEYS[1], status=1)
    assert (folder / "alice.ini").read_text().startswith("[alice]\n")
    operator.run("disable", "bob")
    assert (folder / "all.ini").read_text() == f"{BEGINNING}disabled = yes\n"
    operator.run("add", "../x", "--key", KEYS[1], status=1)
    assert sorted(each.name for each in folder.iterdir()) == ["alice.ini", "all.ini"]


def editor_of(operator: Operator) -> UsersEditor:
    config = operator.folder / "sftpgw.ini"
    return UsersEditor(operator.users, lambda path: faults_with_users(config, path))


def test_two_commands_do_not_edit_at_once(operator: Operator) -> None:
    descriptor = os.open(operator.folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    operator.run("disable", "bob", status=1)
    os.close(descriptor)
    operator.run("disable", "bob")


def test_what_another_program_has_written_is_not_lost(operator: Operator) -> None:
    def change(text: str) -> str:
        operator.users.write_text(f"{text}# by hand\n", encoding="utf-8")
        return f"{text}disabled = yes\n"

    with pytest.raises(EditRefused, match="changed by another program"):
        editor_of(operator).edit(operator.users, change)
    assert operator.text == f"{BEGINNING}# by hand\n"


def test_a_disk_that_is_full_leaves_the_old_file(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    operator.run("disable", "bob", status=1)
    assert operator.text == BEGINNING
    assert sorted(each.name for each in operator.folder.iterdir()) == ["sftpgw.ini", "users.ini"]


def test_a_symbolic_link_stays_one(operator: Operator) -> None:
    (operator.folder / "real").mkdir()
    operator.users.rename(operator.folder / "real" / "users.ini")
    operator.users.symlink_to(operator.folder / "real" / "users.ini")
    operator.run("disable", "bob")
    assert operator.users.is_symlink()
    assert operator.login("bob").is_disabled


def test_the_module_is_the_same_command(operator: Operator) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sftpgw", "user", "list"],
        cwd=operator.folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "bob  1 key  (users.ini)\n")


# Users of other programs.

AWS = {
    "ServerId": "s-1",
    "User": {
        "Arn": "arn:aws:transfer:eu-west-1:1:user/s-1/carol",
        "HomeDirectoryType": "LOGICAL",
        "HomeDirectory": "/",
        "HomeDirectoryMappings": [
            {"Entry": "/", "Target": "/acme/home/${transfer:UserName}"},
            {"Entry": "/shared docs", "Target": "/other/docs", "Type": "DIRECTORY"},
            {"Entry": "/note", "Target": "/other/note.txt", "Type": "FILE"},
        ],
        "Policy": "{}",
        "Role": "arn:aws:iam::1:role/sftp",
        "SshPublicKeys": [{"SshPublicKeyBody": f"{KEYS[1]}\n", "SshPublicKeyId": "key-1"}],
        "Tags": [],
        "UserName": "carol",
    },
}


def test_users_of_aws_transfer(operator: Operator) -> None:
    plain = {
        "User": {
            "UserName": "dave",
            "HomeDirectory": "/acme/dave",
            "HomeDirectoryType": "PATH",
            "SshPublicKeys": [{"SshPublicKeyBody": KEYS[0]}],
        }
    }
    dump = operator.folder / "dump.json"
    dump.write_text(f"{json.dumps(AWS)}\n{json.dumps(plain)}\n", encoding="utf-8")
    shown = operator.run("import", "--from", "aws-transfer", str(dump))
    users = read_settings(str(operator.folder / "sftpgw.ini"), is_start=False).users
    places = {mount.path: (mount.bucket, mount.key_prefix) for mount in users["carol"].mounts}
    assert ("acme", "home/carol/") in places.values()
    assert ("other", "docs/") in places.values()
    assert (users["dave"].mounts[0].bucket, users["dave"].mounts[0].key_prefix) == (
        "acme",
        "dave/",
    )
    for left in ("mapping /note", "Policy", "Role arn:aws:iam::1:role/sftp", "the user saw /acme"):
        assert left in shown


def test_a_list_of_aws_transfer_has_no_keys_and_adds_no_user(operator: Operator) -> None:
    listed = {"ServerId": "s-1", "Users": [{"UserName": "carol", "HomeDirectory": "/acme/c"}]}
    dump = operator.folder / "dump.json"
    dump.write_text(json.dumps(listed), encoding="utf-8")
    shown = operator.run("import", "--from", "aws-transfer", str(dump), status=1)
    assert "NOT added" in shown
    assert "describe-user" in shown
    assert operator.text == BEGINNING


SFTPGO = {
    "version": 17,
    "users": [
        {
            "username": "erin",
            "status": 1,
            "expiration_date": 1806451200000,
            "password": bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode(),
            "public_keys": [KEYS[1]],
            "home_dir": "/srv/erin",
            "max_sessions": 3,
            "quota_size": 1000000,
            "quota_files": 50,
            "upload_bandwidth": 512,
            "permissions": {"/": ["list", "download", "chmod"], "/in": ["*"]},
            "filters": {
                "allowed_ip": ["192.0.2.0/24"],
                "denied_ip": ["192.0.2.7/32"],
                "max_upload_file_size": 5000000,
                "file_patterns": [
                    {"path": "/in", "allowed_patterns": ["*.csv"], "denied_patterns": ["x*"]}
                ],
                "totp_config": {"enabled": True},
            },
            "filesystem": {
                "provider": 1,
                "s3config": {"bucket": "acme", "key_prefix": "erin/", "region": "eu-west-1"},
            },
            "groups": [{"name": "staff", "type": 1}],
        },
        {
            "username": "local",
            "status": 0,
            "password": "$1$old",
            "permissions": {"/": ["*"]},
            "filesystem": {"provider": 0},
        },
    ],
}


def test_users_of_sftpgo(operator: Operator) -> None:
    dump = operator.folder / "dump.json"
    dump.write_text(json.dumps(SFTPGO), encoding="utf-8")
    shown = operator.run("import", "--from", "sftpgo", str(dump), status=1)
    erin = read_settings(str(operator.folder / "sftpgw.ini"), is_start=False).users["erin"]
    assert (erin.mounts[0].bucket, erin.mounts[0].key_prefix) == ("acme", "erin/")
    assert erin.login.is_disabled
    assert erin.limits.sessions == 3
    assert erin.limits.file_bytes == 5000000 // 1024 * 1024
    assert erin.limits.upload_rate_bytes == 512 * 1024
    assert erin.limits.quotas == (QuotaLimits(max_bytes=977 * 1024, max_files=50),)
    assert erin.login.expires_seconds == 1806451200
    assert [str(each) for each in erin.login.networks] == ["192.0.2.0/24"]
    for left in (
        "permission chmod of /",
        "filter denied_ip (192.0.2.7/32); the user is disabled",
        "one-time codes",
        "group staff",
        "region eu-west-1",
        "local: NOT added",
        "local: not carried over: the files are not in S3",
    ):
        assert left in shown
    assert erin.login.password_hash not in shown


@pytest.mark.parametrize(
    ("filters", "lines"),
    [
        ({}, []),
        ({"denied_login_methods": []}, []),
        ({"denied_login_methods": ["password"]}, ["require = publickey"]),
        ({"denied_login_methods": ["password-over-SSH"]}, ["require = publickey"]),
        (
            {"denied_login_methods": ["publickey"]},
            ["require = password publickey+password"],
        ),
        (
            {"denied_login_methods": ["publickey", "password", "publickey+password"]},
            ["require = publickey+password"],
        ),
        (
            {
                "denied_login_methods": [
                    *("publickey", "password", "publickey+password"),
                    "publickey+keyboard-interactive",
                ]
            },
            ["disabled = yes"],
        ),
        ({"denied_ip": ["192.0.2.0/24"]}, ["disabled = yes"]),
        ({"denied_protocols": ["SSH", "FTP"]}, ["disabled = yes"]),
        ({"denied_protocols": ["FTP"]}, []),
        ({"two_factor_protocols": ["SSH"]}, ["disabled = yes"]),
        ({"totp_config": {"enabled": True, "protocols": ["SSH"]}}, ["disabled = yes"]),
        ({"totp_config": {"enabled": True, "protocols": ["HTTP"]}}, []),
        ({"access_time": [{"day_of_week": 1}]}, ["disabled = yes"]),
        (
            {"file_patterns": [{"path": "/", "denied_patterns": ["*.exe", "[a-z]1?"]}]},
            ["deny = *.[eE][xX][eE] [a-z]1?"],
        ),
    ],
)
def test_no_restriction_of_sftpgo_is_lost(
    operator: Operator, filters: dict[str, object], lines: list[str]
) -> None:
    """A user gets no more than before: what has no counterpart disables the user."""
    record = {
        "username": "erin",
        "status": 1,
        "public_keys": [KEYS[1]],
        "permissions": {"/": ["*"]},
        "filters": filters,
        "filesystem": {"provider": 1, "s3config": {"bucket": "acme", "key_prefix": "erin/"}},
    }
    dump = operator.folder / "dump.json"
    dump.write_text(json.dumps({"users": [record]}), encoding="utf-8")
    shown = operator.run("import", "--from", "sftpgo", "--dry-run", str(dump))
    always = ("[erin]", "bucket", "key_prefix", "permissions", "authorized_keys", "    ")
    head = shown.partition("erin: not carried over")[0]
    found = [line for line in head.splitlines() if line and not line.startswith(always)]
    assert found == lines
    assert ("the user is disabled" in shown) == ("disabled = yes" in lines)


def test_a_trial_changes_nothing_and_shows_no_hash(operator: Operator) -> None:
    dump = operator.folder / "dump.json"
    dump.write_text(json.dumps(SFTPGO), encoding="utf-8")
    shown = operator.run("import", "--from", "sftpgo", "--dry-run", str(dump))
    assert "permissions /in = list download upload" in shown
    assert "password_hash = …" in shown
    assert "$2b$" not in shown
    assert operator.text == BEGINNING


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "{", "[1]", '{"users": [{"username": "a\\nb"}]}', '{"users": [{}]}']
)
def test_what_is_no_dump_is_told(operator: Operator, text: str) -> None:
    dump = operator.folder / "dump.json"
    dump.write_text(text, encoding="utf-8")
    operator.run("import", "--from", "sftpgo", str(dump), status=1)
    assert operator.text == BEGINNING


class CountedEdits:
    """An import into a file, where one name is refused; counts judgements and lines."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = folder / "users.ini"
        self.path.write_text(BEGINNING, encoding="utf-8")
        self.judgements = self.lines = 0
        self.said: list[str] = []
        read_written = ini_grammar.read_written

        def counted(lines: Iterable[str]) -> Iterator[object]:
            yield from read_written(self._counted(lines))

        monkeypatch.setattr(ini_edits, "read_written", counted)
        terminal = OperatorTerminal(self.said.append, bytes, bytes)
        self.actions = UserActions(UsersEditor(self.path, self._judge), terminal)

    def _counted(self, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            self.lines += 1
            yield line

    def _judge(self, path: Path) -> dict[str, str]:
        self.judgements += 1
        return {"bad": "bad is wrong"} if "[bad]" in path.read_text(encoding="utf-8") else {}

    def add(self, names: list[str]) -> int:
        users = [ForeignUser(name, ["key_prefix = x/"]) for name in names]
        return self.actions.add_foreign(users, dry_run=False)


def test_an_import_of_many_users_reads_the_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edits = CountedEdits(tmp_path, monkeypatch)
    names = [f"user{number}" for number in range(10_000)]
    assert edits.add(names) == 0
    assert edits.judgements == 2  # before and after
    assert edits.lines == len(BEGINNING.splitlines())
    assert edits.path.read_text(encoding="utf-8").count("key_prefix = x/\n") == len(names)
    assert edits.said[-1] == "user9999: added"


def test_one_of_many_users_who_is_refused_is_found_by_halves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edits = CountedEdits(tmp_path, monkeypatch)
    names = [f"user{number}" for number in range(1000)]
    assert edits.add([*names[:300], "bad", "bob", *names[300:], "user7"]) == 3
    assert edits.path.read_text(encoding="utf-8").count("key_prefix = x/\n") == len(names)
    refused = [line for line in edits.said if "NOT added" in line]
    assert [line.partition(":")[0] for line in refused] == ["bob", "bad", "user7"]
    halves = (2 * len(names)).bit_length()
    assert edits.judgements <= 2 * 2 * 2 * halves  # two edits a half, two names, before and after
    assert edits.lines <= 3 * 2 * halves * 3 * len(names)
