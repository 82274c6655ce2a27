"""Clients that put, get, overwrite, rename, remove and list at random, all at once.

Knows: what each file may contain, from what the gateway has answered.
Must not know: what happens between gateway and store.

Rules of the model: a CLOSE that was confirmed stores exactly what was written; one that
failed changes nothing; what was not answered before the connection was lost may have
happened or not. A rename that failed may have copied already.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

from sftpgw.files.listing.listing import LIST_BYTES
from sftpgw.model.settings import LimitSettings, StoreSettings
from sftpgw.model.units import KIB
from sftpgw.testing.sftp_sessions import CREATE, GatewayInMemory, SftpClient, SftpReply
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, OpenFlag, Status
from tests.soak.storms import StormyStore

MEMORY_BYTES = 96 * KIB
LONGEST_BYTES = 60_000
STEP_BYTES = 2000
AHEAD = 6
PATIENCE_SECONDS = 3600.0

Asking = Generator[int, SftpReply, None]
"""Yields the id of the request whose reply it waits for."""

Content = bytes | None


@dataclass
class Model:
    """What each path may contain now; None is "no file"."""

    files: dict[bytes, set[Content]] = field(default_factory=dict)

    def of(self, path: bytes) -> set[Content]:
        return self.files.setdefault(path, {None})


class Actor:
    """One stream of requests on a session; its paths are its own."""

    def __init__(self, client: SftpClient, name: bytes, dice: random.Random, model: Model) -> None:
        self._client = client
        self._name = name
        self._dice = dice
        self._model = model
        self._paths = [b"/" + name + b"-%d" % number for number in range(3)]
        self._work = self._for_ever()
        self._waits_for = next(self._work)
        self.done = 0

    def step(self) -> bool:
        """Go on if the reply has come; whether it had."""
        reply = self._client.replies.pop(self._waits_for, None)
        if reply is None:
            return False
        self._waits_for = self._work.send(reply)
        return True

    def stop(self) -> None:
        self._work.close()

    def _for_ever(self) -> Asking:
        while True:
            act = self._dice.choice(
                [self._put, self._put, self._get, self._get, self._remove, self._rename, self._list]
            )
            yield from act()
            self.done += 1

    def _put(self) -> Asking:
        yield from self._put_to(self._dice.choice(self._paths))

    def _put_to(self, path: bytes) -> Asking:
        size = self._dice.choice([0, 10, 5000, self._dice.randrange(LONGEST_BYTES)])
        data = self._dice.randbytes(size)
        opened = yield self._client.send(wire.Open(0, path, CREATE, {}))
        if opened.kind is not Kind.HANDLE:
            return
        offsets = list(range(0, size, STEP_BYTES))
        if self._dice.random() < 0.3:
            for at in range(0, len(offsets) - 1, 2):
                offsets[at], offsets[at + 1] = offsets[at + 1], offsets[at]
        writes = (wire.Write(0, opened.body, at, (data[at : at + STEP_BYTES],)) for at in offsets)
        failed = yield from self._all(writes)
        before = self._model.files[path] = self._model.of(path)
        self._model.files[path] = before | {data}
        closed = yield self._client.send(wire.OnHandle(Kind.CLOSE, 0, opened.body))
        stored = closed.code is Status.OK
        assert not (stored and failed), f"{path!r}: CLOSE confirmed what a WRITE had failed"
        self._model.files[path] = {data} if stored else before

    def _all(self, requests: Iterator[wire.Request]) -> Generator[int, SftpReply, bool]:
        """Send several ahead; whether one of them failed."""
        waiting: list[int] = []
        failed = False
        for request in requests:
            waiting.append(self._client.send(request))
            if len(waiting) > AHEAD:
                failed |= (yield waiting.pop(0)).code is not Status.OK
        for request_id in waiting:
            failed |= (yield request_id).code is not Status.OK
        return failed

    def _get(self) -> Asking:
        path = self._dice.choice(self._paths)
        allowed = self._model.of(path)
        opened = yield self._client.send(wire.Open(0, path, OpenFlag.READ, {}))
        if opened.kind is not Kind.HANDLE:
            if opened.code is Status.NO_SUCH_FILE:
                assert None in allowed, f"{path!r} is missing"
            return
        if self._dice.random() < 0.2:
            yield from self._read_here_and_there(opened.body, allowed)
        else:
            yield from self._read_all(path, opened.body, allowed)
        yield self._client.send(wire.OnHandle(Kind.CLOSE, 0, opened.body))

    def _read_all(self, path: bytes, handle: bytes, allowed: set[Content]) -> Asking:
        data, at = b"", 0
        waiting: list[int] = []
        replaced_at = self._dice.choice([None, STEP_BYTES, 3 * STEP_BYTES])
        while True:
            if replaced_at == len(data):
                yield from self._put_to(path)
                replaced_at = None
            while len(waiting) < AHEAD:
                waiting.append(self._client.send(wire.Read(0, handle, at, STEP_BYTES)))
                at += STEP_BYTES
            reply = yield waiting.pop(0)
            if reply.kind is not Kind.DATA:
                break
            data += reply.body
        for request_id in waiting:
            _ = yield request_id
        if reply.code is Status.EOF:
            assert data in allowed, f"{path!r}: {len(data)} bytes that no client has stored"

    def _read_here_and_there(self, handle: bytes, allowed: set[Content]) -> Asking:
        for _ in range(self._dice.randrange(20)):
            at, size = self._dice.randrange(LONGEST_BYTES), self._dice.randrange(1, STEP_BYTES)
            reply = yield self._client.send(wire.Read(0, handle, at, size))
            if reply.kind is Kind.DATA:
                pieces = {content[at : at + size] for content in allowed if content is not None}
                assert reply.body in pieces, "bytes from elsewhere"

    def _remove(self) -> Asking:
        path = self._dice.choice(self._paths)
        before = self._model.of(path)
        self._model.files[path] = before | {None}
        reply = yield self._client.send(wire.OnPath(Kind.REMOVE, 0, path))
        if reply.code is Status.OK:
            self._model.files[path] = {None}
        elif reply.code is Status.NO_SUCH_FILE:
            assert None in before, f"{path!r} is missing"
            self._model.files[path] = {None}
        else:
            self._model.files[path] = before

    def _rename(self) -> Asking:
        old, new = self._dice.sample(self._paths, 2)
        source, target = self._model.of(old), self._model.of(new)
        moved = source - {None}
        self._model.files[old], self._model.files[new] = source | {None}, target | moved
        names = wire.string(old) + wire.string(new)
        reply = yield self._client.send(wire.Extended(0, b"posix-rename@openssh.com", names))
        if reply.code is Status.OK:
            self._model.files[old], self._model.files[new] = {None}, moved

    def _list(self) -> Asking:
        opened = yield self._client.send(wire.OnPath(Kind.OPENDIR, 0, b"/"))
        if opened.kind is not Kind.HANDLE:
            return
        names: set[bytes] = set()
        expected = {path[1:] for path in self._paths if None not in self._model.of(path)}
        while True:
            reply = yield self._client.send(wire.OnHandle(Kind.READDIR, 0, opened.body))
            if reply.kind is not Kind.NAME:
                break
            names |= {name for name, _ in reply.names}
        if reply.code is Status.EOF:
            assert expected <= names, f"not listed: {expected - names}"
        yield self._client.send(wire.OnHandle(Kind.CLOSE, 0, opened.body))


class Soak:
    """A gateway on a stormy store, and its sessions; all of it follows from the seed."""

    def __init__(self, seed: int, *, sessions: int = 3, actors: int = 3) -> None:
        self._dice = random.Random(seed)
        self.gateway = GatewayInMemory(
            settings=StoreSettings(
                bucket="bucket", part_size_bytes=6000, download_part_size_bytes=6000
            ),
            limits=LimitSettings(memory_bytes=MEMORY_BYTES, reorder_allowance_bytes=20_000),
        )
        self.store = StormyStore(self.gateway.clock, self._dice)
        self.gateway.store = self.store
        self.model = Model()
        self.operations = 0
        self._actors_each = actors
        self._serial = 0
        self._sessions = [self._log_in() for _ in range(sessions)]

    def _log_in(self) -> tuple[SftpClient, list[Actor]]:
        client = self.gateway.log_in()
        self._serial += 1
        names = [b"s%d-%d" % (self._serial, number) for number in range(self._actors_each)]
        return client, [Actor(client, name, self._dice, self.model) for name in names]

    def run(self, steps: int) -> None:
        """So many moves of the clock, then the end of all sessions and a look at what is left."""
        for _ in range(steps):
            self._move()
            if self._dice.random() < 0.002:
                self._lose_one()
        for client, actors in self._sessions:
            self._end(client, actors)
        self._settle()
        self.check()

    def check(self) -> None:
        """Nothing is left behind, and every file is what was reported."""
        self.gateway.assert_idle()
        for path, allowed in self.model.files.items():
            try:
                found: Content = self.store.content("home/alice" + path.decode())
            except KeyError:
                found = None
            assert found in allowed, f"{path!r} is not what was reported stored"

    def _move(self) -> None:
        moved = False
        for client, actors in self._sessions:
            client.pump()
            for actor in actors:
                while actor.step():
                    moved = True
        if not moved:
            self._advance()
        held_bytes = self.gateway.budget.held_bytes
        # A LIST asks for more than there is here, and gets it once all is free.
        most_bytes = max(1.1 * MEMORY_BYTES, LIST_BYTES + 0.1 * MEMORY_BYTES)
        assert held_bytes <= most_bytes, f"{held_bytes} bytes are held"

    def _advance(self) -> None:
        clock = self.gateway.clock
        due = min(call.getTime() for call in clock.getDelayedCalls())
        clock.advance(max(0.0, due - clock.seconds()) + 1e-6)

    def _lose_one(self) -> None:
        index = self._dice.randrange(len(self._sessions))
        self._end(*self._sessions[index])
        self._sessions[index] = self._log_in()

    def _end(self, client: SftpClient, actors: list[Actor]) -> None:
        client.drop()
        for actor in actors:
            actor.stop()
            self.operations += actor.done

    def _settle(self) -> None:
        clock = self.gateway.clock
        give_up_at = clock.seconds() + PATIENCE_SECONDS
        while clock.getDelayedCalls() and clock.seconds() < give_up_at:
            self._advance()
