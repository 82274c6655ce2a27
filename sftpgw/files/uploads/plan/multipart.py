"""Which requests make an object out of parts.

Knows: which multipart uploads are open, which parts are under way, which are stored.
Must not know: how parts come about, or how a request is sent.

Rules

1. A multipart upload is created when its first part is here, or is to be copied. Upload 0 is the
   object's own; the others are staging uploads (`uploads/plan/staging_layout`), which are not
   created before it.
2. Parts are sent in their order, at most `concurrency` at once; their bytes stay here until the
   store confirms them.
3. A staging upload that is full is completed once its parts are stored, then its object is copied
   into upload 0 while later parts arrive, then deleted. Preserved bytes of the base object are
   copied into upload 0 as they come. At most `concurrency` copies run at once.
4. At the end, when each part is stored and each staging object copied, upload 0 is completed.
5. Given up, with no request under way any more: open uploads are aborted, and staging objects that
   are, or may be, complete are deleted. If the upload is to be suspended, upload 0 stays open, and
   the parts that are whole are sent to it before; staging uploads do not go on.

A staging upload:  WANTED → OPENING → OPEN → COMPLETING → COMPLETE → COPYING → (gone)
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sftpgw.files.uploads.plan.staging_layout import StagingLayout
from sftpgw.files.uploads.plan.upload_commands import (
    AbortUpload,
    CompleteStaging,
    CompleteUpload,
    CopyBase,
    CopyStaging,
    CreateUpload,
    DropStaging,
    SendPart,
    Step,
)
from sftpgw.files.uploads.suspended.plan import durable
from sftpgw.model.store import ByteRange, StoredPart
from sftpgw.model.units import Body


class State(enum.IntEnum):
    """How far an upload has come."""

    WANTED = 0
    OPENING = 1
    OPEN = 2
    COMPLETING = 3
    COMPLETE = 4
    COPYING = 5


@dataclass(slots=True)
class _StartedUpload:
    """One multipart upload.

    :param number: 0 is the object's own.
    :param state: how far it has come.
    :param stored: the parts that the store has confirmed.
    :param unstored: how many parts it has not confirmed. Copies of the base object are among them,
        copies of staging objects are not.
    :param is_full: no part follows.
    """

    number: int
    state: State = State.WANTED
    stored: list[StoredPart] = field(default_factory=list)
    unstored: int = 0
    is_full: bool = False

    @property
    def parts(self) -> tuple[StoredPart, ...]:
        return tuple(sorted(self.stored, key=lambda part: part.number))

    @property
    def size_bytes(self) -> int:
        return sum(part.size_bytes for part in self.stored)


class MultipartPlan:
    """The parts of one object on their way to the store.

    :param layout: which multipart upload each part belongs to.
    :param concurrency: how many parts are sent, and how many are copied, at the same time.
    :param is_open: whether upload 0 is open already, and goes on.
    :ivar held_bytes: how many bytes of parts are here.
    :ivar parts_at_hand: how many parts are here.
    """

    def __init__(self, layout: StagingLayout, concurrency: int, *, is_open: bool = False) -> None:
        self.held_bytes = 0
        self.parts_at_hand = 0
        self._layout = layout
        self._concurrency = concurrency
        self._own = _StartedUpload(0, State.OPEN if is_open else State.WANTED)
        self._stagings: dict[int, _StartedUpload] = {}
        self._copied_stagings: list[int] = []
        self._ready: list[SendPart] = []  # an empty deque is 0.6 KiB, for each open file
        self._at_hand: dict[int, SendPart] = {}
        self._base_copies: list[CopyBase] = []
        self._copying_base = 0
        self._copied_base: list[ByteRange] = []
        self._has_ended = False
        self._is_winding_up = False

    # Parts.

    @property
    def stored_parts(self) -> int:
        """How many parts the lists have that complete the uploads."""
        staged = sum(len(each.stored) for each in self._stagings.values())
        return len(self._own.stored) + staged

    def adopt(self, parts: Iterable[StoredPart]) -> None:
        """The first parts of upload 0 are stored already."""
        self._own.stored += parts

    def add(self, number: int, body: Body, size_bytes: int, offset: int) -> None:
        """Part `number` of the object is whole.

        :param number: one more than the part before.
        :param body: its bytes.
        :param size_bytes: how many they are.
        :param offset: where they begin in the file.
        """
        address = self._layout.address(number)
        upload = self._upload(address.upload)
        upload.unstored += 1
        upload.is_full = self._layout.fills(address)
        part = SendPart(address.number, body, size_bytes, address.upload, offset)
        self._ready.append(part)
        self._at_hand[offset] = part
        self.held_bytes += size_bytes
        self.parts_at_hand += 1

    def copy_base(self, copy_number: int, wanted: ByteRange) -> None:
        """Preserved bytes of the base object follow, as part `copy_number` of upload 0."""
        self._end_staging()
        self._own.unstored += 1
        self._base_copies.append(CopyBase(copy_number, wanted))
        self._copied_base.append(wanted)

    def end(self) -> None:
        """No part follows."""
        self._has_ended = True
        self._end_staging()

    def _end_staging(self) -> None:
        for staging in self._stagings.values():
            staging.is_full = True

    def part_with(self, offset: int) -> SendPart | None:
        """The part with the byte at `offset`, if its bytes are still here."""
        for part in self._at_hand.values():
            if part.offset <= offset < part.offset + part.size_bytes:
                return part
        return None

    def copied_with(self, offset: int) -> ByteRange | None:
        """The range of the base object that is copied and has the byte at `offset`."""
        index = bisect_right(self._copied_base, offset, key=lambda copied: copied.start) - 1
        if index < 0 or offset >= self._copied_base[index].stop:
            return None
        return self._copied_base[index]

    # How requests ended.

    def succeeded(self, step: Step, part: StoredPart | None) -> None:
        """The store has done it; `part` is the stored part of a step that sends or copies one."""
        match step:
            case CreateUpload():
                self._upload(step.upload).state = State.OPEN
            case SendPart():
                upload = self._upload(step.upload)
                self._part_ended(upload, step)
                upload.stored.append(_known(part))
            case CopyBase():
                self._copying_base -= 1
                self._own.unstored -= 1
                self._own.stored.append(_known(part))
            case CompleteStaging():
                self._stagings[step.upload].state = State.COMPLETE
            case CopyStaging():
                del self._stagings[step.upload]
                self._copied_stagings.append(step.upload)
                self._own.stored.append(_known(part))

    def failed(self, step: Step) -> None:
        """The store has refused it for good."""
        match step:
            case CreateUpload():
                self._upload(step.upload).state = State.WANTED
            case SendPart():
                self._part_ended(self._upload(step.upload), step)

    def _part_ended(self, upload: _StartedUpload, sent: SendPart) -> None:
        upload.unstored -= 1
        self.held_bytes -= sent.size_bytes
        self.parts_at_hand -= 1
        del self._at_hand[sent.offset]

    def _upload(self, number: int) -> _StartedUpload:
        return (
            self._own if number == 0 else self._stagings.setdefault(number, _StartedUpload(number))
        )

    # What follows.

    def next_steps(self) -> Iterator[Step]:
        """All steps that can begin now; they count as begun."""
        yield from self._creations()
        yield from self._sends()
        if self._is_winding_up:
            return
        for staging in tuple(self._stagings.values()):
            if staging.is_full and not staging.unstored and staging.state is State.OPEN:
                staging.state = State.COMPLETING
                yield CompleteStaging(staging.number, staging.parts, staging.size_bytes)
        yield from self._copies()
        yield from self._drops()
        if self._has_ended and not self._own.unstored and not self._stagings:
            self._own.state = State.COMPLETING
            yield CompleteUpload(self._own.parts, self._own.size_bytes)

    def _creations(self) -> Iterator[Step]:
        if self._is_winding_up and not self._ready:
            return
        for upload in (self._own, *self._stagings.values()):
            may_open = upload is self._own or (
                self._own.state is State.OPEN and not self._is_winding_up
            )
            if upload.state is State.WANTED and may_open:
                upload.state = State.OPENING
                yield CreateUpload(upload.number)

    def _sends(self) -> Iterator[Step]:
        under_way = self.parts_at_hand - len(self._ready)
        while self._ready and under_way < self._concurrency:
            if self._upload(self._ready[0].upload).state is not State.OPEN:
                return
            under_way += 1
            yield self._ready.pop(0)

    def _copies(self) -> Iterator[Step]:
        copying = sum(staging.state is State.COPYING for staging in self._stagings.values())
        copying += self._copying_base
        while self._base_copies and self._own.state is State.OPEN and copying < self._concurrency:
            copying += 1
            self._copying_base += 1
            yield self._base_copies.pop(0)
        for staging in self._stagings.values():
            if staging.state is State.COMPLETE and copying < self._concurrency:
                copying += 1
                staging.state = State.COPYING
                copy_number = self._layout.copy_number(staging.number)
                yield CopyStaging(staging.number, copy_number, staging.size_bytes)

    def _drops(self) -> Iterator[Step]:
        while self._copied_stagings:
            yield DropStaging(self._copied_stagings.pop())

    # The end.

    def discard(self) -> None:
        """Drop the parts that are not under way."""
        for part in self._ready:
            self._part_ended(self._upload(part.upload), part)
        self._ready.clear()
        self._base_copies.clear()

    def wind_up(self) -> None:
        """From now on only upload 0 goes on, with the parts that are here."""
        self._is_winding_up = True
        for part in [part for part in self._ready if part.upload]:
            self._part_ended(self._upload(part.upload), part)
            self._ready.remove(part)
        self._base_copies.clear()

    def durable(self, limit_bytes: int) -> tuple[StoredPart, ...]:
        """The parts of upload 0 that can be resumed; see `suspended.plan.durable`."""
        return durable(self._own.stored, limit_bytes)

    def leftovers(self, *, suspends: bool = False) -> Iterator[Step]:
        """The steps that clean up; no request may be under way. To be called once.

        :param suspends: whether upload 0 stays open.
        """
        yield from self._drops()
        for upload in (self._own, *self._stagings.values()):
            if suspends and upload is self._own:
                continue
            if State.OPEN <= upload.state <= State.COMPLETING:
                yield AbortUpload(upload.number)
            if upload.number and upload.state >= State.COMPLETING:
                yield DropStaging(upload.number)
        self._own = _StartedUpload(0)
        self._stagings.clear()


def _known(part: StoredPart | None) -> StoredPart:
    assert part is not None, "a part that was stored has an ETag"
    return part
