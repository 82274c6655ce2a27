"""How the tables of this folder are read.

Each table is text that people can read. A blank line and a line that begins with ``#`` say nothing.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent

DELIBERATE = (
    "It outlives a version: configurations, log searches and buckets of other people rely on it. "
    "If the change is deliberate, edit {table} and say so in the changelog; if not, undo it."
)


def rows_of(table: str) -> list[str]:
    """The lines of a table that say something."""
    lines = (FOLDER / table).read_text(encoding="utf-8").splitlines()
    return [line.rstrip() for line in lines if line.strip() and not line.startswith("#")]


def demand_same(table: str, frozen: set[str], found: set[str], kind: str) -> None:
    """Fail with a sentence for each row that is missing in the code or new there."""
    sentences = [f"{kind} has vanished: {row}" for row in sorted(frozen - found)]
    sentences += [f"{kind} is new: {row}" for row in sorted(found - frozen)]
    advice = DELIBERATE.format(table=f"tests/freeze/{table}")
    assert not sentences, "\n".join([*sentences, advice])
