"""`aio/work/plan`: what one reactor iteration takes, and who is next."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from sftpgw.aio.work.plan import WorkPlan

ROUND, QUANTUM = 10, 4
USERS = ("alice", "bob", "carol")


class Iterations:
    """A plan with whole numbers for seconds, and the users' work that waits.

    :param late: how much longer than allowed a quantum may last.
    """

    def __init__(self, late: int) -> None:
        self.plan: WorkPlan[str] = WorkPlan(round_seconds=ROUND, quantum_seconds=QUANTUM)
        self.late = late
        self.got: Counter[str] = Counter()

    def put(self, user: str) -> None:
        self.plan.put((user, "session", "channel"), user)

    def do(self, user: str, wanted: int) -> int:
        """A quantum of a user's."""
        seconds = min(wanted, int(self.plan.quantum_seconds) + self.late)
        self.plan.charge((user, "session", "channel"), seconds)
        self.got[user] += seconds
        return seconds

    def round(self, wanted: int = 10**6) -> list[str]:
        """A round in which each one waits again; returns who was served."""
        served = []
        self.plan.renew()
        while (ticket := self.plan.take_next()) is not None:
            served.append(ticket.item)
            self.do(ticket.item, wanted)
            self.put(ticket.item)
        self.plan.renew()
        return served


def test_what_arrives_while_nothing_waits_is_done_at_once() -> None:
    now = Iterations(late=0)
    assert now.plan.may_begin("alice")
    now.do("alice", ROUND - 1)
    assert now.plan.may_begin("alice")
    now.do("alice", 1)
    assert not now.plan.may_begin("alice")
    assert not now.plan.may_begin("bob")


def test_use_before_others_waited_counts_in_the_same_iteration() -> None:
    now = Iterations(late=0)
    now.do("alice", ROUND)
    now.put("alice")
    now.put("bob")
    assert now.round()[0] == "bob"


def test_who_has_used_little_begins_at_once_beside_a_flood() -> None:
    now = Iterations(late=0)
    now.put("alice")
    assert now.plan.may_begin("alice")  # nothing of others waits
    now.do("alice", QUANTUM)
    assert not now.plan.may_begin("alice")
    now.plan.renew()
    now.put("bob")
    now.do("alice", QUANTUM)
    assert not now.plan.may_begin("alice")
    assert now.plan.may_begin("carol")


def test_a_weight_of_two_gets_twice_as_much() -> None:
    plan: WorkPlan[str] = WorkPlan(lambda user: 2.0 if user == "alice" else 1.0, ROUND, 1)
    got: Counter[str] = Counter()
    for user in ("alice", "bob"):
        plan.put((user, "", ""), user)
    for _ in range(30):
        plan.renew()
        while (ticket := plan.take_next()) is not None:
            got[ticket.item] += 1
            plan.charge(ticket.path, 1)
            plan.put(ticket.path, ticket.item)
    assert abs(got["alice"] - 2 * got["bob"]) <= 3


work = st.lists(st.tuples(st.sampled_from(USERS), st.integers(1, 30)), max_size=60)


@given(work, st.integers(0, 3))
def test_an_iteration_is_over_by_a_quantum_at_most(
    arriving: list[tuple[str, int]], late: int
) -> None:
    """Whatever arrives: what is handed out ends in time, but for the last quantum."""
    now = Iterations(late)
    for user, wanted in arriving:
        if now.plan.may_begin(user):
            now.do(user, wanted)
        else:
            now.put(user)
        assert now.plan.left_seconds >= -late
        if now.plan.is_used_up:
            now.plan.renew()
            while (ticket := now.plan.take_next()) is not None:
                now.do(ticket.item, wanted)
                assert now.plan.left_seconds >= -late
            now.plan.renew()


@given(st.integers(1, 5), st.integers(0, 3), st.integers(1, 4))
def test_no_one_waits_for_ever(floods: int, late: int, rounds: int) -> None:
    """However many flood, one who comes with little is served in the next round, first."""
    now = Iterations(late)
    for number in range(floods):
        now.put(f"flood {number}")
    for _ in range(rounds * floods):
        now.round()
    now.put("late")
    assert now.round()[: floods + 1].count("late") == 1 or "late" in now.round()


@given(st.integers(2, 5), st.integers(0, 3))
def test_those_who_wait_all_the_time_get_the_same(users: int, late: int) -> None:
    now = Iterations(late)
    for number in range(users):
        now.put(str(number))
    for _ in range(40):
        now.round()
    assert len(now.got) == users
    assert max(now.got.values()) - min(now.got.values()) <= 2 * (QUANTUM + late)


@given(work)
def test_who_has_used_less_is_served_first(used: list[tuple[str, int]]) -> None:
    now = Iterations(late=0)
    now.put("waits")  # so that use is charged at once
    spent = Counter(dict.fromkeys(USERS, 0))
    for user, seconds in used:
        now.plan.charge((user, "session", "channel"), seconds)
        spent[user] += seconds
    for user in USERS:
        now.put(user)
    served = []
    now.plan.renew()
    while (ticket := now.plan.take_next()) is not None:
        served.append(ticket.item)
    assert served[0] == "waits" or not spent[served[0]]
    order = [user for user in served if user != "waits"]
    assert [spent[user] for user in order] == sorted(spent.values())
