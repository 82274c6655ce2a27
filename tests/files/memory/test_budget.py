"""The budget under pressure: each transfer is served, none waits forever, the bound holds."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from sftpgw.errors import GatewayError, LimitReached
from sftpgw.files.memory.budget import Budget
from sftpgw.files.memory.reclaims import RECLAIM_SECONDS
from sftpgw.files.memory.stall import HELD_UP_SECONDS, IDLE_SECONDS
from sftpgw.files.session_context import SessionContext
from sftpgw.files.transfers.registry import TransferRegistry
from sftpgw.files.uploads.plan.memory_need import LEAST_STEPS, LISTED_PART_BYTES
from sftpgw.files.uploads.plan.part_sizes import Ladder, allowance_bytes
from sftpgw.files.uploads.plan.staging_layout import StagingLayout
from sftpgw.files.uploads.upload import Upload
from sftpgw.model.store import ObjectName
from sftpgw.model.units import KIB
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.session_contexts import session_context
from sftpgw.testing.ssh_pairs import RecordedEvents
from sftpgw.testing.store_faults import Gate
from tests.files.uploads.upload_plans import make_plan
from tests.results import result_of

PART = 8 * KIB
STEP = KIB
SMALL = 2 * KIB
OPERATIONS = ("put", "create_upload", "upload_part", "complete_upload")


@dataclass(eq=False)
class Client:
    """Sends a file in order, with a few WRITEs without a reply; then closes it."""

    context: SessionContext
    upload: Upload
    size_bytes: int
    window: int
    sent_bytes: int = 0
    without_reply: list[Deferred[None]] = field(default_factory=list)
    closing: Deferred[None] | None = None
    error: GatewayError | None = None

    @property
    def can_go_on(self) -> bool:
        self.without_reply = [reply for reply in self.without_reply if not reply.called]
        return self.closing is None and len(self.without_reply) < self.window

    def go_on(self) -> None:
        if self.sent_bytes >= self.size_bytes:
            self.closing = Deferred.fromCoroutine(self.upload.commit())
            self.closing.addErrback(self._failed)
            return
        step = min(STEP, self.size_bytes - self.sent_bytes)
        try:
            later = self.upload.write(self.sent_bytes, b"x" * step)
        except GatewayError as error:
            self.error = error
            self.closing = Deferred.fromCoroutine(self.upload.abandon())
            return
        self.sent_bytes += step
        if later is not None:
            later.addErrback(self._failed)
            self.without_reply.append(later)

    def _failed(self, failure: object) -> None:
        self.error = failure.value  # type: ignore[attr-defined]


class Process:
    """The objects that uploads share, at a small scale."""

    def __init__(self, *, budget: int, concurrency: int = 2) -> None:
        self.store = FakeStore(min_part_bytes=1)
        self.clock = Clock()
        self.clock.advance(1000)
        self.budget = Budget(budget, self.clock.seconds)
        self.transfers = TransferRegistry()
        self.events = RecordedEvents()
        self.concurrency = concurrency
        self.names = iter(range(10_000))

    def client(
        self,
        size_bytes: int,
        user: str = "alice",
        window: int = 2,
        *,
        allowance: int = 0,
        largest: int = 2 * PART,
        beside: Client | None = None,
    ) -> Client:
        """:param beside: another file of the same session."""
        plan = make_plan(
            StagingLayout(Ladder(PART, largest, step_parts=2), 10_000),
            concurrency=self.concurrency,
            allowance_bytes=allowance or allowance_bytes(self.budget.limit_bytes),
            reorder_bytes=PART,
            small_bytes=SMALL,
        )
        context = beside.context if beside else self.context(user)
        upload = Upload(context, plan, ObjectName("bucket", f"{next(self.names)}"))
        return Client(context, upload, size_bytes, window)

    def context(self, user: str) -> SessionContext:
        """A session of a user's."""
        return session_context(
            self.store,
            user=user,
            budget=self.budget.share(user),
            transfers=self.transfers,
            clock=self.clock,
            events=self.events,
        )

    def assert_within_bounds(self) -> None:
        assert 0 <= self.budget.held_bytes <= self.budget.limit_bytes * 1.1

    def assert_idle(self) -> None:
        assert self.budget.held_bytes == 0
        assert self.budget.waiting == 0
        assert not self.store.uploads
        assert not self.clock.getDelayedCalls()
        assert self.events.facts("defect") == []


def run(process: Process, clients: list[Client], random: Random) -> None:
    """Let clients and store take steps in any order until all is stored."""
    gates: list[Gate] = [process.store.hold(operation) for operation in OPERATIONS]
    while any(client.closing is None or not client.closing.called for client in clients):
        ready = [client for client in clients if client.can_go_on]
        busy = [gate for gate in gates if gate.waiting]
        assert ready or busy, "no transfer can go on: a deadlock"
        if ready and (not busy or random.random() < 0.6):
            for _ in range(random.randint(1, 6)):
                client = random.choice(ready)
                if client.can_go_on:
                    client.go_on()
        else:
            gate = random.choice(busy)
            (gate.open_one if random.random() < 0.7 else gate.open_last)()
        process.assert_within_bounds()
    assert [client.error for client in clients if client.error] == []


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(0, 5 * PART), st.sampled_from("abc"), st.integers(1, 4)),
        min_size=1,
        max_size=30,
    ),
    st.integers(2, 12),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
def test_uploads_in_any_interleaving_all_end(
    files: list[tuple[int, str, int]], parts: int, concurrency: int, random: Random
) -> None:
    process = Process(budget=parts * PART, concurrency=concurrency)
    clients = [process.client(size, user, window) for size, user, window in files]
    run(process, clients, random)
    sizes = [len(process.store.content(f"{index}")) for index in range(len(files))]
    assert sizes == [size for size, _, _ in files]
    process.assert_idle()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_two_hundred_uploads_through_a_few_parts_all_end(seed: int) -> None:
    process = Process(budget=6 * PART)
    clients = [process.client(3 * PART + 5, f"user-{index % 7}") for index in range(200)]
    run(process, clients, Random(seed))
    assert len(process.store.keys()) == 200
    process.assert_idle()


@pytest.mark.parametrize("parts", [3, 4, 5])
def test_released_memory_goes_to_the_queue_and_not_to_the_releasing_upload(parts: int) -> None:
    """Fast uploads recycle the whole budget; one that comes later must be served, too."""
    steps = 40
    lists_bytes = steps * LISTED_PART_BYTES
    process = Process(budget=parts * PART + lists_bytes)
    gate = process.store.hold("upload_part")
    fast = [process.client(3000 * PART, allowance=100 * PART, largest=PART) for _ in range(2)]
    for step in range(steps):
        if step == steps // 2:
            late = process.client(2 * PART, largest=PART)
            fast.append(late)
        for client in fast:
            while client.can_go_on:
                client.go_on()
        if gate.waiting:
            gate.open_one()
        process.assert_within_bounds()
    assert late.closing is not None
    assert late.closing.called
    assert late.error is None
    gate.open()
    for client in fast:
        result_of(client.upload.abandon())
    process.assert_idle()


def test_a_budget_within_bounds_never_holds_more() -> None:
    budget = Budget.within(1000)
    assert budget.try_acquire(budget.limit_bytes)
    assert budget.limit_bytes > 900
    assert not budget.try_charge(1000 - budget.limit_bytes + 1)
    assert budget.try_charge(90)
    assert budget.held_bytes <= 1000


class TestTurns:
    def test_users_take_turns_and_each_is_served_in_order(self) -> None:
        budget = Budget(10, Clock().seconds)
        assert budget.try_charge(10)
        served: list[str] = []
        for name in ("a1", "a2", "a3", "b1", "c1", "b2"):
            granted = budget.share(name[0]).acquire(5)
            assert granted is not None
            granted.addCallback(lambda _, name=name: served.append(name))
        budget.release(10)
        assert served == ["a1", "b1"]
        for user in ("a", "b", "c", "a"):
            budget.release(5, user)
        assert served == ["a1", "b1", "c1", "a2", "b2", "a3"]

    def test_small_requests_do_not_pass_a_large_one(self) -> None:
        budget = Budget(10)
        assert budget.try_charge(4)
        waiting: deque[Deferred[None] | None] = deque()
        waiting.append(budget.share("a").acquire(9))
        waiting.append(budget.share("b").acquire(1))
        assert all(granted is not None and not granted.called for granted in waiting)
        assert not budget.share("c").try_acquire(1)
        budget.release(4)
        assert all(granted is not None and granted.called for granted in waiting)

    def test_free_memory_is_shared_fairly_once_half_is_taken(self) -> None:
        budget = Budget(100)
        alice, bob = budget.share("alice"), budget.share("bob")
        sheds = [lambda number=number: None for number in range(4)]
        for on_pressure in sheds:
            alice.watch(on_pressure, is_transfer=True)
        budget.share("/windows").watch(lambda: None)
        assert budget.try_acquire(50)
        assert alice.fair_share_bytes == 100
        assert budget.try_acquire(1)
        assert alice.fair_share_bytes == 25
        bob.watch(lambda: None, is_transfer=True)
        assert (alice.fair_share_bytes, bob.fair_share_bytes) == (12, 50)
        alice.watch(sheds[0], is_transfer=True)  # again
        alice.unwatch(sheds[0])
        alice.unwatch(sheds[0])
        assert alice.fair_share_bytes == 16

    def test_free_memory_is_shared_by_weight(self) -> None:
        budget = Budget(100, weight_of=lambda user: 3.0 if user == "heavy" else 1.0)
        heavy, light = budget.share("heavy"), budget.share("light")
        heavy.watch(lambda: None, is_transfer=True)
        light.watch(lambda: None, is_transfer=True)
        light.watch(lambda: None, is_transfer=True)
        assert budget.try_acquire(51)
        assert (heavy.fair_share_bytes, light.fair_share_bytes) == (75, 12)

    def test_a_request_that_leaves_the_queue_lets_others_pass(self) -> None:
        budget = Budget(10)
        assert budget.try_charge(5)
        large, small = budget.share("a").acquire(9), budget.share("b").acquire(5)
        assert large is not None
        assert small is not None
        large.addErrback(lambda failure: None)
        large.cancel()
        result_of(small)
        assert budget.held_bytes == 10

    def test_a_user_above_an_equal_share_is_over_it_while_others_wait(self) -> None:
        budget = Budget(10)
        many, few = budget.share("many"), budget.share("few")
        assert many.try_acquire(7)
        assert few.try_acquire(3)
        assert not many.is_over_fair_share()
        budget.share("new").acquire(3)
        assert many.is_over_fair_share()
        assert not few.is_over_fair_share()


class TestStarving:
    """Many uploads with a half-filled part that receive a byte a minute."""

    def trickling(self, process: Process, count: int, user: str = "mallory") -> list[Client]:
        clients = [process.client(10 * PART, user, window=1) for _ in range(count)]
        for client in clients:
            for _ in range(PART // STEP // 2):
                client.go_on()
        return clients

    def trickle(self, process: Process, clients: list[Client], minutes: int) -> None:
        for _ in range(minutes * 6):
            process.clock.advance(10)
            for client in clients:
                if client.error is None and process.clock.seconds() % 60 < 10:
                    try:
                        client.upload.write(client.sent_bytes, b"x")
                        client.sent_bytes += 1
                    except GatewayError as error:
                        client.error = error

    def test_slow_uploads_that_fill_the_pool_leave_the_reserve_to_one_that_moves(self) -> None:
        process = Process(budget=8 * PART)
        slow = self.trickling(process, 11)
        self.trickle(process, slow, 5)
        held_bytes = process.budget.held_bytes
        assert held_bytes == 11 * (PART // 2 + SMALL // LEAST_STEPS)
        assert 6 * PART - SMALL < held_bytes <= 6 * PART
        alice = process.client(4 * PART)
        while alice.can_go_on:
            alice.go_on()
        assert alice.closing is not None
        assert alice.closing.called
        assert alice.error is None
        assert [client.error for client in slow if client.error] == []
        for client in slow:
            result_of(client.upload.abandon())
        process.assert_idle()

    def test_an_upload_within_its_share_may_be_slow(self) -> None:
        process = Process(budget=8 * PART)
        (slow,) = self.trickling(process, 1, "bob")
        greedy = self.trickling(process, 7)
        self.trickle(process, [slow, *greedy], 2)
        alice = process.client(4 * PART)
        for _ in range(3):
            self.trickle(process, [slow, *greedy], 1)
            while alice.can_go_on:
                alice.go_on()
        assert alice.closing is not None
        assert alice.closing.called
        assert slow.error is None
        for client in (slow, *greedy):
            result_of(client.upload.abandon())
        process.assert_idle()

    def test_an_upload_that_waited_long_is_not_stalled_before_it_can_go_on(self) -> None:
        process = Process(budget=2 * PART)
        assert process.budget.try_charge(2 * PART)
        alice, bob = process.client(4 * PART), process.client(4 * PART, "bob")
        for client in (alice, bob):
            while client.can_go_on:
                client.go_on()
        assert process.budget.waiting == 2
        process.clock.pump([10.0] * 12)
        process.budget.release(PART)
        assert process.budget.waiting == 1
        process.budget.request_reclaim()
        while alice.can_go_on:
            alice.go_on()
        assert alice.error is None
        process.budget.release(PART)
        run(process, [alice, bob], Random(1))
        process.assert_idle()


class Session:
    """A client that writes several files at once, through one window.

    WRITEs without a reply stay in the window; beyond four steps, the rest waits behind them.

    :param steps: the numbers of the files that it sends a step of, one after the other.
    :param closes: whether it closes a file behind its last step.
    """

    def __init__(
        self, process: Process, steps: list[int], *, user: str = "alice", closes: bool = True
    ) -> None:
        sizes = [steps.count(number) * STEP for number in range(max(steps) + 1)]
        self.files: list[Client] = []
        for size in sizes:
            beside = self.files[0] if self.files else None
            self.files.append(process.client(size, user, largest=PART, beside=beside))
        self._rest = deque(self.files[number] for number in steps)
        self._closes = closes

    @property
    def can_go_on(self) -> bool:
        withheld = sum(not reply.called for file in self.files for reply in file.without_reply)
        return bool(self._rest) and withheld < 4

    def go_on(self) -> None:
        file = self._rest.popleft()
        is_last = file not in self._rest
        for _ in range(2 if is_last and self._closes else 1):
            if file.closing is None:
                file.go_on()

    def go_on_while_possible(self) -> None:
        while self.can_go_on:
            self.go_on()

    @property
    def outcomes(self) -> list[str]:
        """How each file has ended."""
        return [_outcome(file) for file in self.files]


def _outcome(file: Client) -> str:
    if file.closing is None or not file.closing.called:
        return "open"
    return "failed" if file.error else "stored"


class TestOneWindow:
    """WRITEs that wait for memory hold those of other files in the window."""

    OTHERS = 7 * PART + PART // 2 - 1

    def held_up(self) -> tuple[Process, Session]:
        """Memory for one part; the file that holds it has its rest behind another file's WRITEs."""
        process = Process(budget=8 * PART)
        assert process.budget.try_charge(self.OTHERS)
        holder, waiter = [0] * 4, [1] * 12
        session = Session(process, [*holder, *waiter, *holder, *waiter[:4]])
        session.go_on_while_possible()
        assert (process.budget.waiting, session.outcomes) == (1, ["open", "open"])
        return process, session

    def test_an_upload_behind_another_of_its_session_is_not_stalled(self) -> None:
        process, session = self.held_up()
        process.clock.pump([RECLAIM_SECONDS] * 12)
        process.budget.release(self.OTHERS)
        session.go_on_while_possible()
        assert session.outcomes == ["stored", "stored"]
        process.assert_idle()

    def test_the_stall_timeout_begins_when_the_upload_can_go_on(self) -> None:
        process, session = self.held_up()
        process.clock.pump([RECLAIM_SECONDS] * 12)
        process.budget.release(PART)
        other = process.client(8 * PART, "bob")
        while other.can_go_on:
            other.go_on()
        assert process.budget.waiting
        process.clock.advance(IDLE_SECONDS - 1)
        session.go_on_while_possible()
        process.budget.release(self.OTHERS - PART)
        run(process, [other, *session.files], Random(1))
        process.assert_idle()

    def test_a_withheld_upload_fails_at_last_if_no_other_gives_memory_back(self) -> None:
        process, session = self.held_up()
        process.clock.pump([RECLAIM_SECONDS] * int(HELD_UP_SECONDS / RECLAIM_SECONDS + 1))
        session.go_on_while_possible()
        assert session.outcomes == ["failed", "stored"]
        error = session.files[0].error
        assert isinstance(error, LimitReached)
        assert "fewer at the same time" in error.message
        process.budget.release(self.OTHERS)
        process.assert_idle()

    def test_an_upload_behind_no_other_stalls_soon(self) -> None:
        process = Process(budget=PART)
        idle = Session(process, [0] * 4, closes=False)
        idle.go_on_while_possible()
        busy = Session(process, [0] * 8 + [1] * 8, user="bob")
        busy.go_on_while_possible()
        process.clock.pump([RECLAIM_SECONDS] * int(IDLE_SECONDS / RECLAIM_SECONDS + 1))
        busy.go_on_while_possible()
        assert busy.outcomes == ["stored", "stored"]
        with pytest.raises(LimitReached, match="10 seconds"):
            idle.files[0].upload.write(4 * STEP, b"x")
        result_of(idle.files[0].upload.abandon())
        process.assert_idle()

    @settings(max_examples=60)
    @given(
        st.lists(st.lists(st.integers(0, 1), min_size=2, max_size=40), min_size=1, max_size=6),
        st.integers(2, 5),
        st.randoms(use_true_random=False),
    )
    def test_sessions_of_any_steps_end_without_a_deadlock(
        self, sessions_steps: list[list[int]], parts: int, random: Random
    ) -> None:
        process = Process(budget=parts * PART)
        sessions = [
            Session(process, [*steps, 0, 1], user=random.choice("ab")) for steps in sessions_steps
        ]
        for _ in range(2 * len(sessions) * int(HELD_UP_SECONDS / RECLAIM_SECONDS + 2)):
            while ready := [session for session in sessions if session.can_go_on]:
                random.choice(ready).go_on()
                process.assert_within_bounds()
            process.clock.advance(RECLAIM_SECONDS)
        outcomes = [outcome for session in sessions for outcome in session.outcomes]
        assert "open" not in outcomes
        errors = [file.error for session in sessions for file in session.files if file.error]
        assert all(isinstance(error, LimitReached) for error in errors)
        assert len(process.store.keys()) == outcomes.count("stored") >= len(sessions)
        process.assert_idle()
