"""Decides which connections are accepted, before a byte is read from them.

Knows: how many clients are connected, for which users, how many of them have not logged in yet,
and from which networks they come.
Must not know: sockets or SSH.

Rules:

- `max_connections` limits all connections, `connections_per_user` those of one user.
- `max_startups` limits the connections that have not logged in (sshd_config(5), MaxStartups).
  From its `start` on, new ones are refused at random. The probability grows with their number,
  and with the number of connections from the same address among them. Above the middle between
  `start` and `full`, only addresses without such connections are accepted, so that a few
  addresses cannot lock out all others.
- An IPv4 address, or an IPv6 /64, may have `startups_per_address` connections at a time that have
  not logged in. A token bucket limits their rate: each new connection takes a token, and
  `startup_rate_per_address` tokens a second are added. A login gives its token back, so that
  scripts may log in all day. An address without logins can therefore cause that many key exchanges
  a second in the long run (CVE-2002-20001, "DHEat").
- An address whose clients do not log in gets penalties, and is refused while they last
  (`penalties`). An address that is banned for guesses is refused, too (`auth.lockout`).
- Networks that are exempt have no limits per address, no penalties and no bans. Neither have
  connections without an address, such as those over a UNIX socket.
- A refusal leaves no trace. What is known of an address is forgotten when its bucket is full again
  and its penalties are over, or when there are `MAX_SOURCES` newer addresses.

Limits of this approach: an attacker with at least half as many addresses as there are positions
takes nearly every position that becomes free, and can cause the rate of key exchanges above from
each address. An IPv6 /48, which is easy to obtain, contains 65,536 networks of this size. Only a
firewall helps against that. Users can also fill the gateway together, if there are more than
`max_connections` / `connections_per_user` of them.
"""

from __future__ import annotations

import enum
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from sftpgw.aio.token_bucket import TokenBucket
from sftpgw.model.addresses import Network, address_of, site_of
from sftpgw.model.settings import SshSettings, StartupLimits
from sftpgw.ssh.penalties import Offence, Penalty

MAX_SOURCES = 10_000
"""How many addresses are remembered; they take about 3 MiB."""


class Refusal(enum.Enum):
    """Why a connection is not accepted. `balancers` uses the last three."""

    FULL = "full"
    ADDRESS_BUSY = "address_busy"
    ADDRESS_FAST = "address_fast"
    PENALISED = "penalised"
    BANNED = "banned"
    EARLY_DROP = "early_drop"
    NO_BALANCER = "no_balancer"
    NO_HEADER = "no_header"
    BAD_HEADER = "bad_header"


class AdmissionTicket(Protocol):
    """The position of one accepted connection. Repeated calls of a method have no effect."""

    def count_for(self, user: bytes, most: int | None = None) -> bool:
        """Count the connection for a user who has authenticated.

        :param user: the user's name in UTF-8, in its normal form.
        :param most: how many this user may have; None for `connections_per_user`.
        :returns: False if this user has as many connections as allowed.
        """

    def logged_in(self) -> None:
        """Count the connection as logged in."""

    def blame(self, offence: Offence) -> None:
        """Penalise the address for an offence, if the connection ends without a login.

        :param offence: what the client has done.
        """

    def closed(self) -> None:
        """Give the position back: the connection is gone."""


class Admission(Protocol):
    """Decides for each connection, at once: there is no connection to wait with before that.

    An implementation for several processes decides by its local view of all of them, and brings
    that up to date in batches.
    """

    @property
    def open(self) -> int:
        """How many connections there are."""

    @property
    def starting(self) -> int:
        """How many of them have not logged in."""

    def admit(self, host: str | None) -> AdmissionTicket | Refusal:
        """Accept a connection, or say why not.

        :param host: the client's address as text; None if limits per address do not apply.
        """

    def forgive(self, host: str) -> None:
        """End the penalties of an address: the operator vouches for it.

        :param host: the address as text, of which the /64 counts if it is of IPv6, or that /64.
        """


@dataclass(slots=True)
class _Source:
    """What is known of one address or site.

    :ivar startups: has a token for each connection that the address may begin.
    :ivar penalty: how long it is still to be refused.
    :ivar starting: how many of its connections have not logged in.
    """

    startups: TokenBucket
    penalty: Penalty
    starting: int = 0


class ProcessTicket:
    """The `AdmissionTicket` of a `ProcessAdmission`.

    :param admission: counts the connection.
    :param network: the address or site that it is counted for; None if it is exempt.
    """

    __slots__ = ("_admission", "_is_open", "_is_starting", "_network", "_offence", "_user")

    def __init__(self, admission: ProcessAdmission, network: Network | None) -> None:
        self._admission = admission
        self._network = network
        self._user: bytes | None = None
        self._offence: Offence | None = Offence.NO_ATTEMPT
        self._is_open = self._is_starting = True

    def count_for(self, user: bytes, most: int | None = None) -> bool:
        self._offence = None  # the user has authenticated, and may be refused all the same
        if self._is_open and self._user is None and self._admission._take_for_user(user, most):
            self._user = user
        return self._is_open and self._user == user

    def blame(self, offence: Offence) -> None:
        order = list(Offence)
        if self._offence is not None and order.index(offence) > order.index(self._offence):
            self._offence = offence

    def logged_in(self) -> None:
        if self._is_starting:
            self._is_starting = False
            self._admission._on_started(self._network, None, has_logged_in=True)

    def closed(self) -> None:
        if self._is_starting:
            self._is_starting = False
            self._admission._on_started(self._network, self._offence, has_logged_in=False)
        if self._is_open:
            self._is_open = False
            self._admission._on_closed(self._user)


class ProcessAdmission:
    """The `Admission` that counts the connections of this process alone.

    :param settings: the limits, of ``[ssh]``.
    :param seconds: returns the time.
    :param random: returns a number from 0 up to, but not including, 1.
    :param is_banned: whether an address is banned.
    """

    def __init__(
        self,
        settings: SshSettings,
        *,
        seconds: Callable[[], float],
        random: Callable[[], float],
        is_banned: Callable[[str], bool] = lambda host: False,
    ) -> None:
        self._settings = settings
        self._is_banned = is_banned
        self._seconds = seconds
        self._random = random
        self._sources: OrderedDict[Network, _Source] = OrderedDict()
        self._connections: Counter[bytes] = Counter()
        self.open = 0
        self.starting = 0

    @property
    def known_sources(self) -> int:
        """How many addresses are remembered."""
        return len(self._sources)

    def admit(self, host: str | None) -> AdmissionTicket | Refusal:
        if self.open >= self._settings.max_connections:
            return Refusal.FULL
        network = self._limited_network(host)
        if network is not None and host is not None and self._is_banned(host):
            return Refusal.BANNED
        if network is not None and (refusal := self._refusal_of(network)):
            return refusal
        held = None if network is None else self._held_by(network)
        if self._random() < drop_probability(self._settings.max_startups, self.starting, held):
            return Refusal.EARLY_DROP
        if network is not None:
            self._count(network)
        self.open += 1
        self.starting += 1
        return ProcessTicket(self, network)

    def forgive(self, host: str) -> None:
        """End the penalties of an address."""
        address = address_of(host.partition("/")[0])
        source = None if address is None else self._sources.get(site_of(address))
        if source is not None:
            source.penalty = Penalty(self._seconds())

    def _limited_network(self, host: str | None) -> Network | None:
        address = address_of(host)
        if address is None or any(address in exempt for exempt in self._settings.exempt_networks):
            return None
        return site_of(address)

    def _refusal_of(self, network: Network) -> Refusal | None:
        source = self._sources.get(network)
        if source is None:
            return None
        if source.penalty.is_enforced(self._seconds()):
            return Refusal.PENALISED
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
            source = self._sources[network] = _Source(self._full_bucket(), Penalty(self._seconds()))
        source.starting += 1
        self._add_tokens(network, source, -1)

    def _full_bucket(self) -> TokenBucket:
        settings = self._settings
        capacity, rate = settings.startups_per_address, settings.startup_rate_per_address
        return TokenBucket(capacity, rate, self._seconds())

    def _add_tokens(self, network: Network, source: _Source, change: int) -> None:
        """Add tokens, or take some; the address becomes the last one to be forgotten."""
        source.startups.refill(self._seconds())
        source.startups.add(change)
        self._sources.move_to_end(network)

    def _forget(self) -> None:
        """Forget addresses of which nothing is to be known, and the oldest if there are too many.

        Addresses with connections that have not logged in are not forgotten; there are at most as
        many of them as such connections. Looks at the two oldest addresses only, so that the cost
        of a new connection is constant.
        """
        for network, source in tuple(islice(self._sources.items(), 2)):
            source.startups.refill(self._seconds())
            is_penalised = source.penalty.left_seconds(self._seconds()) > 0
            if not source.starting and (
                (source.startups.is_full and not is_penalised) or len(self._sources) >= MAX_SOURCES
            ):
                del self._sources[network]
            elif source.starting or is_penalised:
                self._sources.move_to_end(network)

    def _on_started(
        self, network: Network | None, offence: Offence | None, *, has_logged_in: bool
    ) -> None:
        self.starting -= 1
        source = None if network is None else self._sources.get(network)
        if network is not None and source is not None:
            source.starting -= 1
            self._add_tokens(network, source, 1 if has_logged_in else 0)
            if offence is not None and self._settings.penalties is not None:
                source.penalty.add(offence, self._settings.penalties, self._seconds())

    def _take_for_user(self, user: bytes, most: int | None) -> bool:
        general = self._settings.connections_per_user
        if self._connections[user] >= (general if most is None else min(most, general)):
            return False
        self._connections[user] += 1
        return True

    def _on_closed(self, user: bytes | None) -> None:
        self.open -= 1
        if user is not None:
            self._connections[user] -= 1


def drop_probability(limits: StartupLimits, starting: int, held: int | None = None) -> float:
    """The probability with which the next connection is refused.

    As with OpenSSH, it is 0 below `start`, `drop_percent` at `start`, and grows linearly to 1 at
    `full`. With `held` connections of the same address, the next one must pass this test `held`
    times, and is refused above the middle between `start` and `full`. An address that holds none is
    always accepted below the middle; from there its probability grows linearly from 0 to 1.

    :param limits: `max_startups` of ``[ssh]``.
    :param starting: how many connections have not logged in yet.
    :param held: how many of them come from the same address; None if that does not count.
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
