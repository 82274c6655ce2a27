"""Which requests may be under way, and which one is next."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftpgw.s3.request_budget.plan import PlannedRequest, RequestLimits, RequestPlan

CEILING = 64
WEIGHTS = {"ann": 1.0, "bob": 1.0, "cid": 2.0, "dan": 0.5}


@dataclass
class Model:
    """The plan, and what a request of any order of events must find."""

    limits: RequestLimits
    weights: dict[str, float] = field(default_factory=lambda: WEIGHTS)
    under_way: list[PlannedRequest] = field(default_factory=list)
    waiting: list[PlannedRequest] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.plan: RequestPlan[PlannedRequest] = RequestPlan(
            self.limits, CEILING, lambda user: self.weights.get(user, 1.0)
        )

    def come(self, user: str, bucket: str = "bucket", *, session: str = "", op: str = "") -> None:
        request = PlannedRequest(bucket, (user, session, op))
        (self.under_way if self.plan.enter(request) else self.waiting).append(request)
        self.admit()

    def end(self, request: PlannedRequest) -> None:
        self.under_way.remove(request)
        self.plan.leave(request)
        self.admit()

    def give_up(self, request: PlannedRequest) -> None:
        self.waiting.remove(request)
        self.plan.leave(request)
        self.admit()

    def refuse(self, request: PlannedRequest) -> None:
        assert request.began is not None
        self.plan.throttle_of(request.bucket).refused(request.began, 0.0)
        self.end(request)

    def serve(self, request: PlannedRequest) -> None:
        crowd = self.plan.is_crowded(request.bucket)
        self.plan.throttle_of(request.bucket).served(0.0, is_crowded=crowd)
        self.end(request)

    def admit(self) -> None:
        while (begun := self.plan.next_begun()) is not None:
            self._demand_fair(begun)
            self.waiting.remove(begun)
            self.under_way.append(begun)
        self.demand_sound()

    def count(self, user: str) -> int:
        return sum(request.path[0] == user for request in self.under_way)

    def share(self, user: str) -> float:
        active = {request.path[0] for request in (*self.under_way, *self.waiting)}
        total = sum(self.weights.get(name, 1.0) for name in active)
        return max(1.0, self.limits.at_once * self.weights.get(user, 1.0) / total)

    def has_bucket_room(self, bucket: str) -> bool:
        limit = self.plan.throttle_of(bucket).limit
        return limit is None or sum(each.bucket == bucket for each in self.under_way) < limit

    def could_begin(self) -> set[str]:
        """The users of which something waits for nothing but a slot."""
        kinds = {(request.path[0], request.bucket) for request in self.waiting}
        return {
            user
            for user, bucket in kinds
            if self.count(user) < self.limits.per_user and self.has_bucket_room(bucket)
        }

    def _demand_fair(self, begun: PlannedRequest) -> None:
        """A user with fewer than a fair share does not wait for one with more."""
        if self.count(begun.path[0]) < self.share(begun.path[0]):
            return
        for user in self.could_begin() - {begun.path[0]}:
            assert self.count(user) >= self.share(user), (begun.path, user)

    def demand_sound(self) -> None:
        """No bound is passed, all is counted, and nothing waits that could begin."""
        plan, limits = self.plan, self.limits
        assert (plan.under_way, plan.waiting) == (len(self.under_way), len(self.waiting))
        assert len(self.under_way) <= limits.at_once
        for count in Counter(request.path[0] for request in self.under_way).values():
            assert count <= limits.per_user
        for bucket, count in Counter(request.bucket for request in self.under_way).items():
            assert plan.throttle_of(bucket).in_flight == count
        if len(self.under_way) < limits.at_once:
            assert not self.could_begin()


EVENTS = st.tuples(
    st.sampled_from(["come", "come", "come", "serve", "refuse", "end", "give_up"]),
    st.sampled_from(sorted(WEIGHTS)),
    st.sampled_from(["bucket", "other"]),
    st.integers(0, 1000),
)


@settings(max_examples=200)
@given(st.integers(1, 12), st.integers(1, 12), st.lists(EVENTS, max_size=100))
def test_no_bound_is_passed_nothing_is_lost_and_the_shares_hold(
    at_once: int, per_user: int, events: list[tuple[str, str, str, int]]
) -> None:
    model = Model(RequestLimits(at_once, per_user))
    for event, user, bucket, number in events:
        if event == "come":
            model.come(user, bucket, session=str(number % 3), op=str(number % 2))
        elif event == "give_up" and model.waiting:
            model.give_up(model.waiting[number % len(model.waiting)])
        elif event in ("serve", "refuse", "end") and model.under_way:
            getattr(model, event)(model.under_way[number % len(model.under_way)])
    while model.under_way:
        model.end(model.under_way[0])
    assert not model.waiting, "each one that waits is served once others end"
    assert model.plan.under_way == model.plan.waiting == 0
    assert not model.plan._users, "nothing is remembered of users who are gone"
    assert model.plan.share_of("another") == at_once, "an only user has all of them"


def test_a_thousand_random_histories_on_three_buckets() -> None:
    """Longer ones than hypothesis tries: buckets that are throttled, and recover, in turn."""
    for seed in range(1000):
        random = Random(seed)
        model = Model(RequestLimits(random.randint(1, 12), random.randint(1, 12)))
        kinds = ["come"] * random.randint(1, 5) + ["serve", "refuse", "end", "give_up"]
        for event in random.choices(kinds, k=random.randint(1, 60)):
            if event == "come":
                model.come(random.choice(sorted(WEIGHTS)), random.choice(["a", "b", "c"]))
            elif event == "give_up" and model.waiting:
                model.give_up(random.choice(model.waiting))
            elif event != "give_up" and model.under_way:
                getattr(model, event)(random.choice(model.under_way))
        while model.under_way:
            model.end(model.under_way[0])
        assert not model.waiting, seed


def test_a_user_may_have_no_more_than_its_bound_while_others_go_on() -> None:
    model = Model(RequestLimits(10, 4))
    for _ in range(100):
        model.come("ann")
    assert (model.count("ann"), model.plan.under_way) == (4, 4)
    model.come("bob")
    assert model.count("bob") == 1, "there is room, and none waits for ann's"


def test_a_newcomer_has_the_next_slot_that_is_free() -> None:
    model = Model(RequestLimits(10, 10))
    for _ in range(300):
        model.come("ann")
    model.come("bob")
    model.end(model.under_way[0])
    assert model.count("bob") == 1
    for _ in range(20):
        model.come("bob")
    for _ in range(100):
        model.end(next(request for request in model.under_way if request.path[0] == "ann"))
    assert (model.count("ann"), model.count("bob")) == (5, 5)


def test_users_with_long_requests_get_no_more_under_way_than_those_with_short_ones() -> None:
    model = Model(RequestLimits(10, 10))
    for _ in range(200):
        model.come("ann")
        model.come("bob")
    for _ in range(190):  # bob's end one after the other, ann's never
        ending = next((one for one in model.under_way if one.path[0] == "bob"), None)
        model.end(ending or model.under_way[0])
        assert model.count("ann") == 5


def test_weights_share_what_is_scarce() -> None:
    model = Model(RequestLimits(12, 12), {"ann": 1.0, "bob": 2.0})
    for _ in range(100):
        model.come("ann")
        model.come("bob")
    for _ in range(50):
        model.end(model.under_way[0])
    assert (model.count("ann"), model.count("bob")) == (4, 8)


def test_the_sessions_of_a_user_take_turns_and_so_do_uploads_and_operations() -> None:
    model = Model(RequestLimits(1, 1))
    model.come("ann")
    for _ in range(100):
        model.come("ann", session="flood", op="HeadObject")
    model.come("ann", session="flood", op="upload")
    model.come("ann", session="calm")
    seen = []
    for _ in range(4):
        model.end(model.under_way[0])
        seen.append(model.under_way[0].path[1:])
    assert ("calm", "") in seen[:2]
    assert ("flood", "upload") in seen


def test_a_throttled_bucket_holds_no_slot_that_another_bucket_could_use() -> None:
    model = Model(RequestLimits(8, 8))
    for _ in range(8):
        model.come("ann", "slow")
    model.refuse(model.under_way[0])
    limit = model.plan.throttle_of("slow").limit
    assert limit == 4
    for _ in range(100):
        model.come("ann", "slow")
        model.come("bob", "slow")
    while sum(request.bucket == "slow" for request in model.under_way) > limit:
        model.end(next(one for one in model.under_way if one.bucket == "slow"))
    for _ in range(3):
        model.come("cid", "fast")
    assert model.count("cid") == 3
    assert model.plan.is_crowded("slow")


def test_what_waits_for_a_throttled_bucket_goes_on_when_the_throttle_ends() -> None:
    model = Model(RequestLimits(16, 16))
    for _ in range(16):
        model.come("ann")
    model.plan.throttle_of("bucket")._ceiling = 12
    model.refuse(model.under_way[0])
    for _ in range(60):
        model.come("ann")
        model.come("bob")
    while model.plan.throttle_of("bucket").limit is not None:
        model.serve(model.under_way[0])
    model.end(model.under_way[0])
    assert model.plan.under_way == 16


def test_many_users_that_all_wait_each_get_their_turn() -> None:
    model = Model(RequestLimits(16, 8))
    users = [f"user-{number}" for number in range(40)]
    for user in users:
        for _ in range(3):
            model.come(user, user)
    served: Counter[str] = Counter()
    while model.under_way:
        served[model.under_way[0].path[0]] += 1
        model.end(model.under_way[0])
        assert max(served.values()) - min(served.get(user, 0) for user in users) <= 3
    assert set(served.values()) == {3}


def test_a_request_that_ends_does_not_look_at_all_users_that_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """500 users waited: each of their requests cost 192 microseconds at its end."""
    looks: list[object] = []
    give_turn = RequestPlan._give_turn

    def counted(plan: RequestPlan[PlannedRequest], waiter: Any) -> None:
        looks.append(waiter)
        give_turn(plan, waiter)

    monkeypatch.setattr(RequestPlan, "_give_turn", counted)
    model = Model(RequestLimits(4, 2))
    for number in range(500):
        model.come(f"user {number}")
    looks.clear()
    for _ in range(100):
        model.end(model.under_way[0])
    assert len(looks) < 2000
