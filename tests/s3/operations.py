"""Each operation of a store, sent to a small S3 that records the requests."""

from __future__ import annotations

from typing import Any

from sftpgw.model.settings import Probe, StoreSettings
from sftpgw.model.store import ByteRange, ObjectName, ObjectProperties, ObjectStore
from sftpgw.model.units import KIB
from sftpgw.s3.s3_client import S3Client
from sftpgw.s3.session_scope import SessionScopes
from sftpgw.testing.scripted_s3 import ScriptedS3
from sftpgw.testing.small_s3 import SmallS3
from tests.stores import CollectingSink, connect

A, B = ObjectName("bucket", "home/a"), ObjectName("bucket", "home/b")
PLAIN = ObjectProperties()


async def connected(
    scopes: SessionScopes | None = None, **settings: Any
) -> tuple[S3Client, ScriptedS3]:
    """A client, and the server that it is connected to."""
    from twisted.internet import reactor  # noqa: PLC0415

    server = await ScriptedS3.listen(reactor)
    server.respond_with(SmallS3().respond)
    known = StoreSettings(
        bucket="bucket",
        endpoint=server.url,
        **({"access_key": "a", "secret_key": "s", "probe": Probe.NO} | settings),
    )
    return connect(known, scopes=scopes), server


async def closed(store: S3Client, server: ScriptedS3) -> None:
    await store.close()
    await server.close()


async def each_operation(store: ObjectStore, a: ObjectName = A, b: ObjectName = B) -> None:
    """Send each kind of request about an object."""
    await store.put(a, (bytes(70 * KIB),), PLAIN)
    info = await store.head(a)
    await store.get(a, ByteRange(0, 10), CollectingSink())
    await store.copy(info, b)
    await store.copy(info, a, properties=ObjectProperties(metadata={"mtime": "1"}))
    upload = await store.create_upload(b, PLAIN, copies=True)
    part = await store.upload_part(upload, 1, (bytes(70 * KIB),))
    copied = await store.copy_part(upload, 2, info, ByteRange(0, info.size_bytes))
    await store.complete_upload(upload, (part, copied))
    await store.abort_upload(await store.create_upload(b, PLAIN))
    await store.list(a.bucket, a.key)
    await store.delete(a)
