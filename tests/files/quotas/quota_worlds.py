"""Gateways whose users have quotas, and what they see of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sftpgw.files.tree import Tree
from sftpgw.files.uploads.upload import Upload
from sftpgw.model.filesystem import NO_CHANGES, WriteIntent
from sftpgw.model.mounts import Mount
from sftpgw.model.settings import FilesSettings
from sftpgw.model.units import KIB
from sftpgw.model.users import QuotaLimits, User, UserLimits
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_sessions import ALICE, GatewayInMemory
from tests.results import result_of

NEW = WriteIntent()
HOUR = 3600.0
STATE = ".sftpgw/quotas/"


def limited(user: User = ALICE, **limits: Any) -> User:
    """A user with one quota for all mounts."""
    return replace(user, limits=UserLimits(quotas=(QuotaLimits(**limits),)))


def with_mounts(*limits: QuotaLimits) -> User:
    """A user with a home and two mounts, each under its own prefix."""
    mounts = (
        Mount("bucket", "home/alice/"),
        Mount("bucket", "shared/", path=("shared",)),
        Mount("bucket", "big/", path=("big",)),
    )
    return User("alice", mounts, limits=UserLimits(quotas=limits))


def gateway_on(store: FakeStore | None = None, **files: Any) -> GatewayInMemory:
    return GatewayInMemory(store, files=FilesSettings(**files))


def begin(tree: Tree, path: bytes, size_bytes: int = 0, intent: WriteIntent = NEW) -> Upload:
    """An upload under way, with some bytes."""
    upload = result_of(tree.open_writer(path, intent, NO_CHANGES))
    send(upload, 0, size_bytes)
    return upload


def send(upload: Upload, offset: int, size_bytes: int) -> None:
    for at in range(offset, offset + size_bytes, 32 * KIB):
        taken = upload.write(at, b"x" * min(32 * KIB, offset + size_bytes - at))
        assert taken is None or taken.called


def put(tree: Tree, path: bytes, size_bytes: int) -> None:
    result_of(begin(tree, path, size_bytes).commit())


def used(tree: Tree, path: bytes = b"/") -> tuple[int, int]:
    """The bytes and files that are used of the quota, as ``df`` shows them."""
    space = result_of(tree.space(path))
    blocks = space.total_blocks - space.free_blocks
    return blocks * space.block_bytes, space.total_files - space.free_files
