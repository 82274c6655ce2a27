"""The gateway without files that bench measures has all that the SFTP protocol asks for."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from bench.null_gateway import NullFile, NullServer
from sftpgw.sftp.contracts import IGatewayFile, IGatewayServer


def test_the_null_gateway_implements_the_interfaces() -> None:
    assert verifyObject(IGatewayFile, NullFile(3))
    assert verifyObject(IGatewayServer, NullServer(3))
