"""What the clients did, as it was recorded, and the table that ``docs/clients.rst`` has of it.

Knows: `outcomes.json`, reStructuredText.
Must not know: how clients are run.

Run as a program, this writes the table into the docs::

    python -m tests.interop.clients.outcomes
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

RECORDED = Path(__file__).with_name("outcomes.json")


@dataclass(frozen=True)
class Row:
    """What came of one client.

    :ivar logins: for each policy, of each kind of login.
    :ivar did: of each feature, under the strictest policy that lets the client in.
    """

    client: str
    version: str
    logins: Mapping[str, Mapping[str, str]]
    did: Mapping[str, str]

    @property
    def label(self) -> str:
        return f"{self.client} {self.version}"


def recorded() -> dict[str, Row]:
    """The rows by their label, in the order of the roster."""
    if not RECORDED.exists():
        return {}
    return {row.label: row for row in (Row(**each) for each in json.loads(RECORDED.read_text()))}


def record(row: Row) -> None:
    """Put one row in place of what was recorded of the same client and version."""
    rows = {**recorded(), row.label: row}
    text = json.dumps([asdict(each) for each in rows.values()], indent=2)
    RECORDED.write_text(text + "\n")


def demand(found: Row) -> None:
    """What was found is what was recorded.

    :raises AssertionError: if it is something else.
    """
    known = recorded()
    assert found.label in known, f"{found.label} is not recorded"
    assert found == known[found.label]
