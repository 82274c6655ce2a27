"""A gateway in memory whose store, CPU time, memory and log are metered, and its one client.

Knows: where the gateway's work begins and ends. Must not know: what the client sends.

The client and the store run in the same process. What they take is not counted, but for the
parsing of lists: the store answers with XML, as S3 does.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from urllib.parse import quote

from twisted.internet.task import Clock, deferLater

from sftpgw.model.limits import MAX_LISTED_KEYS
from sftpgw.model.store import BodySink, ListPage, ObjectInfo
from sftpgw.telemetry.logs import format_line
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_requests import encode_request
from sftpgw.testing.sftp_sessions import GatewayInMemory, SftpClient
from sftpgw.testing.ssh_pairs import AvatarParts, ClientPair, LoggedInPair
from sftpgw.testing.store_faults import Gate
from sftpgw.wire import sftp as wire
from sftpgw.wire.s3xml import parse_object_list

HOME = "home/alice/"
LISTED_FILES = 1000
MANY = b"/many"
"""A directory of `LISTED_FILES` files."""
FILE = b"/file"
"""A file of `FILE_BYTES`."""
BIG = b"/big"
"""A file of `BIG_BYTES`."""
TREE = b"/tree/%d"
"""Directories of one file each."""
FILE_BYTES = 4096
BIG_BYTES = 4 * 1024 * 1024
TREES = 256

LINE_HEAD_BYTES = len("2026-01-01T00:00:00+0000 [sftpgw.gateway#info] \n")
"""What twistd writes with each line of the log."""

OPERATIONS = (
    "head_bucket",
    "head",
    "get",
    "put",
    "delete",
    "copy",
    "tags",
    "list",
    "create_upload",
    "upload_part",
    "copy_part",
    "complete_upload",
    "abort_upload",
    "list_uploads",
)

_COUNTED_LINES = (
    tracemalloc.Filter(True, "*/sftpgw/*"),
    tracemalloc.Filter(True, "*/twisted/internet/*"),
    tracemalloc.Filter(False, "*/sftpgw/testing/*"),
    tracemalloc.Filter(False, "*/bench/*"),
)


class Stopwatch:
    """Adds up CPU time.

    :ivar seconds: the time that was counted so far.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._is_running = False

    def during(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same function; its time counts."""
        return self._timed(work, runs=True)

    def without(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same function; its time does not count, wherever it is called."""
        return self._timed(work, runs=False)

    def _timed(self, work: Callable[..., Any], *, runs: bool) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            if self._is_running is runs:
                return work(*arguments)
            began = time.thread_time()
            self._is_running = runs
            try:
                return work(*arguments)
            finally:
                self._is_running = not runs
                spent_seconds = time.thread_time() - began
                self.seconds += spent_seconds if runs else -spent_seconds

        return timed


class MeteredStore(FakeStore):
    """S3 in memory that counts the bytes that it sends. Lists come as XML.

    It answers in the next turn of the reactor, so that requests overlap.

    :param watch: times the gateway; the work of a store does not count.
    :param clock: makes the turns.
    :ivar sent_bytes: the bytes of bodies and lists so far.
    """

    def __init__(self, watch: Stopwatch, clock: Clock) -> None:
        super().__init__(min_part_bytes=1)
        self.sent_bytes = 0
        self._clock = clock
        self._memory.rows = watch.without(self._memory.rows)  # type: ignore[method-assign]
        self._document = watch.without(_document)

    async def list(
        self,
        bucket: str,
        prefix: str,
        *,
        delimiter: str = "",
        token: str | None = None,
        limit: int = MAX_LISTED_KEYS,
    ) -> ListPage:
        page = await super().list(bucket, prefix, delimiter=delimiter, token=token, limit=limit)
        document = self._document(page)
        self.sent_bytes += len(document)
        return parse_object_list(document, bucket)

    async def _enter(self, operation: str, bucket: str) -> None:
        await super()._enter(operation, bucket)
        await deferLater(self._clock, 0, lambda: None)

    async def _deliver(self, data: bytes, sink: BodySink) -> None:
        self.sent_bytes += len(data)
        await super()._deliver(data, sink)


def _document(page: ListPage) -> bytes:
    """A page as S3 sends it."""
    rows = [_row(info) for info in page.objects]
    rows += [
        f"<CommonPrefixes><Prefix>{quote(each)}</Prefix></CommonPrefixes>" for each in page.prefixes
    ]
    token = page.next_token
    more = f"<NextContinuationToken>{quote(token)}</NextContinuationToken>" if token else ""
    truncated = str(token is not None).lower()
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<EncodingType>url</EncodingType><IsTruncated>{truncated}</IsTruncated>"
        f"{more}{''.join(rows)}</ListBucketResult>"
    ).encode()


def _row(info: ObjectInfo) -> str:
    modified = datetime.fromtimestamp(info.modified_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return (
        f"<Contents><Key>{quote(info.name.key)}</Key><LastModified>{modified}</LastModified>"
        f"<ETag>{info.etag.replace(chr(34), '&quot;')}</ETag><Size>{info.size_bytes}</Size>"
        f"<StorageClass>{info.storage_class}</StorageClass></Contents>"
    )


@dataclass(frozen=True, slots=True)
class Spent:
    """What the gateway has spent on a client's bytes.

    :param client_bytes: what the client has sent, encrypted, as the socket had it.
    :param requests: the requests that the store has had.
    :param store_bytes: the bytes of bodies and lists that the store has sent.
    :param cpu_seconds: the CPU time of the gateway.
    :param log_bytes: the bytes of the log.
    """

    client_bytes: int
    requests: int
    store_bytes: int
    cpu_seconds: float
    log_bytes: int


class Stage:
    """A gateway, a filled store, and one client that has logged in as alice.

    :ivar pair: the client's connection.
    """

    def __init__(self) -> None:
        self._watch = Stopwatch()
        self._client_bytes = 0
        self.gateway = GatewayInMemory()
        self.store = MeteredStore(self._watch, self.gateway.clock)
        self.gateway.store = self.store
        _fill(self.store)
        self.gateway.clock.advance = self._watch.during(  # type: ignore[method-assign]
            self.gateway.clock.advance
        )
        self.pair = self._log_in()
        self._events = (self.gateway.events, self.pair.events)

    def _log_in(self) -> LoggedInPair:
        session = self.gateway.session()
        pair = LoggedInPair(
            {b"sftp": session.sftp},
            self.gateway.ssh,
            clock=self.gateway.clock,
            parts=AvatarParts(
                commands=session.command,
                output_memory=session.context.budget,
                totals=session.traffic.facts,
            ),
        )
        self._meter(pair.server)
        pair.server_io.take = self._watch.during(pair.server_io.take)  # type: ignore[method-assign]
        build = pair.factory.buildProtocol

        def build_metered(address: Any) -> Any:
            return self._meter(build(address))

        pair.factory.buildProtocol = build_metered  # type: ignore[method-assign,assignment]
        return pair

    def _meter(self, server: Any) -> Any:
        take = self._watch.during(server.dataReceived)

        def data_received(data: bytes) -> None:
            self._client_bytes += len(data)
            take(data)

        server.dataReceived = data_received
        return server

    def connect(self) -> ClientPair:
        """One more connection, after the key exchange."""
        return ClientPair(self.pair.factory, self.gateway.clock)

    @cached_property
    def client(self) -> SftpClient:
        """An SFTP channel of the connection, after INIT."""
        client = SftpClient(self.pair)
        client.transmit(encode_request(wire.Init(wire.VERSION)))
        del client.replies[wire.VERSION]
        return client

    @property
    def spent(self) -> Spent:
        """What was spent so far."""
        return Spent(
            self._client_bytes,
            sum(self.store.requests.values()),
            self.store.sent_bytes,
            self._watch.seconds,
            sum(_line_bytes(*each) for events in self._events for each in events.told),
        )

    @contextmanager
    def silent_store(self) -> Iterator[None]:
        """Meanwhile the store answers nothing; all that waits for it is answered at the end."""
        gates: list[Gate] = [self.store.hold(operation) for operation in OPERATIONS]
        yield
        for gate in gates:
            gate.open()
        self.settle()

    def settle(self, pair: ClientPair | None = None) -> None:
        """Go on until nothing moves any more, and read the replies.

        :param pair: the connection; None: the one of `pair`.
        """
        pair = pair or self.pair
        pair.pump()
        while any(call.getTime() <= pair.clock.seconds() for call in pair.clock.getDelayedCalls()):
            pair.pump()
        if pair is self.pair and "client" in self.__dict__:
            self.client.pump()


def held_bytes() -> int:
    """What lines of the gateway have allocated since `tracemalloc.start` and still hold."""
    snapshot = tracemalloc.take_snapshot().filter_traces(_COUNTED_LINES)
    return sum(trace.size for trace in snapshot.traces)


def _line_bytes(event: str, facts: Mapping[str, object]) -> int:
    return LINE_HEAD_BYTES + len(format_line(event, facts).encode())


def _fill(store: FakeStore) -> None:
    store.now_seconds -= 86400  # mtimes of objects that are stored just now are not remembered
    store.seed(HOME + "file", b"~" * FILE_BYTES)
    store.seed(HOME + "big", b"~" * BIG_BYTES)
    for number in range(LISTED_FILES):
        store.seed(f"{HOME}many/{number:05}.txt")
    for number in range(TREES):
        store.seed(f"{HOME}tree/{number}/file")
