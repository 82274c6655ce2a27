"""Sessions with credentials of their own, at a store behind IAM: all that a user may do works, and
nothing is signed with the wrong key.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import pytest_twisted
from botocore.credentials import ReadOnlyCredentials
from twisted.internet.defer import Deferred, maybeDeferred, succeed

from sftpgw.aws.credentials import StaticCredentials
from sftpgw.aws.session_policy.plan.role_requests import RoleRequest, RoleTerms
from sftpgw.aws.session_policy.role_sessions import RoleSessions
from sftpgw.aws.session_policy.sts_client import IssuedCredentials, RoleRefused
from sftpgw.errors import (
    AccessDenied,
    GatewayError,
    NoSuchFile,
    NoSuchObject,
    NotSignedForSession,
    RoleNotAssumed,
)
from sftpgw.files.tree import Tree
from sftpgw.files.uploads.open_mode import OpenMode
from sftpgw.files.uploads.plan.part_sizes import Ladder
from sftpgw.files.uploads.plan.staging_layout import choose_layout
from sftpgw.files.uploads.upload import Upload
from sftpgw.model.filesystem import AttributeChanges, WriteIntent
from sftpgw.model.mounts import Mount, Permission
from sftpgw.model.settings import FilesSettings, OnDisconnect, Probe, StoreSettings
from sftpgw.model.store import ObjectName, ObjectProperties
from sftpgw.model.units import KIB, MIB
from sftpgw.model.users import AssumedRole, User
from sftpgw.s3.request_budget.plan import RequestLimits
from sftpgw.s3.s3_client import S3Client
from sftpgw.s3.user_scopes import UserScopes
from sftpgw.session import Session
from sftpgw.testing.iam import IamPolicy
from sftpgw.testing.scripted_s3 import ScriptedS3
from sftpgw.testing.sftp_sessions import GatewayInMemory
from tests.files.uploads.upload_plans import make_plan
from tests.s3.guarded_s3 import Asked, GuardedS3, signer_of
from tests.stores import RecordedEvents, connect

ROLE = "arn:aws:iam::123456789012:role/partners"
STATE = ".sftpgw/"
OWN = "OWN"
ALICE = User.with_home("alice", "bucket", "home/alice/")
BOB = User.with_home("bob", "bucket", "home/bob/")
PART = 5 * MIB


@dataclass
class Sts:
    """Gives each user credentials whose access key is the user's name, and IAM the policy."""

    policies: dict[str, IamPolicy] = field(default_factory=dict)
    failure: RoleRefused | None = None
    held: Deferred[None] | None = None

    def assume(self, request: RoleRequest) -> IssuedCredentials:
        if self.failure is not None:
            raise self.failure
        self.policies[request.user] = IamPolicy.parse(request.policy)
        return IssuedCredentials(ReadOnlyCredentials(request.user, "s", "t"), 3600.0)

    def in_thread(self, work: Any, *arguments: Any) -> Deferred[Any]:
        waiting = self.held if self.held is not None else succeed(None)
        return waiting.addCallback(lambda _: work(*arguments))


@dataclass
class Scene:
    """A store behind IAM, and a gateway whose sessions have credentials of their own."""

    store: S3Client
    server: ScriptedS3
    iam: GuardedS3
    sts: Sts
    events: RecordedEvents
    gateway: GatewayInMemory

    def tree(self, user: User = ALICE) -> Tree:
        return self.gateway.tree(user, self.store)

    def session(self, user: User = ALICE) -> Session:
        return self.gateway.session(user, self.store)

    def require_right_signers(self, *users: str) -> None:
        """Each request about the state was signed with own credentials, and no other was."""
        copies = 0
        for request in self.server.requests:
            asked, signer = Asked(request), signer_of(request)
            is_of_state = asked.place.startswith(STATE)
            if asked.source.startswith(f"bucket/{STATE}"):
                assert (signer, is_of_state) == (OWN, False)
                copies += 1
            elif is_of_state:
                assert signer == OWN, request.target
            else:
                assert signer in users, request.target
        self.copies_of_pieces = copies
        assert not self.iam.refused, [each.request.target for each in self.iam.refused]

    def requests_of(self, method: str) -> list[str]:
        return [each.target for each in self.server.requests if each.method == method]


@asynccontextmanager
async def scene(
    files: FilesSettings | None = None, limits: RequestLimits | None = None, **settings: Any
) -> AsyncIterator[Scene]:
    from twisted.internet import reactor  # noqa: PLC0415

    server = await ScriptedS3.listen(reactor)
    sts, events = Sts(), RecordedEvents()
    iam = GuardedS3(sts.policies)
    server.respond_with(iam.respond)
    known = StoreSettings(
        bucket="bucket",
        endpoint=server.url,
        access_key=OWN,
        secret_key="s",
        role_arn=ROLE,
        scoped_credentials=True,
        probe=Probe.NO,
        **settings,
    )
    sessions = RoleSessions(sts.assume, sts.in_thread, reactor, events)
    more = {} if limits is None else {"limits": limits}
    scopes = UserScopes(RoleTerms(known, ("far",)), sessions)
    store = connect(known, events, scopes=scopes, credentials=StaticCredentials(known), **more)
    gateway = GatewayInMemory(settings=known, files=files)
    try:
        yield Scene(store, server, iam, sts, events, gateway)
    finally:
        await store.close()
        await server.close()


async def sent(tree: Tree, path: bytes, data: bytes, **intent: Any) -> None:
    writer = await tree.open_writer(path, WriteIntent(**intent), AttributeChanges())
    for offset in range(0, len(data), MIB):
        waiting = writer.write(offset, data[offset : offset + MIB])
        if waiting is not None:
            await waiting
    await writer.commit()


async def listed(tree: Tree, path: bytes) -> set[str]:
    reader = await tree.open_directory(path)
    names: set[str] = set()
    while entries := await reader.next_entries():
        names |= {entry.name for entry in entries}
    return names - {".", ".."}


OPERATIONS = {
    "canonical",
    "make_directory",
    "open_directory",
    "open_made",
    "open_reader",
    "open_writer",
    "path_of",
    "remove_directory",
    "remove_file",
    "rename",
    "set_attributes",
    "space",
    "stat",
}


def test_the_walk_below_has_all_operations() -> None:
    found = {name for name in vars(Tree) if not name.startswith("_")}
    assert found == OPERATIONS


async def each_request(tree: Tree) -> None:
    """All that SFTP can ask for, on files that exist and on those that do not."""
    await tree.space(b"/")
    await tree.make_directory(b"/d")
    await sent(tree, b"/d/small", b"x" * KIB)
    await sent(tree, b"/d/large", b"x" * (2 * PART + 7))
    await sent(tree, b"/d/large", b"y" * 10, truncate=False)
    await tree.set_attributes(b"/d/small", AttributeChanges(modified_seconds=1.0))
    assert (await tree.stat(b"/d/small")).size_bytes == KIB
    reader = await tree.open_reader(b"/d/small")
    assert b"".join(await maybeDeferred(reader.read, 0, KIB)) == b"x" * KIB
    reader.close()
    assert await listed(tree, b"/d") == {"small", "large"}
    await tree.rename(b"/d/small", b"/d/moved", replace=False)
    await tree.rename(b"/d", b"/e", replace=False)
    assert await listed(tree, b"/") == {"e"}
    for missing in (tree.stat(b"/none"), tree.open_reader(b"/none"), tree.remove_file(b"/none")):
        with pytest.raises((NoSuchFile, NoSuchObject)):
            await missing
    await tree.remove_file(b"/e/moved")
    await tree.remove_file(b"/e/large")
    await tree.remove_directory(b"/e")
    assert await listed(tree, b"/") == set()


@pytest.mark.parametrize(
    "user",
    [ALICE, User.with_home("whole", "bucket", "")],
    ids=["home", "whole-bucket"],
)
@pytest_twisted.ensureDeferred
async def test_all_that_sftp_can_ask_for_works_and_is_signed_right(user: User) -> None:
    async with scene(part_size_bytes=PART) as here:
        await each_request(here.tree(user))
        here.require_right_signers(user.name)
        targets = [Asked(each).place for each in here.server.requests]
        assert any(place.startswith(f"{STATE}renames/") for place in targets)
        assert "s3-request-failed" not in here.events.names()


@pytest_twisted.ensureDeferred
async def test_two_users_work_side_by_side() -> None:
    async with scene(part_size_bytes=PART) as here:
        for user in (ALICE, BOB, ALICE):
            await each_request(here.tree(user))
        here.require_right_signers("alice", "bob")
        for request in here.server.requests:
            asked = Asked(request)
            if not asked.place.startswith(STATE):
                assert asked.place.startswith(f"home/{signer_of(request)}/")


@pytest_twisted.ensureDeferred
async def test_suspended_uploads_are_kept_resumed_and_dropped() -> None:
    files = FilesSettings(on_disconnect=OnDisconnect.RESUME)
    async with scene(files, part_size_bytes=PART) as here:
        tree = here.tree()
        writer = await tree.open_writer(b"/part", WriteIntent(truncate=True), AttributeChanges())
        for offset in range(0, PART + MIB, MIB):
            waiting = writer.write(offset, b"x" * MIB)
            if waiting is not None:
                await waiting
        await writer.abandon()
        kept_bytes = (await here.tree().stat(b"/part")).size_bytes or 0
        assert kept_bytes >= PART
        assert await listed(here.tree(), b"/") == {"part"}
        intent = WriteIntent(truncate=False)
        writer = await here.tree().open_writer(b"/part", intent, AttributeChanges())
        writer.write(kept_bytes, b"y" * MIB)
        await writer.abandon()
        assert (await here.tree().stat(b"/part")).size_bytes == kept_bytes
        await here.tree().remove_file(b"/part")
        assert not here.iam.inner.uploads
        here.require_right_signers("alice")
        places = [Asked(each).place for each in here.server.requests]
        assert any(place.startswith(f"{STATE}partials/") for place in places)
        assert any(place.startswith(f"{STATE}partial-claims/") for place in places)


@pytest_twisted.ensureDeferred
async def test_pieces_of_a_large_upload_are_the_only_copies_out_of_the_state() -> None:
    layout = choose_layout(
        Ladder(PART, PART, max_parts=3),
        part_copy=True,
        unequal_parts=True,
        direct_parts=1,
        copy_limit_bytes=2 * PART,
        first_staging_bytes=PART,
        step_stagings=1,
    )
    async with scene(part_size_bytes=PART) as here:
        context = here.session().context
        name = ObjectName("bucket", "home/alice/large")
        plan = make_plan(layout, concurrency=2, reorder_bytes=PART)
        upload = Upload(context, plan, name, mode=OpenMode())
        data = b"x" * (3 * PART)
        for offset in range(0, len(data), MIB):
            waiting = upload.write(offset, data[offset : offset + MIB])
            if waiting is not None:
                await waiting
        await upload.commit()
        here.require_right_signers("alice")
        assert here.copies_of_pieces == 2
        published = [
            each for each in here.server.requests if each.method == "POST" and b"Part>" in each.body
        ]
        assert [signer_of(each) for each in published if "/home/" in each.target] == ["alice"]
        assert list(here.iam.inner.objects) == ["home/alice/large"]


# What is missing.


@pytest_twisted.ensureDeferred
async def test_what_is_missing_is_told_from_what_is_denied_by_a_list() -> None:
    async with scene() as here:
        session = here.store.bind(owner=ALICE, user="alice")
        for ask in (session.head, lambda name: session.get(name, None, Sink())):
            here.server.requests.clear()
            with pytest.raises(NoSuchObject):
                await ask(ObjectName("bucket", "home/alice/none"))
            assert len(here.server.requests) == 2
        assert here.events.names() == ["session-credentials-issued"]
        with pytest.raises(AccessDenied):  # not the user's: no list is sent
            await session.head(ObjectName("bucket", "home/bob/none"))
        assert len(here.server.requests) == 3


@pytest_twisted.ensureDeferred
async def test_what_exists_and_is_denied_is_told_to_the_log() -> None:
    async with scene() as here:
        session = here.store.bind(owner=ALICE, user="alice")
        name = ObjectName("bucket", "home/alice/secret")
        await here.store.put(name, (b"x",), ObjectProperties())
        # As if the role itself did not allow what the session policy does.
        here.sts.policies["alice"] = IamPolicy(
            tuple(
                {**each, "Action": "s3:ListBucket"}
                for each in here.sts.policies["alice"].statements
                if each["Action"] == "s3:ListBucket"
            )
        )
        with pytest.raises(AccessDenied):
            await session.head(name)
        assert here.events.names().count("s3-request-failed") == 1


@pytest_twisted.ensureDeferred
async def test_who_may_not_list_is_not_told_and_the_log_stays_silent() -> None:
    async with scene() as here:
        reader = User.with_home("reader", "bucket", "home/", Permission.DOWNLOAD)
        with pytest.raises(GatewayError):
            await here.tree(reader).open_reader(b"/none")
        assert here.events.names() == ["session-credentials-issued"]


@pytest_twisted.ensureDeferred
async def test_who_may_list_and_not_read_uploads_without_a_word_in_the_log() -> None:
    async with scene() as here:
        sender = User.with_home(
            "sender", "bucket", "in/", Permission.LIST | Permission.UPLOAD | Permission.OVERWRITE
        )
        for data in (b"one", b"two"):
            await sent(here.tree(sender), b"/file", data, truncate=True)
        assert (await here.tree(sender).stat(b"/file")).size_bytes == 3
        assert "s3-request-failed" not in here.events.names()


# STS.


@pytest_twisted.ensureDeferred
async def test_requests_fail_with_a_clear_sentence_while_sts_refuses() -> None:
    async with scene() as here:
        here.sts.failure = RoleRefused("not authorized", code="AccessDenied", is_passing=False)
        with pytest.raises(RoleNotAssumed):
            await here.tree().stat(b"/file")
        assert not here.server.requests
        assert set(here.events.names()) == {"session-credentials-failed"}
        await here.store.put(ObjectName("bucket", "own"), (b"x",), ObjectProperties())


@pytest_twisted.ensureDeferred
async def test_a_request_that_waits_for_credentials_holds_no_slot() -> None:
    async with scene(limits=RequestLimits(at_once=1, per_user=1)) as here:
        here.sts.held = Deferred()
        waiting = Deferred.fromCoroutine(
            here.store.bind(owner=ALICE, user="alice").list("bucket", "home/alice/")
        )
        await here.store.list("bucket", "")  # another's goes first
        assert not waiting.called
        here.sts.held.callback(None)
        await waiting


@pytest_twisted.ensureDeferred
async def test_a_role_of_the_user_has_the_policy_that_comes_with_it() -> None:
    async with scene() as here:
        policy = '{"Statement":[{"Effect":"Allow","Action":"s3:ListBucket","Resource":"*"}]}'
        guest = replace(ALICE, role=AssumedRole(f"{ROLE}-guest", policy))
        assert await listed(here.tree(guest), b"/") == set()
        with pytest.raises(GatewayError):
            await sent(here.tree(guest), b"/file", b"x", truncate=True)
        assert here.sts.policies["alice"] == IamPolicy.parse(policy)


@pytest_twisted.ensureDeferred
async def test_a_store_without_mounts_of_the_user_needs_no_role() -> None:
    async with scene() as here:
        elsewhere = User("eve", (Mount("far:bucket", "home/"),))
        session = here.gateway.session(elsewhere, here.store)
        store = session.context.store
        assert not here.events.names()
        # A path that leads here by mistake: own credentials must not sign the request.
        key = ObjectName("bucket", "home/alice/file")
        record = ObjectName("bucket", f"{STATE}partials/a")
        for refused in (
            store.head(key),
            store.list("bucket", ""),
            store.put(key, (b"x",), ObjectProperties()),
            store.delete(key),
            store.for_state().head(record),
            store.of_gateway().delete(record),
        ):
            with pytest.raises(NotSignedForSession):
                await refused
        assert not here.server.requests
        assert here.events.names().count("own-credentials-withheld") == 6


class Sink:
    """Takes a body."""

    def began(self, info: object) -> None: ...

    def received(self, data: bytes) -> None: ...
