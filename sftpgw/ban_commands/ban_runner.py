"""Runs ``sftpgw bans`` and ``sftpgw unban``: from the arguments to the exit status.

Knows: how bans are shown on a terminal, and where the control socket is found.
Must not know: how a gateway answers.
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sftpgw.config.control_path import control_path
from sftpgw.control.control_client import ask_gateway
from sftpgw.control.control_lines import ControlError
from sftpgw.terminal import print_line
from sftpgw.user_commands.arguments import find_config

DONE, FAULT = 0, 1
COLUMNS = ("ADDRESS", "USER", "SINCE", "UNTIL", "SCORE", "WHY")
"""What the table shows. A ban with ``*`` in the place of a user is of all users."""


def run_ban_command(given: Namespace) -> int:
    """Run one command.

    :param given: the arguments.
    :returns: the exit status.
    """
    try:
        path = given.socket or control_path(find_config(given.config))
        lines = _unbanned(path, given.name) if given.action == "unban" else _bans(path, given.json)
        for line in lines:
            print_line(line, sys.stdout)
    except (ControlError, ValueError) as problem:
        print_line(f"sftpgw {given.action}: {problem}", sys.stderr)
        return FAULT
    return DONE


def _unbanned(path: str, name: str) -> Sequence[str]:
    ended = ask_gateway(path, "unban", {"name": name})["ended"]
    if not ended:
        return [f"{name} was not banned; failures and penalties are forgotten"]
    return [f"unbanned {_shown(ban['user'] or 'all users')} at {ban['address']}" for ban in ended]


def _bans(path: str, as_json: bool) -> Sequence[str]:
    bans = _all_bans(path)
    if as_json:
        return [json.dumps(bans, indent=2)]
    return table([COLUMNS, *(_row(ban) for ban in bans)]) if bans else ["nothing is banned"]


def _all_bans(path: str) -> list[Mapping[str, Any]]:
    """All pages; a ban that begins or ends meanwhile may be missing."""
    bans: list[Mapping[str, Any]] = []
    while True:
        page = ask_gateway(path, "bans", {"first": len(bans)})
        bans += page["bans"]
        if not page["bans"] or len(bans) >= page["count"]:
            return bans


def _row(ban: Mapping[str, Any]) -> Sequence[str]:
    user, score = _shown(ban["user"] or "*"), str(ban["score"])
    since, until = (_moment(ban[key]) for key in ("since_seconds", "until_seconds"))
    return (ban["address"], user, since, until, score, ban["reason"])


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _shown(name: str) -> str:
    """A name that a stranger has chosen, without what a terminal would obey."""
    return "".join(each if each.isprintable() else "?" for each in name)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines, with the cells of a column below each other.

    :param rows: the cells of each row.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
