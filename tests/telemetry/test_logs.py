"""Events as log lines."""

from __future__ import annotations

import pytest
from twisted.logger import LogEvent, Logger, LogLevel, formatEvent
from twisted.python.failure import Failure

from sftpgw.model.events import EventSink
from sftpgw.model.events.file_events import FileRemoved
from sftpgw.model.events.gateway_events import Defect
from sftpgw.model.events.session_events import LoginFailedEvent, SessionOpened
from sftpgw.ssh.admission import Refusal
from sftpgw.telemetry.logs import LogSink, format_line


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


def test_context_comes_first_and_levels_are_those_of_events() -> None:
    seen: list[LogEvent] = []
    sink: EventSink = LogSink(Logger("sftpgw", observer=seen.append))
    bound = sink.bind(session="0badcafe")
    bound.emit(FileRemoved(bucket="uploads", key="a {b}"))
    bound.bind(peer="192.0.2.1:4711").emit(LoginFailedEvent(user="alice", method="password"))
    sink.emit(SessionOpened())
    sink.bind(user="alice").emit(Defect(where="test", failure=Failure(ValueError("a bug"))))
    assert [formatEvent(event) for event in seen] == [
        'file-removed session=0badcafe key="a {b}" bucket=uploads',
        "login-failed session=0badcafe peer=192.0.2.1:4711 user=alice method=password",
        "session-opened",
        "defect user=alice where=test",
    ]
    info, warn, critical = LogLevel.info, LogLevel.warn, LogLevel.critical
    assert [event["log_level"] for event in seen] == [info, warn, info, critical]
    assert seen[0]["event"] == "file-removed"
    assert seen[-1]["log_failure"].check(ValueError)
