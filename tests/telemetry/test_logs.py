"""Events as log lines."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from twisted.logger import LogEvent, Logger, LogLevel, formatEvent

from sftpgw.model.events import EventSink
from sftpgw.ssh.admission import Refusal
from sftpgw.telemetry.logs import LogSink, format_line

REPOSITORY = Path(__file__).parent.parent.parent
TELLERS = frozenset({"tell", "told", "_tell", "_tell_end", "tell_failure", "Tally"})
"""What takes the name of an event first."""


def events_in(source: str) -> set[str]:
    """The events that a module names where it tells them, or chooses between them."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        named: list[ast.expr] = []
        if isinstance(node, ast.Call):
            is_method = isinstance(node.func, ast.Attribute)
            name = node.func.attr if is_method else ast.unparse(node.func)
            named = node.args[:1] if name in TELLERS else []
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "event":
            named = [each for each in ast.walk(node.value) if isinstance(each, ast.Constant)]
        found |= {str(each.value) for each in named if isinstance(each, ast.Constant)}
    return found


@pytest.mark.parametrize(
    ("fact", "shown"),
    [
        ("plain", "plain"),
        (b"bytes", "bytes"),
        ("", '""'),
        (17, "17"),
        (0.12345, "0.123"),
        ("two words", '"two words"'),
        ('a "b" \\', '"a \\"b\\" \\\\"'),
        ("a=b", '"a=b"'),
        ("ä€", "ä€"),
        ("one\nsession-opened user=root", '"one\\nsession-opened user=root"'),
        ("\x1b[2J\u2028\u202e", '"\\x1b[2J\\u2028\\u202e"'),
        (b"\xff", '"\\\\xff"'),
        ("x" * 5000, "x" * 1200 + "…"),
        (None, "none"),
        (True, "yes"),
        (False, "no"),
        (LogLevel.warn.name, "warn"),
        (Refusal.EARLY_DROP, "early_drop"),
        ((), '""'),
        ((b"one", "two", 3), '"one two 3"'),
    ],
)
def test_a_value_stays_on_its_line(fact: object, shown: str) -> None:
    assert format_line("file-stored", {"key": fact}) == f"file-stored key={shown}"


def test_bound_facts_come_first_and_failures_are_warnings() -> None:
    seen: list[LogEvent] = []
    sink: EventSink = LogSink(Logger("sftpgw", observer=seen.append))
    bound = sink.bind(session="0badcafe")
    bound.tell("file-stored", key="a {b}")
    bound.bind(user="alice").tell("login-failed")
    sink.tell("stopped")
    assert [formatEvent(event) for event in seen] == [
        'file-stored session=0badcafe key="a {b}"',
        "login-failed session=0badcafe user=alice",
        "stopped",
    ]
    assert [event["log_level"] for event in seen] == [LogLevel.info, LogLevel.warn, LogLevel.info]
    assert seen[0]["event"] == "file-stored"


def test_the_docs_know_every_event() -> None:
    rooms = [each for each in (REPOSITORY / "sftpgw").iterdir() if each.name != "testing"]
    files = [file for room in rooms for file in ([room] if room.is_file() else room.rglob("*.py"))]
    events = set().union(*(events_in(file.read_text()) for file in files if file.suffix == ".py"))
    assert {"file-stored", "upload-left-behind", "connections-refused"} <= events
    page = (REPOSITORY / "docs" / "events.rst").read_text()
    assert sorted(event for event in events if f"``{event}``" not in page) == []
