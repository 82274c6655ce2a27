"""The keys of ``[limits]``."""

from __future__ import annotations

from collections.abc import Mapping

from sftpgw.config.ini_file import Key
from sftpgw.config.scalars.quantities import count, size, time
from sftpgw.config.scalars.value_format import auto_or
from sftpgw.model.units import GIB, KIB, MIB

LIMITS_KEYS: Mapping[str, Key] = {
    "memory": Key(
        "memory_bytes",
        size(16 * MIB, 1024 * GIB),
        "How much memory all that clients do may hold together: the bytes of transfers, open files "
        "and directories, and requests under way. At least two parts.",
    ),
    "reorder_allowance": Key(
        "reorder_allowance_bytes",
        size(KIB, GIB),
        "How far the writes of one upload may be out of order. Not more than ``memory``.",
    ),
    "requests_per_user": Key(
        "requests_per_user",
        auto_or(count(1, 100_000)),
        "How many of ``max_requests`` one user may have under way; more wait. ``auto`` is half of "
        "them, so that no user alone makes others wait.",
    ),
    "drain": Key(
        "drain_seconds",
        time(0, 3600),
        "How long transfers may go on once the gateway has been told to stop.",
    ),
    "sessions_per_user": Key(
        "sessions_per_user",
        count(1, 1_000_000),
        "How many SSH channels all connections of one user may have open together: SFTP sessions "
        "and commands. ``connections_per_user`` and ``sessions_per_connection`` of ``[ssh]`` bound "
        "the same in other ways.",
    ),
    "handles_per_user": Key(
        "handles_per_user",
        count(1, 1_000_000),
        "How many files and directories all SFTP sessions of one user may have open together. "
        "``handles_per_session`` of ``[ssh]`` bounds those of each session.",
    ),
    "directory_renames_per_user": Key(
        "directory_renames_per_user",
        count(1, 1000),
        "How many folders of one user are renamed at once. Further ones wait, 256 times as many at "
        "most.",
    ),
}
