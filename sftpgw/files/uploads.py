"""One upload: carries out what `plan/uploading` decides.

Knows: the store, the budget, and which requests are under way.
Must not know: SFTP, and how large parts are or when they are sent.

The data's way: `write` hands the pieces to the plan, which keeps them, uncopied if
they come in order, in the buffer of their part; they are the request's body. A command is
carried out by a coroutine of its own; how it ended goes back into the plan as
an event, and that is all that leads on.

An answer is withheld (a Deferred instead of None) while the plan is congested or
the budget owes us a part. What a client can send without an answer is bounded by
its SSH window. An upload that is idle while others wait for memory fails.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from sftpgw.errors import (
    AlreadyExists,
    ConditionalConflict,
    GatewayError,
    LimitReached,
    PreconditionFailed,
    StoreError,
    UploadFailed,
)
from sftpgw.files.inflight import InFlight, Registration
from sftpgw.interfaces import Clock, EventSink, MemoryBudget, ObjectStore
from sftpgw.plan.uploading import (
    SMALL_BYTES,
    AbortUpload,
    Command,
    Commands,
    CompleteUpload,
    Finish,
    OpenUpload,
    Phase,
    PutWhole,
    SendPart,
    UploadPlan,
)
from sftpgw.values import (
    AttributeChanges,
    Buffer,
    FileAttributes,
    FileKind,
    MultipartUpload,
    ObjectName,
    ObjectProperties,
    WriteCondition,
)

PRESS_SECONDS = 10.0
"""How often who stands in line asks whether somebody has gone idle."""

IDLE_SECONDS = 60.0
"""So long may an upload hold memory without a write while others wait for it."""


class Upload:
    """Implements `interfaces.FileWriter` on a multipart upload or a single PutObject."""

    def __init__(
        self,
        plan: UploadPlan,
        name: ObjectName,
        *,
        store: ObjectStore,
        budget: MemoryBudget,
        in_flight: InFlight,
        clock: Clock,
        events: EventSink,
        condition: WriteCondition = WriteCondition.NONE,
        storage_class: str = "",
        modified_seconds: float | None = None,
    ) -> None:
        self._plan = plan
        self._name = name
        self._store = store
        self._budget = budget
        self._clock = clock
        self._events = events
        self._condition = condition
        self._storage_class = storage_class
        self._modified_seconds = modified_seconds
        self._opened_seconds = clock.seconds()
        self._registration: Registration = in_flight.register(name, self)
        self._multipart: MultipartUpload | None = None
        self._running = 0
        self._held_bytes = 0
        self._turn: Deferred[None] | None = None
        self._paused: list[Deferred[None]] = []
        self._ends: list[Deferred[None]] = []
        self._has_ended = False
        self._turn_timer: Any = None
        self._asked_bytes = 0
        self._written_seconds = self._opened_seconds
        budget.watch(self._shed)

    # FileWriter.

    def write(self, offset: int, *pieces: Buffer) -> Deferred[None] | None:
        plan = self._plan
        self._written_seconds = self._clock.seconds()
        commands = plan.write(offset, *pieces)
        if commands or plan.failure is not None:
            self._carry_out(commands)
        else:
            self._settle_memory()
        self._demand_success()
        if self._turn is None and not plan.is_congested:
            return None
        paused: Deferred[None] = Deferred(self._paused.remove)
        self._paused.append(paused)
        return paused

    async def set_attributes(self, changes: AttributeChanges) -> None:
        if changes.size_bytes is not None:
            self._carry_out(self._plan.truncate(changes.size_bytes))
        # Metadata is fixed when the object is created: later it is too late.
        if changes.modified_seconds is not None and not self._plan.metadata_is_sent:
            self._modified_seconds = changes.modified_seconds
        self._demand_success()

    async def attributes(self) -> FileAttributes:
        modified_seconds = self._modified_seconds
        if modified_seconds is None:
            modified_seconds = self._clock.seconds()
        return FileAttributes(FileKind.FILE, self._plan.size_bytes, modified_seconds)

    async def sync(self) -> None:
        while self._running and self._plan.failure is None:
            await self._next_end()
        self._demand_success()

    async def commit(self) -> None:
        self._registration.committing()
        self._carry_out(self._plan.finish())
        while not self._has_ended:
            await self._next_end()
        self._demand_success()

    async def abandon(self) -> None:
        if not self._has_ended:
            self._events.tell("upload-abandoned", key=self._name.key, bytes=self._plan.size_bytes)
            self._carry_out(self._plan.fail(UploadFailed("the upload was abandoned")))
        while not self._has_ended:
            await self._next_end()

    # Commands.

    def _carry_out(self, commands: Commands) -> None:
        self._running += len(commands)
        for command in commands:
            done = Deferred.fromCoroutine(self._carry_out_one(command))
            done.addCallback(self._command_ended)
        self._look_around()

    async def _carry_out_one(self, command: Command) -> Commands:
        """Carry out one command; its outcome is the plan's next event."""
        match command:
            case OpenUpload():
                return await self._reported(self._open())
            case SendPart():
                return await self._send_part(command)
            case PutWhole():
                return await self._reported(self._put(command))
            case CompleteUpload():
                return await self._reported(self._complete(command))
            case AbortUpload():
                return await self._reported(self._abort())
            case Finish():
                return ()

    async def _reported(self, request: Coroutine[Any, Any, Commands]) -> Commands:
        try:
            return await request
        except Exception as error:
            return self._plan.fail(self._explained(error))

    async def _open(self) -> Commands:
        self._multipart = await self._store.create_upload(self._name, self._properties())
        return self._plan.upload_opened()

    async def _send_part(self, part: SendPart) -> Commands:
        assert self._multipart is not None, "the plan opens the upload before it sends parts"
        try:
            stored = await self._store.upload_part(self._multipart, part.number, part.body)
        except Exception as error:
            return self._plan.part_failed(part.number, self._explained(error))
        return self._plan.part_stored(stored)

    async def _put(self, whole: PutWhole) -> Commands:
        await self._registration.turn()
        await self._store.put(self._name, whole.body, self._properties(), self._condition)
        return self._stored(whole.size_bytes)

    async def _complete(self, complete: CompleteUpload) -> Commands:
        assert self._multipart is not None, "the plan opens the upload before it completes it"
        await self._registration.turn()
        await self._store.complete_upload(self._multipart, complete.parts, self._condition)
        return self._stored(complete.size_bytes)

    async def _abort(self) -> Commands:
        assert self._multipart is not None, "the plan aborts only what is open"
        try:
            await self._store.abort_upload(self._multipart)
        except StoreError as error:
            upload_id = self._multipart.upload_id
            self._tell_failure("upload-left-behind", error, upload_id=upload_id)
        return ()

    def _stored(self, size_bytes: int) -> Commands:
        self._events.tell(
            "file-stored",
            key=self._name.key,
            bytes=size_bytes,
            seconds=round(self._clock.seconds() - self._opened_seconds, 3),
        )
        return self._plan.published()

    def _properties(self) -> ObjectProperties:
        metadata = {}
        if self._modified_seconds is not None:
            metadata["mtime"] = f"{self._modified_seconds:.9f}".rstrip("0").rstrip(".")
        return ObjectProperties(metadata=metadata, storage_class=self._storage_class)

    def _explained(self, error: Exception) -> GatewayError:
        """The client's words for what has gone wrong."""
        if isinstance(error, PreconditionFailed | ConditionalConflict):
            return AlreadyExists("somebody else has created this file meanwhile")
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
            self._events.tell("defect", where="upload", failure=failure)
        return UploadFailed("the upload failed for an internal reason; see the gateway's log")

    def _look_around(self) -> None:
        """After every change: memory to settle, clients to answer, an end to announce."""
        self._settle_memory()
        if self._plan.failure is not None or (self._turn is None and not self._plan.is_congested):
            self._resume_writers()
        if self._running == 0 and self._plan.phase in (Phase.DONE, Phase.FAILED):
            self._end()
        ends, self._ends = self._ends, []
        for end in ends:
            end.callback(None)

    def _resume_writers(self) -> None:
        paused, self._paused = self._paused, []
        for each in paused:
            if self._plan.failure is None:
                each.callback(None)
            else:
                each.errback(Failure(self._plan.failure))

    def _settle_memory(self) -> None:
        """Hold in the budget what the plan holds in buffers."""
        if self._has_ended:
            return
        more_bytes = self._plan.memory_bytes - self._held_bytes
        if more_bytes < self._asked_bytes:
            # A part was stored meanwhile: who needs less may not wait for more.
            self._leave_line()
        if more_bytes < 0:
            self._held_bytes += more_bytes
            self._budget.release(-more_bytes)
        elif more_bytes and self._turn is None:
            self._reserve(more_bytes)

    def _reserve(self, more_bytes: int) -> None:
        is_small = self._held_bytes + more_bytes <= SMALL_BYTES
        waits_for_gap = self._plan.waits_for_gap
        if (is_small or waits_for_gap) and self._budget.try_charge(more_bytes):
            self._held_bytes += more_bytes
        elif waits_for_gap:
            # In line it could not go on: the missing write is behind withheld answers.
            error = LimitReached("there is no memory for writes out of order now; try again")
            self._carry_out(self._plan.fail(error))
        elif (turn := self._budget.acquire(more_bytes)) is None:
            self._held_bytes += more_bytes
        else:
            self._turn = turn
            self._asked_bytes = more_bytes
            self._turn_timer = self._clock.callLater(PRESS_SECONDS, self._press)
            turn.addCallbacks(self._granted, lambda _: None, callbackArgs=(more_bytes,))

    def _granted(self, _: None, more_bytes: int) -> None:
        self._turn = None
        self._asked_bytes = 0
        self._turn_timer.cancel()
        self._held_bytes += more_bytes
        self._look_around()

    def _leave_line(self) -> None:
        if self._turn is not None:
            turn, self._turn = self._turn, None
            self._asked_bytes = 0
            self._turn_timer.cancel()
            turn.cancel()

    def _press(self) -> None:
        """Still in line: somebody may have gone idle meanwhile."""
        self._turn_timer = self._clock.callLater(PRESS_SECONDS, self._press)
        self._budget.press()

    def _shed(self) -> None:
        """Others wait for memory, and this client has not sent anything for long."""
        idle_seconds = self._clock.seconds() - self._written_seconds
        if self._held_bytes and self._running == 0 and idle_seconds > IDLE_SECONDS:
            error = LimitReached(
                f"nothing was written for {IDLE_SECONDS:.0f} seconds while others waited for "
                "memory; send the file again"
            )
            self._carry_out(self._plan.fail(error))

    def _end(self) -> None:
        if self._has_ended:
            return
        self._has_ended = True
        self._leave_line()
        self._budget.unwatch(self._shed)
        self._budget.release(self._held_bytes)
        self._held_bytes = 0
        if self._plan.failure is not None and not isinstance(self._plan.failure, UploadFailed):
            self._tell_failure("upload-failed", self._plan.failure)
        self._registration.ended()

    def _tell_failure(self, event: str, error: GatewayError, **facts: str) -> None:
        if isinstance(error, StoreError):
            facts |= {"code": error.code, "request_id": error.request_id}
        self._events.tell(event, key=self._name.key, why=error.message, **facts)

    def _next_end(self) -> Deferred[None]:
        """Fires after the next step."""
        end: Deferred[None] = Deferred(self._ends.remove)
        self._ends.append(end)
        return end

    def _demand_success(self) -> None:
        if self._plan.failure is not None:
            # Raised again and again, it must not drag its first traceback along.
            raise self._plan.failure.with_traceback(None)
