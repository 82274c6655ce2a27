"""What an honest user and the gateway's process went through, as tables.

Knows: arithmetic and text. Must not know: processes, clocks, or attacks; all is pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.figures import MIB, UNKNOWN, table

NOTHING = "nothing"
"""The attack that is none; its figures are those of an honest user alone."""

ALONE = "alone"
NEVER_SECONDS = float("inf")

LEAST_SHARE = 0.5
"""An attacker that is connected for less of the time is idle, or was ended."""

IDLE, BROKEN = "IDLE", "BROKEN"
UNDER_WAY = "attack under way"
BOUND = "bound, MiB"


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
class AttackerFigures:
    """What the attacker did while the honest user's operations were measured.

    :param holds: it does harm by what it holds, and need not send anything meanwhile.
    :param share: of the time, in which a connection of its was open.
    :param sent_bytes: to the gateway.
    :param received_bytes: from the gateway.
    :param most_connections: how many were open at once.
    :param refusals: errors for answers, and strikes that failed.
    :param ended: how many connections the gateway has refused or ended.
    :param broken: how many threads have ended by a mistake of the attacker itself.
    :param reason: what the gateway said, or did, when it ended the last one.
    """

    holds: bool
    share: float
    sent_bytes: int
    received_bytes: int
    most_connections: int
    refusals: int
    ended: int
    broken: int
    reason: str

    @property
    def verdict(self) -> str:
        """Whether the attack was under way all the time, or why it was not."""
        if self.broken:
            return BROKEN
        moves = self.holds or self.sent_bytes + self.received_bytes > 0
        is_on = moves and self.share >= LEAST_SHARE
        if self.ended:
            return f"{self.share:.0%}; ended {self.ended} times: {self.reason}"
        return f"{self.share:.0%}" if is_on else IDLE


@dataclass(frozen=True, slots=True)
class Round:
    """The honest user's operations, beside one attack on the gateway of one tree.

    :param repeat: which time it is, from 1 on.
    :param seconds: of each operation; `NEVER_SECONDS` for one that was not done by the deadline.
    :param refusals: how often a login was refused before one was let in.
    :param attacker: None if there was none.
    :param bound_bytes: how much memory the process may hold (`bench.memory_bound`).
    """

    repeat: int
    attack: str
    tree: str
    deadline_seconds: float
    seconds: Mapping[str, float]
    refusals: int
    attacker: AttackerFigures | None
    bound_bytes: int
    process: ProcessFigures

    @property
    def name(self) -> tuple[int, str, str]:
        """What a run that goes on knows it by."""
        return (self.repeat, self.attack, self.tree)


def as_round(fields: Mapping[str, Any]) -> Round:
    """A round from what `dataclasses.asdict` has made of it."""
    attacker = fields["attacker"]
    return Round(
        **{
            **fields,
            "attacker": AttackerFigures(**attacker) if attacker else None,
            "process": ProcessFigures(**fields["process"]),
        }
    )


def problems(rounds: Sequence[Round]) -> list[str]:
    """What makes a run worth nothing, or shows that the last tree breaks its promise of memory."""
    found = []
    for each in rounds:
        where = f"{each.attack}, {each.tree}"
        if each.attacker is not None and each.attacker.verdict in (IDLE, BROKEN):
            found.append(f"{where}: the attacker was {each.attacker.verdict}")
        peak_bytes = each.process.peak_bytes
        if each.tree == rounds[-1].tree and peak_bytes > each.bound_bytes:
            peak, bound = (size / MIB for size in (peak_bytes, each.bound_bytes))
            found.append(f"{where}: {peak:.0f} MiB are resident, over the bound of {bound:.0f}")
    return found


def report(rounds: Sequence[Round]) -> str:
    """Two tables of all attacks, then one for each."""
    return "\n\n".join([*overviews(rounds), attack_tables(rounds)])


def overviews(rounds: Sequence[Round]) -> list[str]:
    """All attacks, one a line, the trees side by side: the honest user's seconds; the process."""
    attacks = _by_attack(rounds)
    sizes = [name for each in rounds for name in each.seconds if name.endswith("MiB")]
    operations = dict.fromkeys(("login", "login by password", "list", "STAT", *sizes))
    waits = [("beside; seconds", *operations)]
    process = [("beside", *(title for title, *_ in _PROCESS_ROWS), BOUND, UNDER_WAY)]
    for attack, found in attacks.items():
        trees = list(_by_tree(found).values())
        waits.append(
            (attack, *(_arrow(_seconds(name, each) for each in trees) for name in operations))
        )
        cells = [_arrow(_process(each, *row[1:]) for each in trees) for row in _PROCESS_ROWS]
        process.append((attack, *cells, _arrow(map(_bound, trees)), _arrow(map(_verdict, trees))))
    return [table(waits), table(process)]


def _arrow(cells: Iterable[str]) -> str:
    return " → ".join(cells)


def attack_tables(rounds: Sequence[Round]) -> str:
    """A table for each attack: figures down, trees across, the last tree's user alone first."""
    attacks = _by_attack(rounds)
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


def _by_attack(rounds: Sequence[Round]) -> dict[str, list[Round]]:
    attacks: dict[str, list[Round]] = {}
    for each in rounds:
        attacks.setdefault(each.attack, []).append(each)
    return attacks


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
    rows.append((BOUND, *map(_bound, columns.values())))
    if any(each.attacker is not None for each in every):
        for title, read in _ATTACKER_ROWS:
            rows.append((title, *(read(found) for found in columns.values())))
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


def _bound(rounds: Sequence[Round]) -> str:
    return f"{median(each.bound_bytes for each in rounds) / MIB:.0f}"


def _verdict(rounds: Sequence[Round]) -> str:
    """The worst of all repeats."""
    verdicts = [each.attacker.verdict for each in rounds if each.attacker is not None]
    return max(verdicts, key=lambda told: (told in (IDLE, BROKEN), len(told)), default=UNKNOWN)


def _of_attacker(name: str, unit: float = 1.0, digits: int = 0) -> Callable[[Sequence[Round]], str]:
    def read(rounds: Sequence[Round]) -> str:
        found = [getattr(each.attacker, name) for each in rounds if each.attacker is not None]
        return f"{median(found) / unit:.{digits}f}" if found else UNKNOWN

    return read


_ATTACKER_ROWS: tuple[tuple[str, Callable[[Sequence[Round]], str]], ...] = (
    (UNDER_WAY, _verdict),
    ("attacker has sent, MB", _of_attacker("sent_bytes", 1e6, 2)),
    ("attacker was sent, MB", _of_attacker("received_bytes", 1e6, 2)),
    ("attacker's connections", _of_attacker("most_connections")),
    ("attacker was refused", _of_attacker("refusals")),
    ("connections ended", _of_attacker("ended")),
)
