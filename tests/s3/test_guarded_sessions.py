"""Sessions without our gate, over HTTP: what keeps users apart is who signs, and the policies.

`fuzz.isolation` tries a hundred thousand requests in memory. Here some hundred go through the real
client: its choice of credentials, its signatures, its retries.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import pytest
import pytest_twisted
from botocore.credentials import ReadOnlyCredentials
from twisted.internet import task
from twisted.python.failure import Failure

from fuzz.isolation.steps import Command, Leave, Step, encoded, history
from fuzz.isolation.tenants import BUCKET, STATE, TENANTS, VAULT, furnish, token, user_of
from fuzz.isolation.unjailed_paths import UnjailedPaths
from fuzz.isolation.worlds import Channel, policy_of
from sftpgw.errors import AccessDenied
from sftpgw.model.settings import FilesSettings, OnDisconnect, Probe, StoreSettings
from sftpgw.model.store import ObjectName
from sftpgw.model.users import User
from sftpgw.s3.s3_client import S3Client
from sftpgw.s3.session_scope import SessionScope
from sftpgw.session import Session
from sftpgw.sftp.protocol import SFTPProtocol
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.guarded_s3 import S3Guard
from sftpgw.testing.scripted_s3 import ScriptedS3
from sftpgw.testing.sftp_requests import encode_request
from sftpgw.testing.sftp_sessions import LABELS, GatewayInMemory
from sftpgw.testing.small_s3 import SmallS3
from sftpgw.wire import sftp as wire
from sftpgw.wire.frames import MAX_FRAME_BYTES, Frames
from tests.stores import connect

ATTACKER = TENANTS[0]
SECRETS = {"own": "own secret"} | {each: f"{each}'s secret" for each in TENANTS}
ROUNDS = 3000
WAIT_SECONDS = 4.0


@dataclass(frozen=True)
class _OfUser:
    """Credentials of one user, as STS would give them."""

    user: str

    async def current(self) -> ReadOnlyCredentials:
        return ReadOnlyCredentials(self.user, SECRETS[self.user], "token")

    async def renew(self, refused: ReadOnlyCredentials, *, is_guess: bool = False) -> bool:
        return False


class _Scopes:
    def of(self, user: User) -> SessionScope:
        prefixes = tuple((mount.bucket, mount.key_prefix) for mount in user.mounts)
        return SessionScope(_OfUser(user.name), prefixes, STATE)


class GuardedWorld:
    """A gateway whose store is a guarded S3 over HTTP, and the session of one tenant."""

    def __init__(self, server: ScriptedS3, tenants: tuple[str, ...], granted: User) -> None:
        self.small = SmallS3(min_part_bytes=1)
        policies = {each: policy_of(user_of(each)) for each in TENANTS}
        policies[ATTACKER] = policy_of(granted)
        self.guard = S3Guard(self.small.respond, secrets=SECRETS, policies=policies)
        server.respond_with(self.guard.respond)
        self._fill(tenants)
        settings = StoreSettings(
            bucket=BUCKET,
            endpoint=server.url,
            access_key="own",
            secret_key=SECRETS["own"],
            probe=Probe.NO,
        )
        self.client: S3Client = connect(settings, scopes=_Scopes())
        self.gateway = GatewayInMemory(
            settings=settings, files=FilesSettings(on_disconnect=OnDisconnect.RESUME)
        )
        self.codes: list[tuple[int, int, bytes]] = []
        self.heard = bytearray()
        self._handles = 0
        self.session = self._log_in(ATTACKER)
        self.protocol, self.channel = self._channel(self.session)

    def _fill(self, tenants: tuple[str, ...]) -> None:
        source = FakeStore((BUCKET, VAULT), min_part_bytes=1)
        furnish(source, tenants, has_hidden=True)
        for name, stored in source.objects.items():
            self.small.objects[name.key] = stored.data
        for upload_id, started in source.uploads.items():
            parts = {number: data for number, (data, _) in started.parts.items()}
            self.small.open_upload(upload_id, started.upload.name.key, parts)

    def _log_in(self, tenant: str) -> Session:
        user = user_of(tenant)
        shared = replace(self.gateway.shared(self.client), random_bytes=self._handle_bytes)
        session = Session(shared, user, LABELS)
        session.tree._mounts = UnjailedPaths(user.mounts)  # type: ignore[assignment]
        return session

    def _handle_bytes(self, size: int) -> bytes:
        self._handles += 1
        return self._handles.to_bytes(size, "big")

    def _channel(self, session: Session) -> tuple[SFTPProtocol, Channel]:
        protocol, channel = session.sftp(), Channel()
        protocol.makeConnection(channel)
        protocol.dataReceived(encode_request(wire.Init(3)))
        channel.written.clear()
        return protocol, channel

    async def take(self, step: Step) -> None:
        """Carry out a step, and wait for its answer."""
        if isinstance(step.action, Leave):
            self.protocol.connectionLost(Failure(ConnectionError()))
            self.protocol, self.channel = self._channel(self.session)
            return
        if isinstance(step.action, Command):
            await self._command(step.action)
            return
        self.protocol.dataReceived(encoded(step.action, ATTACKER, self._handles))
        await self._until(lambda: bool(self.channel.written))
        self._note(bytes(self.channel.written))
        self.channel.written.clear()

    async def _command(self, command: Command) -> None:
        channel = Channel()
        console = self.session.command(command.line)
        console.makeConnection(channel)
        console.dataReceived(command.said)
        console.inputEnded()
        await self._until(lambda: channel.is_lost)
        console.connectionLost(Failure(ConnectionError()))
        self.heard += channel.written
        self.codes.append((-1, 0, bytes(channel.written)))

    async def _until(self, has_come: Any) -> None:
        for turn in range(ROUNDS):
            self.gateway.clock.advance(WAIT_SECONDS if turn % 300 == 299 else 0)
            if has_come():
                return
            await _a_moment()
        raise AssertionError("no answer")

    def _note(self, written: bytes) -> None:
        """Keep what does not depend on the time."""
        self.heard += written
        frames = Frames(2 * MAX_FRAME_BYTES)
        frames.feed(written)
        while (frame := frames.next()) is not None:
            kind, request_id = frame.head[0], int.from_bytes(frame.head[1:5], "big")
            text = frame.head[5:] if kind in (wire.Kind.STATUS, wire.Kind.DATA) else b""
            self.codes.append((request_id, kind, text))

    async def close(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionError()))
        for _ in range(20):
            self.gateway.clock.advance(WAIT_SECONDS)
            await _a_moment()
        await self.client.close()


async def _a_moment() -> None:
    from twisted.internet import reactor  # noqa: PLC0415

    await task.deferLater(reactor, 0.001)  # type: ignore[arg-type]


async def run(
    tenants: tuple[str, ...], steps: list[Step], granted: User | None = None
) -> GuardedWorld:
    """Carry out the attacker's steps in a world with some tenants.

    :param tenants: those who have anything.
    :param steps: what is sent.
    :param granted: the user of whom the attacker has the policy; the attacker by default.
    """
    from twisted.internet import reactor  # noqa: PLC0415

    server = await ScriptedS3.listen(reactor)
    world = GuardedWorld(server, tenants, granted or user_of(ATTACKER))
    before = _of_others(world)
    for step in steps:
        await world.take(step)
    await world.close()
    await server.close()
    assert _of_others(world) == before
    return world


def _of_others(world: GuardedWorld) -> dict[str, object]:
    """All that is not the attacker's, nor in a drop box."""
    mine = (f"home/{ATTACKER}/", f"{ATTACKER}/", "drop/", "box/", STATE)
    objects = {key: data for key, data in world.small.objects.items() if not key.startswith(mine)}
    uploads = {
        upload_id: (upload.key, dict(upload.parts))
        for upload_id, upload in world.small.uploads.items()
        if not upload.key.startswith(mine)
    }
    return {**objects, **uploads}


def steps_of(seeds: range) -> list[Step]:
    return [step for seed in seeds for step in history(seed) if step.tenant == ATTACKER]


@pytest.mark.parametrize("seeds", [range(3), range(3, 6)])
@pytest_twisted.ensureDeferred
async def test_nothing_crosses_over_http_without_the_gate(seeds: range) -> None:
    steps = steps_of(seeds)
    beside_others = await run(TENANTS, steps)
    alone = await run((ATTACKER,), steps)
    assert beside_others.codes == alone.codes
    for other in TENANTS[1:]:
        assert token(other) * 2 not in beside_others.heard
    refused: Counter[str] = Counter()
    for (access_key, action), count in beside_others.guard.refused.items():
        assert access_key == ATTACKER
        refused[action] += count
    assert {"s3:GetObject", "s3:ListBucket"} <= refused.keys()
    assert beside_others.guard.asked.keys() == {"own", ATTACKER}


@pytest_twisted.ensureDeferred
async def test_a_policy_that_is_too_wide_is_seen_over_http() -> None:
    steps = steps_of(range(3))
    granted = User.with_home(ATTACKER, BUCKET, "")
    beside_others = await run(TENANTS, steps, granted)
    alone = await run((ATTACKER,), steps, granted)
    assert beside_others.codes != alone.codes


@pytest_twisted.ensureDeferred
async def test_the_guard_wants_the_signature_of_the_access_key() -> None:
    from twisted.internet import reactor  # noqa: PLC0415

    server = await ScriptedS3.listen(reactor)
    small = SmallS3()
    small.objects["a b/ü"] = b"x"
    guard = S3Guard(small.respond, secrets={"own": "right"}, policies={})
    server.respond_with(guard.respond)
    for secret, is_right in (("right", True), ("wrong", False)):
        client = connect(
            StoreSettings(
                bucket=BUCKET,
                endpoint=server.url,
                access_key="own",
                secret_key=secret,
                probe=Probe.NO,
            )
        )
        if is_right:
            assert (await client.head(ObjectName(BUCKET, "a b/ü"))).size_bytes == 1
        else:
            with pytest.raises(AccessDenied):
                await client.head(ObjectName(BUCKET, "a b/ü"))
        await client.close()
    await server.close()
