"""The sweeper: clears away what a crash has left in the store.

Knows: which multipart uploads and hidden objects the gateway may have left, how old they
are, which of them are in use.
Must not know: users, HTTP.

Rules

1. At the start (a little later, so that processes do not meet) and every hour it looks
   below each prefix that the gateway writes to. One run after the other, one request at
   a time: it is in nobody's way.
2. Below a user's prefix it aborts multipart uploads that are older than `[s3]
   abort_stale_uploads`, and does nothing if that is off: other programs may write there.
3. Below the state prefix it does so always, after that time or a week, and deletes
   pieces and leftovers of probes of that age.
4. It never touches what this process has in use or what has a record (`uploads/suspended/plan`).
   What
   the store tells no age of is as old as this process has known it: the log says so once.
   Records that are older than `[files] partials_kept` are removed
   first, with their uploads; where they cannot be read, no upload is aborted.
5. What fails is told, and the rest goes on: with the next upload or object, or, where the
   store cannot be reached or listed, with the next prefix.
6. What is told as aborted or deleted has been looked for again: a store that takes an id or a
   name for another one says that it is gone, too.

MinIO lists the uploads of one exact key only, so there is nothing to find; it aborts
them itself after 24 hours.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from sftpgw.aio.lru import LRUDict
from sftpgw.aio.periodic import PeriodicTask
from sftpgw.errors import (
    CredentialsUnavailable,
    NoSuchObject,
    PreconditionFailed,
    StoreError,
    StoreUnavailable,
)
from sftpgw.files.housekeeping.pages import all_pages
from sftpgw.files.transfers.registry import TransferRegistry
from sftpgw.files.uploads.executor import staging_prefix
from sftpgw.files.uploads.suspended.plan import claims_prefix
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.events.gateway_events import (
    Defect,
    StalePieceDeleted,
    StaleUploadAborted,
    SweepFailed,
    UploadAgesUnknown,
)
from sftpgw.model.settings import StoreSettings
from sftpgw.model.store import MultipartUpload, ObjectInfo, ObjectName, ObjectStore
from sftpgw.model.users import User

EVERY_SECONDS = 3600.0
FIRST_SECONDS = 60.0
MOST_KNOWN = 10_000
STILL_THERE = "the store says that it is gone, and it is still there"
CLAIM_SECONDS = 3600.0
OWN_SECONDS = 7 * 86400.0
"""So old may the gateway's own leftovers become if nothing else is said."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to look: a prefix of a bucket, and what is too old there.

    :param has_objects: whether old objects go as well as uploads; only the gateway's own.
    """

    bucket: str
    prefix: str
    stale_seconds: float
    has_objects: bool = False


def targets_of(settings: StoreSettings, users: Iterable[User]) -> tuple[Target, ...]:
    """All that the gateway writes to, no prefix within another one of the same kind."""
    people = tuple(users)
    buckets = sorted({user.bucket for user in people})
    stale_seconds = settings.abort_stale_uploads_seconds
    own = [
        target
        for bucket in buckets
        for target in _own_targets(bucket, settings.state_prefix, stale_seconds or OWN_SECONDS)
    ]
    if stale_seconds is None:
        return tuple(own)
    given = sorted({(user.bucket, user.key_prefix) for user in people})
    outer: list[tuple[str, str]] = []
    for bucket, prefix in given:  # a prefix sorts before all that begins with it
        if not outer or outer[-1][0] != bucket or not prefix.startswith(outer[-1][1]):
            outer.append((bucket, prefix))
    return (*own, *(Target(bucket, prefix, stale_seconds) for bucket, prefix in outer))


def _own_targets(bucket: str, state_prefix: str, stale_seconds: float) -> tuple[Target, ...]:
    return (
        Target(bucket, staging_prefix(state_prefix), stale_seconds, has_objects=True),
        Target(bucket, f"{state_prefix}probe/", stale_seconds, has_objects=True),
        Target(bucket, claims_prefix(state_prefix), CLAIM_SECONDS, has_objects=True),
    )


class Sweeper:
    """Sweeps now and then, from `start` to `stop`.

    :param random: a number in [0, 1) each time.
    :param expire: removes a bucket's old records, and returns the uploads of the others.
    """

    def __init__(
        self,
        targets: tuple[Target, ...],
        *,
        store: ObjectStore,
        transfers: TransferRegistry,
        clock: Clock,
        events: EventSink,
        random: Callable[[], float],
        expire: Callable[[str], Awaitable[frozenset[MultipartUpload]]],
    ) -> None:
        self._targets = targets
        self._store = store
        self._transfers = transfers
        self._clock = clock
        self._events = events
        self._expire = expire
        self._known_since: LRUDict[MultipartUpload, float] = LRUDict(MOST_KNOWN)
        self._told: set[Target] = set()
        self._rounds = PeriodicTask(
            self.sweep,
            first_seconds=FIRST_SECONDS,
            every_seconds=EVERY_SECONDS,
            clock=clock,
            on_failure=lambda failure: events.emit(Defect(where="sweeper", failure=failure)),
            random=random,
        )

    def start(self) -> None:
        """The first run comes within two minutes."""
        self._rounds.start()

    def stop(self) -> None:
        """Drop a request that is under way, and let no other follow."""
        self._rounds.stop()

    async def sweep(self) -> None:
        """Look everywhere once."""
        for bucket in sorted({target.bucket for target in self._targets}):
            try:
                await self._expire(bucket)
            except StoreError as error:
                self._tell_failure(error, bucket)
        for target in self._targets:
            try:
                await self._sweep_uploads(target)
                if target.has_objects:
                    await self._sweep_objects(target)
            except StoreError as error:
                self._tell_failure(error, target.bucket, prefix=target.prefix)

    async def _clear_away(self, name: ObjectName, clearing: Awaitable[None]) -> bool:
        """Whether it is done. :raises StoreError: nor would the next one succeed"""
        try:
            await clearing
            return True
        except (CredentialsUnavailable, StoreUnavailable):
            raise
        except StoreError as error:
            self._tell_failure(error, name.bucket, key=name.key)
            return False

    def _tell_failure(self, error: StoreError, bucket: str, **where: str) -> None:
        self._events.emit(
            SweepFailed(reason=error.message, code=error.code, bucket=bucket, **where)
        )

    async def _sweep_uploads(self, target: Target) -> None:
        marker: tuple[str, str] | None = None
        while True:
            page = await self._store.list_uploads(target.bucket, target.prefix, marker)
            self._note_ages(target, page.uploads)
            stale = [upload for upload in page.uploads if self._may_abort(target, upload)]
            # Asked after that: what has just ended here has its record by now.
            recorded = await self._expire(target.bucket) if stale else frozenset()
            stale = [upload for upload in stale if upload not in recorded]
            aborted = [
                upload
                for upload in stale
                if await self._clear_away(upload.name, self._store.abort_upload(upload))
            ]
            if aborted:
                again = await self._store.list_uploads(target.bucket, target.prefix, marker)
                self._tell_aborted(aborted, again.uploads)
            if page.next_marker is None or page.next_marker == marker:
                return
            marker = page.next_marker

    def _may_abort(self, target: Target, upload: MultipartUpload) -> bool:
        return (
            upload.name.key.startswith(target.prefix)
            and self._is_old(self._since(upload), target)
            and upload not in self._transfers.pinned
        )

    def _note_ages(self, target: Target, uploads: Iterable[MultipartUpload]) -> None:
        """Remember since when those are known of which the store does not tell it."""
        unknown = [upload for upload in uploads if not upload.initiated_seconds]
        for upload in unknown:
            self._known_since.put(upload, self._since(upload))
        if unknown and target not in self._told:
            self._told.add(target)
            self._events.emit(
                UploadAgesUnknown(bucket=target.bucket, prefix=target.prefix, uploads=len(unknown))
            )

    def _since(self, upload: MultipartUpload) -> float:
        told = upload.initiated_seconds
        return told or self._known_since.get(upload, self._clock.seconds())

    def _tell_aborted(
        self, aborted: Iterable[MultipartUpload], left: tuple[MultipartUpload, ...]
    ) -> None:
        for upload in aborted:
            name = upload.name
            facts = {"bucket": name.bucket, "key": name.key, "upload_id": upload.upload_id}
            if upload in left:
                self._events.emit(SweepFailed(reason=STILL_THERE, code="", **facts))
                continue
            age_seconds = self._clock.seconds() - self._since(upload)
            self._events.emit(StaleUploadAborted(age_seconds=age_seconds, **facts))

    async def _sweep_objects(self, target: Target) -> None:
        async for page in all_pages(self._store, target.bucket, target.prefix):
            for found in page.objects:
                in_use = found.name in self._transfers.pinned
                if self._is_old(found.modified_seconds, target) and not in_use:
                    await self._clear_away(found.name, self._delete(found))

    async def _delete(self, found: ObjectInfo) -> None:
        try:
            await self._store.delete(found.name, if_match=found.etag)
        except PreconditionFailed:
            return  # it was written anew: it is not old any more
        try:
            if (await self._store.head(found.name)).etag == found.etag:
                raise StoreError(STILL_THERE)
        except NoSuchObject:
            pass
        self._events.emit(
            StalePieceDeleted(
                bucket=found.name.bucket,
                key=found.name.key,
                size_bytes=found.size_bytes,
                age_seconds=self._clock.seconds() - found.modified_seconds,
            )
        )

    def _is_old(self, since_seconds: float, target: Target) -> bool:
        return 0 < since_seconds < self._clock.seconds() - target.stale_seconds
