"""Requests that are sent ahead, over SSH, to a gateway on a real store.

phpseclib removes folders so, and Ruby's net-sftp; here paramiko's channel carries packets that are
made by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import paramiko
import pytest

from sftpgw.testing.sftp_requests import encode_request
from sftpgw.wire import frames
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, OpenFlag, Status
from tests.interop.spawning import Account, Bucket, Gateway, connect

ROUNDS = 5
CREATE = OpenFlag.WRITE | OpenFlag.CREAT | OpenFlag.TRUNC
APPEND = OpenFlag.WRITE | OpenFlag.CREAT | OpenFlag.APPEND


class Pipeline:
    """Sends requests without waiting, and collects the answers."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._frames = frames.Frames()
        self._ids = count(1)
        channel.sendall(encode_request(wire.Init(3)))
        self._next()

    def send(self, *requests: bytes) -> list[tuple[Status | None, bytes]]:
        """Send all in one flight; of each answer its status, or else None and a handle."""
        ids = []
        flight = b""
        for request in requests:
            request_id = next(self._ids)
            ids.append(request_id)
            body = request[:1] + request_id.to_bytes(4, "big") + request[1:]
            flight += len(body).to_bytes(4, "big") + body
        self._channel.sendall(flight)
        found = dict(self._next() for _ in ids)
        return [found[each] for each in ids]

    def _next(self) -> tuple[int, tuple[Status | None, bytes]]:
        while (frame := self._frames.next()) is None:
            data = self._channel.recv(65536)
            assert data, "the channel was closed"
            self._frames.feed(data)
        head = bytes(frame.head)
        kind, request_id = Kind(head[0]), int.from_bytes(head[1:5], "big")
        if kind is Kind.STATUS:
            return request_id, (Status(int.from_bytes(head[5:9], "big")), b"")
        return request_id, (None, head[9:] if kind is Kind.HANDLE else b"")


def on_path(kind: Kind, *paths: bytes) -> bytes:
    attributes = bytes(4) if kind is Kind.MKDIR else b""
    return bytes([kind]) + b"".join(map(wire.string, paths)) + attributes


def opening(path: bytes, flags: int = CREATE) -> bytes:
    return bytes([Kind.OPEN]) + wire.string(path) + flags.to_bytes(4, "big") + bytes(4)


def writing(handle: bytes, data: bytes, offset: int = 0) -> bytes:
    at = offset.to_bytes(8, "big")
    return bytes([Kind.WRITE]) + wire.string(handle) + at + wire.string(data)


def closing(handle: bytes) -> bytes:
    return bytes([Kind.CLOSE]) + wire.string(handle)


@pytest.fixture
def pipeline(gateway: Gateway, account: Account) -> Iterator[Pipeline]:
    client = connect(gateway, username="alice", password=account.password)
    transport = client.get_transport()
    assert transport is not None
    channel = transport.open_session()
    channel.settimeout(60)
    channel.invoke_subsystem("sftp")
    yield Pipeline(channel)
    client.close()


def put(pipeline: Pipeline, path: bytes, data: bytes) -> None:
    ((status, handle),) = pipeline.send(opening(path))
    assert status is None
    assert pipeline.send(writing(handle, data), closing(handle)) == [(Status.OK, b"")] * 2


def statuses(answers: list[tuple[Status | None, bytes]]) -> set[Status | None]:
    return {status for status, _ in answers}


def test_a_folder_is_removed_behind_all_that_is_in_it(pipeline: Pipeline, bucket: Bucket) -> None:
    for _ in range(ROUNDS):
        names = [
            b"ahead-away/%s/%d" % (folder, each) for folder in (b"x", b"y") for each in range(8)
        ]
        opened = pipeline.send(
            on_path(Kind.MKDIR, b"ahead-away"),
            on_path(Kind.MKDIR, b"ahead-away/x"),
            on_path(Kind.MKDIR, b"ahead-away/y"),
            on_path(Kind.STAT, b"ahead-away/y"),
            *map(opening, names),
        )
        assert statuses(opened[:3]) == {Status.OK}
        assert statuses(opened[3:]) == {None}
        removed = pipeline.send(
            *(closing(handle) for _, handle in opened[4:]),
            *(on_path(Kind.REMOVE, name) for name in names),
            on_path(Kind.RMDIR, b"ahead-away/x"),
            on_path(Kind.RMDIR, b"ahead-away/y"),
            on_path(Kind.RMDIR, b"ahead-away"),
            on_path(Kind.STAT, b"ahead-away"),
        )
        assert statuses(removed[:-1]) == {Status.OK}
        assert statuses(removed[-1:]) == {Status.NO_SUCH_FILE}
        assert bucket.keys("alice/ahead-away") == []


def test_a_name_is_free_for_a_new_file(pipeline: Pipeline, bucket: Bucket) -> None:
    for each in range(ROUNDS):
        put(pipeline, b"ahead-a", b"old %d" % each)
        renamed, looked, opened = pipeline.send(
            on_path(Kind.RENAME, b"ahead-a", b"ahead-b"),
            on_path(Kind.STAT, b"ahead-b"),
            opening(b"ahead-a"),
        )
        assert [renamed[0], looked[0], opened[0]] == [Status.OK, None, None]
        pipeline.send(writing(opened[1], b"new %d" % each), closing(opened[1]))
        assert bucket.body("alice/ahead-a") == b"new %d" % each
        assert bucket.body("alice/ahead-b") == b"old %d" % each
        removed, opened = pipeline.send(on_path(Kind.REMOVE, b"ahead-b"), opening(b"ahead-b"))
        assert [removed[0], opened[0]] == [Status.OK, None]
        finished = pipeline.send(
            writing(opened[1], b"newer"),
            closing(opened[1]),
            on_path(Kind.RENAME, b"ahead-b", b"ahead-c"),
            on_path(Kind.STAT, b"ahead-c"),
        )
        assert statuses(finished) == {Status.OK, None}
        assert bucket.body("alice/ahead-c") == b"newer"
        removed, _ = pipeline.send(
            on_path(Kind.REMOVE, b"ahead-c"), on_path(Kind.REMOVE, b"ahead-a")
        )
        assert removed[0] is Status.OK


def test_a_file_is_appended_to_before_it_is_closed(pipeline: Pipeline, bucket: Bucket) -> None:
    """As sshfs does it: OPEN, and then CLOSE of the handle before."""
    ((_, handle),) = pipeline.send(opening(b"ahead-log", APPEND))
    lines = [b"line %d\n" % each for each in range(10)]
    for line in lines:
        pipeline.send(writing(handle, line))
        (status, following), (closed, _) = pipeline.send(
            opening(b"ahead-log", APPEND), closing(handle)
        )
        assert (status, closed) == (None, Status.OK)
        handle = following
    pipeline.send(closing(handle))
    assert bucket.body("alice/ahead-log") == b"".join(lines)
    bucket.remove("alice/ahead-log")
