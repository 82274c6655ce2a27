"""What an honest user and the gateway's process went through, as tables.

Knows: arithmetic and text. Must not know: processes, clocks, or attacks; all is pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.figures import MIB, UNKNOWN, table

NOTHING = "nothing"
"""The attack that is none; its figures are those of an honest user alone."""

ALONE = "alone"
NEVER_SECONDS = float("inf")


@dataclass(frozen=True, slots=True)
class ProcessFigures:
    """What a gateway's process used while it was watched.

    :param peak_bytes: the most that it held resident.
    :param longest_iteration_seconds: CPU seconds between two polls of its reactor.
    """

    elapsed_seconds: float
    cpu_seconds: float
    peak_bytes: int
    descriptors: int
    longest_iteration_seconds: float
    log_bytes: int


@dataclass(frozen=True, slots=True)
class Round:
    """The honest user's operations once, beside one attack on the gateway of one tree.

    :param seconds: of each operation; `NEVER_SECONDS` for one that was not done by the deadline.
    :param refusals: how often a login was refused before one was let in.
    :param attacker_bytes: what the attacker has sent in that time.
    :param attacker_refusals: how many errors it got for answers, and how many connections ended.
    """

    attack: str
    tree: str
    deadline_seconds: float
    seconds: Mapping[str, float]
    refusals: int
    attacker_bytes: int
    attacker_refusals: int
    process: ProcessFigures


def attack_tables(rounds: Sequence[Round]) -> str:
    """A table for each attack: figures down, trees across, the last tree's user alone first."""
    attacks: dict[str, list[Round]] = {}
    for each in rounds:
        attacks.setdefault(each.attack, []).append(each)
    alone = _by_tree(attacks.get(NOTHING, ()))
    last_alone = {ALONE: list(alone.values())[-1]} if alone else {}
    tables = []
    for attack, found in attacks.items():
        columns = _by_tree(found) if attack == NOTHING else {**last_alone, **_by_tree(found)}
        tables.append(f"{attack}:\n\n{_table(columns)}")
    return "\n\n".join(tables)


def summary(played: Round) -> str:
    """A round in a line."""
    found = [f"{name} {seconds:.3f}" for name, seconds in played.seconds.items()]
    process = played.process
    found.append(f"longest iteration {process.longest_iteration_seconds:.3f}")
    found.append(f"peak MiB {process.peak_bytes / MIB:.0f}")
    return "  " + ", ".join(found)


def _by_tree(rounds: Sequence[Round]) -> dict[str, list[Round]]:
    trees: dict[str, list[Round]] = {}
    for each in rounds:
        trees.setdefault(each.tree, []).append(each)
    return trees


def _table(columns: Mapping[str, Sequence[Round]]) -> str:
    every = [each for found in columns.values() for each in found]
    operations = list(dict.fromkeys(name for each in every for name in each.seconds))
    rows = [("figure", *columns)]
    for name in operations:
        rows.append((f"{name}, s", *(_seconds(name, found) for found in columns.values())))
    rows.append(("logins refused", *(_median(found, "refusals") for found in columns.values())))
    for title, name, unit, digits in _PROCESS_ROWS:
        cells = (_process(found, name, unit, digits) for found in columns.values())
        rows.append((title, *cells))
    rows.append(("attacker's MB", *(_sent(found) for found in columns.values())))
    rows.append(
        ("attacker refused", *(_median(found, "attacker_refusals") for found in columns.values()))
    )
    return table(rows)


_PROCESS_ROWS = (
    ("longest iteration, CPU-s", "longest_iteration_seconds", 1.0, 3),
    ("gateway's CPU-s", "cpu_seconds", 1.0, 1),
    ("in seconds", "elapsed_seconds", 1.0, 1),
    ("peak MiB", "peak_bytes", float(MIB), 0),
    ("descriptors", "descriptors", 1.0, 0),
    ("log, KiB", "log_bytes", 1024.0, 1),
)


def _seconds(name: str, rounds: Sequence[Round]) -> str:
    found = [each.seconds[name] for each in rounds if name in each.seconds]
    if not found:
        return UNKNOWN
    middle = median(found)
    if middle > rounds[0].deadline_seconds:
        return f"over {rounds[0].deadline_seconds:.0f}"
    return f"{middle:.3f}"


def _median(rounds: Sequence[Round], name: str) -> str:
    return f"{median(getattr(each, name) for each in rounds):.0f}"


def _process(rounds: Sequence[Round], name: str, unit: float, digits: int) -> str:
    return f"{median(getattr(each.process, name) for each in rounds) / unit:.{digits}f}"


def _sent(rounds: Sequence[Round]) -> str:
    return f"{median(each.attacker_bytes for each in rounds) / 1e6:.2f}"
