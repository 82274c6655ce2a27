"""The gateway's own records in the store: small objects of text, under the state prefix.

Knows: how they are read and written, and how large they may be.
Must not know: what they contain.
"""

from __future__ import annotations

from dataclasses import dataclass

from sftpgw.errors import ConditionalConflict, PreconditionFailed, StoreTrouble
from sftpgw.files.body_collector import BodyCollector
from sftpgw.files.memory.held_memory import HeldMemory
from sftpgw.model.store import ObjectInfo, ObjectName, ObjectProperties, ObjectStore, WriteCondition
from sftpgw.model.units import MIB

PROPERTIES = ObjectProperties(content_type="application/json", storage_class="STANDARD")
MAX_TEXT_BYTES = 4 * MIB
"""The gateway writes no larger records."""

HELD_PER_BYTE = 8
"""What a record takes in memory while it is parsed: 7.8 bytes for each byte of 10,000 parts."""


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


async def read_state_object(
    store: ObjectStore, name: ObjectName, memory: HeldMemory | None = None
) -> StateObject:
    """Read a record.

    :param store: the store.
    :param name: the object.
    :param memory: what the record counts in, `HELD_PER_BYTE` for each byte of it, as soon as its
        size is known; the caller closes it. None to count nothing.
    :raises NoSuchObject: it does not exist.
    :raises StoreTrouble: it is too large to be a record.
    :raises LimitReached: there is no memory for it, for a minute.
    :raises StoreError: the request failed.
    """
    while True:
        found = _RecordCollector(memory)
        try:
            await store.get(name, None, found)
        except StoreTrouble:
            if memory is None or not found.lacking_bytes:
                raise
            await memory.reserve(found.lacking_bytes)
            continue
        if found.info is None or not found.is_complete:
            raise _too_large(name)
        return StateObject(found.info, b"".join(found.body))


class _RecordCollector(BodyCollector):
    """Ends the GET of an object before its body: it is too large, or there is no memory for it.

    :param memory: what the record counts in.
    :ivar lacking_bytes: for how much there was no memory.
    """

    lacking_bytes = 0

    def __init__(self, memory: HeldMemory | None) -> None:
        super().__init__(MAX_TEXT_BYTES)
        self._memory = memory

    def began(self, info: ObjectInfo) -> None:
        super().began(info)
        if info.size_bytes > MAX_TEXT_BYTES:
            raise _too_large(info.name)
        if self._memory is not None:
            self._reserve(self._memory, info)

    def _reserve(self, memory: HeldMemory, info: ObjectInfo) -> None:
        more_bytes = HELD_PER_BYTE * info.size_bytes - memory.held_bytes
        if more_bytes > 0 and not memory.try_reserve(more_bytes):
            self.lacking_bytes = more_bytes
            raise StoreTrouble(f"there is no memory for {info.name.key}")


def _too_large(name: ObjectName) -> StoreTrouble:
    return StoreTrouble(f"{name.key} is not a record of the gateway: it is too large")
