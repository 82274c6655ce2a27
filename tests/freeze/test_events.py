"""The events of the log, with their levels and fields, against ``events.txt``.

Names and fields are read from the source, wherever an event is told. Fields that are put together
at run time are declared here by hand; each of these words must be in the source, too.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from twisted.logger import LogEvent, Logger
from twisted.python.failure import Failure

import sftpgw
from sftpgw.telemetry.logs import LogSink
from tests.freeze.tables import demand_same, rows_of

TABLE = "events.txt"
PRODUCT = Path(sftpgw.__file__).parent
TELLERS = frozenset({"tell", "told", "_tell", "_tell_end", "tell_failure", "Tally"})
"""What takes the name of an event first."""

NO_FIELDS = frozenset({"failure"})
"""A failure is shown as its traceback."""

_OF_A_LOGIN = "user method key?"
_OF_A_REQUEST = "operation bucket key status code reason request_id attempt seconds"
_OF_A_RENAME = "key to"
_WRITTEN = "purpose received_bytes copied_bytes? sent_bytes?"
DECLARED = {
    "connections-refused": "full? address_busy? address_fast? early_drop? no_balancer? "
    "no_header? bad_header? last_from connected logging_in",
    "connections-silent": "count last_from",
    "file-read": "purpose sent_bytes? hashed_bytes? copied_bytes?",
    "file-stored": f"key bytes seconds {_WRITTEN}",
    "key-not-authorised": _OF_A_LOGIN,
    "login-failed": _OF_A_LOGIN,
    "login-refused": _OF_A_LOGIN,
    "login-succeeded": _OF_A_LOGIN,
    "partial-kept": _WRITTEN,
    "piece-left-behind": "key why code request_id",
    "rename-left-behind": _OF_A_RENAME,
    "rename-spared-files": _OF_A_RENAME,
    "request-refused": "request? status?",
    "s3-gave-up": _OF_A_REQUEST,
    "s3-request-dropped": _OF_A_REQUEST,
    "s3-request-failed": _OF_A_REQUEST,
    "s3-request-retried": _OF_A_REQUEST,
    "session-closed": "received_bytes? sent_bytes? copied_bytes? hashed_bytes?",
    "session-opened": "via?",
    "stale-upload-aborted": "bucket key upload_id",
    "sweep-failed": "bucket prefix? key? upload_id?",
    "upload-abandoned": f"key bytes {_WRITTEN}",
    "upload-dropped": f"key bytes seconds {_WRITTEN}",
    "upload-failed": f"key why code? request_id? {_WRITTEN}",
    "upload-left-behind": "key why code? request_id? upload_id?",
    "upload-not-kept": "key why code request_id",
}
"""Fields that no call names: helpers and ``**`` bring them."""


@dataclass
class Told:
    """Where an event is told.

    :ivar calls: the fields that each call names.
    :ivar is_open: some fields are put together at run time.
    """

    calls: list[frozenset[str]] = field(default_factory=list)
    is_open: bool = False

    @property
    def fields(self) -> set[str]:
        """Those that are named, with "?" if not in every call."""
        every = frozenset().union(*self.calls)
        return {name if all(name in call for call in self.calls) else f"{name}?" for name in every}


def sources() -> Iterator[ast.Module]:
    for file in sorted(PRODUCT.rglob("*.py")):
        if "testing" not in file.relative_to(PRODUCT).parts:
            yield ast.parse(file.read_text(encoding="utf-8"))


def events_in(tree: ast.Module) -> dict[str, Told]:
    """The events that a module tells, or chooses between before it tells one."""
    found: dict[str, Told] = defaultdict(Told)
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "event":
            for each in ast.walk(node.value):
                if isinstance(each, ast.Constant):
                    found[str(each.value)].is_open = True
        elif isinstance(node, ast.Call) and node.args:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            called = name or ast.unparse(node.func)
            first = node.args[0]
            if called in TELLERS and isinstance(first, ast.Constant):
                note(found[str(first.value)], called, node)
    return found


def note(told: Told, called: str, node: ast.Call) -> None:
    named = {keyword.arg for keyword in node.keywords if keyword.arg} - NO_FIELDS
    if called == "Tally":
        named = set()
    told.calls.append(frozenset(map(str, named)))
    told.is_open |= called != "tell" or any(keyword.arg is None for keyword in node.keywords)


def all_events() -> dict[str, Told]:
    every: dict[str, Told] = defaultdict(Told)
    for tree in sources():
        for event, told in events_in(tree).items():
            every[event].calls += told.calls
            every[event].is_open |= told.is_open
    return every


def words() -> set[str]:
    """All texts, names of arguments and attributes in the product."""
    found: set[str] = set()
    for tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
            elif isinstance(node, ast.keyword) and node.arg:
                found.add(node.arg)
    return found


TOLD = all_events()


def test_every_event_is_in_the_table() -> None:
    frozen = {row.split()[0] for row in rows_of(TABLE)}
    assert len(frozen) > 60
    demand_same(TABLE, frozen, set(TOLD), "an event")


@pytest.mark.parametrize("row", rows_of(TABLE), ids=lambda row: row.split()[0])
def test_fields_are_those_of_the_table(row: str) -> None:
    event, _, *fields = row.split()
    told = TOLD[event]
    declared = DECLARED.get(event, "").split()
    assert told.is_open or not declared, f"{event}: declared by hand, and not open to that"
    optional = {name.rstrip("?") for name in fields if name.endswith("?")}
    named = {name.rstrip("?") for name in told.fields} | {name.rstrip("?") for name in declared}
    found = {f"{name}?" if name in optional else name for name in named}
    rows, now = ({f"{event} {name}" for name in names} for names in (fields, found))
    demand_same(TABLE, rows, now, "a field")
    if not told.is_open:
        assert told.fields == set(fields), f"{event}: which fields are in every line has changed"


def test_declared_fields_are_words_of_the_source() -> None:
    declared = {name.rstrip("?") for fields in DECLARED.values() for name in fields.split()}
    assert declared - words() == set()
    assert DECLARED.keys() <= TOLD.keys()


@pytest.mark.parametrize("row", rows_of(TABLE), ids=lambda row: row.split()[0])
def test_levels_are_those_of_the_table(row: str) -> None:
    event, level, *_ = row.split()
    seen: list[LogEvent] = []
    facts = {"failure": Failure(ValueError())} if event == "defect" else {}
    LogSink(Logger("sftpgw", observer=seen.append)).tell(event, **facts)
    (told,) = seen
    assert (told["event"], told["log_level"].name) == (event, level)
