"""The gateway's own records in the store: small objects of text.

Knows: how they are read and written, and how large they may be.
Must not know: what they say.
"""

from __future__ import annotations

from dataclasses import dataclass

from sftpgw.errors import ConditionalConflict, PreconditionFailed, StoreTrouble
from sftpgw.files.body_collector import BodyCollector
from sftpgw.model.store import ObjectInfo, ObjectName, ObjectProperties, ObjectStore, WriteCondition
from sftpgw.model.units import MIB

PROPERTIES = ObjectProperties(content_type="application/json", storage_class="STANDARD")
MAX_TEXT_BYTES = 4 * MIB
"""What is larger is none of ours."""


@dataclass(frozen=True, slots=True)
class StateObject:
    """One version of a record."""

    info: ObjectInfo
    data: bytes


async def write_state_object(
    store: ObjectStore,
    name: ObjectName,
    text: bytes,
    condition: WriteCondition = WriteCondition.NONE,
) -> None:
    """:raises PreconditionFailed, ConditionalConflict: it exists."""
    await store.put(name, (text,), PROPERTIES, condition)


async def claim(store: ObjectStore, name: ObjectName, text: bytes = b"") -> bool:
    """Create a record that stands for a claim; False if it exists: another one was first.

    A store that knows no conditions says yes to all.
    """
    try:
        await write_state_object(store, name, text, WriteCondition.IF_ABSENT)
    except (PreconditionFailed, ConditionalConflict):
        return False
    return True


async def read_state_object(store: ObjectStore, name: ObjectName) -> StateObject:
    """:raises NoSuchObject:
    :raises StoreTrouble: it is too large to be a record.
    """
    found = BodyCollector(MAX_TEXT_BYTES)
    await store.get(name, None, found)
    if found.info is None or not found.is_complete:
        raise StoreTrouble(f"{name.key} is no record of the gateway's: it is too large")
    return StateObject(found.info, b"".join(found.body))
