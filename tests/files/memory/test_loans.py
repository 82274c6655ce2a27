"""Loans: the heaps find the same uploads as a look through all that wait."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sftpgw.files.memory.holders import HeldUpload
from sftpgw.files.memory.loans import Loans

LIMIT_BYTES = 100
USERS = ("a", "b", "c")


class Filler:
    """An upload that does nothing by itself. Implements `MovingUpload`."""

    is_slow = is_still = is_stalled = is_silent = can_cut = False
    unused_bytes = 0

    def cut(self) -> None: ...

    def come_again(self) -> None: ...


class Waiting:
    """Uploads that wait, and what a look through all of them finds."""

    def __init__(self) -> None:
        self.loans = Loans(LIMIT_BYTES, LIMIT_BYTES // 10)
        self.loans.set_reserve(25)
        self.uploads: list[HeldUpload] = []

    def begin(self, user: str, missing_bytes: int) -> None:
        upload = HeldUpload((user, f"{len(self.uploads)}"), Filler())
        upload.missing_bytes = missing_bytes
        self.uploads.append(upload)
        self.loans.wait(upload)

    def change(self, upload: HeldUpload, missing_bytes: int) -> None:
        upload.missing_bytes = missing_bytes
        self.loans.note_change(upload)

    def leave(self, upload: HeldUpload) -> None:
        self.uploads.remove(upload)
        self.loans.leave(upload)

    def closest_of_each_user(self) -> dict[str, int]:
        return {
            user: min(each.loan_bytes for each in self.uploads if each.path[0] == user)
            for user in {each.path[0] for each in self.uploads}
        }


@settings(max_examples=300, derandomize=True)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["begin", "change", "leave"]),
            st.sampled_from(USERS),
            st.integers(0, 200),
            st.integers(1, 25),
        ),
        max_size=60,
    )
)
def test_the_upload_closest_to_its_part_is_found_for_each_user(
    steps: list[tuple[str, str, int, int]],
) -> None:
    waiting = Waiting()
    for kind, user, index, missing_bytes in steps:
        if kind == "begin":
            waiting.begin(user, missing_bytes)
        elif waiting.uploads:
            upload = waiting.uploads[index % len(waiting.uploads)]
            if kind == "change":
                waiting.change(upload, missing_bytes)
            else:
                waiting.leave(upload)
        able = waiting.loans.borrowers(held_bytes=0)
        found = {upload.path[0]: upload.loan_bytes for upload in able}
        assert found == waiting.closest_of_each_user()
        assert len(able) == len(found)


def test_a_look_is_saved_while_more_is_held_than_any_may_borrow_beside() -> None:
    waiting = Waiting()
    waiting.begin("a", 20)
    assert not waiting.loans.borrowers(LIMIT_BYTES)
    assert not waiting.loans.borrowers(91)
    assert len(waiting.loans.borrowers(90)) == 1
    waiting.begin("b", 5)
    assert [each.path[0] for each in waiting.loans.borrowers(105)] == ["b"]
