"""One upload: the file that a client writes, from its OPEN to its CLOSE or its loss.

Knows: which commands are under way, which WRITEs wait for a reply, how the file ends.
Must not know: SFTP, and how large parts are or when they are sent.

`write` gives the client's bytes to the plan (`uploads/plan/upload_plan`), which answers with
commands. A coroutine for each command has it carried out (`files/uploads/executor`) and gives the
outcome back to the plan as an event, which may bring further commands. Nothing else drives an
upload.

The data's way: the plan keeps the fragments of a WRITE in the buffer of their part, uncopied if
they come in order; they are the body of the request.

Copies of a byte on its whole way through the process, beside those that the kernel makes: one
over http, five over https; one more for packets that arrive in several reads
(`ssh/packet_reader`), and for fragments that are a small part of their packet (`wire/frames`).

- the packet, one: the cipher writes it anew (`ssh/packet_cipher`).
- from the packet to the request, none: frames, parts and requests have views of the packets;
  those below 4 KiB are joined. Checksums read them where they are.
- http, none: the socket is given the fragments as they are (`buffers/send_buffer`).
- https, four: into OpenSSL's record, where it is enciphered in place; into its BIO; out of that;
  and into `bytes` (`http/tls`). Twisted joins these if TCP has not taken those before: one more.

The reply to a WRITE is withheld (a Deferred instead of None) while the plan is congested or the
upload waits for memory. The SSH window bounds how much a client can send without a reply.

While others wait for memory, an upload that is silent for too long fails (`memory/stall`). Slow
ones give way when slow uploads hold most of the memory (`memory/plan`).

Two doors lead out: `commit` publishes the whole file, `abandon` publishes nothing. With `[files]
on_disconnect = resume` an abandoned upload is suspended (`uploads/suspended`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from sftpgw.aio.delayed_call import cancel_pending
from sftpgw.aio.notifier import Notifier
from sftpgw.errors import (
    ObjectChanged,
    Unsupported,
    UploadFailed,
    again,
)
from sftpgw.files.memory.reservation import UploadReservation
from sftpgw.files.session_context import SessionContext
from sftpgw.files.silly_rename import is_silly_rename
from sftpgw.files.traffic import FileTraffic
from sftpgw.files.transfers.registry import Registration
from sftpgw.files.transfers.transfer_view import TransferKind, TransferView
from sftpgw.files.uploads.executor import UploadExecutor
from sftpgw.files.uploads.metadata import UploadMetadata
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
from sftpgw.files.uploads.reporter import UploadReporter
from sftpgw.files.uploads.suspended.plan import SuspendedUpload
from sftpgw.files.uploads.suspended.storage import SuspendedUploads
from sftpgw.model.filesystem import AttributeChanges, FileAttributes, FileKind
from sftpgw.model.store import MultipartUpload, ObjectName, StoredPart
from sftpgw.model.units import Body, Buffer

DEFAULT_MODE = OpenMode()

SUSPEND_SECONDS = 10.0
"""How long parts are sent once the client is lost. Requests under way then may still end."""


class Upload:
    """Implements `FileWriter` on a multipart upload or a single PutObject.

    :param context: the objects that the session's files use.
    :param plan: decides which parts are sent, and when.
    :param name: the object that CLOSE publishes.
    :param path: the file's path, as the client opened it.
    :param mode: the condition of the publication, the object that is edited and the suspended
        upload that goes on.
    :param modified_seconds: the mtime that OPEN asks for.
    :param may_set_times: whether the user may set the mtime of a stored file that nothing is
        written to.
    :param readback: reads the file while it is written; None if the file was not opened for that.
    :param traffic: counts the written bytes; by default, as a new part of the session's traffic.
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
        self.on_stored: Callable[[ObjectName, FileAttributes], None] | None = None
        self._context = context
        self._plan = plan
        self._path = path
        self._readback = readback or NoReadback(Unsupported("the file is open for writing only"))
        self._registration: Registration = context.transfers.register(
            name, self, mode.base, self._readback.rebase
        )
        self._reporter = UploadReporter(
            context, self._registration, plan, self.traffic, path, is_resumed=bool(mode.resumed)
        )
        self._metadata = UploadMetadata(
            context,
            self._registration,
            plan,
            self._reporter,
            modified_seconds=modified_seconds,
            created_with=mode.resumed.created_with if mode.resumed else None,
            may_set_times=may_set_times,
            like=mode.like,
        )
        suspended = SuspendedUploads(context)
        self._suspended_uploads = suspended if suspended.is_wanted else None
        self._executor = UploadExecutor(
            context,
            self._registration,
            mode,
            properties=self._metadata.properties,
            suspend=self._suspend,
            may_copy=plan.may_copy,
        )
        self._running = 0
        self._reservation = self._reserve()
        self._failed_before_removal = False
        self._suspend_deadline: Any = None
        self._withheld = Notifier(lambda: context.stall_timeout.replies_sent(self))
        self._steps = Notifier()
        self._has_ended = False

    def _reserve(self) -> UploadReservation:
        context, plan = self._context, self._plan
        return UploadReservation(
            plan.memory_need,
            context.budget,
            context.clock,
            context.stall_timeout,
            on_granted=self._after_step,
            on_cut=lambda: self._carry_out(plan.cut_early()),
            on_refused=lambda error: self._carry_out(plan.fail(error)),
            is_busy=lambda: self._running > 0,
        )

    # FileWriter.

    @property
    def published_as(self) -> ObjectName | None:
        registration = self._registration
        return None if registration.is_removed else registration.name

    def view(self) -> TransferView:
        published_as = self.published_as
        return TransferView(
            TransferKind.UPLOAD,
            self._context.user,
            self._context.session,
            self._path,
            published_as.key if published_as else None,
            done_bytes=self.traffic.written_bytes,
            size_bytes=self._plan.size_bytes,
            since_seconds=self._reporter.opened_seconds,
        )

    def write(self, offset: int, *fragments: Buffer) -> Deferred[None] | None:
        plan = self._plan
        size_bytes = sum(map(len, fragments))
        self._reservation.note_write()
        self.traffic.written_bytes += size_bytes
        commands = plan.write(offset, *fragments)
        if commands or plan.end_reason is not None:
            self._carry_out(commands)
        else:
            self._reservation.follow_plan()
        self._require_accepted()
        if not self._reservation.is_waiting and not plan.memory_need.is_congested:
            return None
        return self._withhold_reply()

    def _withhold_reply(self) -> Deferred[None]:
        withheld = self._withheld.wait()
        self._context.stall_timeout.replies_withheld(self)
        return withheld.addCallback(lambda _: self._require_accepted())

    def read(self, offset: int, length: int) -> Body | Deferred[Body]:
        self._require_success()
        return self._readback.read(offset, length)

    async def set_attributes(self, changes: AttributeChanges) -> None:
        if changes.size_bytes is not None:
            self._carry_out(self._plan.truncate(changes.size_bytes))
        if changes.modified_seconds is not None:
            self._metadata.set_mtime(changes.modified_seconds)
        self._require_accepted()

    @property
    def takes_time(self) -> bool:
        return self._metadata.takes_mtime

    def announce_time(self, seconds: float) -> None:
        self._metadata.announce_mtime(seconds)

    async def attributes(self) -> FileAttributes:
        mtime = self._metadata.shown_mtime(self._reservation.written_seconds)
        return FileAttributes(FileKind.FILE, self._plan.size_bytes, mtime)

    async def sync(self) -> None:
        while self._running and self._plan.end_reason is None:
            await self._steps.wait()
        self._require_accepted()

    async def commit(self) -> None:
        self._registration.close()
        if self._is_unnamed:
            await self._drop()
            return
        refusal = await self._metadata.set_mtime_only()
        self._carry_out(self._plan.finish())
        # Cleaning up after a failure may take as long as the store is away.
        while not self._has_ended and self._plan.end_reason is None:
            await self._steps.wait()
        self._require_success()
        if refusal is not None:
            raise refusal

    @property
    def _is_unnamed(self) -> bool:
        """The file was removed, by its name or as libfuse does it: CLOSE stores nothing.

        A file that libfuse has hidden is still stored at CLOSE, unless its multipart upload was
        begun under the old name.
        """
        is_hidden = is_silly_rename(self._registration.name.key) and self._executor.has_moved
        return self._is_unwanted or (is_hidden and self._plan.end_reason is None)

    async def _drop(self) -> None:
        """The file has no name any more: the bytes that were written to it are dropped."""
        self._reporter.dropped()
        self._carry_out(self._plan.fail(UploadFailed("the file was removed")))
        while not self._has_ended:
            await self._steps.wait()

    async def abandon(self) -> None:
        if not self._has_ended:
            if self._plan.is_changed:
                self._reporter.abandoned()
            if self._suspended_uploads is not None:
                self._registration.close()  # a session that opens the file waits for the record
            self._carry_out(self._plan.client_lost())
            if self._plan.is_suspending and self._suspend_deadline is None:
                self._suspend_deadline = self._context.clock.callLater(
                    SUSPEND_SECONDS, self._stop_sending
                )
        while not self._has_ended:
            await self._steps.wait()

    def _stop_sending(self) -> None:
        if self._plan.is_suspending:
            self._carry_out(self._plan.stop_sending())

    # Commands.

    def _carry_out(self, commands: Commands) -> None:
        self._running += len(commands)
        for command in commands:
            done = Deferred.fromCoroutine(self._carry_out_one(command))
            done.addCallback(self._command_ended)
        self._after_step()

    async def _carry_out_one(self, command: Command) -> Commands:
        """Carry out one command; how it ends is the plan's next event."""
        try:
            if isinstance(command, FetchBase):
                await self._wait_for_memory()
            outcome = await self._executor.carry_out(command)
        except Exception as error:
            return self._plan.failed(command, self._reporter.client_error(error))
        if isinstance(command, PutWhole | CompleteUpload):
            self._reporter.stored(command.size_bytes, self._executor.etag)
            await self._metadata.after_publication(command.size_bytes, self._executor.etag)
            if self.on_stored is not None:
                self.on_stored(self._registration.name, await self.attributes())
        if isinstance(command, CompleteUpload) and self._suspended_uploads is not None:
            await self._suspended_uploads.published(self._registration.name)
        return self._plan.succeeded(command, outcome)

    def _command_ended(self, outcome: Commands) -> None:
        self._running -= 1
        self._carry_out(outcome)

    async def _wait_for_memory(self) -> None:
        """Wait for what the plan needs now, which the reservation asks for."""
        self._reservation.follow_plan()
        while self._reservation.is_waiting and self._plan.end_reason is None:
            await self._steps.wait()
        self._require_success()

    async def _suspend(self, upload: MultipartUpload, parts: tuple[StoredPart, ...]) -> bool:
        """Write a record of the upload, so that it stays open; whether it may."""
        if self._suspended_uploads is None:
            return False
        reporter, created_with = self._reporter, self._metadata.created_with
        suspended = SuspendedUpload(
            self._context.user, upload, parts, reporter.opened_seconds, created_with
        )
        return await self._suspended_uploads.suspend(suspended, reporter.facts())

    # What follows from every step.

    def _after_step(self) -> None:
        """Settle memory, release withheld replies, end the upload if nothing is left to do."""
        if self._plan.is_given_up:
            self._executor.stop_retrying()
        self._note_failure()
        self._reservation.follow_plan()
        if self._plan.end_reason is not None or not (
            self._reservation.is_waiting or self._plan.memory_need.is_congested
        ):
            self._release_replies()
        if self._running == 0 and self._plan.phase in (UploadPhase.DONE, UploadPhase.ENDED):
            self._end()
        self._steps.notify_all()

    def _note_failure(self) -> None:
        """ObjectChanged does not count before the removal: REMOVE deletes the base first."""
        failure = self._plan.end_reason
        if failure is not None and not self._registration.is_removed:
            self._failed_before_removal |= not isinstance(failure, ObjectChanged)

    def _release_replies(self) -> None:
        if self._withheld:
            self._reservation.replies_leave()
            self._withheld.notify_all()

    def _end(self) -> None:
        if self._has_ended:
            return
        self._has_ended = True
        cancel_pending(self._suspend_deadline)
        self._reservation.close()
        if self._plan.grant is not None:
            self._plan.grant.close()
        self._readback.close()
        self._reporter.ended()
        self._registration.end()
        self.traffic.end()
        # What leads back here goes, so that no cycle is left for the garbage collector.
        self._executor.end()
        self._withheld = Notifier()

    @property
    def _is_unwanted(self) -> bool:
        """The file was removed; a failure since then does not count, as on a disk."""
        return self._registration.is_removed and not self._failed_before_removal

    def _require_accepted(self) -> None:
        if not self._is_unwanted:
            self._require_success()

    def _require_success(self) -> None:
        if self._plan.end_reason is not None:
            raise again(self._plan.end_reason)
