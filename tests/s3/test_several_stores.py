"""Several stores as one: each request goes to the store of its bucket, under its name there."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import pytest_twisted
from twisted.internet import threads
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from sftpgw.aio.work.scheduler import WorkScheduler
from sftpgw.errors import StoresDiffer
from sftpgw.model.settings import Probe, StoreSettings
from sftpgw.model.store import ByteRange, ObjectName, ObjectProperties
from sftpgw.s3.request_budget.plan import RequestLimits
from sftpgw.s3.s3_client import S3Client
from sftpgw.s3.store_factory import open_stores
from sftpgw.s3.store_router import StoreRouter
from sftpgw.testing.scripted_s3 import RecordedRequest, ScriptedResponse, ScriptedS3
from sftpgw.testing.small_s3 import SmallS3
from tests.stores import CollectingSink, RecordedEvents

HERE, THERE = ObjectName("files", "a"), ObjectName("far:files", "a")
PLAIN = ObjectProperties()
AT_ONCE = 3


@dataclass
class TwoStores:
    """The router, and the server of each store."""

    store: StoreRouter
    here: ScriptedS3
    there: ScriptedS3
    events: RecordedEvents


@pytest.fixture
def stores() -> Iterator[TwoStores]:
    from twisted.internet import reactor  # noqa: PLC0415

    blockon = pytest_twisted.blockon
    here, there = (blockon(Deferred.fromCoroutine(ScriptedS3.listen(reactor))) for _ in range(2))
    for server in (here, there):
        server.respond_with(SmallS3().respond)
    events = RecordedEvents()
    usual = StoreSettings(
        bucket="files", endpoint=here.url, access_key="HERE", secret_key="s", probe=Probe.NO
    )
    far = StoreSettings(
        name="far",
        endpoint=there.url,
        region="eu-west-1",
        access_key="THERE",
        secret_key="s",
        storage_class="GLACIER_IR",
        probe=Probe.NO,
    )
    store = open_stores(
        (usual, far),
        reactor,
        events,
        work=WorkScheduler(reactor, time.perf_counter),
        limits=RequestLimits(AT_ONCE, AT_ONCE),
        wall_clock=time.time,
        random=random.Random(1).random,
        in_thread=threads.deferToThread,
    )
    assert isinstance(store, StoreRouter)
    yield TwoStores(store, here, there, events)
    blockon(Deferred.fromCoroutine(store.close()))
    for server in (here, there):
        blockon(Deferred.fromCoroutine(server.close()))


@pytest_twisted.ensureDeferred
async def test_a_request_goes_to_the_store_of_its_bucket(stores: TwoStores) -> None:
    await stores.store.put(HERE, (b"here",), PLAIN)
    await stores.store.put(THERE, (b"there",), PLAIN)
    (here,), (there,) = stores.here.requests, stores.there.requests
    assert here.target == there.target == "/files/a"
    assert "Credential=HERE/" in here.headers["authorization"]
    assert "Credential=THERE/" in there.headers["authorization"]
    assert "/eu-west-1/s3/" in there.headers["authorization"]
    assert "x-amz-storage-class" not in here.headers
    assert there.headers["x-amz-storage-class"] == "GLACIER_IR"
    sink = CollectingSink()
    await stores.store.get(THERE, None, sink)
    assert sink.data == b"there"
    assert sink.info.name == THERE
    assert stores.store.requests == {"PutObject": 2, "GetObject": 1}


@pytest_twisted.ensureDeferred
async def test_objects_and_events_have_the_gateways_names(stores: TwoStores) -> None:
    session = stores.store.bind(user="alice", session="s1")
    await session.put(THERE, (b"data",), PLAIN)
    page = await session.list("far:files", "")
    assert [info.name for info in page.objects] == [THERE]
    upload = await session.create_upload(THERE, PLAIN)
    assert upload.name == THERE
    (listed,) = (await session.list_uploads("far:files", "")).uploads
    assert listed.name == THERE
    await session.abort_upload(upload)
    known = [facts for name, facts in stores.events.told if name == "capabilities-known"]
    assert [facts["bucket"] for facts in known] == ["far:files"]


@pytest_twisted.ensureDeferred
async def test_a_copy_inside_of_a_store_names_its_source_as_the_store_does(
    stores: TwoStores,
) -> None:
    await stores.store.put(THERE, (bytes(70_000),), PLAIN)
    source = await stores.store.head(THERE)
    await stores.store.copy(source, ObjectName("far:files", "b"))
    upload = await stores.store.create_upload(ObjectName("far:files", "c"), PLAIN, copies=True)
    part = await stores.store.copy_part(upload, 1, source, ByteRange(0, source.size_bytes))
    await stores.store.complete_upload(upload, (part,))
    sources = [
        request.headers["x-amz-copy-source"]
        for request in stores.there.requests
        if "x-amz-copy-source" in request.headers
    ]
    assert sources == ["files/a", "files/a"]
    assert stores.here.requests == []


@pytest_twisted.ensureDeferred
async def test_nothing_is_copied_from_one_store_to_another(stores: TwoStores) -> None:
    store = stores.store
    await store.put(HERE, (b"data",), PLAIN)
    source = await store.head(HERE)
    assert store.can_copy("files", "other")
    assert store.can_copy("far:files", "far:other")
    assert not store.can_copy("files", "far:files")
    assert not store.bind(user="alice").can_copy("far:files", "files")
    with pytest.raises(StoresDiffer):
        await store.copy(source, THERE)
    upload = await store.create_upload(THERE, PLAIN)
    with pytest.raises(StoresDiffer):
        await store.copy_part(upload, 1, source, ByteRange(0, 4))


@pytest_twisted.ensureDeferred
async def test_the_stores_share_the_requests_at_once_and_the_connections(
    stores: TwoStores,
) -> None:
    """However many stores there are, no more requests are under way, nor connections open."""
    from twisted.internet import reactor  # noqa: PLC0415

    at_once: list[int] = []
    waiting: list[tuple[Deferred[ScriptedResponse], ScriptedResponse]] = []
    small = SmallS3()

    def hold(request: RecordedRequest) -> Deferred[ScriptedResponse]:
        done: Deferred[ScriptedResponse] = Deferred()
        waiting.append((done, small.respond(request)))
        at_once.append(len(waiting))
        if len(waiting) == AT_ONCE or len(at_once) > 2 * AT_ONCE:
            held, waiting[:] = waiting[:], []
            for each, response in held:
                each.callback(response)
        return done

    for server in (stores.here, stores.there):
        server.respond_with(hold)
    names = [ObjectName(bucket, f"{n}") for n in range(4) for bucket in ("files", "far:files")]
    view = stores.store.bind(user="alice")
    puts = [Deferred.fromCoroutine(view.put(name, (b"x",), PLAIN)) for name in names]
    await gatherResults(puts)
    assert max(at_once) == AT_ONCE
    (places,) = {stores.store.store(name).executor.attempts.http.places for name in ("", "far")}
    while places.connections.count > AT_ONCE:  # until those that were closed are gone
        await deferLater(reactor, 0)


@pytest_twisted.ensureDeferred
async def test_views_of_a_store_are_made_when_they_are_needed(stores: TwoStores) -> None:
    session = stores.store.bind(user="alice", session="s1")
    await session.put(HERE, (b"x",), PLAIN)
    assert isinstance(session.store(""), S3Client)
    assert session.store("") is session.store("")
    assert session.store("far") is not stores.store.store("far")
