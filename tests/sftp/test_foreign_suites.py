"""What the test suites of other projects rely on, and what their authors' users do too."""

from __future__ import annotations

import pytest

from sftpgw.testing.sftp_sessions import GatewayInMemory, SftpClient, SftpFailure
from sftpgw.wire.sftp import Kind, Status


@pytest.fixture
def gateway() -> GatewayInMemory:
    return GatewayInMemory()


@pytest.fixture
def client(gateway: GatewayInMemory) -> SftpClient:
    return gateway.log_in()


class TestWhatIsNotThere:
    @pytest.mark.parametrize("kind", [Kind.STAT, Kind.LSTAT, Kind.OPENDIR, Kind.RMDIR, Kind.REMOVE])
    def test_it_is_said_in_the_words_that_scripts_search_for(
        self, client: SftpClient, kind: Kind
    ) -> None:
        """paramiko's users look for "No such file" in the message."""
        with pytest.raises(SftpFailure, match=r"/gone: No such file") as caught:
            client.on_path(kind, b"/gone")
        assert caught.value.code is Status.NO_SUCH_FILE

    @pytest.mark.parametrize("kind", [Kind.OPENDIR, Kind.RMDIR])
    def test_a_file_is_no_such_directory(self, client: SftpClient, kind: Kind) -> None:
        """As OpenSSH has it for ENOTDIR: fs.sshfs asks what is there after this code only."""
        client.put(b"/file", b"x")
        with pytest.raises(SftpFailure, match=r"is not a directory") as caught:
            client.on_path(kind, b"/file")
        assert caught.value.code is Status.NO_SUCH_FILE
