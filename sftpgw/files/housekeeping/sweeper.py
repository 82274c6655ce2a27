"""The sweeper: removes what a crash has left in the store.

Knows: which multipart uploads and hidden objects the gateway may have left, how old they are, and
which of them are in use.
Must not know: users, HTTP.

Rules

1. It runs some time after the start, so that processes do not run at the same moment, and then
   every hour. It looks below each prefix that the gateway writes to: one run at a time with one
   request at a time, so that it holds up no other work.
2. Below the prefix of a user it aborts multipart uploads that are older than `[s3]
   abort_stale_uploads`. If that is off, it does nothing there: other programs may write there.
3. Below the state prefix it always does so, after that time or a week, and deletes staging objects
   and leftovers of probes of that age.
4. It never touches what is pinned by a transfer of this process or has a record
   (`uploads/suspended/plan`). If the store tells no age, the age counts from the first time that
   this process saw the upload, and the log says so once. Records older than `[files]
   partials_kept` are removed first, with their uploads. If records cannot be read, no upload is
   aborted.
5. A failure is logged, and the sweep goes on: with the next upload or object, or with the next
   prefix if the store cannot be reached, the prefix cannot be listed, or it takes too long.
6. Before an upload or object is reported as aborted or deleted, it is looked for again: a store
   that takes an id or a name for another one reports success, too.

MinIO lists the uploads of one exact key only, so that none is found there; it aborts them itself
after 24 hours.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as WaitedTooLong

from sftpgw.aio.lru import LRUDict
from sftpgw.aio.once import Once
from sftpgw.aio.periodic import PeriodicTask
from sftpgw.errors import (
    CredentialsUnavailable,
    NoSuchObject,
    PreconditionFailed,
    StoreError,
    StoreUnavailable,
)
from sftpgw.files.housekeeping.pages import all_pages
from sftpgw.files.listing.progress import Progress
from sftpgw.files.transfers.registry import TransferRegistry
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
from sftpgw.model.piece_names import pieces_prefix
from sftpgw.model.settings import StoreSettings
from sftpgw.model.store import MultipartUpload, ObjectInfo, ObjectName, ObjectStore
from sftpgw.model.users import User

EVERY_SECONDS = 3600.0
FIRST_SECONDS = 60.0
MAX_KNOWN = 10_000
PREFIX_SECONDS = 1800.0
"""How long one prefix is swept, so that a bucket that never ends holds up no other one."""

STILL_THERE = "the store says that it is gone, and it is still there"
CLAIM_SECONDS = 3600.0
OWN_SECONDS = 7 * 86400.0
"""The age at which the gateway's own leftovers are removed if no other is configured."""


@dataclass(frozen=True, slots=True)
class Target:
    """One prefix to sweep.

    :param bucket: the bucket.
    :param prefix: what the keys begin with.
    :param stale_seconds: the age from which uploads and objects are removed.
    :param has_objects: whether old objects are removed as well as uploads; the gateway's own only.
    """

    bucket: str
    prefix: str
    stale_seconds: float
    has_objects: bool = False

    def holds(self, bucket: str, prefix: str) -> bool:
        """Whether another prefix is inside of this one."""
        return bucket == self.bucket and prefix.startswith(self.prefix)


def targets_of(
    settings_of: Callable[[str], StoreSettings], users: Iterable[User], more: Iterable[str] = ()
) -> tuple[Target, ...]:
    """The prefixes that the gateway writes to, none inside another one of the same kind.

    :param settings_of: returns the settings of the store that a bucket is in: the state prefix,
        and the age of stale uploads.
    :param users: their mounts name the buckets and prefixes.
    :param more: further buckets in which the gateway may have keys of its own.
    """
    mounts = [mount for user in users for mount in user.mounts]
    buckets = sorted({mount.bucket for mount in mounts}.union(more))
    own = [target for bucket in buckets for target in _own_targets(bucket, settings_of(bucket))]
    given = sorted({(mount.bucket, mount.key_prefix) for mount in mounts})
    outer: list[Target] = []
    for bucket, prefix in given:  # a prefix sorts before all that begins with it
        stale_seconds = settings_of(bucket).abort_stale_uploads_seconds
        if stale_seconds is not None and not (outer and outer[-1].holds(bucket, prefix)):
            outer.append(Target(bucket, prefix, stale_seconds))
    return (*own, *outer)


def _own_targets(bucket: str, settings: StoreSettings) -> tuple[Target, ...]:
    state_prefix = settings.state_prefix
    stale_seconds = settings.abort_stale_uploads_seconds or OWN_SECONDS
    return (
        Target(bucket, pieces_prefix(state_prefix), stale_seconds, has_objects=True),
        Target(bucket, f"{state_prefix}probe/", stale_seconds, has_objects=True),
        Target(bucket, claims_prefix(state_prefix), CLAIM_SECONDS, has_objects=True),
    )


class Sweeper:
    """Sweeps periodically, from `start` to `stop`.

    :param targets: the prefixes to sweep.
    :param store: the store.
    :param transfers: knows which uploads and objects are pinned.
    :param clock: the time, and the timer of the next run.
    :param events: hears what was removed and what failed.
    :param random: returns a number in [0, 1), which spreads the runs of several processes.
    :param expire: removes the old records of a bucket, and returns the uploads of the others.
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
        self._targets = dict.fromkeys(targets)
        self._store = store
        self._transfers = transfers
        self._clock = clock
        self._events = events
        self._expire = expire
        self._first_seen: LRUDict[MultipartUpload, float] = LRUDict(MAX_KNOWN)
        self._reported: Once[Target] = Once(MAX_KNOWN)
        self._task = PeriodicTask(
            self.sweep,
            first_seconds=FIRST_SECONDS,
            every_seconds=EVERY_SECONDS,
            clock=clock,
            on_failure=lambda failure: events.emit(Defect(where="sweeper", failure=failure)),
            random=random,
        )

    def start(self) -> None:
        """The first run comes within two minutes."""
        self._task.start()

    def stop(self) -> None:
        """Cancel the request in progress, and send no other."""
        self._task.stop()

    def add_targets(self, targets: Iterable[Target]) -> None:
        """Sweep these prefixes, too, from the next run on. Those of users who are gone stay.

        :param targets: the prefixes of users who have come since the start.
        """
        self._targets |= dict.fromkeys(targets)

    async def sweep(self) -> None:
        """Sweep all targets once. Never raises StoreError."""
        for bucket in sorted({target.bucket for target in self._targets}):
            try:
                await self._in_time(self._expire(bucket))
            except StoreError as error:
                self._report_failure(error, bucket)
        for target in tuple(self._targets):
            try:
                await self._in_time(self._sweep_target(target))
            except StoreError as error:
                self._report_failure(error, target.bucket, prefix=target.prefix)

    async def _sweep_target(self, target: Target) -> None:
        await self._sweep_uploads(target)
        if target.has_objects:
            await self._sweep_objects(target)

    async def _in_time(self, work: Awaitable[object]) -> None:
        """Await the work for one prefix, or for the records of a bucket.

        :raises StoreUnavailable: it has taken `PREFIX_SECONDS`.
        """
        try:
            await Deferred.fromCoroutine(_run(work)).addTimeout(PREFIX_SECONDS, self._clock)  # type: ignore[arg-type]
        except WaitedTooLong:
            raise StoreUnavailable("it takes too long; the next sweep tries again") from None

    async def _try(self, name: ObjectName, removal: Awaitable[None]) -> bool:
        """Await the removal of an upload or object. Returns whether it succeeded.

        :raises StoreError: it failed in a way in which the next one would fail, too.
        """
        try:
            await removal
            return True
        except (CredentialsUnavailable, StoreUnavailable):
            raise
        except StoreError as error:
            self._report_failure(error, name.bucket, key=name.key)
            return False

    def _report_failure(self, error: StoreError, bucket: str, **where: str) -> None:
        self._events.emit(
            SweepFailed(reason=error.message, code=error.code, bucket=bucket, **where)
        )

    async def _sweep_uploads(self, target: Target) -> None:
        marker: tuple[str, str] | None = None
        progress = Progress()
        while True:
            page = await self._store.list_uploads(target.bucket, target.prefix, marker)
            self._note_ages(target, page.uploads)
            stale = [upload for upload in page.uploads if self._may_abort(target, upload)]
            # Read the records last: an upload suspended a moment ago has its record by now.
            recorded = await self._expire(target.bucket) if stale else frozenset()
            stale = [upload for upload in stale if upload not in recorded]
            aborted = [
                upload
                for upload in stale
                if await self._try(upload.name, self._store.abort_upload(upload))
            ]
            if aborted:
                again = await self._store.list_uploads(target.bucket, target.prefix, marker)
                self._report_aborted(aborted, again.uploads)
            if page.next_marker is None:
                return
            progress = progress.after(page.next_marker, is_empty=not page.uploads)
            marker = page.next_marker

    def _may_abort(self, target: Target, upload: MultipartUpload) -> bool:
        return (
            upload.name.key.startswith(target.prefix)
            and self._is_stale(self._since(upload), target)
            and upload not in self._transfers.pinned
        )

    def _note_ages(self, target: Target, uploads: Iterable[MultipartUpload]) -> None:
        """Remember when uploads were first seen whose age the store does not tell."""
        unknown = [upload for upload in uploads if not upload.initiated_seconds]
        for upload in unknown:
            self._first_seen.put(upload, self._since(upload))
        if unknown and self._reported.is_new(target):
            self._events.emit(
                UploadAgesUnknown(bucket=target.bucket, prefix=target.prefix, uploads=len(unknown))
            )

    def _since(self, upload: MultipartUpload) -> float:
        initiated_seconds = upload.initiated_seconds
        return initiated_seconds or self._first_seen.get(upload, self._clock.seconds())

    def _report_aborted(
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
                if self._is_stale(found.modified_seconds, target) and not in_use:
                    await self._try(found.name, self._delete(found))

    async def _delete(self, found: ObjectInfo) -> None:
        try:
            await self._store.delete(found.name, if_match=found.etag)
        except PreconditionFailed:
            return  # it was written anew, so that it is not old any more
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

    def _is_stale(self, since_seconds: float, target: Target) -> bool:
        return 0 < since_seconds < self._clock.seconds() - target.stale_seconds


async def _run(work: Awaitable[object]) -> None:
    await work
