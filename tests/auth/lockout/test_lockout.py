"""Which attempts wait, and who is banned: addresses, users at addresses, and one NAT for all."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpgw.auth.lockout.lockout import Ban, Lockout
from sftpgw.auth.lockout.lockout_state import MAX_ENTRIES, ProcessLockoutState
from sftpgw.auth.lockout.plan import EMPTY, GuessFailure, Subject
from sftpgw.model.settings import LockoutSettings

WRONG, CODE, UNKNOWN = (
    GuessFailure.WRONG_PASSWORD,
    GuessFailure.WRONG_CODE,
    GuessFailure.UNKNOWN_NAME,
)
HERE, THERE = "192.0.2.1", "198.51.100.7"


class World:
    """A lockout whose clock the test sets."""

    def __init__(self, settings: LockoutSettings | None = None, exempt: str = "") -> None:
        self.now = 1_000_000.0
        self.state = ProcessLockoutState()
        networks = (ip_network(exempt),) if exempt else ()
        self.lockout = Lockout(
            settings or LockoutSettings(), lambda: self.now, self.state, exempt_networks=networks
        )

    def fail(
        self,
        times: int = 1,
        name: bytes = b"alice",
        host: str | None = HERE,
        failure: GuessFailure = WRONG,
    ) -> list[Ban]:
        return [
            ban for _ in range(times) for ban in self.lockout.count_failure(name, host, failure)
        ]

    def bars(self, name: bytes = b"alice", host: str | None = HERE) -> tuple[bool, bool]:
        """Whether a connection is refused, and whether the user's proof is."""
        return self.lockout.bars_address(host), self.lockout.bars_user(name, host)


@pytest.fixture
def world() -> World:
    return World()


def test_a_user_is_banned_at_an_address_and_nowhere_else(world: World) -> None:
    assert world.fail(9) == []
    (ban,) = world.fail()
    assert (ban.address, ban.user, ban.score, ban.count) == (HERE, "alice", 10, 1)
    assert ban.until_seconds - ban.since_seconds == 600
    assert world.bars() == (False, True)
    assert world.bars(name=b"bob") == (False, False)
    assert world.bars(host=THERE) == (False, False)
    world.now += 600
    assert world.bars() == (False, False)


def test_a_name_in_other_case_has_no_guesses_of_its_own(world: World) -> None:
    """A service may take ``ALICE`` for ``alice``."""
    for number, name in enumerate((b"alice", b"ALICE", b"Alice")):
        assert world.fail(name=name, host=f"10.0.0.{number}") == []
    assert world.lockout.delay_seconds(b"aLICE", THERE) == 1
    for name in (b"alice", b"Alice") * 5:
        bans = world.fail(name=name)
    assert [ban.user for ban in bans] == ["alice"]
    assert world.bars(name=b"ALICE") == (False, True)
    assert [ban.user for ban in world.lockout.unban("ALICE")] == ["alice"]


def test_an_address_is_banned_for_all_users(world: World) -> None:
    bans = [ban for number in range(20) for ban in world.fail(name=b"user%d" % number)]
    assert [(ban.address, ban.user) for ban in bans] == [(HERE, "")]
    assert world.bars(name=b"alice") == (True, True)
    assert world.bars(host=THERE) == (False, False)


def test_many_names_that_no_user_has_ban_sooner_than_wrong_passwords(world: World) -> None:
    bans = [ban for number in range(7) for ban in world.fail(name=b"u%d" % number, failure=UNKNOWN)]
    assert [(ban.address, ban.user, ban.score) for ban in bans] == [(HERE, "", 21)]


def test_one_name_is_banned_after_as_many_tries_whether_it_exists_or_not(world: World) -> None:
    for failure, host in ((WRONG, HERE), (UNKNOWN, THERE)):
        for _ in range(9):
            assert world.fail(host=host, failure=failure) == []
        assert [ban.user for ban in world.fail(host=host, failure=failure)] == ["alice"]


def test_who_tries_on_while_others_have_banned_the_address_gets_no_ban_of_the_own(
    world: World,
) -> None:
    """The password was not looked at: it may be right each time."""
    world.lockout.count_login(b"carol", HERE)  # so that connections are accepted
    for number in range(20):
        world.fail(name=b"user%d" % number)
    assert world.bars(name=b"bob") == (False, True)
    assert world.fail(15, name=b"bob", failure=GuessFailure.BANNED) == []
    world.now += 600
    assert world.bars(name=b"bob") == (False, False)
    assert world.fail(9, name=b"bob") == []


def test_attempts_in_spite_of_a_ban_count(world: World) -> None:
    world.fail(10)
    bans = world.fail(10, failure=GuessFailure.BANNED)
    assert [(ban.address, ban.user) for ban in bans] == [(HERE, "")]


def test_a_user_is_delayed_everywhere_and_banned_nowhere_for_failures_elsewhere(
    world: World,
) -> None:
    """A botnet guesses one user's password: the user is not locked out."""
    for number in range(1000):
        host = f"10.0.{number // 250}.{number % 250}"
        world.fail(1, host=host)
        assert world.bars(host=host) == (False, False)
    assert world.bars(host=THERE) == (False, False)
    assert world.lockout.delay_seconds(b"alice", THERE) == 8.0
    assert world.lockout.delay_seconds(b"bob", THERE) == 0.0


def test_codes_count_for_a_user_over_all_connections_and_addresses(world: World) -> None:
    for host in (HERE, THERE, "203.0.113.9"):
        world.fail(1, host=host, failure=CODE)
    assert world.lockout.delay_seconds(b"alice", "203.0.113.10") == 1.0
    world.fail(4, failure=CODE)
    assert world.bars() == (False, True)


def test_a_user_is_neither_banned_nor_delayed_for_others_at_a_known_address(world: World) -> None:
    world.lockout.count_login(b"alice", HERE)
    world.fail(500, host=THERE)
    assert world.bars(host=THERE)[1]
    assert world.lockout.delay_seconds(b"alice", HERE) == 0.0
    world.fail(500)
    assert world.bars() == (False, False), "not even for failures right there"
    assert world.lockout.delay_seconds(b"alice", HERE) == 8.0
    world.now += 31 * 86400
    world.fail(10)
    assert world.bars()[1], "not lately any more"


def test_honest_users_behind_one_nat_go_on_beside_an_attacker(world: World) -> None:
    """The attacker's guesses are not looked at; who has logged in from there lately may go on."""
    honest = [b"partner%d" % number for number in range(30)]
    for name in honest:
        world.lockout.count_login(name, HERE)
    bans = [ban for number in range(100) for ban in world.fail(name=b"guess%d" % number)]
    assert [(ban.address, ban.user) for ban in bans] == [(HERE, "")]
    for name in honest:
        assert world.bars(name) == (False, False)
        assert world.lockout.delay_seconds(name, HERE) == 0.0
    assert world.bars(b"guess1") == (False, True)
    assert world.bars(b"newcomer") == (False, True), "who comes there first has to wait"


def test_an_attacker_with_an_account_cannot_clear_the_way_for_guesses(world: World) -> None:
    bans = []
    for number in range(30):
        world.lockout.count_login(b"mallory", HERE)
        bans += world.fail(name=b"victim%d" % (number % 3))
    assert ("", "victim0") not in [(ban.address, ban.user) for ban in bans]
    assert (HERE, "") in [(ban.address, ban.user) for ban in bans]
    assert world.bars(b"victim0") == (False, True)
    assert world.bars(b"mallory") == (False, False)


@given(
    exempt=st.sampled_from(["192.0.2.0/24", "2001:db8::/32"]),
    history=st.lists(
        st.tuples(
            st.sampled_from([b"alice", b"bob", b""]),
            st.sampled_from(list(GuessFailure)),
            st.integers(1, 30),
        ),
        max_size=30,
    ),
)
def test_what_is_allowed_is_never_banned(
    exempt: str, history: list[tuple[bytes, GuessFailure, int]]
) -> None:
    host = "192.0.2.55" if "." in exempt else "2001:db8:5::1"
    for world in (
        World(LockoutSettings(allow_networks=(ip_network(exempt),))),
        World(None, exempt),
    ):
        for name, failure, times in history:
            assert world.fail(times, name, host, failure) == []
            assert world.bars(name, host) == (False, False)
            assert world.lockout.delay_seconds(name, host) <= 8.0
        assert world.lockout.bans()[1] == []


def test_ipv6_counts_by_site_and_mapped_ipv4_as_ipv4(world: World) -> None:
    for number in range(20):
        world.fail(name=b"u%d" % number, host=f"2001:db8:1:2::{number:x}")
    assert world.bars(host="2001:db8:1:2:ffff::1")[0]
    assert not world.bars(host="2001:db8:1:3::1")[0]
    for number in range(20):
        world.fail(name=b"u%d" % number, host=f"::ffff:{HERE}")
    assert world.bars()[0]


@pytest.mark.parametrize("host", [None, "local"])
def test_a_client_without_an_address_is_delayed_only(world: World, host: str | None) -> None:
    world.fail(100, host=host)
    assert world.bars(host=host) == (False, False)
    assert world.lockout.delay_seconds(b"alice", host) == 8.0


def test_it_can_be_switched_off() -> None:
    world = World(LockoutSettings(enabled=False))
    world.fail(1000)
    world.lockout.count_login(b"alice", HERE)
    assert world.bars() == (False, False)
    assert world.lockout.delay_seconds(b"alice", HERE) == 0.0
    assert len(world.state) == 0


def test_an_empty_name_is_one_user_and_not_all(world: World) -> None:
    world.fail(10, name=b"")
    assert world.bars(name=b"alice") == (False, False)
    assert world.bars(name=b"")[1]


@pytest.mark.parametrize(
    "given", [HERE, "::ffff:192.0.2.1", "alice"], ids=["address", "mapped", "user"]
)
def test_unban_ends_bans_and_forgets_failures(world: World, given: str) -> None:
    world.fail(10)
    world.fail(10, name=b"bob", host=THERE)
    (ended,) = world.lockout.unban(given)
    assert (ended.address, ended.user) == (HERE, "alice")
    assert world.bars() == (False, False)
    assert world.bars(b"bob", THERE) == (False, True)
    world.fail(8)
    assert world.bars() == (False, False), "points begin anew"
    assert world.lockout.unban(given) == []


@pytest.mark.parametrize("given", ["2001:db8:1:2::7", "2001:db8:1:2::/64"])
def test_unban_of_an_ipv6_address_is_for_its_site(world: World, given: str) -> None:
    for number in range(20):
        world.fail(name=b"u%d" % number, host="2001:db8:1:2::1")
    assert [ban.address for ban in world.lockout.unban(given)] == ["2001:db8:1:2::/64"]
    assert not world.bars(host="2001:db8:1:2::1")[0]


def test_bans_are_listed_while_they_last(world: World) -> None:
    world.fail(10)
    world.now += 5
    world.fail(10, name=b"bob", host=THERE)
    listed = [(ban.user, ban.address, ban.reason) for ban in world.lockout.bans()[1]]
    assert listed == [("bob", THERE, "wrong password"), ("alice", HERE, "wrong password")]
    world.now += 596
    assert [ban.user for ban in world.lockout.bans()[1]] == ["bob"]


def test_a_million_attacking_addresses_are_bounded_and_end_no_ban() -> None:
    """The pools are full long before; a tenth of a million is enough to see it."""
    world = World()
    world.lockout.count_login(b"alice", THERE)
    world.fail(20, name=b"mallory")
    for number in range(100_000):
        host = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        world.fail(name=b"guess%d" % number, host=host)
    assert len(world.state) <= 7 * MAX_ENTRIES
    assert world.bars(b"mallory")[0], "the ban is remembered"
    assert world.bars(b"alice", THERE) == (False, False)
    assert world.lockout.delay_seconds(b"alice", THERE) == 0.0


def test_one_user_with_many_addresses_does_not_make_others_unknown() -> None:
    state = ProcessLockoutState(max_entries=100)
    lockout = Lockout(LockoutSettings(), lambda: 1.0, state)
    lockout.count_login(b"alice", HERE)
    for number in range(1000):
        lockout.count_login(b"mallory", f"10.0.{number // 250}.{number % 250}")
    assert state.get(Subject(HERE, "alice")) != EMPTY
    assert state.get(Subject(HERE)) != EMPTY
