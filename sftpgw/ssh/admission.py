"""Which connections are taken at all, before a byte is read from them.

Knows: how many clients are connected, how many of them have not logged in yet, and from
which networks.
Must not know: sockets or SSH.

Rules:

- So many connections in total, and so many of them that have not logged in. Before that
  number is reached new ones are refused at random, ever more of them, so that who floods
  the gateway cannot lock everybody out (sshd_config(5), MaxStartups).
- An IPv4 address, or an IPv6 /64, has so many connections at once that have not logged in.
  It may begin as many in a row, and `rate` a second after that. A login gives its place in
  the row back: scripts that log in all day have nothing to fear, whoever only makes us
  compute keys has (CVE-2002-20001, "DHEat").
- Exempt networks are spared the second rule only. So is what has no address, such as a
  UNIX socket.
- A refusal is remembered nowhere, and what is known of an address only until it has its
  row back, or until `MAX_SOURCES` others are known.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from itertools import islice

from sftpgw.values import Network, SshSettings, StartupLimits

MAX_SOURCES = 10_000
"""About 3 MiB."""

_IPV6_SITE_BITS = 64
"""What one customer of an internet provider has at the least (RFC 6177)."""


class Refusal(enum.Enum):
    """Why a connection is not taken."""

    FULL = "full"
    ADDRESS_BUSY = "address_busy"
    ADDRESS_FAST = "address_fast"
    EARLY_DROP = "early_drop"


@dataclass(slots=True)
class _Source:
    """What is known of one address or site. `row` is what it may begin at once."""

    row: float
    counted_at_seconds: float
    starting: int = 0


class Ticket:
    """The place of one connection that was taken. Each method may be called again in vain."""

    __slots__ = ("_admission", "_is_open", "_is_starting", "_network")

    def __init__(self, admission: Admission, network: Network | None) -> None:
        self._admission = admission
        self._network = network
        self._is_open = self._is_starting = True

    def logged_in(self) -> None:
        """The client has logged in: it counts as a connection, and no more as a stranger."""
        if self._is_starting:
            self._is_starting = False
            self._admission._started(self._network, has_logged_in=True)

    def closed(self) -> None:
        """The connection is gone."""
        if self._is_starting:
            self._is_starting = False
            self._admission._started(self._network, has_logged_in=False)
        if self._is_open:
            self._is_open = False
            self._admission._closed()


class Admission:
    """Decides for each connection.

    :param seconds: the time.
    :param random: a number from 0 up to, not including, 1.
    """

    def __init__(
        self,
        settings: SshSettings,
        *,
        seconds: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._seconds = seconds
        self._random = random
        self._sources: OrderedDict[Network, _Source] = OrderedDict()
        self.open = 0
        self.starting = 0

    @property
    def known_sources(self) -> int:
        """How many addresses something is known of."""
        return len(self._sources)

    def admit(self, host: str | None) -> Ticket | Refusal:
        """Take a connection from the address `host`, or say why not."""
        if self.open >= self._settings.max_connections:
            return Refusal.FULL
        network = self._limited_network(host)
        if network is not None and (refusal := self._refusal_of(network)):
            return refusal
        if self._random() < drop_probability(self._settings.max_startups, self.starting):
            return Refusal.EARLY_DROP
        if network is not None:
            self._count(network)
        self.open += 1
        self.starting += 1
        return Ticket(self, network)

    def _limited_network(self, host: str | None) -> Network | None:
        address = address_of(host)
        if address is None or any(address in exempt for exempt in self._settings.exempt_networks):
            return None
        return site_of(address)

    def _refusal_of(self, network: Network) -> Refusal | None:
        source = self._sources.get(network)
        if source is None:
            return None
        if source.starting >= self._settings.startups_per_address:
            return Refusal.ADDRESS_BUSY
        return Refusal.ADDRESS_FAST if self._row_of(source) < 1 else None

    def _row_of(self, source: _Source) -> float:
        """What the address may begin now."""
        gained = (self._seconds() - source.counted_at_seconds) * (
            self._settings.startup_rate_per_address
        )
        return min(source.row + gained, float(self._settings.startups_per_address))

    def _count(self, network: Network) -> None:
        source = self._sources.get(network)
        if source is None:
            self._forget()
            source = _Source(float(self._settings.startups_per_address), self._seconds())
            self._sources[network] = source
        source.starting += 1
        self._settle(network, source, -1)

    def _settle(self, network: Network, source: _Source, change: int) -> None:
        """Change the row; who was heard of last is forgotten last."""
        source.row = min(self._row_of(source) + change, float(self._settings.startups_per_address))
        source.counted_at_seconds = self._seconds()
        self._sources.move_to_end(network)

    def _forget(self) -> None:
        """Drop addresses that have their row back, and the oldest if there are too many.

        At most as many are stuck here as there are clients that have not logged in.
        """
        for network, source in tuple(islice(self._sources.items(), 2)):
            whole = self._row_of(source) >= self._settings.startups_per_address
            if not source.starting and (whole or len(self._sources) >= MAX_SOURCES):
                del self._sources[network]
            elif source.starting:
                self._sources.move_to_end(network)

    def _started(self, network: Network | None, *, has_logged_in: bool) -> None:
        self.starting -= 1
        source = None if network is None else self._sources.get(network)
        if network is not None and source is not None:
            source.starting -= 1
            self._settle(network, source, 1 if has_logged_in else 0)

    def _closed(self) -> None:
        self.open -= 1


def drop_probability(limits: StartupLimits, starting: int) -> float:
    """With how much luck the next one is refused, if `starting` have not logged in yet.

    As OpenSSH's: nobody below `start`, `drop_percent` there, and in a straight line on to
    everybody at `full`.
    """
    if starting >= limits.full:
        return 1.0
    if starting < limits.start:
        return 0.0
    least = limits.drop_percent / 100
    return least + (1 - least) * (starting - limits.start) / (limits.full - limits.start)


def address_of(host: str | None) -> IPv4Address | IPv6Address | None:
    """The address that `host` writes; None if it writes none, as with UNIX sockets."""
    if host is None:
        return None
    try:
        address = ip_address(host.partition("%")[0])  # fe80::1%eth0
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def site_of(address: IPv4Address | IPv6Address) -> Network:
    """What counts as one address."""
    if isinstance(address, IPv4Address):
        return IPv4Network(address)
    return IPv6Network((address, _IPV6_SITE_BITS), strict=False)
