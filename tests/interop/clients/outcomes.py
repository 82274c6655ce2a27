"""What the clients did, as it was recorded, and the table that ``docs/clients.rst`` has of it.

Knows: `outcomes.json`, reStructuredText.
Must not know: how clients are run.

Run as a program, this writes the table into the docs::

    python -m tests.interop.clients.outcomes
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.interop.clients.scenario import FEATURES, LACKS, LOGINS, NO, YES

RECORDED = Path(__file__).with_name("outcomes.json")
DOCS = Path(__file__).parent.parent.parent.parent / "docs" / "clients.rst"
BEGIN, END = ".. matrix: begins\n", ".. matrix: ends\n"
POLICIES = ("modern", "compatible", "legacy")
"""The strictest one first."""

ONTO = "rename onto a file"
HEADER = (
    *("Client", "Password", "Ed25519", "ECDSA", "RSA"),
    *("Rename onto a file", "Replaces a file by", "Has not, or cannot"),
)


@dataclass(frozen=True)
class Row:
    """What came of one client.

    :ivar key: the client's label in the roster.
    :ivar client: its name.
    :ivar version: what it said of itself; for one of the system's packages it may be another one
        elsewhere.
    :ivar logins: for each policy, of each kind of login.
    :ivar did: of each feature, under the strictest policy that lets the client in.
    """

    key: str
    client: str
    version: str
    logins: Mapping[str, Mapping[str, str]]
    did: Mapping[str, str]

    @property
    def label(self) -> str:
        return f"{self.client} {self.version}"

    def behaviour(self) -> tuple[Mapping[str, Mapping[str, str]], Mapping[str, str]]:
        """What must be the same each time."""
        return self.logins, self.did

    def policy_for(self, kind: str) -> str | None:
        """The strictest policy with which a kind of login opens."""
        return next((each for each in POLICIES if self.logins[each][kind] == YES), None)


def recorded() -> dict[str, Row]:
    """The rows by their key."""
    if not RECORDED.exists():
        return {}
    return {row.key: row for row in (Row(**each) for each in json.loads(RECORDED.read_text()))}


def record(row: Row) -> None:
    """Put one row in place of what was recorded of the same client."""
    rows = {**recorded(), row.key: row}
    ordered = sorted(rows.values(), key=lambda each: each.label.casefold())
    text = json.dumps([asdict(each) for each in ordered], indent=2)
    RECORDED.write_text(text + "\n")


def demand(found: Row) -> None:
    """What was found is what was recorded.

    :raises AssertionError: if it is something else.
    """
    known = recorded()
    assert found.key in known, f"{found.key} is not recorded"
    assert found.behaviour() == known[found.key].behaviour()


def table(rows: Iterable[Row]) -> str:
    """The matrix, in reStructuredText."""
    text = ".. list-table::\n   :header-rows: 1\n   :widths: 22 11 11 11 11 9 13 12\n"
    for cells in (HEADER, *map(_cells, rows)):
        text += "".join(f"{mark} {cell}\n" for mark, cell in zip(_marks(), cells, strict=False))
    return text


def _marks() -> Iterator[str]:
    yield "\n   * -"
    while True:
        yield "     -"


def _cells(row: Row) -> tuple[str, ...]:
    found = [row.policy_for(kind) for kind in LOGINS]
    policies = [f"``{each}``" if each else "–" for each in found]
    lacks = [each for each in FEATURES if row.did[each] == LACKS]
    cannot = [each for each in FEATURES if row.did[each] == NO and each != ONTO]
    said = [*(f"no {each}" for each in lacks), *(f"{each}: refused" for each in cannot)]
    onto = "replaces" if row.did[ONTO] == YES else "refused"
    return (row.label, *policies, onto, row.did["replace"], "; ".join(said) or "–")


def documented(text: str) -> str:
    """The docs with the table as it is to be.

    :raises ValueError: if they have no place for it.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the docs have no place for the table")
    return f"{before}{begin}\n{table(recorded().values())}\n{end}{after}"


if __name__ == "__main__":
    DOCS.write_text(documented(DOCS.read_text()))
