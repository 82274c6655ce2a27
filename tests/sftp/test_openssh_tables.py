"""Paths and flags of OPEN mean what they mean to OpenSSH's server.

The tables say what that does on a disk (`openssh_tables`); it is asked anew where it is
installed. Deviations are named here, each with its reason.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sftpgw.model.settings import FilesSettings
from sftpgw.testing.sftp_sessions import GatewayInMemory
from sftpgw.testing.sftp_sessions import SftpReply as GatewayReply
from sftpgw.wire import sftp as wire
from tests.files.worlds import client_without_ssh
from tests.needs import needs
from tests.sftp.openssh_oracle import Oracle
from tests.sftp.openssh_tables import (
    FLAGS_TABLE,
    PATHS_TABLE,
    Disk,
    by_question,
    flag_rows,
    path_rows,
    table,
)

HOME = "home/alice/"


class Bucket:
    """The gateway as a peer. `strict_parents`, since a disk knows all parents for nothing."""

    def seed(self, tree: dict[bytes, bytes]) -> None:
        self.gateway = GatewayInMemory(files=FilesSettings(strict_parents=True))
        for path, data in tree.items():
            self.gateway.store.seed(HOME + path.decode(), data)
        self.client = client_without_ssh(self.gateway)

    def tree(self) -> dict[bytes, bytes]:
        return {
            name.key.removeprefix(HOME).encode(): held.data
            for name, held in self.gateway.store.objects.items()
        }

    def ask(self, request: wire.Request) -> GatewayReply:
        return self.client.replies.pop(self.client.send(request))


@pytest.fixture
def oracle() -> Iterator[Oracle]:
    with Oracle() as server:
        yield server


@needs("sftp-server")
class TestTheTables:
    def test_paths_are_as_the_program_has_them(self, oracle: Oracle) -> None:
        assert by_question(path_rows(Disk(oracle))) == table(PATHS_TABLE)

    def test_flags_are_as_the_program_has_them(self, oracle: Oracle) -> None:
        assert by_question(flag_rows(Disk(oracle))) == table(FLAGS_TABLE)


UNCHANGED = ", unchanged"

DOTS_ARE_FORGIVEN = {
    # ``d/.`` is ``d``: the client finds what it wanted done, and nothing else is touched.
    "mkdir f/.": "FAILURE" + UNCHANGED,
    "rmdir d/.": "OK, e/ f=data full/ full/i=i g=g",
    "rename-PATH-to-new d/.": "OK, e/ f=data full/ full/i=i g=g new/",
    "replace-PATH-to-new d/.": "OK, e/ f=data full/ full/i=i g=g new/",
    "replace-folder-to-PATH d/.": "OK, d/ f=data full/ full/i=i g=g",
    "replace-full-to-PATH d/.": "OK, d/ d/i=i e/ f=data g=g",
}

OTHER_WORDS = {
    # Refused as well, and more exactly: a folder is at the new name, or a file's is a folder's.
    "replace-file-to-PATH d/": "FAILURE" + UNCHANGED,
    "rename-file-to-PATH f/": "NO_SUCH_FILE" + UNCHANGED,
    "open-create f/.": "FAILURE" + UNCHANGED,
    "open-new f/.": "FAILURE" + UNCHANGED,
    "open-create f/x/": "FAILURE" + UNCHANGED,
    "open-new f/x/": "FAILURE" + UNCHANGED,
    # A directory is not opened as a file: no READ of such a handle would succeed.
    "open-read d/": "FAILURE" + UNCHANGED,
    "open-read d/.": "FAILURE" + UNCHANGED,
}


def test_paths_mean_what_they_mean_on_a_disk() -> None:
    expected = table(PATHS_TABLE) | DOTS_ARE_FORGIVEN | OTHER_WORDS
    assert by_question(path_rows(Bucket())) == expected


def test_all_combinations_of_flags_do_what_they_do_on_a_disk() -> None:
    found, expected = by_question(flag_rows(Bucket())), table(FLAGS_TABLE)
    # A directory is not opened as a file: no READ of such a handle would succeed.
    opened = [row for row, told in expected.items() if row[0] == "d" and told.startswith("OK")]
    expected |= dict.fromkeys(opened, "FAILURE, then nothing")
    assert found == expected
    assert len(expected) == 7 * 64
