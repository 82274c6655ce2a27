"""What a connection is given by its factory, and what the factory needs to know of it.

Knows: the interfaces between the factory and its connections.
Must not know: either of the two. Both import this module, and not each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from sftpgw.aio.work.scheduler import WorkScheduler
from sftpgw.auth.realm import LoginPortal
from sftpgw.auth.threads import RunInThread
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.settings import SshSettings
from sftpgw.ssh.admission import AdmissionTicket
from sftpgw.ssh.algorithms import Offer
from sftpgw.ssh.negotiation import HostKeys


@dataclass(frozen=True, slots=True)
class AcceptedClient:
    """What is known of a client before its first byte.

    :ivar ticket: the position that admission has given to the connection.
    :ivar address: the client's address, where the TCP peer is a load balancer; None otherwise.
    :ivar via: the address of the load balancer that has handed the connection over; None if the
        client has connected directly.
    :ivar is_balancer: the connection is a load balancer's own, as a rule a health check.
    """

    ticket: AdmissionTicket
    address: Any = None
    via: Any = None
    is_balancer: bool = False


class OpenConnection(Protocol):
    """A connection, as its factory sees it."""

    @property
    def client(self) -> AcceptedClient:
        """What was known of the client at accept."""

    login_keys: tuple[bytes, ...]

    @property
    def has_spoken(self) -> bool:
        """Whether the client has sent a byte."""

    @property
    def peer_host(self) -> str | None:
        """The client's address, without its port; None if it has none."""

    def sendDisconnect(self, reason: int, desc: str | bytes) -> None:
        """Send DISCONNECT with a reason of RFC 4253, section 11.1, and close the connection."""


class ConnectionContext(Protocol):
    """What all connections of a factory share."""

    portal: LoginPortal
    settings: SshSettings
    clock: Clock
    events: EventSink
    offer: Offer
    services: dict[bytes, Any]
    new_label: Callable[[], str]
    work: WorkScheduler
    run_in_thread: RunInThread
    host_keys: HostKeys

    def count_unfit(self, reason: str, client: bytes) -> None:
        """Count a client that cannot connect or log in with the algorithms that it has.

        :param reason: the setting that lists those which it would need.
        :param client: the client's version.
        """

    def connection_began(self, connection: OpenConnection) -> None:
        """Remember a connection that was made."""

    def connection_ended(self, connection: OpenConnection) -> None:
        """Forget a connection that is gone."""
