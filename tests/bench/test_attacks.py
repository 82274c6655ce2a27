"""The bench that measures an honest user beside attacks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.attack_figures import (
    ALONE,
    BROKEN,
    IDLE,
    NEVER_SECONDS,
    NOTHING,
    AttackerFigures,
    ProcessFigures,
    Round,
    attack_tables,
    overviews,
    problems,
)
from bench.attack_progress import SHARED_BYTES, Progress, ProgressCounter, unpacked
from bench.attack_rounds import load_rounds, save_rounds
from bench.attackers import ATTACKS
from bench.attacks import AttacksPlan, measure_attacks
from bench.honest_user import Effort
from bench.hostile_s3 import ENDLESS, ERROR, ERRORS, PAGE, Proxy, content_bytes, poison_for
from bench.memory_bound import bound_bytes
from bench.processes import BenchError
from bench.resident import MemoryPlan, measure_memory, memory_table
from bench.servers import REPOSITORY, Store
from sftpgw.demo import BUCKET, EmbeddedStore
from tests.needs import needs

PROCESS = ProcessFigures(
    elapsed_seconds=9.0,
    cpu_seconds=4.0,
    peak_bytes=100 * 2**20,
    descriptors=20,
    longest_iteration_seconds=0.25,
    log_bytes=2048,
)
ATTACKER = AttackerFigures(
    holds=False,
    share=0.97,
    sent_bytes=1_500_000,
    received_bytes=0,
    most_connections=10,
    refusals=7,
    ended=0,
    broken=0,
    reason="",
)
ROUND = Round(
    repeat=1,
    attack="stats",
    tree="before",
    deadline_seconds=60.0,
    seconds={"login": 3.0, "STAT": NEVER_SECONDS},
    refusals=2,
    attacker=ATTACKER,
    bound_bytes=150 * 2**20,
    process=PROCESS,
)


def test_a_table_has_the_trees_beside_the_last_one_alone() -> None:
    alone = replace(ROUND, attack=NOTHING, seconds={"login": 0.1, "STAT": 0.01})
    after = replace(ROUND, tree="after", seconds={"login": 0.2, "STAT": 0.02})
    text = attack_tables([replace(alone, seconds={"login": 9.0}), replace(alone, tree="after")])
    assert ALONE not in text
    text = attack_tables([alone, replace(alone, tree="after"), ROUND, after])
    table = text.partition("stats:")[2].splitlines()
    assert table[3].split() == ["figure", "alone", "before", "after"]
    assert table[5].split() == ["login,", "s", "0.100", "3.000", "0.200"]
    assert table[6].split() == ["STAT,", "s", "0.010", "over", "60", "0.020"]
    assert "peak MiB                 100   100     100" in text


def test_all_attacks_stand_in_two_tables_with_the_trees_side_by_side() -> None:
    after = replace(ROUND, tree="after", seconds={"login": 0.2, "STAT": 0.02, "get of 9 MiB": 1.0})
    waits, process = overviews([ROUND, after])
    lines = waits.splitlines()
    assert "get of 9 MiB" in lines[1]
    assert "stats           3.000 → 0.200" in waits
    assert "over 60 → 0.020" in waits
    assert "100 → 100" in process
    assert "97% → 97%" in process


@pytest.mark.parametrize(
    ("figures", "verdict"),
    [
        (ATTACKER, "97%"),
        (replace(ATTACKER, sent_bytes=0), IDLE),
        (replace(ATTACKER, sent_bytes=0, holds=True), "97%"),
        (replace(ATTACKER, share=0.2), IDLE),
        (replace(ATTACKER, share=0.2, ended=9, reason="too many"), "20%; ended 9 times: too many"),
        (replace(ATTACKER, broken=1), BROKEN),
    ],
)
def test_an_attacker_that_did_nothing_is_a_problem_unless_the_gateway_ended_it(
    figures: AttackerFigures, verdict: str
) -> None:
    played = replace(ROUND, attacker=figures)
    assert figures.verdict == verdict
    assert verdict in attack_tables([played])
    assert bool(problems([played])) == (verdict in (IDLE, BROKEN))


def test_more_memory_than_the_bound_is_a_problem_of_the_last_tree_only() -> None:
    over = replace(ROUND, process=replace(PROCESS, peak_bytes=ROUND.bound_bytes + 1))
    assert problems([over, replace(ROUND, tree="after")]) == []
    assert problems([ROUND, replace(over, tree="after")]) == [
        "stats, after: 150 MiB are resident, over the bound of 150"
    ]


def test_an_attacker_counts_where_the_bench_reads() -> None:
    shared = bytearray(SHARED_BYTES)
    counter = ProgressCounter(shared)
    counter.count("connections")
    counter.count("connections")
    counter.count("connections", -1)
    counter.count("sent_bytes", 70_000)
    counter.count_end("too many of them")
    counter.count_end("é" * 200)
    found = unpacked(bytes(shared))
    assert found.reason.startswith("é" * 60)
    assert replace(found, reason="") == Progress(
        sent_bytes=70_000, connections=1, most_connections=2, ended=2
    )


@needs("openssh")
def test_a_run_goes_on_with_the_rounds_that_it_has(tmp_path: Path) -> None:
    file = tmp_path / "rounds.json"
    assert load_rounds(file) == []
    alone = replace(ROUND, attack=NOTHING, attacker=None)
    save_rounds(file, {}, [alone, ROUND])
    assert load_rounds(file) == [alone, ROUND]
    plan = AttacksPlan(
        store=Store("http://127.0.0.1:1", "bucket"),
        trees=[Path("/trees/before")],
        attacks={"stats": replace(ATTACKS["stats"], latency_seconds=0.0)},
        repeats=1,
    )
    told: list[str] = []
    assert list(measure_attacks(plan, tmp_path, told.append, load_rounds(file))) == [alone, ROUND]
    assert told == []


@pytest.mark.parametrize("text", ["", "{}", '{"rounds": [{}]}', '{"rounds": [{"attacker": 1}]}'])
def test_a_file_without_rounds_is_told(tmp_path: Path, text: str) -> None:
    file = tmp_path / "rounds.json"
    file.write_text(text)
    with pytest.raises(BenchError, match="no rounds of attacks"):
        load_rounds(file)


def test_figures_are_medians_of_the_repeats() -> None:
    rounds = [replace(ROUND, seconds={"login": seconds}) for seconds in (1.0, NEVER_SECONDS, 2.0)]
    assert "2.000" in attack_tables(rounds)


@pytest.mark.parametrize("seconds", [60.5, NEVER_SECONDS])
def test_what_is_done_behind_the_deadline_is_not_done(seconds: float) -> None:
    assert "over 60" in attack_tables([replace(ROUND, seconds={"login": seconds})])


def test_only_hostile_targets_are_answered_with_poison() -> None:
    assert poison_for(b"/bucket/key?list-type=2") is None
    errors = poison_for(b"/bucket/home/" + ERRORS + b"/1")
    assert errors is not None
    assert errors.endswith(ERROR)
    assert len(ERROR) > 15 * 2**20
    assert (poison_for(b"/bucket?prefix=" + ENDLESS) or b"").endswith(PAGE)


def test_a_body_is_as_long_as_its_head_says() -> None:
    assert content_bytes(b"PUT /a HTTP/1.1\r\nHost: x\r\ncontent-length: 12\r\n\r\n") == 12
    assert content_bytes(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n") == 0


def test_the_proxy_passes_on_request_after_request() -> None:
    asyncio.run(asyncio.wait_for(_two_requests(), 30))


async def _two_requests() -> None:
    async def store(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(content_bytes(head))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()

    async with await asyncio.start_server(store, "127.0.0.1", 0) as behind:
        proxy = Proxy("127.0.0.1", behind.sockets[0].getsockname()[1], 0.0)
        async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as front:
            port = front.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for body in (b"one", b"another"):
                writer.write(b"PUT /a HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                head = await reader.readuntil(b"\r\n\r\n")
                assert await reader.readexactly(content_bytes(head)) == body
            writer.close()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "access")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    embedded = EmbeddedStore.start()
    try:
        yield Store(embedded.endpoint, BUCKET)
    finally:
        embedded.stop()


@pytest.mark.interop
@needs("openssh")
def test_an_honest_user_is_measured_alone_and_beside_attacks(tmp_path: Path, store: Store) -> None:
    """One attack on the gateway, one that needs a store of its own."""
    names = ["windows", "error-bodies"]
    found = [(name, ATTACKS[name]) for name in names]
    plan = AttacksPlan(
        store=store,
        trees=[REPOSITORY],
        attacks={name: replace(attack, threads=2, least_seconds=0.1) for name, attack in found},
        repeats=1,
        effort=Effort((1,), logins=1, stats=3, listings=1, listed_names=3, deadline_seconds=60.0),
    )
    told: list[str] = []
    rounds = list(measure_attacks(plan, tmp_path, told.append))
    assert [each.attack for each in rounds] == [NOTHING, *names]
    for each in rounds:
        assert {"login", "list", "STAT", "put of 1 MiB", "get of 1 MiB"} <= set(each.seconds)
        assert each.process.longest_iteration_seconds > 0
        assert each.process.cpu_seconds > 0
        assert each.process.peak_bytes > 10 * 2**20
        assert each.process.descriptors > 5
        assert each.process.log_bytes > 0
        assert (each.attacker is not None) == (each.attack != NOTHING)
        assert each.process.peak_bytes < each.bound_bytes
    assert problems(rounds) == []
    assert len(problems([replace(each, bound_bytes=2**20) for each in rounds])) == len(rounds)
    assert all(seconds < NEVER_SECONDS for seconds in rounds[0].seconds.values())


@pytest.mark.interop
@needs("openssh")
def test_what_idle_and_busy_sessions_take_is_measured(tmp_path: Path, store: Store) -> None:
    plan = MemoryPlan(store, REPOSITORY, idle=3, busy=2, busy_seconds=0.1, listed_names=3)
    rows = list(measure_memory(plan, tmp_path, lambda line: None))
    assert [row.connections for row in rows] == [0, 3, 2]
    assert 30 * 2**20 < rows[0].held_bytes <= rows[1].held_bytes
    assert all(row.held_bytes < bound_bytes(row.budget_bytes, row.connections) for row in rows)
    assert "busy sessions, 2 of which ended" in memory_table(rows)
