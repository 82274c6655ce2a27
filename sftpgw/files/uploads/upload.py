"""One upload: carries out what `uploads/plan/upload_plan` decides.

Knows: which commands are under way, what the upload holds in memory, who waits.
Must not know: SFTP, and how large parts are or when they are sent.

The data's way: `write` hands the pieces to the plan, which keeps them, uncopied if
they come in order, in the buffer of their part; they are the request's body. A command is
carried out by a coroutine of its own (`files/uploads/executor`); how it ended goes back into the
plan as an event, and that is all that leads on.

Copies of a byte on its whole way through the process, beside those that the kernel makes: one
over http, five over https; one more in packets that have not come in one piece
(`ssh/packet_reader`),
and where a piece of a WRITE is a small part of its packet (`wire/frames`).

- the packet, one: the cipher writes it anew (`ssh/packet_cipher`).
- from the packet to the request, none: frames, parts and requests have views of the packets; those
  below 4 KiB are joined. Checksums read them where they are.
- http, none: the socket is given the pieces as they are (`outflow`).
- https, four: into OpenSSL's record, where it is enciphered in place; into its BIO; out of that;
  and into `bytes` (`http/tls`). Twisted joins these if TCP has not taken those before: one more.

An answer is withheld (a Deferred instead of None) while the plan is congested or
the budget owes us a part. What a client can send without an answer is bounded by
its SSH window.

Bytes of the object below are asked for once there is memory for them.

While others wait for memory, an upload that was silent for too long fails (`stall_timeout`); if
its user holds more than their share, so does one that has hardly moved in that time: by less
than what counts as a small upload.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from sftpgw.aio.delayed_call import cancel_pending
from sftpgw.aio.notifier import Notifier
from sftpgw.errors import (
    AlreadyExists,
    ConditionalConflict,
    GatewayError,
    LimitReached,
    NoSuchObject,
    NoSuchUpload,
    ObjectChanged,
    PermissionDenied,
    PreconditionFailed,
    Unsupported,
    UploadFailed,
)
from sftpgw.files.copies.preserved_properties import MTIME, mtime_text, restated
from sftpgw.files.listing.plan import attributes_of
from sftpgw.files.memory.reservation import Reservation
from sftpgw.files.mtimes.setter import MtimeSetter
from sftpgw.files.renames.silly_rename import is_silly_rename
from sftpgw.files.session_context import SessionContext
from sftpgw.files.traffic import FileTraffic, upload_purpose
from sftpgw.files.transfers.registry import Registration
from sftpgw.files.transfers.transfer_view import TransferKind, TransferView
from sftpgw.files.uploads.executor import UploadExecutor
from sftpgw.files.uploads.open_mode import OpenMode
from sftpgw.files.uploads.plan.upload_commands import (
    Command,
    Commands,
    CompleteUpload,
    FetchBase,
    PutWhole,
)
from sftpgw.files.uploads.plan.upload_plan import UploadPhase, UploadPlan
from sftpgw.files.uploads.readback import NoReadback, Readback
from sftpgw.files.uploads.relocation import Relocator
from sftpgw.files.uploads.suspended.plan import SuspendedUpload
from sftpgw.files.uploads.suspended.storage import SuspendedUploads
from sftpgw.model.events.gateway_events import Defect
from sftpgw.model.events.upload_events import (
    FileStored,
    UploadAbandoned,
    UploadDropped,
    UploadFacts,
    UploadFailedEvent,
    failure_facts,
)
from sftpgw.model.filesystem import AttributeChanges, FileAttributes, FileKind
from sftpgw.model.store import (
    NO_METADATA,
    MultipartUpload,
    ObjectInfo,
    ObjectName,
    ObjectProperties,
    StoredPart,
)
from sftpgw.model.units import Body, Buffer

NO_TIMES = "nothing was written to the file, and you may not set the times of stored files here"

DEFAULT_MODE = OpenMode()

KEEP_SECONDS = 10.0
"""So long is anything more sent once the client is lost. What is under way then may end."""


class Upload:
    """Implements `FileWriter` on a multipart upload or a single PutObject.

    :param context: what the session's files stand on.
    :param plan: decides what is sent, and when.
    :param name: the object that CLOSE publishes.
    :param path: the file's path, as the client opened it.
    :param mode: the condition of the publication, the object that is edited and the suspended
        upload that goes on.
    :param modified_seconds: the mtime that OPEN asks for.
    :param may_set_times: whether the user may set the mtime of a stored file that nothing is
        written to.
    :param readback: reads what is being written; None if the file was not opened for that.
    :param traffic: counts what is written; by default, a new part of the session's traffic.
    """

    def __init__(
        self,
        context: SessionContext,
        plan: UploadPlan,
        name: ObjectName,
        *,
        path: str = "",
        mode: OpenMode = DEFAULT_MODE,
        modified_seconds: float | None = None,
        may_set_times: bool = True,
        readback: Readback | NoReadback | None = None,
        traffic: FileTraffic | None = None,
    ) -> None:
        self.traffic = traffic or context.traffic.begin()
        resumed = mode.resumed
        suspended_uploads = SuspendedUploads(context)
        self._path = path
        self._user, self._session = context.user, context.session
        self._plan = plan
        self._clock = context.clock
        self._events = context.events
        self._store = context.store
        self._storage_class = context.settings.storage_class
        self._readback = readback or NoReadback(Unsupported("the file is open for writing only"))
        self._modified_seconds = modified_seconds
        self._is_resumed = resumed is not None
        self._created_with = resumed.created_with if resumed else None
        self._suspended_uploads = suspended_uploads if suspended_uploads.is_wanted else None
        self._mtime_setter = MtimeSetter(context)
        self._may_set_times = may_set_times
        self._stall_timeout = context.stall_timeout
        self._registration: Registration = context.transfers.register(
            name, self, mode.base, self._readback.rebase
        )
        self._executor = UploadExecutor(
            store=context.store,
            registration=self._registration,
            relocator=Relocator(context),
            clock=context.clock,
            events=context.events,
            state_prefix=context.settings.state_prefix,
            condition=mode.condition,
            properties=self._properties,
            keep=self._keep,
            resumed=resumed.upload if resumed else None,
            may_copy=plan.may_copy,
        )
        self._reservation = Reservation(
            context.budget, context.clock, granted=self._look_around, on_pressure=self._shed
        )
        self._running = 0
        self._has_failed_in_time = False
        """It has failed, and not only since the file was removed."""
        self._hurry: Any = None
        self._paused = Notifier(self._on_none_withheld)
        self._steps = Notifier()
        self._has_ended = False
        self._opened_seconds = self._written_seconds = context.clock.seconds()
        self._silent_since_seconds = self._slow_since_seconds = self._opened_seconds
        self._moved_bytes = 0

    # FileWriter.

    @property
    def published_as(self) -> ObjectName | None:
        registration = self._registration
        return None if registration.is_removed else registration.name

    def view(self) -> TransferView:
        published_as = self.published_as
        return TransferView(
            TransferKind.UPLOAD,
            self._user,
            self._session,
            self._path,
            published_as.key if published_as else None,
            done_bytes=self.traffic.written_bytes,
            size_bytes=self._plan.size_bytes,
            since_seconds=self._opened_seconds,
        )

    def write(self, offset: int, *pieces: Buffer) -> Deferred[None] | None:
        plan = self._plan
        self._note_progress(sum(map(len, pieces)))
        commands = plan.write(offset, *pieces)
        if commands or plan.failure is not None:
            self._carry_out(commands)
        else:
            self._settle_memory()
        self._demand_welcome()
        if not self._reservation.is_waiting and not plan.is_congested:
            return None
        return self._withheld_answer()

    def _withheld_answer(self) -> Deferred[None]:
        withheld = self._paused.wait()
        self._stall_timeout.withheld(self)
        return withheld.addCallback(lambda _: self._demand_welcome())

    def _on_none_withheld(self) -> None:
        self._stall_timeout.answered(self)

    def read(self, offset: int, length: int) -> Body | Deferred[Body]:
        self._demand_success()
        return self._readback.read(offset, length)

    async def set_attributes(self, changes: AttributeChanges) -> None:
        if changes.size_bytes is not None:
            self._carry_out(self._plan.truncate(changes.size_bytes))
        if changes.modified_seconds is not None:
            self._set_time(changes.modified_seconds)
        self._demand_welcome()

    def _set_time(self, seconds: float) -> None:
        """Metadata is fixed when the object is created; what comes later is set at the end."""
        is_late = self._plan.metadata_is_sent and seconds != self._created_with
        if is_late:
            self._mtime_setter.demand_possible(self._plan.size_bytes)
        self._modified_seconds = seconds

    @property
    def takes_time(self) -> bool:
        plan = self._plan
        is_open = plan.is_changed and not plan.metadata_is_sent and plan.failure is None
        return is_open and self._may_set_times and self._modified_seconds is None

    def foresee_time(self, seconds: float) -> None:
        if self.takes_time:
            self._modified_seconds = seconds

    async def attributes(self) -> FileAttributes:
        modified_seconds = self._modified_seconds
        base = self._registration.base
        if modified_seconds is None and base is not None and not self._plan.is_changed:
            modified_seconds = attributes_of(base).modified_seconds
        if modified_seconds is None:
            modified_seconds = self._written_seconds
        return FileAttributes(FileKind.FILE, self._plan.size_bytes, modified_seconds)

    async def sync(self) -> None:
        while self._running and self._plan.failure is None:
            await self._next_end()
        self._demand_welcome()

    async def commit(self) -> None:
        self._registration.close()
        if self._is_unnamed:
            await self._drop()
            return
        refusal = await self._set_time_only()
        self._carry_out(self._plan.finish())
        # What clears up behind a failure may take as long as the store is away.
        while not self._has_ended and self._plan.failure is None:
            await self._next_end()
        self._demand_success()
        if refusal is not None:
            raise refusal

    @property
    def _is_unnamed(self) -> bool:
        """The file was removed, as libfuse does it or by its name: what it has is not stored.

        Where its upload needs no key that it has lost, what libfuse has hidden is stored until
        it is removed: it may be open twice.
        """
        is_hidden = is_silly_rename(self._registration.name.key) and self._executor.has_moved
        return self._is_nobodys or (is_hidden and self._plan.failure is None)

    async def _drop(self) -> None:
        """The file has no name any more, so that nobody misses what was written to it."""
        self._events.emit(
            UploadDropped(
                size_bytes=self._plan.size_bytes, seconds=self._open_seconds, **self._facts()
            )
        )
        self._carry_out(self._plan.fail(UploadFailed("the file was removed")))
        while not self._has_ended:
            await self._next_end()

    async def abandon(self) -> None:
        if not self._has_ended:
            if self._plan.is_changed:
                self._events.emit(
                    UploadAbandoned(size_bytes=self._plan.size_bytes, **self._facts())
                )
            if self._suspended_uploads is not None:
                self._registration.close()  # who opens the file again waits for the record
            self._carry_out(self._plan.lose())
            if self._plan.is_keeping and self._hurry is None:
                self._hurry = self._clock.callLater(KEEP_SECONDS, self._hurry_up)
        while not self._has_ended:
            await self._next_end()

    def _hurry_up(self) -> None:
        if self._plan.is_keeping:
            self._carry_out(self._plan.hurry())

    # Commands.

    def _carry_out(self, commands: Commands) -> None:
        self._running += len(commands)
        for command in commands:
            done = Deferred.fromCoroutine(self._carry_out_one(command))
            done.addCallback(self._command_ended)
        self._look_around()

    async def _carry_out_one(self, command: Command) -> Commands:
        """Carry out one command; how it ends is the plan's next event."""
        try:
            if isinstance(command, FetchBase):
                await self._memory()
            outcome = await self._executor.carry_out(command)
        except Exception as error:
            return self._plan.failed(command, self._explained(error))
        if isinstance(command, PutWhole | CompleteUpload):
            self._events.emit(
                FileStored(
                    size_bytes=command.size_bytes,
                    seconds=self._open_seconds,
                    etag=self._executor.etag.strip('"'),
                    **self._facts(command.size_bytes),
                )
            )
            await self._settle_time(command.size_bytes)
        if isinstance(command, CompleteUpload) and self._suspended_uploads is not None:
            await self._suspended_uploads.published(self._registration.name)
        return self._plan.succeeded(command, outcome)

    @property
    def _open_seconds(self) -> float:
        """For how long the file has been open."""
        return round(self._clock.seconds() - self._opened_seconds, 3)

    def _facts(self, size_bytes: int | None = None) -> UploadFacts:
        """Which file is written, why, and where its bytes came from.

        :param size_bytes: how large the file is; None takes its size now.
        """
        name = self._registration.name
        base = self._registration.base
        purpose = upload_purpose(
            self.traffic,
            self._plan.size_bytes if size_bytes is None else size_bytes,
            below_bytes=None if base is None else base.size_bytes,
            is_resumed=self._is_resumed,
        )
        return {
            "key": name.key,
            "bucket": name.bucket,
            "path": self._path or None,
            "purpose": purpose,
            **self.traffic.written_facts(),
        }

    async def _settle_time(self, size_bytes: int) -> None:
        """The file is stored: whatever becomes of its time, the upload has succeeded."""
        name = self._registration.name
        stored = ObjectInfo(name, size_bytes, self._executor.etag, self._opened_seconds)
        try:
            await self._mtime_setter.published(
                stored, created_with=self._created_with, wanted=self._modified_seconds
            )
        except Exception:
            self._unforeseen(Failure())

    async def _set_time_only(self) -> PermissionDenied | None:
        """Nothing was written to a file that exists, but perhaps it was given a time.

        Who may overwrite an empty file may give it one: overwritten with nothing, it has one too.
        Returns why it was not set, if that is to be told.
        """
        seconds = self._modified_seconds
        is_untouched = not self._plan.is_changed and self._plan.failure is None
        base = self._registration.base
        if base is None or seconds is None or not is_untouched:
            return None
        if not self._may_set_times and base.size_bytes:
            is_set = int(attributes_of(base).modified_seconds or 0) == int(seconds)
            return None if is_set else PermissionDenied(NO_TIMES)
        try:
            await self._registration.commit.wait()
            await self._mtime_setter.touched(self._registration.base or base, seconds)
        except Exception:
            self._unforeseen(Failure())
        return None

    async def _properties(self) -> ObjectProperties:
        metadata = {}
        self._created_with = self._modified_seconds
        if self._modified_seconds is not None:
            metadata[MTIME] = mtime_text(self._modified_seconds)
        base, tags = await self._base_and_tags()
        if base is None:
            return ObjectProperties(metadata=metadata, storage_class=self._storage_class)
        kept = restated(base, tags=tags)
        # The bytes are new, so that the old time is not theirs.
        others = {name: value for name, value in kept.metadata.items() if name != MTIME}
        # Stores without classes know none by name.
        is_usual = kept.storage_class == "STANDARD" and not self._storage_class
        storage_class = "" if is_usual else kept.storage_class
        return replace(kept, metadata=others | metadata, storage_class=storage_class)

    async def _base_and_tags(self) -> tuple[ObjectInfo | None, Mapping[str, str]]:
        while (base := self._registration.base) is not None and base.tag_count:
            try:
                return base, await self._store.tags(base.name)
            except NoSuchObject:
                if base is self._registration.base:
                    break  # nothing of it may be needed; if something is, that fails
        return base, NO_METADATA

    async def _keep(self, upload: MultipartUpload, parts: tuple[StoredPart, ...]) -> bool:
        if self._suspended_uploads is None:
            return False
        return await self._suspended_uploads.keep(
            SuspendedUpload(
                self._suspended_uploads.user,
                upload,
                parts,
                self._opened_seconds,
                self._created_with,
            ),
            self._facts(),
        )

    def _explained(self, error: Exception) -> GatewayError:
        """The client's words for what has gone wrong."""
        if isinstance(error, PreconditionFailed | ConditionalConflict):
            return AlreadyExists("somebody else has created this file meanwhile")
        if isinstance(error, NoSuchUpload) and self._is_resumed:
            return UploadFailed(
                "what had been sent of this file is gone from the store; send it from the beginning"
            )
        if not isinstance(error, GatewayError):
            return self._unforeseen(Failure(error))
        # The error stays for as long as the handle: what led to it held the part's bytes.
        error.__cause__ = error.__context__ = None
        return error.with_traceback(None)

    # What follows from every step.

    def _command_ended(self, outcome: Commands) -> None:
        self._running -= 1
        self._carry_out(outcome)

    def _unforeseen(self, failure: Failure) -> GatewayError:
        """A defect, or the process going down: it ends the upload, and nothing else."""
        if not failure.check(CancelledError):
            self._events.emit(Defect(where="upload", failure=failure))
        return UploadFailed("the upload failed for an internal reason; see the gateway's log")

    def _look_around(self) -> None:
        """After every change: memory to settle, clients to answer, an end to announce."""
        if self._plan.is_given_up:
            self._executor.give_up()
        self._note_failure()
        self._settle_memory()
        if self._plan.failure is not None or not (
            self._reservation.is_waiting or self._plan.is_congested
        ):
            self._resume_writers()
        if self._running == 0 and self._plan.phase in (UploadPhase.DONE, UploadPhase.FAILED):
            self._end()
        self._steps.notify_all()

    def _note_failure(self) -> None:
        """What fails for want of the object below may do so since that is being removed."""
        failure = self._plan.failure
        if failure is not None and not self._registration.is_removed:
            self._has_failed_in_time |= not isinstance(failure, ObjectChanged)

    def _resume_writers(self) -> None:
        if self._paused:
            # However long they had to wait, nobody could write more before.
            self._silent_since_seconds = self._slow_since_seconds = self._clock.seconds()
            self._paused.notify_all()

    # Memory.

    def _settle_memory(self) -> None:
        """Hold in the budget what the plan holds in buffers."""
        if self._has_ended:
            return
        more_bytes = self._reservation.settle(self._plan.sent_bytes, self._plan.filling_bytes)
        if more_bytes:
            self._reserve(more_bytes)

    def _reserve(self, more_bytes: int) -> None:
        is_small = self._reservation.held_bytes + more_bytes <= self._plan.small_bytes
        waits_for_gap = self._plan.waits_for_gap
        if (is_small or waits_for_gap) and self._reservation.take(more_bytes):
            return
        if waits_for_gap:
            # In line it could not go on: the missing write is behind withheld answers.
            error = LimitReached(
                "there is no memory now for writes out of order, or here and there; try again"
            )
            self._carry_out(self._plan.fail(error))
        else:
            self._reservation.ask(more_bytes)

    async def _memory(self) -> None:
        """Wait for what the plan needs now; it was told to the budget, or will be at once."""
        self._settle_memory()
        while self._reservation.is_waiting and self._plan.failure is None:
            await self._next_end()
        self._demand_success()

    def _note_progress(self, size_bytes: int) -> None:
        self._written_seconds = self._silent_since_seconds = self._clock.seconds()
        self._moved_bytes += size_bytes
        self.traffic.written_bytes += size_bytes
        if self._moved_bytes >= self._plan.small_bytes:
            self._moved_bytes = 0
            self._slow_since_seconds = self._silent_since_seconds

    def _shed(self) -> None:
        """Others wait for memory. Who holds some and does not move on with it gives way."""
        if not self._reservation.held_bytes or self._running or self._reservation.is_waiting:
            return
        is_silent = self._stall_timeout.is_over(self._silent_since_seconds)
        if is_silent or (
            self._stall_timeout.is_over(self._slow_since_seconds)
            and self._reservation.is_over_fair_share
        ):
            self._carry_out(self._plan.fail(self._gives_way(is_silent=is_silent)))

    def _gives_way(self, *, is_silent: bool) -> LimitReached:
        stall_timeout = self._stall_timeout
        return LimitReached(
            f"{'nothing' if is_silent else 'hardly anything'} was written for "
            f"{stall_timeout.limit_seconds:.0f} seconds while others waited for memory; send the "
            f"file "
            f"again{', and fewer at the same time' if stall_timeout.is_held_up else ''}"
        )

    def _end(self) -> None:
        if self._has_ended:
            return
        self._has_ended = True
        cancel_pending(self._hurry)
        self._reservation.close()
        self._readback.close()
        failure = self._plan.failure
        if failure is not None and not isinstance(failure, UploadFailed):
            self._events.emit(UploadFailedEvent(**failure_facts(failure), **self._facts()))
        self._registration.end()
        self.traffic.end()

    def _next_end(self) -> Deferred[None]:
        """Fires after the next step."""
        return self._steps.wait()

    @property
    def _is_nobodys(self) -> bool:
        """The file was removed; what has failed since then is of no account, as on a disk."""
        return self._registration.is_removed and not self._has_failed_in_time

    def _demand_welcome(self) -> None:
        if not self._is_nobodys:
            self._demand_success()

    def _demand_success(self) -> None:
        if self._plan.failure is not None:
            # Raised again and again, it must not drag its first traceback along.
            raise self._plan.failure.with_traceback(None)
