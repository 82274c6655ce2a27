"""``python -m bench amplification``: what the gateway spends for each 1,000 bytes of a client.

Knows: what is measured, and in which order. Must not know: what a client sends (`cases`), or how
the gateway is metered (`stage`).

All is in memory. Requests, bytes of the store and of the log are exact. CPU time is the least of
several runs. Memory is measured in a run of its own, since measuring it takes time.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.cases import CASES, Case
from bench.figures import table
from bench.stage import Spent, Stage, held_bytes

_HEAD = (
    "what",
    "sent",
    "client bytes",
    "requests",
    "CPU-ms",
    "KB from store",
    "KB held",
    "KB of log",
)


@dataclass(frozen=True, slots=True)
class Amplification:
    """What one case cost; all but `client_bytes` for each 1,000 bytes of the client.

    :param group: the group of the case.
    :param name: the name of the case.
    :param client_bytes: what the client has sent in all.
    :param requests: requests to the store.
    :param cpu_seconds: CPU time of the gateway.
    :param store_bytes: bytes of bodies and lists that the store has sent.
    :param held_bytes: memory of the gateway, at most: while the store is silent, or after it.
    :param log_bytes: bytes of the log.
    """

    group: str
    name: str
    client_bytes: int
    requests: float
    cpu_seconds: float
    store_bytes: float
    held_bytes: float
    log_bytes: float


def spent_on(case: Case) -> Spent:
    """Play a case once, on a gateway of its own.

    :param case: the case.
    """
    stage = Stage()
    prepared = case.before(stage)
    before = stage.spent
    case.attack(stage, prepared)
    after = stage.spent
    return Spent(
        after.client_bytes - before.client_bytes,
        after.requests - before.requests,
        after.store_bytes - before.store_bytes,
        after.cpu_seconds - before.cpu_seconds,
        after.log_bytes - before.log_bytes,
    )


def held_for(case: Case) -> int:
    """Play a case on a silent store, and then on one that answers: the most bytes that were held.

    :param case: the case.
    """
    stage = Stage()
    prepared = case.before(stage)
    gc.collect()
    tracemalloc.start()
    try:
        with stage.silent_store():
            case.attack(stage, prepared)
            waiting_bytes = held_bytes()
        return max(waiting_bytes, held_bytes())
    finally:
        tracemalloc.stop()


def measure_amplification(
    wanted: str, repeats: int, tell: Callable[[str], None]
) -> list[Amplification]:
    """Measure all cases whose group or name contains a text.

    :param wanted: the text; empty: all cases.
    :param repeats: how often CPU time is measured.
    :param tell: is told which case is measured.
    """
    found = []
    for case in CASES:
        if wanted in case.group or wanted in case.name:
            tell(f"{case.group}: {case.name}")
            found.append(_measured(case, repeats))
    return found


def _measured(case: Case, repeats: int) -> Amplification:
    runs = [spent_on(case) for _ in range(repeats)]
    first = runs[0]
    per_thousand = 1000 / first.client_bytes
    return Amplification(
        case.group,
        case.name,
        first.client_bytes,
        first.requests * per_thousand,
        min(run.cpu_seconds for run in runs) * per_thousand,
        first.store_bytes * per_thousand,
        held_for(case) * per_thousand,
        first.log_bytes * per_thousand,
    )


def amplification_table(found: Sequence[Amplification]) -> str:
    """The figures for each 1,000 bytes of the client, a case a line.

    :param found: the figures of each case.
    """
    rows = [_HEAD]
    for each in found:
        numbers = (
            f"{each.client_bytes}",
            f"{each.requests:.1f}",
            f"{each.cpu_seconds * 1000:.1f}",
            f"{each.store_bytes / 1000:.1f}",
            f"{each.held_bytes / 1000:.1f}",
            f"{each.log_bytes / 1000:.2f}",
        )
        rows.append((each.group, each.name, *numbers))
    return table(rows)
