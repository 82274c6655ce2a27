"""The gateway's own records in the store: small objects of text, under the state prefix.

Knows: how they are read and written, and how large they may be.
Must not know: what they contain.
"""

from __future__ import annotations

from dataclasses import dataclass

from sftpgw.errors import ConditionalConflict, PreconditionFailed, StoreTrouble
from sftpgw.files.body_collector import BodyCollector
from sftpgw.model.store import ObjectInfo, ObjectName, ObjectProperties, ObjectStore, WriteCondition
from sftpgw.model.units import MIB

PROPERTIES = ObjectProperties(content_type="application/json", storage_class="STANDARD")
MAX_TEXT_BYTES = 4 * MIB
"""The gateway writes no larger records."""


@dataclass(frozen=True, slots=True)
class StateObject:
    """One version of a record.

    :param info: the object.
    :param data: its text.
    """

    info: ObjectInfo
    data: bytes


async def write_state_object(
    store: ObjectStore,
    name: ObjectName,
    text: bytes,
    condition: WriteCondition = WriteCondition.NONE,
) -> None:
    """Write a record.

    :param store: the store.
    :param name: the object.
    :param text: its text.
    :param condition: what must hold for the object.
    :raises PreconditionFailed, ConditionalConflict: the condition does not hold.
    :raises StoreError: the request failed.
    """
    await store.put(name, (text,), PROPERTIES, condition)


async def claim(store: ObjectStore, name: ObjectName, text: bytes = b"") -> bool:
    """Create a claim. Returns whether this caller was first.

    A store without If-None-Match tells every caller that it was.

    :param store: the store.
    :param name: the object of the claim.
    :param text: its text.
    :raises StoreError: the request failed.
    """
    try:
        await write_state_object(store, name, text, WriteCondition.IF_ABSENT)
    except (PreconditionFailed, ConditionalConflict):
        return False
    return True


async def read_state_object(store: ObjectStore, name: ObjectName) -> StateObject:
    """Read a record.

    :param store: the store.
    :param name: the object.
    :raises NoSuchObject: it does not exist.
    :raises StoreTrouble: it is too large to be a record.
    :raises StoreError: the request failed.
    """
    found = _RecordCollector(MAX_TEXT_BYTES)
    await store.get(name, None, found)
    if found.info is None or not found.is_complete:
        raise _too_large(name)
    return StateObject(found.info, b"".join(found.body))


class _RecordCollector(BodyCollector):
    """Ends the GET of an object that is too large, before its body: it may have gigabytes."""

    def began(self, info: ObjectInfo) -> None:
        super().began(info)
        if info.size_bytes > MAX_TEXT_BYTES:
            raise _too_large(info.name)


def _too_large(name: ObjectName) -> StoreTrouble:
    return StoreTrouble(f"{name.key} is not a record of the gateway: it is too large")
