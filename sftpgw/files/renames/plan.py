"""What the gateway writes down about the rename of a directory, and how to read it.

Knows: the record's objects and their text, and which renames concern the same keys.
Must not know: requests, users, paths.

Rules

1. A rename has a record: some objects below ``renames/ID/`` of the state prefix. `intent`
   comes first. A `page-N` lists objects and their versions before the first of them is
   copied. `outcome` is written once, under a condition, and decides for everybody:
   *moved*, and from then on the versions that the pages list are deleted under the old
   name; or *abandoned*, and from then on their copies are removed under the new one.
2. Until there is an outcome nothing is deleted anywhere: what is interrupted leaves the
   source whole. After it, each step can be done again, by anybody, at the same time.
3. Pages go first when a record is removed, then the intent, the outcome last. Whoever gives
   up somebody else's rename takes away the intent only: the other one may be slow, not
   dead, and must learn of it. What has no intent is cleared away after a week.
4. Whoever works on a record writes its intent again now and then. One that has not been
   written for `LEASE_SECONDS` has been left alone, and may be taken up: by whoever is the first
   to write a `claim` to what was there last, under a condition. Where several did it, a slow
   one would take away the copies of a rename that has been begun since.
5. For the same reason who was given up by somebody else clears up only if, his intent being
   written once more, nobody else's concerns the same keys.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sftpgw.model.store import ObjectInfo, ObjectName

LEASE_SECONDS = 120.0
BEAT_SECONDS = 30.0

INTENT, OUTCOME, PAGE, CLAIM = "intent", "outcome", "page-", "claim-"


class Outcome(enum.Enum):
    MOVED = "moved"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class Intent:
    """All keys that begin with `source` are to begin with `target` instead.

    :param over_marker: `target` has a marker already, which stays if nothing comes of it.
    """

    bucket: str
    source: str
    target: str
    over_marker: bool = False

    def overlaps(self, other: Intent) -> bool:
        """Whether they could concern the same keys."""
        return self.bucket == other.bucket and any(
            mine.startswith(theirs) or theirs.startswith(mine)
            for mine in (self.source, self.target)
            for theirs in (other.source, other.target)
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """A version of an object below the source; `suffix` is what follows the prefix.

    :param modified_seconds: its date, None where that was not written down. The same bytes
        stored again have the same ETag.
    """

    suffix: str
    etag: str
    modified_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class FoundRename:
    """What a list shows of a record."""

    key_prefix: str
    has_intent: bool
    pages: tuple[int, ...]
    written_seconds: float
    keys: tuple[str, ...]

    @property
    def claim_key(self) -> str:
        """What to write to take it up as it was found; whoever works on it makes that another."""
        return f"{self.key_prefix}{CLAIM}{self.written_seconds:.3f}"

    @property
    def claim_keys(self) -> tuple[str, ...]:
        """Those of earlier ones."""
        return tuple(key for key in self.keys if key.startswith(self.key_prefix + CLAIM))

    def is_left_alone(self, now_seconds: float) -> bool:
        return now_seconds - self.written_seconds > LEASE_SECONDS


def records_prefix(state_prefix: str) -> str:
    """Where the records are, in each bucket."""
    return f"{state_prefix}renames/"


def page_key(key_prefix: str, number: int) -> str:
    return f"{key_prefix}{PAGE}{number:05d}"


def find_records(state_prefix: str, objects: Iterable[ObjectInfo]) -> tuple[FoundRename, ...]:
    """The records that a list of all below `records_prefix` shows."""
    prefix = records_prefix(state_prefix)
    by_record: dict[str, list[ObjectInfo]] = {}
    for info in objects:
        record_id, slash, _ = info.name.key.removeprefix(prefix).partition("/")
        if slash:
            by_record.setdefault(f"{prefix}{record_id}/", []).append(info)
    return tuple(_found(key_prefix, infos) for key_prefix, infos in by_record.items())


def _found(key_prefix: str, infos: list[ObjectInfo]) -> FoundRename:
    names = {info.name.key.removeprefix(key_prefix): info for info in infos}
    pages = [name.removeprefix(PAGE) for name in names if name.startswith(PAGE)]
    claims = [names[name] for name in names if name.startswith(CLAIM)]
    written = [names[INTENT], *claims] if INTENT in names else infos
    return FoundRename(
        key_prefix,
        INTENT in names,
        tuple(sorted(int(number) for number in pages if number.isascii() and number.isdigit())),
        max(info.modified_seconds for info in written),
        tuple(info.name.key for info in infos),
    )


# Text.


def intent_text(intent: Intent) -> bytes:
    """JSON, as people would want to read it."""
    fields = {"version": 1, "source": intent.source, "target": intent.target}
    return _text(fields | {"over_marker": intent.over_marker})


def parse_intent(text: bytes, bucket: str) -> Intent:
    """:raises ValueError: this is no intent that we know."""
    fields = _fields(text)
    source, target = fields.get("source"), fields.get("target")
    are_prefixes = isinstance(source, str) and isinstance(target, str)
    if not are_prefixes or not source or not target or fields.get("version") != 1:
        raise ValueError("not an intent of version 1")
    return Intent(bucket, source, target, fields.get("over_marker") is True)


def page_text(entries: Iterable[Entry]) -> bytes:
    return _text({"objects": [_row(entry) for entry in entries]})


def parse_page(text: bytes) -> tuple[Entry, ...]:
    """:raises ValueError: this is no page."""
    rows = _fields(text).get("objects")
    if not isinstance(rows, list):
        raise ValueError("not a page")
    return tuple(_entry(row) for row in rows)


def _row(entry: Entry) -> list[str | float | None]:
    return [entry.suffix, entry.etag, entry.modified_seconds]


def _entry(row: Any) -> Entry:
    match row:
        case [str(suffix), str(etag), int() | float() as modified_seconds]:
            return Entry(suffix, etag, modified_seconds)
        case [str(suffix), str(etag), None]:
            return Entry(suffix, etag)
        case [str(suffix), str(etag)]:
            return Entry(suffix, etag)
    raise ValueError("not an entry")


def _text(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode()


def _fields(text: bytes) -> dict[str, Any]:
    fields = json.loads(text)
    if not isinstance(fields, dict):
        raise ValueError("not a JSON object")
    return fields


def names(intent: Intent, entry: Entry) -> tuple[ObjectName, ObjectName]:
    """Where an object is, and where it is to be."""
    return (
        ObjectName(intent.bucket, intent.source + entry.suffix),
        ObjectName(intent.bucket, intent.target + entry.suffix),
    )
