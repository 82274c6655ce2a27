"""Real clients that put, get, rename, remove, list and hang up at random, and what must follow.

Knows: what each file may contain, from what the gateway has answered.
Must not know: what happens between gateway and store.

Rules of the model, beside those of `sessions`: what failed at its very end (a CLOSE, a rename, a
remove) may have happened nevertheless, but only where the store kept its answer to itself; an
upload that was cut off before its CLOSE has not.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import random
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import asyncssh
import paramiko
from paramiko.sftp import CMD_CLOSE

from sftpgw.model.units import KIB, MIB
from tests.soak.stormy_s3 import State

PATIENCE_SECONDS = 90.0
"""Longer than any honest answer takes: retries end after some ten seconds."""

PATHS_EACH = 3
CHUNK_BYTES = 32 * KIB


@dataclass(frozen=True)
class Content:
    """A file's content, made anew whenever it is wanted."""

    seed: int
    size_bytes: int

    def data(self) -> bytes:
        return random.Random(self.seed).randbytes(self.size_bytes)

    def digest(self) -> str:
        return hashlib.sha256(self.data()).hexdigest()


Possible = frozenset[Content | None]
"""What a file may contain; None: there is none."""

NOTHING: Possible = frozenset({None})


@dataclass
class Model:
    """What one actor's paths may contain, by path."""

    certain: dict[str, Possible] = field(default_factory=dict)
    """As far as the gateway has answered."""
    unless_told: dict[str, Possible] = field(default_factory=dict)
    """What it may be instead if the store did something whose response was lost."""

    def of(self, path: str) -> Possible:
        return self.certain.get(path, NOTHING) | self.unless_told.get(path, frozenset())

    def resize(self, path: str, *contents: Content | None) -> None:
        self.certain[path] = frozenset(contents)
        self.unless_told.pop(path, None)

    def may_be(self, path: str, *contents: Content | None) -> None:
        self.unless_told[path] = self.unless_told.get(path, frozenset()) | set(contents)


class Actor:
    """One stream of work on paths of its own; how it is done is the subclass's."""

    def __init__(self, user: str, name: str, dice: random.Random) -> None:
        self.user = user
        self.dice = dice
        self.model = Model()
        self.paths = [f"{name}-{number}" for number in range(PATHS_EACH)]
        self.did: Counter[str] = Counter()

    def new_content(self) -> Content:
        sizes = [0, 10, 5000, self.dice.randrange(300 * KIB), self.dice.randrange(14 * MIB)]
        return Content(self.dice.randrange(2**60), self.dice.choice(sizes))

    def a_path(self) -> str:
        return self.dice.choice(self.paths)

    # What was found out.

    def stored(self, path: str, content: Content) -> None:
        self.did["stored"] += 1
        self.model.resize(path, content)

    def not_stored(self, path: str, content: Content) -> None:
        self.did["not stored"] += 1
        self.model.may_be(path, content)

    def moved(self, old: str, new: str) -> None:
        self.did["moved"] += 1
        self.model.resize(new, *(self.model.of(old) - NOTHING))
        self.model.resize(old, None)

    def not_moved(self, old: str, new: str) -> None:
        self.did["not moved"] += 1
        self.model.may_be(new, *(self.model.of(old) - NOTHING))
        self.model.may_be(old, None)

    def removed(self, path: str) -> None:
        self.did["removed"] += 1
        self.model.resize(path, None)

    def not_removed(self, path: str) -> None:
        self.did["not removed"] += 1
        self.model.may_be(path, None)

    def read_whole(self, path: str, data: bytes) -> None:
        self.did["read"] += 1
        found = [
            each
            for each in self.model.of(path)
            if each is not None and each.size_bytes == len(data) and each.data() == data
        ]
        assert found, f"{path}: {len(data)} bytes that no client has stored"

    def read_piece(self, path: str, offset: int, length: int, data: bytes) -> None:
        self.did["read a piece"] += 1
        contents = [each.data() for each in self.model.of(path) if each is not None]
        assert any(each[offset : offset + length] == data for each in contents), (
            f"{path}: other bytes at {offset} than any client has stored there"
        )

    def missing(self, path: str) -> None:
        self.did["missing"] += 1
        assert None in self.model.of(path), f"{path} is missing"

    def listed(self, names: list[str]) -> None:
        """What is stored is listed. More may be: an upload that is being given up, too."""
        self.did["listed"] += 1
        for path in set(self.paths) - set(names):
            assert None in self.model.of(path), f"{path} is not listed"

    def failed(self, what: str) -> None:
        self.did[what + " failed"] += 1


class ParamikoActor(Actor):
    """Works as scripts do, one thing after the other."""

    def __init__(self, port: int, password: str, user: str, name: str, dice: random.Random) -> None:
        super().__init__(user, name, dice)
        self._port, self._password = port, password
        self._connect()

    def _connect(self) -> None:
        self._client = paramiko.SSHClient()
        self._client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        self._client.connect(
            "127.0.0.1",
            self._port,
            username=self.user,
            password=self._password,
            allow_agent=False,
            look_for_keys=False,
            timeout=PATIENCE_SECONDS,
        )
        self._sftp = self._client.open_sftp()
        self._sftp.get_channel().settimeout(PATIENCE_SECONDS)  # type: ignore[union-attr]

    def run(self, until: float) -> None:
        acts = [self.put, self.put, self.get, self.get, self.seek, self.rename, self.remove]
        acts += [self.list, self.put_and_hang_up]
        while time.monotonic() < until:
            self.dice.choice(acts)()
        self._client.close()

    def put(self) -> None:
        path, content = self.a_path(), self.new_content()
        try:
            self._store(path, content.data())
        except OSError as error:
            self._demand_answer(error)
            self.not_stored(path, content)
        else:
            self.stored(path, content)

    def _store(self, path: str, data: bytes) -> None:
        """Not by `putfo`: paramiko's `close` keeps it to itself if a CLOSE has failed."""
        with self._sftp.open(path, "wb") as file:
            file.set_pipelined(True)
            file.write(data)
            file.flush()
            self._sftp._finish_responses(file)  # type: ignore[attr-defined]
            file._closed = True
            self._sftp._request(CMD_CLOSE, file.handle)

    def put_and_hang_up(self) -> None:
        path, content = self.a_path(), self.new_content()
        data = content.data()
        with suppress(OSError), self._sftp.open(path, "wb") as file:
            file.set_pipelined(True)
            file.write(data[: self.dice.randrange(len(data) + 1)])
            self.did["hung up"] += 1
            self._client.close()
        self._client.close()
        self._connect()

    def get(self) -> None:
        path, data = self.a_path(), io.BytesIO()
        try:
            with self._sftp.open(path, "rb") as file:
                file.prefetch()
                while chunk := file.read(CHUNK_BYTES):
                    data.write(chunk)
        except FileNotFoundError:
            self.missing(path)
        except OSError as error:
            self._demand_answer(error)
            self.failed("read")
        else:
            self.read_whole(path, data.getvalue())

    def seek(self) -> None:
        path = self.a_path()
        try:
            with self._sftp.open(path, "rb") as file:
                size_bytes = file.stat().st_size or 0
                for _ in range(self.dice.randrange(20)):
                    offset = self.dice.randrange(size_bytes + 1)
                    length = self.dice.randrange(1, 2 * CHUNK_BYTES)
                    file.seek(offset)
                    self.read_piece(path, offset, length, file.read(length))
        except FileNotFoundError:
            self.missing(path)
        except OSError as error:
            self._demand_answer(error)
            self.failed("read")

    def rename(self) -> None:
        old, new = self.dice.sample(self.paths, 2)
        try:
            self._sftp.posix_rename(old, new)
        except FileNotFoundError:
            self.missing(old)
        except OSError as error:
            self._demand_answer(error)
            self.not_moved(old, new)
        else:
            self.moved(old, new)

    def remove(self) -> None:
        path = self.a_path()
        try:
            self._sftp.remove(path)
        except FileNotFoundError:
            self.missing(path)
        except OSError as error:
            self._demand_answer(error)
            self.not_removed(path)
        else:
            self.removed(path)

    def list(self) -> None:
        try:
            self.listed(self._sftp.listdir("."))
        except OSError as error:
            self._demand_answer(error)
            self.failed("listing")

    def _demand_answer(self, error: OSError) -> None:
        """A failure is fine if it was told: not a wait without end, nor a lost connection."""
        assert not isinstance(error, TimeoutError), "no answer"
        assert self._client.get_transport().is_active(), f"the connection was lost: {error}"  # type: ignore[union-attr]


class AsyncsshActor(Actor):
    """Works with many requests at once, several of its kind on one connection."""

    sftp: asyncssh.SFTPClient

    async def run(self, until: float) -> None:
        acts = [self.put, self.put, self.get, self.get, self.rename, self.remove, self.list]
        while time.monotonic() < until:
            await self._in_time(self.dice.choice(acts)())

    async def _in_time(self, act: Awaitable[None]) -> None:
        try:
            await asyncio.wait_for(act, PATIENCE_SECONDS)
        except TimeoutError:
            raise AssertionError("no answer") from None

    async def put(self) -> None:
        path, content = self.a_path(), self.new_content()
        data = content.data()
        try:
            file = await self.sftp.open(path, "wb")
            try:
                await asyncio.gather(
                    *(
                        file.write(data[at : at + CHUNK_BYTES], at)
                        for at in range(0, len(data), CHUNK_BYTES)
                    )
                )
            finally:
                await file.close()
        except asyncssh.SFTPError as error:
            _demand_answer(error)
            self.not_stored(path, content)
        else:
            self.stored(path, content)

    async def get(self) -> None:
        path = self.a_path()
        try:
            async with self.sftp.open(path, "rb") as file:
                data = await file.read()
        except asyncssh.SFTPNoSuchFile:
            self.missing(path)
        except asyncssh.SFTPError as error:
            _demand_answer(error)
            self.failed("read")
        else:
            self.read_whole(path, data)

    async def rename(self) -> None:
        old, new = self.dice.sample(self.paths, 2)
        try:
            await self.sftp.posix_rename(old, new)
        except asyncssh.SFTPNoSuchFile:
            self.missing(old)
        except asyncssh.SFTPError as error:
            _demand_answer(error)
            self.not_moved(old, new)
        else:
            self.moved(old, new)

    async def remove(self) -> None:
        path = self.a_path()
        try:
            await self.sftp.remove(path)
        except asyncssh.SFTPNoSuchFile:
            self.missing(path)
        except asyncssh.SFTPError as error:
            _demand_answer(error)
            self.not_removed(path)
        else:
            self.removed(path)

    async def list(self) -> None:
        try:
            self.listed([str(name) for name in await self.sftp.listdir(".")])
        except asyncssh.SFTPError as error:
            _demand_answer(error)
            self.failed("listing")


def _demand_answer(error: asyncssh.SFTPError) -> None:
    assert not isinstance(error, asyncssh.SFTPConnectionLost | asyncssh.SFTPNoConnection), error


class Fleet:
    """All actors: two that use paramiko, each for itself, and three on one asyncssh connection."""

    def __init__(self, port: int, password: str, seed: int) -> None:
        self._port, self._password = port, password
        self._errors: list[BaseException] = []
        dice = random.Random(seed)

        def new_dice() -> random.Random:
            return random.Random(dice.random())

        self._one_by_one = [
            ParamikoActor(port, password, user, f"{user}-script", new_dice())
            for user in ("ann", "bob")
        ]
        self._at_once = [
            AsyncsshActor("bob", f"bob-tool-{number}", new_dice()) for number in range(3)
        ]

    @property
    def _actors(self) -> list[Actor]:
        return [*self._one_by_one, *self._at_once]

    @property
    def done(self) -> int:
        return self.told().total()

    def told(self) -> Counter[str]:
        return sum((actor.did for actor in self._actors), Counter())

    def warm_up(self) -> None:
        """The gateway finds out what the store can do, while that can be found out."""
        self._one_by_one[0].put()

    def run(self, seconds: float) -> None:
        """All at once, for so long. :raises AssertionError: what any of them has met"""
        until = time.monotonic() + seconds
        jobs: list[Callable[[], None]] = [
            lambda actor=actor: actor.run(until) for actor in self._one_by_one
        ]
        jobs.append(lambda: asyncio.run(self._run_at_once(until)))
        threads = [threading.Thread(target=self._guarded, args=(job,)) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _guarded(self, job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:
            self._errors.append(error)

    async def _run_at_once(self, until: float) -> None:
        async with (
            asyncssh.connect(
                "127.0.0.1",
                self._port,
                username="bob",
                password=self._password,
                client_keys=[],
                known_hosts=None,
                agent_path=None,
                config=[],
            ) as connection,
            connection.start_sftp_client() as sftp,
        ):
            for actor in self._at_once:
                actor.sftp = sftp
            await asyncio.gather(*(actor.run(until) for actor in self._at_once))

    def compare(self, state: State) -> None:
        """What is there now is what was reported, or something whose response was lost."""
        for actor in self._actors:
            for path in actor.paths:
                key = f"home/{actor.user}/{path}"
                possible = set(actor.model.certain.get(path, NOTHING))
                if key in state.lost:
                    possible |= actor.model.unless_told.get(path, frozenset())
                digests = {each.digest() if each else None for each in possible}
                assert state.objects.get(key) in digests, f"{path} is not what was reported"
