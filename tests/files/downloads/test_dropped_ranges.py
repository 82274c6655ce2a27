"""Bytes of downloads that are dropped leave the memory with the budget that counted them."""

from __future__ import annotations

import tracemalloc

from sftpgw.model.store import BodySink, ByteRange, ObjectName
from sftpgw.model.units import KIB, MIB
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_sessions import GatewayInMemory


class HoldingStore(FakeStore):
    """Holds what takes bodies, as a connection does until it is collected."""

    def __init__(self) -> None:
        super().__init__(min_part_bytes=1)
        self.sinks: list[BodySink] = []

    async def get(
        self,
        name: ObjectName,
        wanted: ByteRange | None,
        sink: BodySink,
        *,
        if_match: str | None = None,
    ) -> None:
        self.sinks.append(sink)
        await super().get(name, wanted, sink, if_match=if_match)


def test_what_a_request_holds_that_was_given_up_is_small() -> None:
    store = HoldingStore()
    gateway = GatewayInMemory(store)
    store.seed("home/alice/large", bytes(8 * MIB))
    client = gateway.log_in()
    tracemalloc.start()
    try:
        for _ in range(8):
            client.close(client.open(b"/large"))
        held_bytes, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert gateway.budget.held_bytes == 0
    assert len(store.sinks) >= 8
    assert peak_bytes > 256 * KIB
    assert held_bytes < 1 * MIB
