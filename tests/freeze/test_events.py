"""The events of the log, with their levels and fields, against ``events.txt``.

They are those of the catalogue. What is not in it cannot be emitted; what is in it, some module
emits.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from twisted.logger import LogEvent, Logger
from twisted.python.failure import Failure

import sftpgw
from sftpgw.model import events
from sftpgw.model.events import LOG_NAMES, Event
from sftpgw.model.events.catalogue import EVENTS
from sftpgw.model.events.gateway_events import Defect
from sftpgw.telemetry.logs import LogSink
from tests.freeze.tables import demand_same, rows_of

TABLE = "events.txt"
PRODUCT = Path(sftpgw.__file__).parent
HIDDEN = {(Defect, "failure")}
"""Shown as a traceback."""


def row_of(kind: type[Event]) -> str:
    """An event as the table has it."""
    own = {each.name: each for each in fields(kind) if (kind, each.name) not in HIDDEN}
    shown = [
        LOG_NAMES.get(name, name) + ("" if own[name].default is MISSING else "?")
        for name in kind.ordered(own)
    ]
    return " ".join([kind.event_name, kind.level.value, *shown])


BY_NAME = {kind.event_name: kind for kind in EVENTS}
ROWS = {row.split()[0]: row for row in rows_of(TABLE)}


def test_every_event_is_in_the_table() -> None:
    assert len(ROWS) > 60
    assert len(BY_NAME) == len(EVENTS), "two events have one name"
    demand_same(TABLE, set(ROWS), set(BY_NAME), "an event")


@pytest.mark.parametrize("name", sorted(ROWS.keys() & BY_NAME.keys()))
def test_levels_and_fields_are_those_of_the_table(name: str) -> None:
    demand_same(TABLE, {ROWS[name]}, {row_of(BY_NAME[name])}, "an event with these fields")


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.event_name)
def test_the_log_shows_what_the_table_says(kind: type[Event]) -> None:
    """The line itself, with every field, and with those only that are in every line."""
    _, level, *shown = ROWS[kind.event_name].split()
    for is_full in (True, False):
        wanted = [name.rstrip("?") for name in shown if is_full or not name.endswith("?")]
        seen: list[LogEvent] = []
        LogSink(Logger("sftpgw", observer=seen.append)).emit(made(kind, is_full=is_full))
        (told,) = seen
        assert (told["event"], told["log_level"].name) == (kind.event_name, level)
        name, *facts = told["line"].split()
        assert name == kind.event_name
        assert [fact.partition("=")[0] for fact in facts] == wanted


def made(kind: type[Event], *, is_full: bool) -> Event:
    values: dict[str, object] = {
        each.name: 1 for each in fields(kind) if is_full or each.default is MISSING
    }
    if kind is Defect:
        values["failure"] = Failure(ValueError("a bug"))
    return kind(**values)


def names_in(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name):
            yield node.id


def test_every_event_is_emitted_somewhere() -> None:
    folders = (PRODUCT / "testing", Path(events.__file__).parent)
    files = [
        file
        for file in PRODUCT.rglob("*.py")
        if not any(file.is_relative_to(folder) for folder in folders)
    ]
    used = {name for file in files for name in names_in(file)}
    assert sorted(kind.__name__ for kind in EVENTS if kind.__name__ not in used) == []


def test_classes_are_called_as_their_events() -> None:
    """With ``Event`` behind it where an exception has the name."""
    for kind in EVENTS:
        words = kind.event_name.split("-")
        assert kind.__name__.removesuffix("Event") == "".join(word.capitalize() for word in words)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in BY_NAME)
