"""Checks of the store, for ``--check`` and for the gateway's start: can users reach their files?

Knows: `ObjectStore`, settings, and how to write a finding as a line.
Must not know: how a store is reached or probed; callers hand both in.

Rules

1. A fault is something that a user would be refused. A note is something that the gateway copes
   with.
2. The response to HEAD has no body, and so no error code. When HEAD is refused, a LIST of one key
   follows, whose response tells whether the access key, the secret or the bucket is wrong.
3. A policy may grant the users' prefixes only. Then a LIST is sent for each of them.
4. A probe under ``state_prefix`` tells whether the gateway may store anything. Where that is
   refused, a multipart upload is created and aborted under the users' prefixes. It is never
   visible.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice

from twisted.internet.defer import Deferred, TimeoutError

from sftpgw.errors import AccessDenied, StoreError
from sftpgw.model.clock import Clock
from sftpgw.model.events import Event, EventSink
from sftpgw.model.events.store_events import BucketUnusable, S3RequestRetried
from sftpgw.model.mounts import Mount, Permission
from sftpgw.model.settings import FILE_SOURCE, Settings, StoreSettings
from sftpgw.model.settings import Probe as ProbeChoice
from sftpgw.model.store import Capabilities, ObjectName, ObjectProperties, ObjectStore

LOOK_SECONDS = 10.0
"""How long the gateway waits for a bucket at its start before it logs that it is unusable."""

MOST_PREFIXES = 20
"""How many prefixes of a bucket are checked; those of many users are alike."""

TRIAL = ".sftpgw-check"
"""The name of an upload that is created and aborted under a user's prefix."""

_WILDCARDS = frozenset("*?[")

_HINTS = {
    "InvalidAccessKeyId": "the store does not know access_key",
    "XAdminUserNotFound": "the store does not know access_key",
    "SignatureDoesNotMatch": "secret_key is not the one of access_key",
    "NoSuchBucket": "make the bucket, or write its right name",
}


class Level(enum.Enum):
    """How much a finding matters."""

    OK = "ok"
    NOTE = "note"
    FAULT = "fault"


Probe = Callable[[ObjectStore, str], Awaitable[Capabilities]]
"""Finds out which capabilities the store has in a bucket."""

Report = Callable[[Level, str], None]
"""Takes a finding: its level, and its text."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A result of a check."""

    level: Level
    text: str

    def __str__(self) -> str:
        return f"{self.level.value}: {self.text}"


class RetryReporter:
    """An `EventSink` for ``--check``: reports, once, that the check waits for the store.

    :param report: takes the note.
    :param store: the store's settings; its ``retry_time`` bounds the wait.
    """

    def __init__(self, report: Report, store: StoreSettings) -> None:
        self._report = report
        self._store = store
        self._is_told = False

    def emit(self, event: Event) -> None:
        """Report the second retry of a request. A single one has many causes."""
        if not isinstance(event, S3RequestRetried) or event.attempt == 1 or self._is_told:
            return
        self._is_told = True
        text = (
            f"bucket {event.bucket}: {event.code}: {event.reason}; still trying, for up "
            f"to {self._store.retry_time_seconds:.0f} seconds ({self._store.section} retry_time)"
        )
        self._report(Level.NOTE, text)

    def bind(self, **context: str) -> RetryReporter:
        """The same sink: it reports no facts."""
        return self


async def check_buckets(
    settings: Settings,
    store: ObjectStore,
    probe: Probe,
    report: Report,
    buckets: Iterable[str] | None = None,
) -> None:
    """Check and probe every bucket that a user can reach, and report the findings.

    :param settings: names the buckets, and the prefixes of the users.
    :param store: where the buckets are.
    :param probe: finds out what the store can do.
    :param report: takes the findings.
    :param buckets: the buckets to check; None: all.
    """
    for bucket in buckets_of(settings) if buckets is None else buckets:
        try:
            await look_at_bucket(settings, store, bucket, report)
        except StoreError as error:
            report(Level.FAULT, f"bucket {bucket}: {reason_of(error)}")
        else:
            await _probe_bucket(settings, store, bucket, probe, report)


def mounts_of(settings: Settings) -> Iterator[Mount]:
    """The mounts of all users."""
    return (mount for user in settings.users.values() for mount in user.mounts)


def buckets_of(settings: Settings) -> tuple[str, ...]:
    """The users' buckets as far as settings tell, each once, in alphabetical order.

    Where users come from other sources than files, these are also the names in ``allowed_buckets``
    that are no patterns, and ``bucket`` of ``[s3]`` if it is allowed.
    """
    found = {mount.bucket for mount in mounts_of(settings)}
    if settings.auth.sources != (FILE_SOURCE,):
        allowed, default = settings.auth.allowed_buckets, settings.s3.bucket
        found |= {name for name in allowed if not _WILDCARDS & set(name)}
        if default and (not allowed or any(fnmatchcase(default, each) for each in allowed)):
            found.add(default)
    return tuple(sorted(found))


async def look_at_bucket(
    settings: Settings, store: ObjectStore, bucket: str, report: Report
) -> None:
    """Check that a bucket exists and that the credentials reach it. Changes nothing.

    :raises StoreError: the bucket cannot be used.
    """
    try:
        await store.head_bucket(bucket)
    except StoreError as refused:
        if not 400 <= refused.status < 500:
            raise
        try:
            await _look_by_get(settings, store, bucket, report)
        except StoreError as error:
            # A response without a code, as from a proxy, tells no more than HEAD did.
            raise error if error.code else refused from None
    else:
        report(Level.OK, f"bucket {bucket}: exists, and these credentials reach it")


async def look_at_buckets(
    settings: Settings, store: ObjectStore, clock: Clock, events: EventSink, report: Report
) -> None:
    """Check every bucket at the start. One that cannot be used becomes an event, within seconds.

    If a store does not answer for one bucket, its others are not checked.

    :param settings: names the buckets, and the prefixes of the users.
    :param store: the store, with a short deadline.
    :param clock: times the responses.
    :param events: takes `BucketUnusable`.
    :param report: takes a line about each bucket that could be checked.
    """
    away: set[str] = set()
    for bucket in buckets_of(settings):
        name = settings.store_of(bucket).name
        if name in away:
            continue
        look = Deferred.fromCoroutine(look_at_bucket(settings, store, bucket, report))
        try:
            await look.addTimeout(LOOK_SECONDS, clock)  # type: ignore[arg-type]
        except TimeoutError:
            reason = f"no answer within {LOOK_SECONDS:.0f} seconds"
            events.emit(BucketUnusable(bucket=bucket, reason=reason))
            away.add(name)
        except StoreError as error:
            events.emit(BucketUnusable(bucket=bucket, reason=reason_of(error)))
            if not error.status:
                away.add(name)


async def _look_by_get(settings: Settings, store: ObjectStore, bucket: str, report: Report) -> None:
    """Check the users' prefixes, after HEAD was refused.

    :raises StoreError: LIST is refused, too.
    """
    for prefix, mounts in _prefixes(settings, bucket):
        where = f"bucket {bucket}: {prefix or 'the whole bucket'}"
        try:
            await store.list(bucket, prefix, delimiter="/", limit=1)
        except AccessDenied as error:
            if error.code not in ("", "AccessDenied"):
                raise
            is_missed = any(mount.permissions & Permission.LIST for mount in mounts)
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
        state = settings.store_of(bucket).state_prefix
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
    for prefix, mounts in _prefixes(settings, bucket):
        if not any(mount.permissions & Permission.UPLOAD for mount in mounts):
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


def _prefixes(settings: Settings, bucket: str) -> Iterator[tuple[str, list[Mount]]]:
    """The first prefixes in a bucket that are users', each with its mounts.

    Of a bucket of which only users of services and directories have prefixes, it is the whole.
    """
    found: dict[str, list[Mount]] = {}
    for mount in mounts_of(settings):
        if mount.bucket == bucket:
            found.setdefault(mount.key_prefix, []).append(mount)
    return islice((found or {"": []}).items(), MOST_PREFIXES)


def judge_capabilities(bucket: str, settings: Settings, able: Capabilities) -> tuple[Level, str]:
    """Compare what the store can do with what the configuration declares unsupported."""
    store = settings.store_of(bucket)
    declared = store.capabilities
    lacking = [name for name in able.names(value=False) if name in declared.names(value=True)]
    if lacking:
        every = " ".join(sorted({*able.names(value=False), *declared.names(value=False)}))
        text = f"bucket {bucket}: the store lacks {' '.join(lacking)}; "
        if store.probe is ProbeChoice.NO:
            return Level.FAULT, f"{text}write into {store.section}: unsupported = {every}"
        text += "the gateway finds that out, and does without; not to have it tried, write into"
        return Level.NOTE, f"{text} {store.section}: unsupported = {every}"
    spare = [name for name in declared.names(value=False) if name in able.names(value=True)]
    if spare:
        text = f"the store can do what unsupported denies it: {' '.join(spare)}"
        return Level.NOTE, f"bucket {bucket}: {text}"
    return Level.OK, f"bucket {bucket}: the store can do what the gateway asks of it"


def reason_of(error: StoreError) -> str:
    """The store's error, and what to do about it where that is known."""
    kind = error.code or type(error).__name__
    text = f"{kind}: {error.message}" if kind not in error.message else error.message
    return f"{text}; {_HINTS[kind]}" if kind in _HINTS else text
