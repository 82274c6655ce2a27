"""The files of users, read again and again: what is kept, what is told, and how long a step is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sftpgw.config import load_settings
from sftpgw.config.ini_file import read_text
from sftpgw.config.ini_grammar import STEP_LINES
from sftpgw.config.key_files import KeyFileReaders
from sftpgw.config.users_ini import STEP_KEYS, user_files
from sftpgw.errors import ConfigError
from sftpgw.model.key_trust import NOTHING_REVOKED, RevokedKeys
from sftpgw.model.settings import FileUsers, Settings
from sftpgw.model.steps import finish
from sftpgw.model.users import AuthorizedKey, User

USERS = """\
[*]
key_prefix = home/{username}/

[*team]
weight = 2

[alice]
groups = team
authorized_keys = ssh-a

[bob]
authorized_keys = ssh-b
"""


NO_LINE = (
    "is neither [section] nor key = value; "
    "a line that goes on with the value above begins with a blank"
)


class Folder:
    """The files of a gateway, and what was read of them."""

    def __init__(self, path: Path, users: str = USERS, more: str = "") -> None:
        self.path = path
        self.keys: list[str] = []
        self.parsed: list[bytes] = []
        (path / "host_key").touch()
        self.write(users)
        (path / "revoked").write_bytes(b"one")
        (path / "sftpgw.ini").write_text(
            "[gateway]\nhost_keys = host_key\n[s3]\nbucket = uploads\n"
            f"[auth]\nrevoked_keys = revoked\n{more}"
        )
        self.settings: Settings = load_settings(
            path / "sftpgw.ini",
            read_key=self._read_key,
            check_hash=str,
            key_files=KeyFileReaders(lambda data: frozenset(), self._read_revoked),
        )
        assert self.settings.user_files is not None
        self.files = self.settings.user_files

    def _read_key(self, line: str) -> AuthorizedKey:
        self.keys.append(line)
        if not line.startswith("ssh-"):
            raise ValueError("is not a key")
        return AuthorizedKey(line.encode())

    def _read_revoked(self, data: bytes) -> RevokedKeys:
        self.parsed.append(data)
        if data == b"broken":
            raise ValueError("is no list")
        return RevokedKeys(frozenset({data}))

    def write(self, text: str, name: str = "users.ini") -> None:
        (self.path / name).write_text(text)

    def read(self) -> FileUsers:
        self.keys.clear()
        return finish(self.files.steps(self.files.load()))

    def users(self) -> Mapping[str, User]:
        return self.read().users

    def faults(self) -> tuple[str, ...]:
        with pytest.raises(ConfigError) as caught:
            self.read()
        return tuple(fault.replace(f"{self.path}/", "") for fault in caught.value.faults)


def test_of_whom_the_same_is_said_is_the_same_user(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    first = folder.settings.users
    folder.write("# Moved.\n\n" + USERS.replace("ssh-b", "ssh-c") + "[carol]\npassword_hash = x\n")
    second = folder.users()
    assert second["alice"] is first["alice"]
    assert second["bob"].login.authorized_keys.keys() == {b"ssh-c"}
    assert set(second) == {"alice", "bob", "carol"}
    assert folder.keys == ["ssh-c"], "no other key is read again"
    folder.write(USERS.replace("weight = 2", "weight = 3"))
    third = folder.users()
    assert (first["alice"].weight, third["alice"].weight) == (2, 3)
    assert third["bob"] == first["bob"]
    assert set(folder.keys) == {"ssh-a", "ssh-b"}
    folder.write(USERS.replace("home/", "partners/"))
    assert folder.users()["bob"].mounts[0].key_prefix == "partners/bob/"


def test_lines_of_a_value_are_not_keys_of_the_same_text(tmp_path: Path) -> None:
    folder = Folder(tmp_path, f"{USERS}deny =\n  a\n  weight = 5\n")
    assert folder.settings.users["bob"].weight == 1
    folder.write(f"{USERS}deny =\n  a\nweight = 5\n")
    assert folder.users()["bob"].weight == 5


def test_a_broken_file_tells_all_faults_and_nothing_is_forgotten(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    first = folder.settings.users
    folder.write(f"{USERS}weight = many\n[carol]\nauthorized_keys =\n  ssh-c\n  junk\n[dave\n")
    (tmp_path / "revoked").write_bytes(b"broken")
    assert folder.faults() == (
        "sftpgw.ini:6: [auth] revoked_keys: revoked: is no list",
        f"users.ini:18: {NO_LINE}",
        "users.ini:13: [bob] weight: 'many' is not a whole number from 1 to 100",
        "users.ini:17: [carol] authorized_keys: key 2: is not a key",
    )
    (tmp_path / "users.ini").unlink()
    assert folder.faults()[1:] == ("users.ini: cannot be read: No such file or directory",)
    folder.write("")
    assert folder.faults()[1:] == ("users.ini: has no user; add a section [name] for each",)
    (tmp_path / "revoked").write_bytes(b"two")
    folder.write(USERS)
    assert all(user is first[name] for name, user in folder.users().items())
    assert folder.keys == []


def test_what_is_revoked_is_read_again_where_it_has_changed(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert folder.settings.key_trust.revoked.blobs == {b"one"}
    assert folder.read().trust is folder.settings.key_trust
    assert folder.parsed == [b"one"], "to parse a large list takes seconds"
    state = folder.files.state()
    (tmp_path / "revoked").write_bytes(b"two")
    assert folder.files.state() != state
    assert folder.read().trust.revoked.blobs == {b"two"}
    assert NOTHING_REVOKED.blobs == frozenset()


def test_users_of_services_are_made_by_what_files_say_now(tmp_path: Path) -> None:
    more = "sources = file http\nhttp_url = http://localhost/\n"
    folder = Folder(tmp_path, more=more)
    make_user = folder.settings.make_user
    assert make_user is not None
    said = {"groups": "team", "authorized_keys": "ssh-z"}
    assert make_user("zoe", said, "http", ()).weight == 2
    folder.write(USERS.replace("ssh-a", "ssh-x"))
    assert folder.read().make_user is make_user, "nothing is said of all users that was not before"
    folder.write(USERS.replace("weight = 2", "weight = 3"))
    changed = folder.read().make_user
    assert changed is not None
    assert changed("zoe", said, "http", ()).weight == 3


def test_a_change_during_the_start_is_seen(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert folder.files.read_state == folder.files.state()
    folder.write(f"{USERS}weight = 7\n")
    assert folder.files.read_state != folder.files.state()
    folder.read()
    assert folder.files.read_state == folder.files.state()


def test_a_directory_has_files_that_come_and_go(tmp_path: Path) -> None:
    users = tmp_path / "users.d"
    users.mkdir()
    (users / "a.ini").write_text(USERS)
    (tmp_path / "more.txt").write_text("")
    folder = Folder(tmp_path)
    (tmp_path / "sftpgw.ini").write_text(
        "[gateway]\nhost_keys = host_key\nusers = users.d\n[s3]\nbucket = uploads\n"
    )
    folder.settings = load_settings(
        tmp_path / "sftpgw.ini", read_key=folder._read_key, check_hash=str
    )
    assert folder.settings.user_files is not None
    folder.files = folder.settings.user_files
    states: list[Any] = [folder.files.state()]
    (users / "b.ini").write_text("[carol]\npassword_hash = x\n")
    states.append(folder.files.state())
    assert set(folder.users()) == {"alice", "bob", "carol"}
    (users / "new").write_text("[dave]\npassword_hash = x\n[bob]\npassword_hash = x\n")
    os.replace(users / "new", users / "b.ini")
    states.append(folder.files.state())
    assert folder.faults() == (
        "users.d/b.ini:3: [bob]: is in "
        + f"{users}/a.ini, too; keep one".replace(f"{tmp_path}/", ""),
    )
    (users / "b.ini").unlink()
    states.append(folder.files.state())
    assert states[0] == states[3]
    assert len(set(states)) == 3


def test_a_step_reads_few_lines_and_judges_few_keys(tmp_path: Path) -> None:
    """A transfer goes on between two steps, however many users there are."""
    many = "\n".join(f"[user{each}]\nauthorized_keys = ssh-{each}" for each in range(1000))
    keys = "\n".join(f"    ssh-more{each}" for each in range(1000))
    folder = Folder(tmp_path)
    folder.write(f"{USERS}\n{many}\n[keys]\nauthorized_keys =\n{keys}\n")
    loaded = folder.files.load()
    folder.keys.clear()
    steps, before, most = 0, 0, 0
    for _ in folder.files.steps(loaded):
        most = max(most, len(folder.keys) - before)
        before, steps = len(folder.keys), steps + 1
    assert len(folder.keys) == 2000
    assert most == STEP_KEYS
    lines = (tmp_path / "users.ini").read_text().count("\n")
    assert steps >= lines // STEP_LINES + 1002 + 1000 // STEP_KEYS


def test_a_directory_that_cannot_be_listed_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests may run as root, who may list any."""
    (tmp_path / "users.d").mkdir()

    def refused(path: Path) -> list[str]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("sftpgw.config.users_ini.os.listdir", refused)
    assert user_files(tmp_path / "users.d") == [tmp_path / "users.d"]
    (told,) = map(read_text, user_files(tmp_path / "users.d"))
    assert told.fault.startswith("cannot be read: ")
