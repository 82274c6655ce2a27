"""What ``--check`` asks of a store, and the gateway at its start: can the users' files be reached?

Knows: `ObjectStore`, settings, and how to put findings in a line each.
Must not know: how a store is reached, or how it is probed; both are handed in.

Rules

1. A fault is what some user would be refused. What the gateway copes with is a note.
2. An answer to HEAD has no body, and so no code: what HEAD is refused is asked again by GET, a
   LIST of one key, which tells whether the key, the secret or the bucket is wrong.
3. A policy may grant the users' prefixes only. Then LIST is asked for each of these.
4. Whether anything may be stored is tried under ``state_prefix``. Where that is refused, a
   multipart upload is begun and aborted under the users' prefixes: nothing of it is ever visible.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from twisted.internet.defer import Deferred, TimeoutError

from sftpgw.errors import AccessDenied, StoreError
from sftpgw.model.clock import Clock
from sftpgw.model.events import Event, EventSink
from sftpgw.model.events.store_events import BucketUnusable, S3RequestRetried
from sftpgw.model.settings import Probe as ProbeChoice
from sftpgw.model.settings import Settings
from sftpgw.model.store import Capabilities, ObjectName, ObjectProperties, ObjectStore
from sftpgw.model.users import Permission, User

LOOK_SECONDS = 10.0
"""How long a bucket is waited for at the start, until the log is told."""

MOST_PREFIXES = 20
"""So many prefixes of a bucket are looked at one by one; those of many users are alike."""

TRIAL = ".sftpgw-check"
"""The name, in a user's folder, of an upload that is begun and aborted."""

_HINTS = {
    "InvalidAccessKeyId": "the store does not know access_key",
    "SignatureDoesNotMatch": "secret_key is not the one of access_key",
    "NoSuchBucket": "make the bucket, or write its right name",
}


class Level(enum.Enum):
    """How much a finding matters."""

    OK = "ok"
    NOTE = "note"
    FAULT = "fault"


Probe = Callable[[ObjectStore, str], Awaitable[Capabilities]]
"""Tries out what the store can do in a bucket."""

Report = Callable[[Level, str], None]
"""Takes a finding: how much it matters, and what it is."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that `--check` found out."""

    level: Level
    text: str

    def __str__(self) -> str:
        return f"{self.level.value}: {self.text}"


class RetryReporter:
    """An `EventSink` for a store that is checked: reports, once, that it is waited for.

    :param report: takes the note.
    :param retry_time_seconds: how long the store is waited for, as ``[s3] retry_time`` says.
    """

    def __init__(self, report: Report, retry_time_seconds: float) -> None:
        self._report = report
        self._retry_time_seconds = retry_time_seconds
        self._is_told = False

    def emit(self, event: Event) -> None:
        """Note the second retry of a request: the first one may be about anything."""
        if not isinstance(event, S3RequestRetried) or event.attempt == 1 or self._is_told:
            return
        self._is_told = True
        text = (
            f"bucket {event.bucket}: {event.code}: {event.reason}; still trying, for up "
            f"to {self._retry_time_seconds:.0f} seconds ([s3] retry_time)"
        )
        self._report(Level.NOTE, text)

    def bind(self, **context: str) -> RetryReporter:
        """Itself: no fact about what is under way is reported."""
        return self


async def check_buckets(
    settings: Settings, store: ObjectStore, probe: Probe, report: Report
) -> None:
    """Look at every bucket that a user can reach, probe it, and report what there is to know."""
    for bucket in buckets_of(settings):
        try:
            await look_at_bucket(settings, store, bucket, report)
        except StoreError as error:
            report(Level.FAULT, f"bucket {bucket}: {reason_of(error)}")
        else:
            await _probe_bucket(settings, store, bucket, probe, report)


def buckets_of(settings: Settings) -> tuple[str, ...]:
    """Each bucket once, in the order of the alphabet."""
    return tuple(sorted({user.bucket for user in settings.users.values()}))


async def look_at_bucket(
    settings: Settings, store: ObjectStore, bucket: str, report: Report
) -> None:
    """Whether it is there, and these credentials reach it; requests that change nothing.

    :raises StoreError: it cannot be used.
    """
    try:
        await store.head_bucket(bucket)
    except StoreError as refused:
        if not 400 <= refused.status < 500:
            raise
        try:
            await _look_by_get(settings, store, bucket, report)
        except StoreError as error:
            # What has no code, as a proxy's answer, tells no more than HEAD did.
            raise error if error.code else refused from None
    else:
        report(Level.OK, f"bucket {bucket}: exists, and these credentials reach it")


async def look_at_buckets(
    settings: Settings, store: ObjectStore, clock: Clock, events: EventSink, report: Report
) -> None:
    """As `look_at_bucket` for each, at the start: what cannot be used is an event, within seconds.

    Where a store does not answer, its other buckets are not waited for.

    :param store: one that gives up soon.
    """
    for bucket in buckets_of(settings):
        looking = Deferred.fromCoroutine(look_at_bucket(settings, store, bucket, report))
        try:
            await looking.addTimeout(LOOK_SECONDS, clock)  # type: ignore[arg-type]
        except TimeoutError:
            reason = f"no answer within {LOOK_SECONDS:.0f} seconds"
            events.emit(BucketUnusable(bucket=bucket, reason=reason))
            return
        except StoreError as error:
            events.emit(BucketUnusable(bucket=bucket, reason=reason_of(error)))
            if not error.status:
                return


async def _look_by_get(settings: Settings, store: ObjectStore, bucket: str, report: Report) -> None:
    """HEAD was refused. :raises StoreError: so is everything else, and why"""
    for prefix, users in _prefixes(settings, bucket):
        where = f"bucket {bucket}: {prefix or 'the whole bucket'}"
        try:
            await store.list(bucket, prefix, delimiter="/", limit=1)
        except AccessDenied as error:
            if error.code not in ("", "AccessDenied"):
                raise
            is_missed = any(user.permissions & Permission.LIST for user in users)
            text = f"{where}: may not be listed: {reason_of(error)}"
            report(Level.FAULT if is_missed else Level.NOTE, text)
        else:
            text = f"{where}: may be listed; the bucket itself may not be asked for, and need not"
            report(Level.OK, text)


async def _probe_bucket(
    settings: Settings, store: ObjectStore, bucket: str, probe: Probe, report: Report
) -> None:
    try:
        able = await probe(store, bucket)
    except AccessDenied as error:
        state = settings.s3.state_prefix
        text = (
            f"bucket {bucket}: {state}: may not be written, read and deleted ({reason_of(error)}): "
            "what the store can do is not tried, folders are not renamed, uploads that are cut "
            "off are not kept, and files over 18 GiB fail"
        )
        report(Level.NOTE, text)
        await _try_writing(settings, store, bucket, report)
    except StoreError as error:
        report(Level.FAULT, f"bucket {bucket}: {reason_of(error)}")
    else:
        report(*judge_capabilities(bucket, settings, able))


async def _try_writing(settings: Settings, store: ObjectStore, bucket: str, report: Report) -> None:
    for prefix, users in _prefixes(settings, bucket):
        if not any(user.permissions & Permission.UPLOAD for user in users):
            continue
        where = f"bucket {bucket}: {prefix or 'the whole bucket'}"
        try:
            upload = await store.create_upload(
                ObjectName(bucket, prefix + TRIAL), ObjectProperties()
            )
            await store.abort_upload(upload)
        except StoreError as error:
            report(Level.FAULT, f"{where}: nothing can be stored: {reason_of(error)}")
        else:
            report(Level.OK, f"{where}: files may be stored")


def _prefixes(settings: Settings, bucket: str) -> Iterator[tuple[str, list[User]]]:
    """Users' prefixes in a bucket, as many as are looked at, and whose they are."""
    found: dict[str, list[User]] = {}
    for user in settings.users.values():
        if user.bucket == bucket:
            found.setdefault(user.key_prefix, []).append(user)
    return islice(found.items(), MOST_PREFIXES)


def judge_capabilities(bucket: str, settings: Settings, able: Capabilities) -> tuple[Level, str]:
    """Whether the store can do all that the configuration does not declare unsupported."""
    declared = settings.s3.capabilities
    lacking = [name for name in able.names(value=False) if name in declared.names(value=True)]
    if lacking:
        every = " ".join(sorted({*able.names(value=False), *declared.names(value=False)}))
        text = f"bucket {bucket}: the store lacks {' '.join(lacking)}; "
        if settings.s3.probe is ProbeChoice.NO:
            return Level.FAULT, f"{text}write into [s3]: unsupported = {every}"
        text += "the gateway finds that out, and does without; not to have it tried, write into"
        return Level.NOTE, f"{text} [s3]: unsupported = {every}"
    spare = [name for name in declared.names(value=False) if name in able.names(value=True)]
    if spare:
        text = f"the store can do what unsupported denies it: {' '.join(spare)}"
        return Level.NOTE, f"bucket {bucket}: {text}"
    return Level.OK, f"bucket {bucket}: the store can do what the gateway asks of it"


def reason_of(error: StoreError) -> str:
    """What the store said, and what to do about it where that is known."""
    kind = error.code or type(error).__name__
    text = f"{kind}: {error.message}" if kind not in error.message else error.message
    return f"{text}; {_HINTS[kind]}" if kind in _HINTS else text
