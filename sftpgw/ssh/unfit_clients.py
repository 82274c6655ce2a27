"""Counts clients that cannot connect or log in with the algorithms that they have.

Knows: reasons, and the versions of clients. Must not know: connections or algorithms.

Each such client has a line of its own in the log as well. Of a client that tries again each minute
these lines are many, and the limits of the log may leave some out; the counts miss none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.events.session_events import ClientsUnfit
from sftpgw.ssh.fields import printable
from sftpgw.ssh.tallies import Tally

UNFIT_TALLY_SECONDS = 600.0
"""How long clients are counted before one event reports all of them."""

MAX_VERSIONS = 20
"""How many versions of clients are told apart: a client may claim any."""

VERSION_BYTES = 40
OTHERS = "others"

_PREFIX = b"SSH-2.0-"


class UnfitClients:
    """Counts by reason, and by the versions of clients.

    :param clock: the reactor, or ``task.Clock`` in tests.
    :param events: takes the event.
    """

    def __init__(self, clock: Clock, events: EventSink) -> None:
        self._versions: Counter[str] = Counter()
        self._tally = Tally(self._counted, UNFIT_TALLY_SECONDS, clock, events)

    def count(self, reason: str, client: bytes) -> None:
        """Count one client.

        :param reason: the setting of ``[ssh]`` that keeps it out.
        :param client: its version, as it came.
        """
        version = printable(client.removeprefix(_PREFIX).split(b" ")[0], VERSION_BYTES)
        is_known = version in self._versions or len(self._versions) < MAX_VERSIONS
        self._versions[version if is_known else OTHERS] += 1
        self._tally.count(reason, None)

    def flush(self) -> None:
        """Emit what was counted, at once."""
        self._tally.flush()

    def _counted(self, counts: Mapping[str, int], _last_from: str) -> ClientsUnfit:
        versions, self._versions = self._versions, Counter()
        clients = " ".join(f"{version}:{count}" for version, count in versions.most_common())
        return ClientsUnfit(**counts, clients=clients)
