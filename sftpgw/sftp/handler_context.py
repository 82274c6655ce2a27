"""What the requests of one SFTP channel share."""

from __future__ import annotations

from dataclasses import dataclass, field

from sftpgw.sftp.contracts import IGatewayServer
from sftpgw.sftp.handles import Handles
from sftpgw.sftp.request_order.sequencer import HandleOrder, Sequencer


@dataclass(frozen=True)
class HandlerContext:
    """What the handlers of requests use.

    :param server: the files of the user.
    :param handles: the open handles.
    :param sequencer: begins each request after the earlier ones that it conflicts with.
    :param handle_order: the same for requests on one handle.
    """

    server: IGatewayServer
    handles: Handles
    sequencer: Sequencer = field(default_factory=Sequencer)
    handle_order: HandleOrder = field(default_factory=HandleOrder)
