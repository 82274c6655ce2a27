"""Which credentials sign what a session asks for."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

import pytest
import pytest_twisted
from botocore.credentials import ReadOnlyCredentials

from sftpgw.aio.cancel import CancelToken
from sftpgw.errors import AccessDenied, NotSignedForSession
from sftpgw.model.piece_names import pieces_of_upload
from sftpgw.model.store import ByteRange, ObjectInfo, ObjectName
from sftpgw.model.units import KIB
from sftpgw.model.users import User
from sftpgw.s3.session_scope import SessionScope
from sftpgw.testing.scripted_s3 import RecordedRequest, ScriptedS3, scripted_error
from tests.s3.operations import PLAIN, closed, connected, each_operation

ALICE = User.with_home("alice", "bucket", "home/")
STATE = ".sftpgw/"


@dataclass
class KnownCredentials:
    """The credentials of a user, whose access key is the user's name."""

    user: str
    renewals: list[bool] = field(default_factory=list)

    async def current(self) -> ReadOnlyCredentials:
        return ReadOnlyCredentials(self.user, "secret", "token")

    async def renew(self, refused: ReadOnlyCredentials, *, is_guess: bool = False) -> bool:
        self.renewals.append(is_guess)
        return False


@dataclass
class ScopePerUser:
    """Gives each user the scope of the mounts."""

    credentials: dict[str, KnownCredentials] = field(default_factory=dict)

    def of(self, user: User) -> SessionScope:
        known = self.credentials.setdefault(user.name, KnownCredentials(user.name))
        prefixes = tuple((mount.bucket, mount.key_prefix) for mount in user.mounts)
        return SessionScope(known, prefixes, STATE)


def signer_of(request: RecordedRequest) -> str:
    """The access key that a request was signed with."""
    found = re.search(r"Credential=([^/]+)/", request.headers["authorization"])
    assert found is not None
    return found[1]


def signers(server: ScriptedS3) -> Counter[str]:
    return Counter(signer_of(request) for request in server.requests)


@pytest_twisted.ensureDeferred
async def test_each_request_of_a_session_is_signed_with_the_credentials_of_its_user() -> None:
    store, server = await connected(ScopePerUser())
    session = store.bind(owner=ALICE, user="alice")
    await each_operation(session)
    await each_operation(session.with_cancel(CancelToken()))
    assert signers(server).keys() == {"alice"}
    server.requests.clear()
    await each_operation(store)
    assert signers(server).keys() == {"a"}
    await closed(store, server)


@pytest_twisted.ensureDeferred
async def test_state_is_signed_with_own_credentials_and_by_intent_only() -> None:
    store, server = await connected(ScopePerUser())
    session = store.bind(owner=ALICE, user="alice")
    record = ObjectName("bucket", f"{STATE}partials/a")
    views = (session.for_state(), session.for_state().with_cancel(CancelToken()))
    for own in (*views, session.of_gateway()):
        await own.put(record, (b"x",), PLAIN)
        await own.head(record)
        await own.list("bucket", f"{STATE}partials/")
        await own.delete(record)
    assert signers(server).keys() == {"a"}
    server.requests.clear()
    await session.put(record, (b"x",), PLAIN)  # a path that leads there by mistake
    assert signers(server).keys() == {"alice"}
    await closed(store, server)


@pytest_twisted.ensureDeferred
async def test_own_credentials_sign_nothing_else_for_a_session() -> None:
    store, server = await connected(ScopePerUser())
    session = store.bind(owner=ALICE, user="alice")
    for own in (session.for_state(), session.of_gateway(), session.of_gateway().for_state()):
        for name in ("home/a", "other/a", "", "a.sftpgw/b", ".sftpgw"):
            key = ObjectName("bucket", name)
            info = ObjectInfo(key, 70 * KIB, '"e"', 0.0)
            record = ObjectInfo(ObjectName("bucket", f"{STATE}partials/a"), 1, '"e"', 0.0)
            for refused in (
                own.head(key),
                own.put(key, (b"x",), PLAIN),
                own.delete(key),
                own.list("bucket", name),
                own.list_uploads("bucket", name),
                own.create_upload(key, PLAIN),
                own.copy(record, key),
                own.copy(info, record.name),
                own.copy(record, record.name),
            ):
                with pytest.raises(NotSignedForSession):
                    await refused
    with pytest.raises(NotSignedForSession):
        await session.for_state().head_bucket("bucket")
    assert not server.requests
    await closed(store, server)


@pytest_twisted.ensureDeferred
async def test_a_piece_is_copied_only_into_the_upload_that_it_was_made_for() -> None:
    store, server = await connected(ScopePerUser())
    session = store.bind(owner=ALICE, user="alice")
    own = session.for_state()
    upload = await session.create_upload(ObjectName("bucket", "home/a"), PLAIN)
    another = await session.create_upload(ObjectName("bucket", "home/b"), PLAIN)
    foreign = await store.create_upload(ObjectName("bucket", "other/a"), PLAIN)
    piece = ObjectName("bucket", f"{pieces_of_upload(STATE, upload.upload_id)}00001")
    await own.put(piece, (bytes(70 * KIB),), PLAIN)
    info = await own.head(piece)
    whole = ByteRange(0, info.size_bytes)
    server.requests.clear()
    await own.copy_part(upload, 1, info, whole)
    assert signers(server) == {"a": 1}
    of_foreign = ObjectName("bucket", f"{pieces_of_upload(STATE, foreign.upload_id)}00001")
    for target, source in (
        (another, info.name),
        (foreign, info.name),
        (foreign, of_foreign),  # not below a mount of alice
        (upload, of_foreign),
        (upload, ObjectName("bucket", f"{STATE}partials/a")),
        (upload, ObjectName("bucket", "home/b")),
        (upload, ObjectName("more", piece.key)),
    ):
        with pytest.raises(NotSignedForSession):
            await own.copy_part(target, 1, ObjectInfo(source, 1, info.etag, 0.0), whole)
    assert signers(server) == {"a": 1}
    await closed(store, server)


@pytest_twisted.ensureDeferred
async def test_a_bare_403_is_final_unless_the_session_gets_others() -> None:
    scopes = ScopePerUser()
    store, server = await connected(scopes)
    session = store.bind(owner=ALICE, user="alice")
    server.script(scripted_error(403, "AccessDenied"))
    with pytest.raises(AccessDenied):
        await session.put(ObjectName("bucket", "home/a"), (b"x",), PLAIN)
    assert signers(server) == {"alice": 1}
    assert scopes.credentials["alice"].renewals == []
    server.script(scripted_error(400, "ExpiredToken"))
    with pytest.raises(Exception, match="scripted"):
        await session.put(ObjectName("bucket", "home/a"), (b"x",), PLAIN)
    assert scopes.credentials["alice"].renewals == [False]
    await closed(store, server)
