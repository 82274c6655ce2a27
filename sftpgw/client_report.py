"""``check --client-report``: which partners a stricter policy would lock out, from the log.

Knows: the lines of the events of logins. Must not know: the configuration, or any algorithm.

Each login has the strictest policy that would have let its client in. So a log of some weeks tells
who uses what, before ``[ssh] policy`` is changed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sftpgw.model.settings import Policy

MOST_ROWS = 100
"""How many kinds of refused clients are shown, the most frequent ones."""

UNKNOWN = "unknown"

_EVENTS = (
    "client-version",
    "login-succeeded",
    "algorithms-differ",
    "login-key-unfit",
    "session-closed",
)
_LINE = re.compile(r"""[^"']*?\[(sftpgw[\w.]*)#\w+\] (\S+) (.*)""")
"""A line of the gateway. Only the first mark counts: a client may send a name that looks like a
line, and such names come in quotes."""
_FACT = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)')
_ESCAPE = re.compile(r"\\([\"\\])")


@dataclass(frozen=True, slots=True)
class Partner:
    """A user with one client.

    :ivar policy: the strictest policy that lets the client in.
    :ivar user: the user's name.
    :ivar client: the client's version.
    """

    policy: str
    user: str
    client: str


@dataclass(frozen=True, slots=True)
class Locked:
    """A kind of client that was refused.

    :ivar client: its version.
    :ivar why: what it and the gateway do not have in common.
    :ivar lets_in: the setting that would let it in.
    :ivar who: the user that it named; its address, where it got no further.
    """

    client: str
    why: str
    lets_in: str
    who: str


@dataclass
class ClientReport:
    """What a log says of clients.

    :ivar logins: how many there were of each partner.
    :ivar refusals: how many there were of each kind.
    """

    logins: Counter[Partner] = field(default_factory=Counter)
    refusals: Counter[Locked] = field(default_factory=Counter)

    @classmethod
    def of(cls, lines: Iterable[str]) -> ClientReport:
        """What the lines say.

        :param lines: those of one or more logs, in their order.
        """
        report = cls()
        versions: dict[str, str] = {}
        for event, facts in _events_in(lines):
            session = facts.get("session", "")
            if event == "client-version":
                versions[session] = _short(facts.get("version", ""))
            elif event == "session-closed":
                versions.pop(session, None)
            else:
                report._count(event, facts, versions.get(session, UNKNOWN))
        return report

    def _count(self, event: str, facts: Mapping[str, str], version: str) -> None:
        client = _short(facts["client"]) if "client" in facts else version
        lets_in = facts.get("lets_in", UNKNOWN)
        user = facts.get("user", UNKNOWN)
        if event == "login-succeeded":
            self.logins[Partner(facts.get("policy", UNKNOWN), user, client)] += 1
        elif event == "login-key-unfit":
            self.refusals[Locked(client, facts.get("reason", UNKNOWN), lets_in, user)] += 1
        else:
            host = facts.get("peer", UNKNOWN).rpartition(":")[0]
            why = f"no {facts.get('setting', UNKNOWN).replace('_', ' ')} in common"
            self.refusals[Locked(client, why, lets_in, host)] += 1

    def text(self) -> str:
        """The report, for people."""
        parts = [self._logins_text(), *map(self._lockout_text, Policy), self._refusals_text()]
        return "\n".join(part for part in parts if part)

    def _logins_text(self) -> str:
        if not self.logins:
            return "no login has a policy: is it the log of this version?\n"
        rows = sorted(self.logins.items(), key=lambda row: (row[0].policy, row[0].user))
        cells = [(each.policy, each.user, each.client, str(count)) for each, count in rows]
        return _table(("needs policy", "user", "client", "logins"), cells)

    def _lockout_text(self, policy: Policy) -> str:
        """Who would be locked out by a policy; empty for the last one, which locks out no login."""
        stricter = [each.value for each in Policy][: list(Policy).index(policy) + 1]
        partners = {
            f"{each.user} ({each.client})" for each in self.logins if each.policy not in stricter
        }
        if policy is Policy.LEGACY or not self.logins:
            return ""
        return f"policy = {policy.value} would lock out: {', '.join(sorted(partners)) or 'none'}\n"

    def _refusals_text(self) -> str:
        rows = self.refusals.most_common(MOST_ROWS)
        cells = [
            (each.client, each.why, each.lets_in, each.who, str(count)) for each, count in rows
        ]
        heads = ("refused client", "why", "what lets it in", "user or address", "times")
        return _table(heads, cells) if cells else ""


def _events_in(lines: Iterable[str]) -> Iterator[tuple[str, dict[str, str]]]:
    for line in lines:
        found = _LINE.match(line)
        if found is not None and found[1] == "sftpgw" and found[2] in _EVENTS:
            yield found[2], {name: _unquoted(value) for name, value in _FACT.findall(found[3])}


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    return _ESCAPE.sub(r"\1", value[1:-1])


def _short(version: str) -> str:
    return version.removeprefix("SSH-2.0-") or UNKNOWN


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    cells = [heads, *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)
    return "\n".join(lines) + "\n"
