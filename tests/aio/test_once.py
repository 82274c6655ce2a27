"""What was told already."""

from __future__ import annotations

from sftpgw.aio.once import Once


def test_a_key_is_new_once_and_again_when_it_is_forgotten() -> None:
    once: Once[str] = Once(2)
    assert [once.is_new(key) for key in "abab"] == [True, True, False, False]
    assert once.is_new("c")  # a goes
    assert not once.is_new("b")
    assert once.is_new("a")
