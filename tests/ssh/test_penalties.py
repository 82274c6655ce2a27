"""Penalties for addresses whose clients do not log in."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.conch.ssh.common import NS
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from sftpgw.model.settings import PenaltySettings, SshSettings
from sftpgw.ssh.admission import ProcessAdmission, ProcessTicket, Refusal
from sftpgw.ssh.factory import REFUSALS_TALLY_SECONDS
from sftpgw.ssh.penalties import Offence, Penalty, seconds_for
from sftpgw.testing.ssh_clients import ClientConnection, ClientUserAuth, MemoryTransport
from sftpgw.testing.ssh_pairs import (
    ClientPair,
    RecordedEvents,
    make_factory,
    make_test_portal,
    make_user,
    new_key,
)

MALLORY, ALICE = "192.0.2.1", "192.0.2.2"
MODEL = PenaltySettings()


class Door:
    """A `ProcessAdmission` whose time the test sets."""

    def __init__(self, settings: SshSettings | None = None) -> None:
        self.now = 1000.0
        self.admission = ProcessAdmission(
            settings or SshSettings(), seconds=lambda: self.now, random=lambda: 1.0
        )

    def take(self, host: str = MALLORY) -> ProcessTicket:
        ticket = self.admission.admit(host)
        assert isinstance(ticket, ProcessTicket), ticket
        return ticket

    def fail(self, host: str = MALLORY, offence: Offence = Offence.FAILED_ATTEMPT) -> None:
        ticket = self.take(host)
        ticket.blame(offence)
        ticket.closed()

    def is_closed(self, host: str = MALLORY) -> bool:
        taken = self.admission.admit(host)
        if isinstance(taken, ProcessTicket):
            taken.count_for(b"alice")
            taken.logged_in()
            taken.closed()
        return taken is Refusal.PENALISED


def test_penalties_add_up_and_are_enforced_until_all_have_passed() -> None:
    door = Door()
    for _ in range(2):
        door.fail()
    assert not door.is_closed()
    door.fail()
    assert door.is_closed()
    assert not door.is_closed(ALICE)
    door.now += 14.9
    assert door.is_closed()
    door.now += 0.2
    assert not door.is_closed()
    door.fail()
    assert not door.is_closed()


def test_who_fails_more_slowly_than_the_penalties_pass_is_never_refused() -> None:
    door = Door()
    for _ in range(1000):
        door.fail()
        door.now += 5.0
        assert not door.is_closed()


def test_connections_that_were_open_before_add_up_to_the_most() -> None:
    door = Door()
    tickets = [door.take() for _ in range(20)]
    for ticket in tickets:
        ticket.blame(Offence.GRACE_EXCEEDED)
        ticket.closed()
    door.now += 399.0
    assert door.is_closed()
    door.now += 2.0
    assert not door.is_closed()
    settings = replace(SshSettings(), penalties=replace(MODEL, max_seconds=30.0))
    door = Door(settings)
    for ticket in [door.take() for _ in range(20)]:
        ticket.blame(Offence.GRACE_EXCEEDED)
        ticket.closed()
    door.now += 30.1
    assert not door.is_closed()


@pytest.mark.parametrize("offence", list(Offence))
def test_only_the_worst_offence_counts(offence: Offence) -> None:
    door = Door(SshSettings(penalties=replace(MODEL, min_seconds=0.5)))
    ticket = door.take()
    for each in (offence, *Offence, offence):
        ticket.blame(each)
    ticket.closed()
    ticket.closed()
    door.now += 19.9
    assert door.is_closed()
    door.now += 0.2
    assert not door.is_closed()


def test_no_attempt_costs_less() -> None:
    door = Door(SshSettings(startups_per_address=100))
    for _ in range(14):
        door.take().closed()
    assert not door.is_closed()
    door.take().closed()
    assert door.is_closed()


def test_a_login_costs_nothing_and_takes_nothing_back() -> None:
    door = Door()
    for _ in range(2):
        door.fail()
    for _ in range(50):
        ticket = door.take()
        ticket.blame(Offence.FAILED_ATTEMPT)  # the first key of an agent
        ticket.count_for(b"alice")
        ticket.logged_in()
        ticket.closed()
    assert not door.is_closed()
    door.fail()
    assert door.is_closed()


def test_a_user_with_too_many_connections_has_not_failed() -> None:
    door = Door(SshSettings(connections_per_user=1))
    stays = door.take()
    assert stays.count_for(b"alice")
    stays.logged_in()
    for _ in range(50):
        ticket = door.take()
        assert not ticket.count_for(b"alice")
        ticket.closed()
        door.now += 1.0
    assert isinstance(door.admission.admit(MALLORY), ProcessTicket)


@pytest.mark.parametrize(
    "settings",
    [SshSettings(penalties=None), SshSettings(exempt_networks=(ip_network("192.0.2.0/24"),))],
)
def test_off_and_exempt(settings: SshSettings) -> None:
    door = Door(settings)
    for _ in range(100):
        door.fail()
        door.now += 0.5
    assert not door.is_closed()


def test_an_ipv6_site_is_one_address() -> None:
    door = Door()
    for number in range(3):
        door.fail(f"2001:db8::{number}")
    assert door.is_closed("2001:db8::ffff:1")
    assert not door.is_closed("2001:db8:0:1::1")


def test_an_address_under_penalty_is_remembered_past_others() -> None:
    door = Door()
    for _ in range(20):
        if not door.is_closed():
            door.fail(MALLORY, Offence.GRACE_EXCEEDED)
    door.now += 19.0
    for number in range(2000):
        door.fail(f"198.51.{number // 256}.{number % 256}")
    assert door.is_closed()
    door.now += 3600
    for number in range(4000):
        door.now += 30.0
        door.fail(f"198.52.{number // 256}.{number % 256}")
    assert door.admission.known_sources < 10


@given(
    st.lists(st.tuples(st.sampled_from(list(Offence)), st.floats(-50, 50)), max_size=60),
    st.floats(0, 30),
    st.floats(30, 100),
)
def test_no_penalty_is_longer_than_the_most_or_comes_before_the_least(
    steps: list[tuple[Offence, float]], least: float, most: float
) -> None:
    """In any sequence, with a clock that may be set back."""
    settings = replace(MODEL, min_seconds=least, max_seconds=most)
    penalty, now, due = Penalty(1000.0), 1000.0, 0.0
    for offence, passed in steps:
        now += passed
        before = penalty.left_seconds(now)
        was_enforced = penalty.is_enforced(now)
        penalty.add(offence, settings, now)
        due = min(before + seconds_for(offence, settings), most)
        left = penalty.left_seconds(now)
        assert left == pytest.approx(due)
        assert penalty.is_enforced(now) == (left > 0 and (was_enforced or due >= least))
        assert not penalty.is_enforced(now + most + 0.001)


# In the factory.


def test_guesses_close_the_door_and_one_event_tells() -> None:
    key, clock, events = new_key(), Clock(), RecordedEvents()
    portal = make_test_portal({"alice": make_user("alice", key)}, {})
    factory = make_factory(portal, clock, events, SshSettings())
    for _ in range(3):
        connection = ClientConnection()
        auth = ClientUserAuth(b"alice", connection, key=new_key(), password=None)
        ClientPair(
            factory,
            clock,
            lambda client, auth=auth: client.requestService(auth),
            address=IPv4Address("TCP", MALLORY, 1000),
        ).drop()
        assert not connection.started
    assert factory.buildProtocol(IPv4Address("TCP", MALLORY, 1000)) is None
    assert factory.buildProtocol(IPv4Address("TCP", "203.0.113.9", 1000)) is not None
    clock.advance(REFUSALS_TALLY_SECONDS)
    (facts,) = events.facts("connections-refused")
    assert facts["penalised"] == 1
    factory.stopFactory()


@pytest.mark.parametrize("has_sent", [True, False])
def test_who_waits_for_the_gateway_at_the_end_of_the_grace_is_not_locked_out(
    has_sent: bool,
) -> None:
    """Guesses from many addresses make the line for hashes longer than the time for a login."""
    clock, events, key = Clock(), RecordedEvents(), new_key()
    portal = make_test_portal({"alice": make_user("alice", key)}, {})
    never: Deferred[None] = Deferred()
    portal.login = lambda *arguments: never  # type: ignore[method-assign]
    settings = SshSettings()
    factory = make_factory(portal, clock, events, settings)
    address = IPv4Address("TCP", ALICE, 1000)
    pair = ClientPair(factory, clock, address=address)
    pair.send_packet(5, NS(b"ssh-userauth"))
    if has_sent:
        words = NS(b"alice") + NS(b"ssh-connection") + NS(b"password")
        pair.send_packet(50, words + b"\0" + NS(b"the right one"))
    clock.advance(settings.login_grace_seconds)
    pair.pump()
    pair.drop()
    assert (factory.buildProtocol(address) is not None) is has_sent


def test_a_site_has_one_turn_before_the_login_however_many_addresses_it_uses() -> None:
    """An IPv6 /64 has 2⁶⁴ addresses; each of them had a share of the CPU of its own."""
    factory = make_factory(make_test_portal({}, {}), Clock(), RecordedEvents())
    hosts = ("2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:2::1", MALLORY, ALICE)
    owners = []
    for host in hosts:
        address = (IPv6Address if ":" in host else IPv4Address)("TCP", host, 1000)
        server = factory.accept(host, address=address)
        assert server is not None
        server.makeConnection(MemoryTransport(server, is_server=True))
        owners.append(server._turns.path[0])
    assert owners[0] == owners[1]
    assert len(set(owners)) == 4
