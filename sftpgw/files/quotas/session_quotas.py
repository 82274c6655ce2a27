"""The quotas of one session's user: what may be stored, and what was.

Knows: which quotas and places a file counts in, and what was seen of it.
Must not know: SFTP, how the figures are shared with other processes (`quotas/keeper`).

Rules

1. An OPEN for writing waits until it is known how much is stored: for ten seconds at most, and
   only when this process meets the place for the first time in a while. Then it goes on, and what
   the process itself stores counts.
2. Whether a file replaces another one is asked for, with a HEAD, only where a quota is nearly used
   up. Elsewhere the file counts as new if nothing was seen of it, and the next count corrects that.
3. What is stored counts at once, in all accounts of the process that the session's user has.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from sftpgw.errors import FileError
from sftpgw.files.quotas.keeper import QuotaKeeper
from sftpgw.files.quotas.plan.account import PlaceAccount
from sftpgw.files.quotas.plan.quota import Quota, QuotaState, UploadGrant
from sftpgw.files.quotas.plan.usage import NOTHING_STORED, Place, Usage
from sftpgw.model.filesystem import Space
from sftpgw.model.store import ObjectName
from sftpgw.model.units import KIB

BLOCK_BYTES = 4 * KIB

Accounts = dict[Place, PlaceAccount]


class SessionQuotas:
    """The quotas of one user, who has some.

    :param user: the name of the user.
    :param quotas: the quotas.
    :param keeper: has the accounts of all places.
    """

    def __init__(self, user: str, quotas: tuple[Quota, ...], keeper: QuotaKeeper) -> None:
        self._user = user
        self._quotas = quotas
        self._keeper = keeper

    # What counts where.

    def _states(self, name: ObjectName, *, is_blind: bool = False) -> tuple[QuotaState, ...]:
        return tuple(
            QuotaState(quota, tuple(map(self._keeper.account, quota.places)), hides=is_blind)
            for quota in self._quotas
            if quota.holds(name)
        )

    def _accounts(self, name: ObjectName) -> Accounts:
        return {
            place: self._keeper.account(place)
            for quota in self._quotas
            for place in quota.places
            if place.holds(name)
        }

    def counts_alike(self, source: ObjectName, target: ObjectName) -> bool:
        """Whether a file that gets another name stays in the same quotas.

        :param source: the old name.
        :param target: the new name.
        """
        return self._accounts(source).keys() == self._accounts(target).keys()

    # Before something is stored.

    async def wait_until_known(self, name: ObjectName) -> None:
        """Wait until it is known how much is stored, or for ten seconds (rule 1).

        :param name: the file that is to be stored.
        """
        for state in self._states(name):
            for account in state.accounts:
                await self._keeper.wait_until_known(account)

    def is_tight(self, name: ObjectName) -> bool:
        """Whether a quota of a file is nearly used up, and it is not known what it replaces.

        :param name: the file.
        """
        if self._keeper.find_size(name) is not None:
            return False
        return any(state.is_tight for state in self._states(name))

    def require_space(
        self,
        name: ObjectName,
        path: str,
        *,
        announced_bytes: int | None,
        suspended_bytes: int | None,
        is_blind: bool,
    ) -> None:
        """Check that something may be written to a file.

        :param name: the file.
        :param path: its path, for the client.
        :param announced_bytes: the size that the file is to have; None if it is not known yet.
        :param suspended_bytes: the bytes of a suspended upload of it, which count already; None
            if there is none.
        :param is_blind: whether the client must not learn how much is stored.
        :raises QuotaExceeded: it may not.
        """
        before = self._keeper.find_size(name) or NOTHING_STORED
        if suspended_bytes is not None:
            before = Usage(suspended_bytes, 1)
        least_bytes = 1 if suspended_bytes is not None or not before.size_bytes else 0
        more_bytes = (announced_bytes or 0) - before.size_bytes
        needed = Usage(max(least_bytes, more_bytes), 0 if before.files else 1)
        for state in self._states(name, is_blind=is_blind):
            if state.is_tight:
                for account in state.accounts:
                    account.note_tight()
            with _named(path):
                state.require(needed)

    def begin_upload(
        self,
        name: ObjectName,
        *,
        resumed_bytes: int | None = None,
        moved_from: ObjectName | None = None,
        is_blind: bool = False,
    ) -> UploadGrant | None:
        """What an upload may reserve; None if no quota has to grant anything.

        :param name: the file.
        :param resumed_bytes: the bytes of the suspended upload that goes on; None for a new one.
        :param moved_from: the file that gets this name, so that it is there once in the end; None
            for a new file.
        :param is_blind: whether the client must not learn how much is stored.
        :raises QuotaExceeded: no file may be added.
        """
        states, accounts = self._states(name, is_blind=is_blind), self._accounts(name)
        if moved_from is not None:
            states = tuple(each for each in states if not each.quota.holds(moved_from))
            known = self._accounts(moved_from)
            accounts = {place: each for place, each in accounts.items() if place not in known}
        if not states:
            return None
        resumed = NOTHING_STORED if resumed_bytes is None else Usage(resumed_bytes, 1)
        before = self._keeper.find_size(name) or NOTHING_STORED
        grant = UploadGrant(states, tuple(accounts.values()), before, resumed)
        if resumed_bytes is not None:
            self.suspended_gone(name, resumed_bytes)  # it is reserved from now on
        return grant

    # What was seen and done.

    def note(self, name: ObjectName, size_bytes: int | None) -> None:
        """A file was seen.

        :param name: the file.
        :param size_bytes: its size; None if there is none.
        """
        if any(quota.holds(name) for quota in self._quotas):
            self._keeper.note_size(self._user, name, size_bytes)

    def stored(self, name: ObjectName, size_bytes: int) -> None:
        """A file was stored.

        :param name: the file.
        :param size_bytes: its size.
        """
        self._changed(name, size_bytes)

    def removed(self, name: ObjectName) -> None:
        """A file was removed. One that was not seen before counts until the next count.

        :param name: the file.
        """
        self._changed(name, None)

    def _changed(self, name: ObjectName, size_bytes: int | None) -> None:
        accounts = self._accounts(name)
        if accounts:
            self._keeper.changed(self._user, name, size_bytes, tuple(accounts.values()))

    def suspended(self, name: ObjectName, size_bytes: int) -> None:
        """An upload was suspended.

        :param name: its file.
        :param size_bytes: what is kept of it.
        """
        self._adjust(self._accounts(name), Usage(size_bytes, 1))

    def suspended_gone(self, name: ObjectName, size_bytes: int) -> None:
        """A suspended upload goes on, or was aborted.

        :param name: its file.
        :param size_bytes: what was kept of it.
        """
        self._adjust(self._accounts(name), Usage(-size_bytes, -1))

    def _adjust(self, accounts: Accounts, delta: Usage) -> None:
        for account in accounts.values():
            self._keeper.adjust(account, delta)

    # Renames.

    @contextmanager
    def moving(self, source: ObjectName, target: ObjectName, size_bytes: int) -> Iterator[None]:
        """The store copies a file to a new name in here, which counts if that succeeds.

        :param source: the old name.
        :param target: the new name.
        :param size_bytes: the size of the file.
        :raises QuotaExceeded: there is no space at the new place.
        """
        grant = self.begin_upload(target, moved_from=source)
        try:
            if grant is not None:
                grant.extend(size_bytes)
            yield
            self.stored(target, size_bytes)
        finally:
            if grant is not None:
                grant.close()

    def begin_directory_move(self, source: ObjectName, target: ObjectName) -> DirectoryMove:
        """A directory gets another name.

        :param source: its prefix.
        :param target: its new prefix.
        """
        before, after = self._accounts(source), self._accounts(target)
        states = tuple(
            QuotaState(quota, tuple(map(self._keeper.account, quota.places)))
            for quota in self._quotas
            if quota.holds(target) and not quota.holds(source)
        )
        gaining = {place: after[place] for place in after.keys() - before.keys()}
        losing = {place: before[place] for place in before.keys() - after.keys()}
        return DirectoryMove(self._keeper, states, gaining, losing)

    # What df shows.

    def space(self, name: ObjectName, nominal: Space) -> Space:
        """The space of a directory: of the quota of which least is left.

        :param name: the prefix of the directory.
        :param nominal: what is shown where nothing is limited.
        """
        for state in self._states(name):
            limits, left = state.quota.limits, state.left.at_least_nothing
            if limits.max_bytes is not None:
                free_blocks = left.size_bytes // BLOCK_BYTES
                if free_blocks * BLOCK_BYTES <= nominal.free_blocks * nominal.block_bytes:
                    nominal = replace(
                        nominal,
                        block_bytes=BLOCK_BYTES,
                        total_blocks=-(-limits.max_bytes // BLOCK_BYTES),
                        free_blocks=free_blocks,
                    )
            if limits.max_files is not None and left.files <= nominal.free_files:
                nominal = replace(nominal, total_files=limits.max_files, free_files=left.files)
        return nominal


class DirectoryMove:
    """Many objects that get other names at once.

    :param keeper: has the accounts.
    :param states: the quotas that they come into.
    :param gaining: the accounts that they come into.
    :param losing: the accounts that they leave.
    """

    def __init__(
        self,
        keeper: QuotaKeeper,
        states: tuple[QuotaState, ...],
        gaining: Accounts,
        losing: Accounts,
    ) -> None:
        self._keeper = keeper
        self._states = states
        self._gaining = gaining
        self._losing = losing
        self._reserved = NOTHING_STORED

    def reserve(self, total: Usage) -> None:
        """All of them were counted.

        :param total: what they count together.
        :raises QuotaExceeded: there is no space for them.
        """
        for state in self._states:
            state.require(total)
        self._reserved = total
        for account in self._gaining.values():
            account.reserved += total

    def end(self, moved: Usage) -> None:
        """The move has ended.

        :param moved: what was moved: nothing if it has failed.
        """
        for account in self._gaining.values():
            account.reserved -= self._reserved
            self._keeper.adjust(account, moved)
        for account in self._losing.values():
            self._keeper.adjust(account, NOTHING_STORED - moved)
        self._reserved = NOTHING_STORED
        self._keeper.forget_sizes()


@contextmanager
def _named(path: str) -> Iterator[None]:
    """A refusal in here names the file."""
    try:
        yield
    except FileError as error:
        raise type(error)(f"{path}: {error.message}") from None
