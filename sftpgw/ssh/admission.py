"""Which connections are taken at all, before a byte is read from them.

Knows: how many clients are connected, as whom, how many of them have not logged in yet,
and from which networks.
Must not know: sockets or SSH.

Rules:

- So many connections in total, and so many of them of one user.
- So many of them that have not logged in (sshd_config(5), MaxStartups). Before that number
  is reached new ones are refused at random: ever more of them, and the more of them the more
  places their address holds already. The second half of the way is for addresses that hold
  none, so that a few, whatever they do, do not lock out the others.
- An IPv4 address, or an IPv6 /64, has so many connections at once that have not logged in.
  A token bucket holds as many tokens, one for each that it begins, and gains `rate` a second. A
  login gives its token back, so that scripts may log in all day. An address without logins makes us
  exchange keys `rate` times a second in the long run (CVE-2002-20001, "DHEat").
- Exempt networks are spared the third rule, and in the second it does not matter what they
  hold. So is what has no address, such as a UNIX socket.
- A refusal is remembered nowhere, and what is known of an address only until it has its
  tokens back, or until `MAX_SOURCES` others are known.

What this cannot do: tell people from attackers who have half as many addresses as there are
places, or more. Those take nearly every place that becomes free, and make us exchange keys
`rate` times a second for each address. An IPv6 /48, which anybody can have, has 65,536 sites.
Only a firewall helps against that. Nor against users who open all that they may, if there are
more than `max_connections` / `connections_per_user` of them.
"""

from __future__ import annotations

import enum
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from itertools import islice

from sftpgw.aio.token_bucket import TokenBucket
from sftpgw.model.settings import Network, SshSettings, StartupLimits

MAX_SOURCES = 10_000
"""About 3 MiB."""

_IPV6_SITE_BITS = 64
"""What one customer of an internet provider has at the least (RFC 6177)."""


class Refusal(enum.Enum):
    """Why a connection is not taken. The last three are told by `balancers`."""

    FULL = "full"
    ADDRESS_BUSY = "address_busy"
    ADDRESS_FAST = "address_fast"
    EARLY_DROP = "early_drop"
    NO_BALANCER = "no_balancer"
    NO_HEADER = "no_header"
    BAD_HEADER = "bad_header"


@dataclass(slots=True)
class _Source:
    """What is known of one address or site. `startups` has a token for each that it may begin."""

    startups: TokenBucket
    starting: int = 0


class AdmissionTicket:
    """The place of one connection that was taken. Each method may be called again in vain."""

    __slots__ = ("_admission", "_is_open", "_is_starting", "_network", "_user")

    def __init__(self, admission: Admission, network: Network | None) -> None:
        self._admission = admission
        self._network = network
        self._user: bytes | None = None
        self._is_open = self._is_starting = True

    def claim(self, user: bytes) -> bool:
        """Whether `user`, who has proven to be that, may have one more connection."""
        if self._is_open and self._user is None and self._admission._claimed(user):
            self._user = user
        return self._is_open and self._user == user

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
            self._admission._closed(self._user)


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
        self._of_users: Counter[bytes] = Counter()
        self.open = 0
        self.starting = 0

    @property
    def known_sources(self) -> int:
        """How many addresses something is known of."""
        return len(self._sources)

    def admit(self, host: str | None) -> AdmissionTicket | Refusal:
        """Take a connection from the address `host`, or say why not."""
        if self.open >= self._settings.max_connections:
            return Refusal.FULL
        network = self._limited_network(host)
        if network is not None and (refusal := self._refusal_of(network)):
            return refusal
        held = None if network is None else self._held_by(network)
        if self._random() < drop_probability(self._settings.max_startups, self.starting, held):
            return Refusal.EARLY_DROP
        if network is not None:
            self._count(network)
        self.open += 1
        self.starting += 1
        return AdmissionTicket(self, network)

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
        source.startups.refill(self._seconds())
        return Refusal.ADDRESS_FAST if source.startups.tokens < 1 else None

    def _held_by(self, network: Network) -> int:
        source = self._sources.get(network)
        return 0 if source is None else source.starting

    def _count(self, network: Network) -> None:
        source = self._sources.get(network)
        if source is None:
            self._forget()
            source = self._sources[network] = _Source(self._full_bucket())
        source.starting += 1
        self._settle(network, source, -1)

    def _full_bucket(self) -> TokenBucket:
        settings = self._settings
        capacity, rate = settings.startups_per_address, settings.startup_rate_per_address
        return TokenBucket(capacity, rate, self._seconds())

    def _settle(self, network: Network, source: _Source, change: int) -> None:
        """Change the tokens; the address that was heard of last is forgotten last."""
        source.startups.refill(self._seconds())
        source.startups.add(change)
        self._sources.move_to_end(network)

    def _forget(self) -> None:
        """Drop addresses that have their tokens back, and the oldest if there are too many.

        At most as many are stuck here as there are clients that have not logged in.
        """
        for network, source in tuple(islice(self._sources.items(), 2)):
            source.startups.refill(self._seconds())
            if not source.starting and (
                source.startups.is_full or len(self._sources) >= MAX_SOURCES
            ):
                del self._sources[network]
            elif source.starting:
                self._sources.move_to_end(network)

    def _started(self, network: Network | None, *, has_logged_in: bool) -> None:
        self.starting -= 1
        source = None if network is None else self._sources.get(network)
        if network is not None and source is not None:
            source.starting -= 1
            self._settle(network, source, 1 if has_logged_in else 0)

    def _claimed(self, user: bytes) -> bool:
        if self._of_users[user] >= self._settings.connections_per_user:
            return False
        self._of_users[user] += 1
        return True

    def _closed(self, user: bytes | None) -> None:
        self.open -= 1
        if user is not None:
            self._of_users[user] -= 1


def drop_probability(limits: StartupLimits, starting: int, held: int | None = None) -> float:
    """With how much luck the next one is refused.

    As with OpenSSH, it is nobody below `start`, `drop_percent` there, and in a straight line
    on to everybody at `full`. An address that holds places must be as lucky for each of them,
    and is refused from half way on. There, for one that holds none, a line only begins.

    :param starting: how many have not logged in yet.
    :param held: how many of them are of the same address; None if that does not matter.
    """
    if starting < limits.start:
        return 0.0
    if starting >= limits.full:
        return 1.0
    half_way = (limits.start + limits.full) / 2
    if held == 0:
        return max(0.0, (starting - half_way) / (limits.full - half_way))
    least = limits.drop_percent / 100
    line = least + (1 - least) * (starting - limits.start) / (limits.full - limits.start)
    if held is None:
        return line
    return 1.0 if starting >= half_way else 1 - (1 - line) ** held


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
