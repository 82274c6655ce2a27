"""Who gets memory next, by random histories (`files/memory/plan`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftpgw.files.memory.budget import Budget
from sftpgw.files.memory.holders import HeldUpload, Holder
from sftpgw.files.memory.plan import MemoryPlan, MemoryRequest
from sftpgw.files.memory.slow_uploads import SlowUploads
from sftpgw.model.units import MIB

PART = 8
STEP = 2
LEAST = 4
"""A part may be cut from this size on."""


@dataclass(eq=False)
class Client:
    """One upload: it fills parts in steps, the store confirms them, and it may be slow."""

    model: Model
    user: str
    may_cut: bool
    is_slow: bool = False
    is_silent: bool = False
    is_still: bool = False
    is_stalled: bool = False
    is_gone: bool = False
    here_bytes: int = 0
    sent_bytes: int = 0
    left_bytes: int = 3 * PART
    granted: int = 0
    held: HeldUpload = field(init=False)

    def __post_init__(self) -> None:
        self.held = HeldUpload((self.user, f"{id(self)}"), self)
        self.model.plan.open(self.held)

    @property
    def can_cut(self) -> bool:
        return self.may_cut and self.here_bytes >= LEAST and not self.is_gone

    @property
    def unused_bytes(self) -> int:
        return max(0, self.held.filling_bytes - self.here_bytes)

    @property
    def is_waiting(self) -> bool:
        return self.model.plan.is_waiting(self.held)

    @property
    def part_bytes(self) -> int:
        return max(self.here_bytes, LEAST) if self.may_cut else PART

    def cut(self) -> None:
        self.sent_bytes += self.here_bytes
        self.here_bytes = 0
        self._settle()

    def come_again(self) -> None:
        self.is_gone = True
        self.model.plan.close(self.held, self.model.now)
        self.model.refused.append(self)

    def confirm(self) -> None:
        """The store has all that was sent."""
        self.sent_bytes = 0
        self._settle()

    def _settle(self) -> None:
        plan, now = self.model.plan, self.model.now
        plan.send(self.held, self.sent_bytes, now)
        if not self.held.lent_bytes:
            plan.fill(self.held, -self.unused_bytes, now)

    def write(self) -> None:
        """One step more; a part is sent when it is whole."""
        assert not self.is_waiting
        self.here_bytes += STEP
        self.left_bytes -= STEP
        if self.here_bytes >= PART or not self.left_bytes:
            self.cut()
            return
        plan, missing_bytes = self.model.plan, self.here_bytes - self.held.filling_bytes
        if missing_bytes <= 0:
            return
        plan.expect_part(self.part_bytes)
        if plan.is_empty and plan.may_fill(missing_bytes):
            plan.fill(self.held, missing_bytes, self.model.now)
        elif self.can_cut:
            self.cut()
        else:
            self._give_way_or_wait(missing_bytes)

    def _give_way_or_wait(self, missing_bytes: int) -> None:
        plan = self.model.plan
        slow_uploads, now = self.model.slow_uploads, self.model.now
        while self.is_slow and (slow := slow_uploads.in_the_way(missing_bytes, now)) is not None:
            (slow.filler.cut if slow.filler.can_cut else slow.filler.come_again)()
            if slow is self.held:
                return
        plan.update(self.held, missing_bytes, self.part_bytes)
        plan.put(MemoryRequest(self.held, 0, self._on_granted), self.model.now)

    def _on_granted(self) -> None:
        self.granted += 1


class Model:
    """All uploads of a process."""

    def __init__(self, limit_bytes: int, weights: dict[str, float] | None = None) -> None:
        weight_of = (weights or {}).get
        self.plan = MemoryPlan(limit_bytes, lambda user: weight_of(user, 1.0))
        self.slow_uploads = SlowUploads(self.plan)
        self.now = 0.0
        self.clients: list[Client] = []
        self.refused: list[Client] = []

    def client(self, user: str = "a", *, may_cut: bool = False) -> Client:
        self.clients.append(Client(self, user, may_cut))
        return self.clients[-1]

    @property
    def open(self) -> list[Client]:
        return [each for each in self.clients if not each.is_gone and each.left_bytes]

    def serve(self) -> None:
        while (request := self.plan.next_grant(self.now)) is not None:
            request.grant()
        self.check()

    def check(self) -> None:
        plan = self.plan
        held = [client.held for client in self.clients]
        assert plan.held_bytes == sum(each.held_bytes for each in held)
        assert plan.lent_bytes == sum(each.lent_bytes for each in held)
        filling_bytes = sum(each.filling_bytes - each.lent_bytes for each in held)
        assert plan.filling_bytes == filling_bytes
        assert all(0 <= each.lent_bytes <= each.filling_bytes for each in held)
        assert plan.held_bytes <= plan.limit_bytes + plan.overdraft_bytes

    def finish(self, client: Client) -> None:
        """A client that has sent all leaves."""
        client.is_gone = True
        self.plan.close(client.held, self.now)


USERS = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=1, max_size=24)


@settings(max_examples=100)
@given(USERS, st.integers(2 * PART, 8 * PART), st.randoms(use_true_random=False))
def test_none_waits_for_ever_and_all_is_given_back(
    users: list[tuple[str, bool]], limit_bytes: int, random: Random
) -> None:
    model = Model(limit_bytes, {"c": 3.0})
    for user, may_cut in users:
        model.client(user, may_cut=may_cut)
    for _ in range(3000):
        model.now += random.random()
        ready = [client for client in model.open if not client.is_waiting]
        sent = [client for client in model.clients if client.sent_bytes]
        if not ready and not sent:
            break
        if sent and (not ready or random.random() < 0.3):
            random.choice(sent).confirm()
        else:
            random.choice(ready).write()
        model.serve()
        for client in model.clients:
            if not client.left_bytes and not client.sent_bytes and not client.is_gone:
                model.finish(client)
    assert not model.open, "an upload waits for ever"
    assert model.refused == []
    assert (model.plan.held_bytes, model.plan.waiting) == (0, 0)


@settings(max_examples=100)
@given(USERS, st.integers(2 * PART, 8 * PART), st.randoms(use_true_random=False))
def test_none_waits_for_ever_whatever_stops_on_loan_for_a_while(
    users: list[tuple[str, bool]], limit_bytes: int, random: Random
) -> None:
    model = Model(limit_bytes)
    clients = [model.client(user, may_cut=may_cut) for user, may_cut in users]
    for _ in range(3000):
        model.now += random.random()
        ready = [client for client in model.open if not client.is_waiting]
        sent = [client for client in clients if client.sent_bytes]
        if not ready and not sent:
            break
        for client in ready:
            client.is_still = client.held.lent_bytes > 0 and random.random() < 0.3
        if random.random() < 0.3:
            model.slow_uploads.take_back(model.now)
        for client in clients:
            client.is_still = False
        if sent and (not ready or random.random() < 0.3):
            random.choice(sent).confirm()
        elif ready:
            random.choice(ready).write()
        model.serve()
        plan = model.plan
        left_bytes = plan.limit_bytes + plan.overdraft_bytes - plan.filling_bytes
        assert left_bytes >= PART or any(client.may_cut for client in clients)
    assert not model.open, "an upload waits for ever"


@settings(max_examples=40)
@given(
    st.integers(0, 40),
    st.integers(4 * PART, 10 * PART),
    st.data(),
    st.randoms(use_true_random=False),
)
def test_one_that_moves_is_served_beside_any_number_of_slow_uploads(
    count: int, limit_bytes: int, data: st.DataObject, random: Random
) -> None:
    model = Model(limit_bytes)
    slow = [model.client(data.draw(st.sampled_from("mxyz"))) for _ in range(count)]
    for _ in range(3):
        for client in slow:
            client.is_slow = False
            model.now += MIB  # the unit is a MiB held for a second, and these hold bytes
            if not client.is_gone and not client.is_waiting and client.here_bytes < PART - STEP:
                client.write()  # at full speed as long as it fills, and then it sits there
                model.serve()
            client.is_slow = not client.is_waiting
    honest, looks = model.client("honest"), 0
    while honest.left_bytes:
        model.now += MIB
        looks = looks + 1 if honest.is_waiting else 0
        assert looks <= 6, "one that moves waits for those who do not"
        if honest.is_waiting:
            for client in slow:
                # What was granted meanwhile sits there, too.
                client.is_slow = client.is_stalled = not client.is_waiting
            model.slow_uploads.take_back(model.now)
            model.serve()
            for upload in model.slow_uploads.stalled(model.now):
                (upload.filler.cut if upload.filler.can_cut else upload.filler.come_again)()
                model.serve()
            if honest.sent_bytes:
                honest.confirm()
                model.serve()
        if not honest.is_waiting:
            honest.write()
            model.serve()
        if honest.sent_bytes and random.random() < 0.7:
            honest.confirm()
            model.serve()
    assert not honest.left_bytes
    assert honest not in model.refused


class TestSlow:
    def filled(self, users: str, *, limit_bytes: int = 8 * PART) -> Model:
        """Slow uploads that hold the whole pool, three quarters, with four bytes each."""
        model = Model(limit_bytes)
        for user in users:
            client = model.client(user)
            for _ in range(2):
                client.write()
            client.is_slow = True
        assert model.plan.filling_bytes == model.plan.pool_bytes
        return model

    def test_the_newest_of_many_users_is_told_to_come_again(self) -> None:
        model = self.filled("abcdefghijkl")
        model.clients[2].write()
        assert model.refused == [model.clients[-1]]
        assert model.clients[2].is_waiting
        model.serve()
        assert not model.clients[2].is_waiting

    def test_one_that_asks_as_the_newest_is_told_itself(self) -> None:
        model = self.filled("abcdefghijkl")
        model.clients[-1].write()
        assert model.refused == [model.clients[-1]]
        assert model.plan.waiting == 0

    def test_a_user_with_many_goes_first(self) -> None:
        model = self.filled("mmmmmmmmmabc")
        model.clients[-1].write()
        assert model.refused == [model.clients[8]]

    def test_one_that_can_send_a_part_does_that_instead(self) -> None:
        model = self.filled("abcdefghijkl")
        model.clients[5].may_cut = True
        model.clients[0].write()
        assert model.refused == []
        assert model.clients[5].sent_bytes == 4

    def test_a_loan_to_a_slow_upload_ends(self) -> None:
        model = self.filled("abcdefghijkl")
        late = model.client("late")
        late.write()
        model.serve()
        assert late.held.lent_bytes == PART
        late.is_slow = True
        model.slow_uploads.take_back(model.now)
        assert (late.held.lent_bytes, late.held.filling_bytes) == (0, STEP)
        model.check()


class TestLoans:
    def test_the_closest_to_its_part_goes_on(self) -> None:
        model = Model(4 * PART)
        for count in (2, 3, 2, 3, 1, 1):
            client = model.client()
            for _ in range(count):
                client.write()
        assert model.plan.filling_bytes == model.plan.pool_bytes
        for number in (5, 4, 2, 0):
            model.clients[number].write()
        model.serve()
        lent = [client.held.lent_bytes for client in model.clients]
        assert lent == [0, 0, 4, 0, 0, 0]

    def test_one_user_never_takes_the_whole_reserve(self) -> None:
        model = Model(16 * PART)
        for _ in range(60):
            model.client("many").write()
        model.serve()
        lent_bytes = model.plan.lent_bytes
        assert lent_bytes
        other = model.client("other")
        other.write()
        model.serve()
        assert other.held.lent_bytes == PART
        assert 0 < lent_bytes <= 4 * PART // 2

    def test_who_holds_memory_longer_is_served_later(self) -> None:
        model = Model(8 * PART)
        plan = model.plan
        sitter, mover, other = (Holder((name, "")) for name in ("sitter", "mover", "other"))
        plan.count(sitter, 20, 0.0)
        plan.count(mover, 20, 99.0)
        plan.count(other, 24, 99.0)
        served: list[str] = []
        plan.put(MemoryRequest(sitter, 20, lambda: served.append("sitter")), 100.0)
        plan.put(MemoryRequest(mover, 20, lambda: served.append("mover")), 100.0)
        plan.count(other, -24, 100.0)
        while (request := plan.next_grant(100.0)) is not None:
            request.grant()
        assert served == ["mover"]

    @pytest.mark.parametrize(("weight", "share"), [(1.0, 32), (3.0, 48)])
    def test_shares_follow_weights(self, weight: float, share: float) -> None:
        model = Model(8 * PART, {"heavy": weight})
        model.plan.count(Holder(("light", "")), 1, 0.0)
        assert model.plan.share_bytes("heavy") == share

    def test_one_that_waits_for_less_gets_it_though_its_part_is_as_far_away(self) -> None:
        """A client that has become slower asks for smaller steps. It waited for the next look."""
        served: list[str] = []
        budget = Budget(64, lambda: 0.0)
        *holders, borrower, waiting = (
            budget.open_upload(Model(64).client(user), user) for user in "aaabc"
        )
        for holder in holders:
            assert holder.take(15, 16, cannot_wait=False)
        borrower.ask(4, 16, lambda: served.append("borrower"))
        waiting.ask(4, 16, lambda: served.append("waiting"))
        assert served == ["borrower"]
        waiting.update(3, 16)
        assert served == ["borrower", "waiting"]
        assert budget.held_bytes == 64
