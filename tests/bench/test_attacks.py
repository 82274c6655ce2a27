"""The bench that measures an honest user beside attacks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.attack_figures import (
    ALONE,
    NEVER_SECONDS,
    NOTHING,
    ProcessFigures,
    Round,
    attack_tables,
)
from bench.attackers import ATTACKS
from bench.attacks import AttacksPlan, measure_attacks
from bench.honest_user import Effort
from bench.hostile_s3 import ENDLESS, ERROR, ERRORS, PAGE, Proxy, content_bytes, poison_for
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
ROUND = Round(
    attack="stats",
    tree="before",
    deadline_seconds=60.0,
    seconds={"login": 3.0, "STAT": NEVER_SECONDS},
    refusals=2,
    attacker_bytes=1_500_000,
    attacker_refusals=7,
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
        effort=Effort(sizes_mib=(1,), logins=1, stats=3, listings=1, listed_names=3),
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
        assert (each.attacker_bytes > 0) == (each.attack != NOTHING)
    assert all(seconds < NEVER_SECONDS for seconds in rounds[0].seconds.values())
