"""Users of other sources than users.ini: what a source says of a user, and what all have in common.

Knows: which keys of ``[*]`` and of groups do not count beside those of the source.
Must not know: how a source is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from sftpgw.config.ini_file import Faults, Section
from sftpgw.config.user_values import PLACES
from sftpgw.config.users_ini import BucketChecks, UserRules, layers_of, made_user
from sftpgw.model.settings import DYNAMODB_SOURCE
from sftpgw.model.steps import finish
from sftpgw.model.users import User


class GivenUsers:
    """Makes users of what another source than users.ini says of them.

    ``[*]`` and the groups of users.ini count for them, too. If the source says where the files of a
    user are, what these say of places does not count.

    :param common: ``[*]`` and the groups by their section's name, less what is at fault.
    :param rules: what users are judged by.
    :param allowed_buckets: patterns of the buckets that they may have; empty for all.
    """

    def __init__(
        self, common: Mapping[str, Section], rules: UserRules, allowed_buckets: tuple[str, ...]
    ) -> None:
        self._common = common
        # What makes users of answers checks roles: it has the policies of the source.
        self._rules = replace(rules, role_check=lambda user: None)
        self._allowed_buckets = allowed_buckets

    def make(
        self, name: str, given: Mapping[str, str], source: str, groups: Sequence[str] = ()
    ) -> User:
        """The user.

        :param name: the user's name.
        :param given: what the source says: keys of users.ini, with their texts.
        :param source: the name of the source.
        :param groups: groups of the source. Those count that users.ini has, before those that
            `given` names, in the order in which users.ini has them.
        :raises ConfigError: it makes no sense; has every fault.
        """
        faults = Faults()
        counted = [each[1:] for each in self._common if each[1:] in groups]
        if counted:
            given = {**given, "groups": "\n".join((*counted, given.get("groups", "")))}
        common = {
            each: replace(section, given=self._inherited(section, given), faults=faults)
            for each, section in self._common.items()
        }
        own = Section(Path(source), name, given, faults)
        user = replace(
            finish(made_user(layers_of(own, common), self._rules_for(source))), source=source
        )
        buckets = BucketChecks(self._rules)
        buckets.add(user, own)
        finish(buckets.judge())
        for mount in user.mounts:
            if not mount.bucket:
                own.fault("bucket", "is missing; name a bucket, here or in [s3]")
            allowed = self._allowed_buckets
            if allowed and not any(fnmatchcase(mount.bucket, pattern) for pattern in allowed):
                own.fault("", f"has the bucket {mount.bucket!r}: [auth] allowed_buckets denies it")
        if faults.lines:
            raise faults.error
        return user

    def _rules_for(self, source: str) -> UserRules:
        """A source that verifies passwords itself need not give any proof. A table has all."""
        is_table = source == DYNAMODB_SOURCE
        return self._rules if is_table else replace(self._rules, has_authorities=True)

    def _inherited(self, section: Section, given: Mapping[str, str]) -> dict[str, str]:
        has_places = any(key in given for key in PLACES)
        return {
            key: text for key, text in section.given.items() if not (has_places and key in PLACES)
        }
