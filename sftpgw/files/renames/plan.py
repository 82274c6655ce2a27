"""The journal of a directory rename: which objects it consists of, and what they contain.

Knows: keys and texts of a journal, when its lease has expired, which renames exclude each other.
Must not know: requests, users, paths.

Rules

1. Each directory rename has a journal: a few objects below ``renames/ID/`` of the state prefix.
   `intent` is written first, with the old and the new prefix. `page-N` lists a page of objects
   with their versions, before the first of them is copied. `outcome` is written at most once, under
   If-None-Match, and is final. *Moved*: every version in the pages is then deleted under its old
   key. *Abandoned*: every copy of one is then deleted under its new key.
2. Nothing is deleted before there is an outcome, so an interrupted rename leaves its source whole.
   After the outcome, each step may be repeated, by any process, and by several at once.
3. A journal is removed in this order: pages, claims, intent, outcome. A process that abandons the
   rename of another process deletes only the intent. The other process may be slow, not dead; from
   the outcome, which stays as a tombstone, it learns that its rename is abandoned. A journal
   without an intent is deleted after a week.
4. Writing the intent again renews the lease of a journal. If that has not happened for
   `LEASE_SECONDS`, another process may take the rename over. It first creates a claim under
   If-None-Match; the claim's key contains the time of the last renewal, so that only one process
   gets it. If several took over the same rename, a slow one could delete the copies of a later
   rename of the same directory.
5. For the same reason, a process whose rename was abandoned by another one first writes its own
   intent again and looks for other journals. It deletes copies only if no other intent overlaps.
6. The ID of a journal tells which trees its rename is about: it ends with short digests of the
   directories on the way to the source and to the target. So a rename reads only the intents that
   may overlap with its own, however many other renames there are. Older gateways write IDs
   without digests; these may be about anything. They take any ID.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sftpgw.model.numbers import is_time
from sftpgw.model.records import loaded, require_storable
from sftpgw.model.store import ObjectInfo, ObjectName

LEASE_SECONDS = 120.0
BEAT_SECONDS = 30.0
"""How often the lease is renewed."""

INTENT, OUTCOME, PAGE, CLAIM = "intent", "outcome", "page-", "claim-"
"""The names of a journal's objects; those of pages and claims go on."""


DIGESTED_DIRECTORIES = 8
"""How many directories of a prefix, the outermost first, have a digest in a journal's ID."""

DIGEST_DIGITS = 4
_ID_WITH_DIGESTS = re.compile(r"[0-9a-f]+-((?:[0-9a-f]{4})+)-((?:[0-9a-f]{4})+)")
_ID_WITHOUT_DIGESTS = re.compile(r"[0-9a-f]{24}")


class Outcome(enum.Enum):
    """How a rename ends; the values are the texts of the object."""

    MOVED = "moved"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class Intent:
    """All keys with the prefix `source` shall get the prefix `target`.

    :param bucket: the bucket of both.
    :param source: the old prefix; it ends with a slash.
    :param target: the new prefix; it ends with a slash.
    :param over_marker: whether the target had a marker before; an abandoned rename leaves one.
    """

    bucket: str
    source: str
    target: str
    over_marker: bool = False

    def overlaps(self, other: Intent) -> bool:
        """Whether both renames may touch the same keys: then they exclude each other."""
        return self.bucket == other.bucket and any(
            mine.startswith(theirs) or theirs.startswith(mine)
            for mine in (self.source, self.target)
            for theirs in (other.source, other.target)
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """One version of an object in the source, in a page of the journal.

    :param suffix: its key without the source prefix.
    :param etag: its ETag.
    :param modified_seconds: its Last-Modified, None where the page does not tell. The same bytes
        stored again have the same ETag and another date.
    """

    suffix: str
    etag: str
    modified_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class FoundJournal:
    """A journal as a list shows it.

    :param key_prefix: the prefix of its objects.
    :param has_intent: whether it has an intent; without one, its rename has ended.
    :param pages: the numbers of its pages, ascending.
    :param renewed_seconds: when its lease was renewed last.
    :param keys: the keys of all its objects.
    """

    key_prefix: str
    has_intent: bool
    pages: tuple[int, ...]
    renewed_seconds: float
    keys: tuple[str, ...]

    @property
    def has_outcome(self) -> bool:
        """Whether it is decided how the rename ends."""
        return self.key_prefix + OUTCOME in self.keys

    @property
    def claim_key(self) -> str:
        """The claim that takes this journal over; each renewal changes it."""
        return f"{self.key_prefix}{CLAIM}{self.renewed_seconds:.3f}"

    @property
    def claim_keys(self) -> tuple[str, ...]:
        """The claims that earlier processes have created."""
        return tuple(key for key in self.keys if key.startswith(self.key_prefix + CLAIM))

    def is_expired(self, now_seconds: float) -> bool:
        """Whether the lease has expired, so that any process may take the rename over."""
        return now_seconds - self.renewed_seconds > LEASE_SECONDS


def journals_prefix(state_prefix: str) -> str:
    """The prefix of all journals in a bucket."""
    return f"{state_prefix}renames/"


def journal_id(unique: str, intent: Intent) -> str:
    """The ID of a new journal.

    :param unique: hexadecimal digits that no other journal has.
    :param intent: its intent; `over_marker` does not matter.
    """
    return f"{unique}-{_digests(intent.source)}-{_digests(intent.target)}"


def may_overlap(journal_prefix: str, intent: Intent) -> bool:
    """Whether the rename of a journal may overlap with `intent`, as far as the journal's ID tells.

    :param journal_prefix: the prefix of the journal's objects.
    :param intent: the other rename, in the same bucket.
    """
    found = _ID_WITH_DIGESTS.fullmatch(_id_of(journal_prefix))
    if found is None:
        return is_of_older_gateway(journal_prefix)
    return any(
        mine.startswith(theirs) or theirs.startswith(mine)
        for mine in (_digests(intent.source), _digests(intent.target))
        for theirs in found.groups()
    )


def is_of_older_gateway(journal_prefix: str) -> bool:
    """Whether a journal has an ID without digests, so that its rename may be about anything.

    :param journal_prefix: the prefix of the journal's objects.
    """
    return _ID_WITHOUT_DIGESTS.fullmatch(_id_of(journal_prefix)) is not None


def _id_of(journal_prefix: str) -> str:
    return journal_prefix.rstrip("/").rpartition("/")[2]


def _digests(prefix: str) -> str:
    """A digest for each directory of a prefix. Prefixes that overlap have digests that do."""
    ends = [end for end, character in enumerate(prefix, 1) if character == "/"]
    directories = [prefix[:end] for end in ends[:DIGESTED_DIRECTORIES]]
    return "".join(sha256(each.encode()).hexdigest()[:DIGEST_DIGITS] for each in directories)


def page_key(key_prefix: str, number: int) -> str:
    """The key of a page; pages are numbered from 1."""
    return f"{key_prefix}{PAGE}{number:05d}"


def find_journals(state_prefix: str, objects: Iterable[ObjectInfo]) -> tuple[FoundJournal, ...]:
    """The journals that a list of `journals_prefix` shows.

    :param state_prefix: the state prefix.
    :param objects: all objects of the list.
    """
    prefix = journals_prefix(state_prefix)
    by_journal: dict[str, list[ObjectInfo]] = {}
    for info in objects:
        journal_id, slash, _ = info.name.key.removeprefix(prefix).partition("/")
        if slash:
            by_journal.setdefault(f"{prefix}{journal_id}/", []).append(info)
    return tuple(_found(key_prefix, infos) for key_prefix, infos in by_journal.items())


def _found(key_prefix: str, infos: list[ObjectInfo]) -> FoundJournal:
    by_name = {info.name.key.removeprefix(key_prefix): info for info in infos}
    pages = [name.removeprefix(PAGE) for name in by_name if name.startswith(PAGE)]
    claims = [by_name[name] for name in by_name if name.startswith(CLAIM)]
    renewals = [by_name[INTENT], *claims] if INTENT in by_name else infos
    return FoundJournal(
        key_prefix,
        INTENT in by_name,
        tuple(sorted(int(number) for number in pages if number.isascii() and number.isdigit())),
        max(info.modified_seconds for info in renewals),
        tuple(info.name.key for info in infos),
    )


def source_and_target(intent: Intent, entry: Entry) -> tuple[ObjectName, ObjectName]:
    """The object of an entry and its copy."""
    return (
        ObjectName(intent.bucket, intent.source + entry.suffix),
        ObjectName(intent.bucket, intent.target + entry.suffix),
    )


# Texts.


def intent_text(intent: Intent) -> bytes:
    """The JSON of an intent, readable for people."""
    fields = {"version": 1, "source": intent.source, "target": intent.target}
    return _text(fields | {"over_marker": intent.over_marker})


def parse_intent(text: bytes, bucket: str) -> Intent:
    """Read an intent.

    :param text: its JSON.
    :param bucket: the bucket that the journal is in.
    :raises ValueError: it is no intent of a version that this gateway knows.
    """
    fields = _fields(text)
    source, target = fields.get("source"), fields.get("target")
    are_prefixes = isinstance(source, str) and isinstance(target, str)
    if not are_prefixes or not source or not target or fields.get("version") != 1:
        raise ValueError("not an intent of version 1")
    require_storable((source, target))
    return Intent(bucket, source, target, fields.get("over_marker") is True)


def page_text(entries: Iterable[Entry]) -> bytes:
    """The JSON of a page."""
    return _text({"objects": [_row(entry) for entry in entries]})


def parse_page(text: bytes) -> tuple[Entry, ...]:
    """Read a page.

    :raises ValueError: it is no page.
    """
    rows = _fields(text).get("objects")
    if not isinstance(rows, list):
        raise ValueError("not a page")
    entries = tuple(_entry(row) for row in rows)
    require_storable(word for entry in entries for word in (entry.suffix, entry.etag))
    return entries


def _row(entry: Entry) -> list[str | float | None]:
    return [entry.suffix, entry.etag, entry.modified_seconds]


def _entry(row: Any) -> Entry:
    match row:
        case [str(suffix), str(etag), int() | float() as modified_seconds] if is_time(
            modified_seconds
        ):
            return Entry(suffix, etag, modified_seconds)
        case [str(suffix), str(etag), None]:
            return Entry(suffix, etag)
        case [str(suffix), str(etag)]:
            return Entry(suffix, etag)
    raise ValueError("not an entry")


def _text(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode()


def _fields(text: bytes) -> dict[str, Any]:
    fields = loaded(text)
    if not isinstance(fields, dict):
        raise ValueError("not a JSON object")
    return fields
