"""Owners, modes and long names; expand-path, home-directory and users-groups-by-id."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import pytest

from sftpgw.model.settings import FilesSettings
from sftpgw.sftp.extensions import MAX_OWNERS
from sftpgw.testing.sftp_sessions import ALICE, GatewayInMemory, SftpClient, SftpFailure
from sftpgw.wire import extended
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Status

OWNED = FilesSettings(uid=1001, gid=2002, file_mode=0o640, directory_mode=0o2770 & 0o777)


@pytest.fixture
def gateway() -> GatewayInMemory:
    return GatewayInMemory(files=OWNED)


def code_of(client: SftpClient, name: bytes, *strings: bytes) -> Status:
    with pytest.raises(SftpFailure) as refused:
        asked(client, name, *strings)
    return refused.value.code


def asked(client: SftpClient, name: bytes, *strings: bytes) -> Any:
    return client.extended(name, b"".join(map(wire.string, strings)))


class TestAttributes:
    def test_the_configured_owners_and_modes_are_shown_everywhere(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        gateway.store.seed("home/alice/f", b"data", mtime="1600000000")
        gateway.store.seed("home/alice/d/x")
        handle = client.open(b"/f")
        opened = client.ask(wire.OnHandle(wire.Kind.FSTAT, 0, handle)).attributes
        listed = client.listed(b"/")
        assert client.stat(b"/f") == opened == listed[b"f"]
        assert client.stat(b"/d") == listed[b"d"]
        assert opened == {
            "size": 4,
            "uid": 1001,
            "gid": 2002,
            "permissions": 0o100640,
            "atime": 1600000000,
            "mtime": 1600000000,
        }
        assert listed[b"d"]["permissions"] == 0o040770

    def test_long_names_are_lines_of_ls(self, gateway: GatewayInMemory, client: SftpClient) -> None:
        gateway.store.seed("home/alice/old", b"x" * 1234, mtime="1600000000")
        gateway.store.seed("home/alice/new", b"", mtime="1699999000")
        assert dict(client.entries(b"/")) == {
            b"new": b"-rw-r-----   1 alice    alice           0 Nov 14 21:56 new",
            b"old": b"-rw-r-----   1 alice    alice        1234 Sep 13  2020 old",
        }

    def test_a_users_blanks_move_no_column(self, gateway: GatewayInMemory) -> None:
        """FileZilla takes a long name apart at its blanks, and showed every size as 0."""
        jurgen = replace(ALICE, name="jürgen von weiß")
        gateway.store.seed("home/alice/a name", b"x" * 1234, mtime="1600000000")
        ((name, long_name),) = gateway.log_in(jurgen).entries(b"/")
        columns = long_name.decode().split(None, 8)
        assert columns[2:5] == ["jürgen_von_weiß", "jürgen_von_weiß", "1234"]
        assert columns[8].encode() == name == b"a name"


class TestHomes:
    def test_a_name_is_ones_own_in_any_spelling(self, gateway: GatewayInMemory) -> None:
        client = gateway.log_in(replace(ALICE, name="jörg"))
        for name in ("jörg", "jo\u0308rg"):
            assert asked(client, b"home-directory", name.encode()).names == ((b"/", b"/"),)
            path = f"~{name}/z".encode()
            assert asked(client, b"expand-path@openssh.com", path).names == ((b"/z", b"/z"),)

    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            (b"~", b"/"),
            (b"~/", b"/"),
            (b"~/x/../y", b"/y"),
            (b"~alice/z", b"/z"),
            (b"plain/~", b"/plain/~"),
            (b"", b"/"),
            (b"~/../..", b"/"),
        ],
    )
    def test_expand_path_expands_the_home(
        self, client: SftpClient, path: bytes, expected: bytes
    ) -> None:
        assert asked(client, b"expand-path@openssh.com", path).names == ((expected, expected),)

    @pytest.mark.parametrize("user", [b"", b"alice"])
    def test_home_directory_is_the_root(self, client: SftpClient, user: bytes) -> None:
        assert asked(client, b"home-directory", user).names == ((b"/", b"/"),)

    def test_other_users_have_no_home_whether_they_exist_or_not(self, client: SftpClient) -> None:
        assert code_of(client, b"expand-path@openssh.com", b"~bob/x") is Status.NO_SUCH_FILE
        assert code_of(client, b"home-directory", b"bob") is Status.NO_SUCH_FILE
        assert code_of(client, b"home-directory", b"\xff") is Status.NO_SUCH_FILE

    def test_malformed_home_requests_are_refused(self, client: SftpClient) -> None:
        assert code_of(client, b"home-directory") is Status.BAD_MESSAGE
        assert code_of(client, b"expand-path@openssh.com", b"~", b"~") is Status.BAD_MESSAGE
        assert code_of(client, b"expand-path@openssh.com", b"~/\0") is Status.FAILURE


class TestOwners:
    NAME = b"users-groups-by-id@openssh.com"

    def ids(self, *numbers: int) -> bytes:
        return struct.pack(f">{len(numbers)}I", *numbers)

    def test_ids_have_the_names_of_the_user(self, client: SftpClient) -> None:
        reply = asked(client, self.NAME, self.ids(0, 1001, 0xFFFFFFFF), self.ids(2002, 1001))
        users, groups = extended.parse_strings(reply.body, 2, 0)
        assert extended.parse_strings(users, 3, 0) == (b"", b"alice", b"")
        assert extended.parse_strings(groups, 2, 0) == (b"alice", b"")
        assert asked(client, self.NAME, b"", b"").body == bytes(8)

    def test_malformed_ones_and_too_many(self, client: SftpClient) -> None:
        assert code_of(client, self.NAME, b"abc", b"") is Status.BAD_MESSAGE
        assert code_of(client, self.NAME, b"") is Status.BAD_MESSAGE
        many = self.ids(*range(MAX_OWNERS))
        assert code_of(client, self.NAME, many, self.ids(1)) is Status.FAILURE
        asked(client, self.NAME, many, b"")
