"""How large the files of a user may be, where users.ini says it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.defer import maybeDeferred

from sftpgw.errors import LimitReached
from sftpgw.files.tree import Tree
from sftpgw.files.uploads.upload import Upload
from sftpgw.model.filesystem import NO_CHANGES, AttributeChanges, WriteIntent
from sftpgw.model.units import MIB
from sftpgw.model.users import UserLimits
from sftpgw.testing.sftp_sessions import ALICE, GatewayInMemory
from tests.results import failure_of, result_of

MOST_BYTES = 20 * MIB
NEW = WriteIntent()


@pytest.fixture
def gateway() -> GatewayInMemory:
    return GatewayInMemory()


@pytest.fixture
def tree(gateway: GatewayInMemory) -> Tree:
    return gateway.session(replace(ALICE, limits=UserLimits(file_bytes=MOST_BYTES))).tree


def refusal(work: Callable[[], Any]) -> str:
    error = failure_of(maybeDeferred(work)).value
    assert isinstance(error, LimitReached)
    assert "users.ini max_file_size" in str(error)
    return str(error)


def write(upload: Upload, offset: int, size_bytes: int) -> None:
    result_of(maybeDeferred(upload.write, offset, b"x" * size_bytes))


def written(tree: Tree, size_bytes: int, intent: WriteIntent = NEW) -> Upload:
    upload = result_of(tree.open_writer(b"f", intent, NO_CHANGES))
    for offset in range(0, size_bytes, MIB):
        write(upload, offset, min(MIB, size_bytes - offset))
    return upload


def test_a_file_of_just_that_size_is_stored(gateway: GatewayInMemory, tree: Tree) -> None:
    result_of(written(tree, MOST_BYTES).commit())
    assert len(gateway.store.content("home/alice/f")) == MOST_BYTES


def test_a_write_beyond_it_is_refused_and_nothing_is_stored(
    gateway: GatewayInMemory, tree: Tree
) -> None:
    upload = written(tree, MOST_BYTES)
    assert str(MOST_BYTES) in refusal(lambda: upload.write(MOST_BYTES, b"y"))
    result_of(upload.abandon())
    assert not gateway.store.objects
    gateway.assert_idle()


def test_a_size_that_is_announced_is_refused_at_once(tree: Tree) -> None:
    intent = WriteIntent(expected_bytes=MOST_BYTES + 1)
    refusal(lambda: tree.open_writer(b"f", intent, NO_CHANGES))


def test_a_file_is_not_grown_beyond_it(gateway: GatewayInMemory, tree: Tree) -> None:
    result_of(written(tree, MIB).commit())
    grown = AttributeChanges(size_bytes=MOST_BYTES + 1)
    refusal(lambda: tree.set_attributes(b"f", grown))
    append = WriteIntent(create=False, truncate=False, append=True)
    upload = result_of(tree.open_writer(b"f", append, NO_CHANGES))
    for _ in range(19):
        write(upload, 0, MIB)
    refusal(lambda: upload.write(0, b"y"))
    result_of(upload.abandon())
    assert len(gateway.store.content("home/alice/f")) == MIB


def test_a_larger_file_that_is_there_can_be_cut(gateway: GatewayInMemory, tree: Tree) -> None:
    result_of(written(gateway.session(ALICE).tree, MOST_BYTES + MIB).commit())
    result_of(tree.set_attributes(b"f", AttributeChanges(size_bytes=MIB)))
    assert len(gateway.store.content("home/alice/f")) == MIB
