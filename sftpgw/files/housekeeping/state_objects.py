"""The gateway's own records in the store: small objects of text.

Knows: how they are read and written, and how large they may be.
Must not know: what they say.
"""

from __future__ import annotations

from dataclasses import dataclass

from sftpgw.errors import StoreTrouble
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


async def read_state_object(store: ObjectStore, name: ObjectName) -> StateObject:
    """:raises NoSuchObject:
    :raises StoreTrouble: it is too large to be a record.
    """
    sink = _Sink()
    await store.get(name, None, sink)
    if sink.info is None or sink.info.size_bytes > MAX_TEXT_BYTES:
        raise StoreTrouble(f"{name.key} is no record of the gateway's: it is too large")
    return StateObject(sink.info, b"".join(sink.pieces))


class _Sink:
    """A `BodySink` for small objects."""

    def __init__(self) -> None:
        self.info: ObjectInfo | None = None
        self.pieces: list[bytes] = []

    def began(self, info: ObjectInfo) -> None:
        self.info = info

    def received(self, data: bytes) -> None:
        if self.info is not None and self.info.size_bytes <= MAX_TEXT_BYTES:
            self.pieces.append(data)
