"""The records of what is stored at a place: what they say, and their keys.

Knows: keys and texts. Must not know: requests, when they are written.

Rules

1. All records of a place lie below one prefix, so that one LIST finds them: ``count`` is the last
   count, ``nodes/ID`` what one process has changed since, ``claim`` that one counts now.
2. Each process writes only its own record of changes. So none overwrites what another one tells,
   on any store.
3. The claim is created under ``If-None-Match``, so that one process counts. The process that
   counts writes it again now and then: a claim is void when it has not been written for
   `CLAIM_SECONDS`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from sftpgw.files.quotas.plan.usage import Place, Usage
from sftpgw.model.numbers import MAX_SIZE_BYTES, is_time
from sftpgw.model.records import loaded
from sftpgw.model.store import ObjectName

VERSION = 1
"""Of the records; other versions are not read."""

CLAIM_SECONDS = 600.0
SILENT_SECONDS = 120.0
"""After which time without a word an active process is taken for dead."""

RENEW_SECONDS = 120.0
MAX_GENERATION = 64
NODES = "nodes/"


@dataclass(frozen=True, slots=True)
class CountRecord:
    """The last count of a place.

    :ivar generation: tells this count from all others.
    :ivar found: what it has found.
    :ivar began_seconds: when it began, seconds since 1970.
    :ivar ended_seconds: when it ended.
    """

    generation: str
    found: Usage
    began_seconds: float
    ended_seconds: float


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """What one process has changed.

    :ivar generation: the count since which it has.
    :ivar changed: how much more is stored.
    :ivar is_active: whether the process may have changed more since. One that is active writes its
        record again and again, so that an old record of this kind is that of a process that died.
    """

    generation: str
    changed: Usage
    is_active: bool = False


def quotas_prefix(state_prefix: str) -> str:
    """The prefix of all records of quotas, in each bucket.

    :param state_prefix: the prefix of the gateway's own keys.
    """
    return f"{state_prefix}quotas/"


def place_prefix(place: Place) -> str:
    """The prefix of the records of a place.

    :param place: the place.
    """
    text = place.prefix.encode("utf-8", "surrogateescape")
    return f"{quotas_prefix(place.state_prefix)}{hashlib.sha256(text).hexdigest()[:32]}/"


def count_name(place: Place) -> ObjectName:
    """The record of the last count.

    :param place: the place.
    """
    return ObjectName(place.bucket, place_prefix(place) + "count")


def claim_to_count(place: Place) -> ObjectName:
    """The claim of the process that counts.

    :param place: the place.
    """
    return ObjectName(place.bucket, place_prefix(place) + "claim")


def node_name(place: Place, node: str) -> ObjectName:
    """The record of what one process has changed.

    :param place: the place.
    :param node: the id of the process.
    """
    return ObjectName(place.bucket, f"{place_prefix(place)}{NODES}{node}")


# Texts.


def count_text(record: CountRecord, place: Place) -> bytes:
    """JSON, with the prefix for people who look at it.

    :param record: the count.
    :param place: the place.
    """
    fields = {
        "version": VERSION,
        "generation": record.generation,
        "bytes": record.found.size_bytes,
        "files": record.found.files,
        "began_seconds": record.began_seconds,
        "ended_seconds": record.ended_seconds,
        "prefix": place.prefix,
    }
    return json.dumps(fields).encode()


def parse_count(text: bytes) -> CountRecord:
    """The count that a text tells.

    :param text: the text of a record.
    :raises ValueError: it is no record of a known version.
    """
    match loaded(text):
        case {
            "version": 1,
            "generation": str(generation),
            "bytes": int(size_bytes),
            "files": int(files),
            "began_seconds": int() | float() as began_seconds,
            "ended_seconds": int() | float() as ended_seconds,
        } if (
            0 < len(generation) <= MAX_GENERATION
            and 0 <= size_bytes <= MAX_SIZE_BYTES
            and 0 <= files <= MAX_SIZE_BYTES
            and is_time(began_seconds)
            and is_time(ended_seconds)
            and began_seconds <= ended_seconds
        ):
            found = Usage(size_bytes, files)
            return CountRecord(
                generation, found, began_seconds=began_seconds, ended_seconds=ended_seconds
            )
    raise ValueError(f"not a count of version {VERSION}")


def node_text(record: NodeRecord) -> bytes:
    """JSON, as people would want to read it.

    :param record: what the process has changed.
    """
    fields = {
        "version": VERSION,
        "generation": record.generation,
        "bytes": record.changed.size_bytes,
        "files": record.changed.files,
        "active": record.is_active,
    }
    return json.dumps(fields).encode()


def parse_node(text: bytes) -> NodeRecord:
    """What a process has changed, as a text tells it.

    :param text: the text of a record.
    :raises ValueError: it is no record of a known version.
    """
    match loaded(text):
        case {
            "version": 1,
            "generation": str(generation),
            "bytes": int(size_bytes),
            "files": int(files),
            "active": bool(is_active),
        } if (
            len(generation) <= MAX_GENERATION
            and abs(size_bytes) <= MAX_SIZE_BYTES
            and abs(files) <= MAX_SIZE_BYTES
        ):
            return NodeRecord(generation, Usage(size_bytes, files), is_active)
    raise ValueError(f"not a record of version {VERSION}")
