"""A gateway in memory and a client that has logged in, as most tests of files want them.

A test module that wants another gateway has a fixture of the same name, and `client` uses that.
"""

from __future__ import annotations

import pytest

from sftpgw.testing.sftp_sessions import GatewayInMemory, SftpClient


@pytest.fixture
def gateway() -> GatewayInMemory:
    return GatewayInMemory()


@pytest.fixture
def client(gateway: GatewayInMemory) -> SftpClient:
    return gateway.log_in()
