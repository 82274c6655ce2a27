"""Tells those who clean up where users have files: at the start, at a reload, and at logins.

Knows: the sweeper and the recovery of renames. Must not know: what they do there.

Users of files are known from the start. Which buckets users of services, directories and tables
have is known once one of them logs in, so that a session is what tells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sftpgw.files.housekeeping.sweeper import Sweeper, targets_of
from sftpgw.files.renames.recovery import RenameRecovery
from sftpgw.model.mounts import Mount
from sftpgw.model.settings import StoreSettings
from sftpgw.model.users import User

MOST_LEARNT = 10_000
"""Of how many users of other sources than files the places are remembered."""


class Housekeeper:
    """Sweeps, and finishes renames, where users have files.

    :param settings_of: returns the settings of the store that a bucket is in.
    :param sweeper: sweeps.
    :param recovery: finishes renames that were interrupted.
    """

    def __init__(
        self,
        settings_of: Callable[[str], StoreSettings],
        sweeper: Sweeper,
        recovery: RenameRecovery,
    ) -> None:
        self._settings_of = settings_of
        self._sweeper = sweeper
        self._recovery = recovery
        self._learnt: set[tuple[Mount, ...]] = set()

    def start(self) -> None:
        """Begin."""
        self._sweeper.start()
        self._recovery.start()

    def stop(self) -> None:
        """End for good."""
        self._sweeper.stop()
        self._recovery.stop()

    def add(self, users: Sequence[User]) -> None:
        """Look after the places of these users, too.

        :param users: the users.
        """
        self._sweeper.add_targets(targets_of(self._settings_of, users))
        buckets = {mount.bucket for user in users for mount in user.mounts}
        self._recovery.add_buckets(sorted(buckets))

    def on_session(self, user: User) -> None:
        """Look after the places of a user who has logged in, unless files have told of them.

        :param user: the user.
        """
        is_known = not user.source or user.mounts in self._learnt
        if not is_known and len(self._learnt) < MOST_LEARNT:
            self._learnt.add(user.mounts)
            self.add((user,))
