"""Which connections are accepted: early drops, limits per address, exempt networks."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.task import Clock

from sftpgw.model.addresses import address_of, site_of
from sftpgw.model.settings import SshSettings, StartupLimits
from sftpgw.ssh.admission import (
    MAX_SOURCES,
    AdmissionTicket,
    ProcessAdmission,
    ProcessTicket,
    Refusal,
    drop_probability,
)
from sftpgw.ssh.channel_pace import SessionLimits
from sftpgw.ssh.factory import REFUSALS_TALLY_SECONDS, GatewayFactory
from sftpgw.testing.cpu_clocks import free_work
from sftpgw.testing.ssh_clients import ClientConnection, ClientUserAuth
from sftpgw.testing.ssh_pairs import (
    AvatarParts,
    ClientPair,
    LoggedInPair,
    RecordedEvents,
    RecordingSubsystem,
    call_at_once,
    make_factory,
    make_test_portal,
    make_user,
    new_key,
)

ALICE, BOB = "192.0.2.1", "192.0.2.2"
OPEN_HOUSE = SshSettings(max_startups=StartupLimits(10_000, 100, 10_000), max_connections=10_000)

ROUNDING = 1e-9


class Door:
    """A `ProcessAdmission` whose time and random numbers the test sets."""

    def __init__(
        self, settings: SshSettings = OPEN_HOUSE, chance: Callable[[], float] | None = None
    ) -> None:
        self.now = 0.0
        self.luck = 0.0
        chance = chance or (lambda: self.luck)
        self.admission = ProcessAdmission(settings, seconds=lambda: self.now, random=chance)

    def take(self, host: str | None = ALICE) -> ProcessTicket:
        ticket = self.admission.admit(host)
        assert isinstance(ticket, ProcessTicket), ticket
        return ticket

    def take_all(self, host: str | None = ALICE, most: int = 100) -> list[ProcessTicket]:
        """Tickets of as many connections as are accepted, up to `most`."""
        tickets: list[ProcessTicket] = []
        while len(tickets) < most and isinstance(
            ticket := self.admission.admit(host), ProcessTicket
        ):
            tickets.append(ticket)
        return tickets


# One address.


def test_sixteen_connections_that_log_in_may_be_followed_by_sixteen() -> None:
    door = Door(SshSettings())
    for _ in range(10):
        tickets = [door.take() for _ in range(16)]
        for ticket in tickets:
            ticket.logged_in()
        for ticket in tickets:
            ticket.closed()


def test_connections_without_a_login_are_limited_per_address() -> None:
    door = Door(replace(OPEN_HOUSE, startups_per_address=5))
    tickets = door.take_all()
    assert len(tickets) == 5
    assert door.admission.admit(ALICE) is Refusal.ADDRESS_BUSY
    door.now = 3600.0
    assert door.admission.admit(ALICE) is Refusal.ADDRESS_BUSY
    door.take(BOB)
    tickets[0].logged_in()
    door.take()


def test_a_client_that_leaves_without_a_login_stays_counted_for_a_while() -> None:
    door = Door(replace(OPEN_HOUSE, startups_per_address=5, startup_rate_per_address=2))
    for _ in range(5):
        door.take().closed()
    assert door.admission.admit(ALICE) is Refusal.ADDRESS_FAST
    door.now = 0.49
    assert door.admission.admit(ALICE) is Refusal.ADDRESS_FAST
    door.now = 0.5
    door.take().closed()
    assert door.admission.admit(ALICE) is Refusal.ADDRESS_FAST
    door.now = 1000.0
    for _ in range(5):
        door.take().closed()
    assert door.admission.admit(ALICE) is Refusal.ADDRESS_FAST


def test_the_rate_that_ssh_audit_calls_safe_is_never_exceeded() -> None:
    door = Door(SshSettings())
    taken = 0
    for tick in range(1500):
        door.now = tick / 1000
        if isinstance(ticket := door.admission.admit(ALICE), ProcessTicket):
            taken += 1
            ticket.closed()
    assert taken / 1.5 < 20


def test_logins_are_not_slowed_down() -> None:
    door = Door(SshSettings())
    for _ in range(1000):
        ticket = door.take()
        ticket.logged_in()
        ticket.closed()


def test_a_clock_that_is_set_back_locks_no_client_out() -> None:
    door = Door(replace(OPEN_HOUSE, startups_per_address=5, startup_rate_per_address=2))
    door.now = 1e6
    ticket = door.take()
    for _ in range(4):
        door.take().closed()
    door.now -= 3600
    assert door.admission.admit(ALICE) is Refusal.ADDRESS_FAST
    ticket.closed()
    door.now += 0.5
    door.take().logged_in()
    door.take()


def test_neighbours_in_an_ipv6_site_are_one() -> None:
    door = Door(replace(OPEN_HOUSE, startups_per_address=2))
    door.take("2001:db8::1")
    door.take("2001:db8::ffff:2")
    assert door.admission.admit("2001:db8::3%eth0") is Refusal.ADDRESS_BUSY
    door.take("2001:db8:0:1::1")


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("192.0.2.1", "192.0.2.1/32"),
        ("::ffff:192.0.2.1", "192.0.2.1/32"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_networks_that_count_as_one_address(host: str, site: str) -> None:
    address = address_of(host)
    assert address is not None
    assert site_of(address) == ip_network(site)


@pytest.mark.parametrize("host", [None, "", "/run/socket", "example.org"])
def test_a_client_without_an_address_is_counted_in_total_only(host: str | None) -> None:
    door = Door(replace(OPEN_HOUSE, startups_per_address=1, max_connections=3))
    assert len(door.take_all(host)) == 3
    assert door.admission.admit(host) is Refusal.FULL


def test_exempt_networks_have_no_limit_per_address() -> None:
    networks = (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))
    door = Door(replace(OPEN_HOUSE, startups_per_address=1, exempt_networks=networks))
    assert len(door.take_all(ALICE)) == 100
    assert len(door.take_all("::ffff:192.0.2.9")) == 100
    assert len(door.take_all("2001:db8::1")) == 100
    assert len(door.take_all("192.0.3.1")) == 1
    assert door.admission.known_sources == 1


# One user.


def test_a_user_has_so_many_connections_wherever_they_come_from() -> None:
    networks = (ip_network("192.0.2.0/24"),)
    door = Door(replace(OPEN_HOUSE, connections_per_user=2, exempt_networks=networks))
    first, second, third = (door.take(host) for host in (ALICE, BOB, "198.51.100.1"))
    assert first.count_for(b"alice")
    assert second.count_for(b"alice")
    assert not third.count_for(b"alice")
    assert third.count_for(b"bob")
    first.closed()
    first.closed()
    assert door.take().count_for(b"alice")
    assert not door.take().count_for(b"alice")


def test_a_login_that_is_counted_twice_is_one() -> None:
    door = Door(replace(OPEN_HOUSE, connections_per_user=1))
    ticket = door.take()
    assert ticket.count_for(b"alice")
    assert ticket.count_for(b"alice")
    assert not ticket.count_for(b"bob")
    ticket.closed()
    assert not ticket.count_for(b"alice")
    assert door.take().count_for(b"alice")


# In total.


def test_connections_are_limited_in_total() -> None:
    door = Door(replace(OPEN_HOUSE, max_connections=3))
    tickets = [door.take(f"192.0.2.{number}") for number in range(3)]
    for ticket in tickets:
        ticket.logged_in()
    assert door.admission.admit(ALICE) is Refusal.FULL
    tickets[0].closed()
    door.take()


def test_early_drops_follow_the_configured_share() -> None:
    networks = (ip_network("0.0.0.0/0"),)
    door = Door(SshSettings(max_startups=StartupLimits(10, 30, 20), exempt_networks=networks))
    tickets = [door.take() for _ in range(10)]
    door.luck = 0.29
    assert door.admission.admit(ALICE) is Refusal.EARLY_DROP
    door.luck = 0.31
    tickets.append(door.take())
    assert door.admission.admit(ALICE) is Refusal.EARLY_DROP
    door.luck = 0.9999
    assert len(door.take_all()) == 9
    tickets[0].logged_in()
    door.take()


@given(
    st.integers(1, 300),
    st.integers(1, 100),
    st.integers(0, 300),
    st.integers(0, 700),
    st.integers(1, 30),
)
def test_drops_grow_from_the_start_to_the_full(
    start: int, percent: int, more: int, starting: int, held: int
) -> None:
    limits = StartupLimits(start, percent, start + more)
    fresh, first, second, any_other = (
        drop_probability(limits, starting, count) for count in (0, held, held + 1, None)
    )
    assert 0 <= fresh <= any_other <= first + ROUNDING <= second + 2 * ROUNDING <= 1.1
    assert (any_other == 0) == (starting < start)
    assert any_other == 1 or starting < limits.full
    assert (fresh == 1) == (starting >= limits.full)
    for count in (0, held, None):
        now, next_one = (drop_probability(limits, starting + more, count) for more in (0, 1))
        assert now <= next_one + ROUNDING
    if start <= starting:
        assert any_other >= percent / 100 - ROUNDING


def share_let_in(settings: SshSettings, flooders: int) -> float:
    """An honest client's attempts that succeed while `addresses` keep all they get."""
    door = Door(settings, random.Random(1).random)
    held: deque[tuple[float, ProcessTicket]] = deque()
    tries = let_in = 0
    for tick in range(600):
        door.now = tick / 2
        while held and door.now - held[0][0] >= settings.login_grace_seconds:
            held.popleft()[1].closed()
        for number in range(flooders):
            flooder = door.admission.admit(f"198.51.{number // 256}.{number % 256}")
            if not isinstance(flooder, Refusal):
                held.append((door.now, flooder))
        if door.now > settings.login_grace_seconds:
            tries += 1
            if isinstance(honest := door.admission.admit(ALICE), ProcessTicket):
                let_in += 1
                honest.logged_in()
                honest.closed()
    return let_in / tries


@pytest.mark.parametrize("flooders", [3, 10, 20, 100])
def test_few_addresses_that_take_all_they_get_lock_no_other_out(flooders: int) -> None:
    assert share_let_in(SshSettings(), flooders) > 0.95


def test_as_many_addresses_as_positions_lock_others_out() -> None:
    """The limits that the module and docs/security.rst state; else they state too much."""
    assert share_let_in(SshSettings(), 200) < 0.5


# Properties of any sequence of events.


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["admit", "login", "close", "close twice", "wait"]),
            st.integers(0, 5),
        ),
        max_size=200,
    )
)
def test_the_counts_are_right_after_any_sequence_of_events(steps: list[tuple[str, int]]) -> None:
    settings = SshSettings(
        max_connections=8, startups_per_address=3, max_startups=StartupLimits(4, 50, 6)
    )
    door = Door(settings)
    door.luck = 0.6
    tickets: list[ProcessTicket] = []
    logged_in: set[ProcessTicket] = set()
    for step, number in steps:
        if step == "wait":
            door.now += number
        elif step == "admit":
            taken = door.admission.admit(f"192.0.2.{number}")
            if not isinstance(taken, Refusal):
                tickets.append(taken)
        elif tickets:
            ticket = tickets[number % len(tickets)]
            if step == "login":
                ticket.logged_in()
                logged_in.add(ticket)
            else:
                tickets.remove(ticket)
                for _ in range(1 + (step == "close twice")):
                    ticket.closed()
        assert door.admission.open == len(tickets) <= 8
        assert door.admission.starting == len(set(tickets) - logged_in) <= 6
    for ticket in tickets:
        ticket.closed()
    door.now += 1000
    door.luck = 0.0
    assert len(door.take_all(ALICE)) == 3


def test_remembered_addresses_are_bounded() -> None:
    door = Door(replace(OPEN_HOUSE, startups_per_address=1))
    stays = door.take("10.0.0.1")
    first = int(ip_address("198.18.0.0"))
    for number in range(MAX_SOURCES + 5000):
        door.take(str(ip_address(first + number))).closed()
    assert door.admission.known_sources <= MAX_SOURCES + 1
    door.now += 60
    for number in range(2 * MAX_SOURCES):
        door.take(str(ip_address(first + 50_000 + number))).closed()
        door.now += 1
    assert door.admission.known_sources < 10
    assert door.admission.admit("10.0.0.1") is Refusal.ADDRESS_BUSY
    stays.closed()
    assert door.admission.starting == 0


# In the factory.


def address(host: str) -> IPv4Address:
    return IPv4Address("TCP", host, 1000)


def test_refusals_are_one_event_with_counts() -> None:
    clock, events = Clock(), RecordedEvents()
    factory = make_factory(
        make_test_portal({}, {}), clock, events, SshSettings(startups_per_address=2)
    )
    taken = [factory.buildProtocol(address(ALICE)) for _ in range(500)]
    assert [transport is None for transport in taken] == [False] * 2 + [True] * 498
    assert events.told == []
    clock.advance(REFUSALS_TALLY_SECONDS)
    assert factory.buildProtocol(address(ALICE)) is None
    (facts,) = events.facts("connections-refused")
    assert facts["address_busy"] == 498
    assert facts["last_from"] == ALICE
    factory.stopFactory()
    assert [told.get("address_busy") for told in events.facts("connections-refused")] == [498, 1]
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize(
    ("general", "own", "setting"),
    [
        (1, None, "[ssh] connections_per_user"),
        (100, 1, "users.ini max_sessions"),
        (1, 100, "[ssh] connections_per_user"),
    ],
)
def test_a_user_with_too_many_connections_is_told(
    general: int, own: int | None, setting: str
) -> None:
    settings = SshSettings(connections_per_user=general)
    key, clock, events, logouts = new_key(), Clock(), RecordedEvents(), list[str]()
    parts = AvatarParts(limits=SessionLimits(connections=own))
    portal = make_test_portal({"alice": make_user("alice", key)}, {}, logouts.append, parts)
    factory = make_factory(portal, clock, events, settings)

    def log_in() -> tuple[ClientPair, ClientConnection]:
        connection = ClientConnection()
        auth = ClientUserAuth(b"alice", connection, key=key, password=None)
        return ClientPair(factory, clock, lambda client: client.requestService(auth)), connection

    first, opened = log_in()
    assert opened.started
    second, refused = log_in()
    assert not refused.started
    text = f"this user has too many connections ({setting})"
    assert second.client.disconnect_text == text.encode()
    assert not second.connected
    assert logouts == ["alice"]
    (facts,) = events.facts("login-refused")
    assert facts["user"] == "alice"
    assert facts["reason"] == f"too many connections ({setting})"
    assert "login-failed" not in events.names()
    first.drop()
    third, opened = log_in()
    assert opened.started
    third.drop()
    assert clock.getDelayedCalls() == []


def test_spellings_of_a_name_are_one_user() -> None:
    key, clock = new_key(), Clock()
    portal = make_test_portal({"jörg": make_user("jörg", key)}, {})
    settings = SshSettings(connections_per_user=1)
    factory = make_factory(portal, clock, RecordedEvents(), settings)
    started = []
    for name in ("jörg", "jo\u0308rg"):
        connection = ClientConnection()
        auth = ClientUserAuth(name.encode(), connection, key=key, password=None)
        ClientPair(factory, clock, lambda client, auth=auth: client.requestService(auth))
        started.append(connection.started)
    assert started == [True, False]


def test_a_login_and_the_end_of_a_connection_free_its_counts() -> None:
    settings = SshSettings(max_connections=2, max_startups=StartupLimits(1, 100, 1))
    pair = LoggedInPair({b"sftp": RecordingSubsystem}, settings)
    stranger = ClientPair(pair.factory, pair.clock)
    assert pair.factory.buildProtocol(UNIXAddress(None)) is None  # two are connected
    stranger.drop()
    stranger = ClientPair(pair.factory, pair.clock)
    pair.drop()
    assert pair.factory.buildProtocol(UNIXAddress(None)) is None  # one is logging in
    stranger.drop()
    ClientPair(pair.factory, pair.clock).drop()
    pair.factory.stopFactory()
    assert pair.clock.getDelayedCalls() == []


class SharedAdmission:
    """Decides for two gateways together, as several processes would."""

    def __init__(self) -> None:
        self.inner = ProcessAdmission(
            SshSettings(max_connections=1), seconds=lambda: 0.0, random=lambda: 1.0
        )

    @property
    def open(self) -> int:
        return self.inner.open

    @property
    def starting(self) -> int:
        return self.inner.starting

    def admit(self, host: str | None) -> AdmissionTicket | Refusal:
        return self.inner.admit(host)


def test_two_factories_may_share_their_admission() -> None:
    clock, shared = Clock(), SharedAdmission()
    one, two = (
        GatewayFactory(
            portal=make_test_portal({}, {}),
            host_keys=(new_key(),),
            settings=SshSettings(),
            clock=clock,
            events=RecordedEvents(),
            work=free_work(clock),
            run_in_thread=call_at_once,
            admission=shared,
        )
        for _ in range(2)
    )
    pair = ClientPair(one, clock, greet=False)
    assert two.buildProtocol(address(ALICE)) is None
    pair.drop()
    assert two.buildProtocol(address(ALICE)) is not None
    two.stopFactory()
