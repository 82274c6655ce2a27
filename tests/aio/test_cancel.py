"""`aio/cancel`: each watcher hears of it once."""

from __future__ import annotations

from sftpgw.aio.cancel import CancelToken


def test_watchers_are_called_once_in_order() -> None:
    token, heard = CancelToken(), []
    token.watch(lambda: heard.append((1, token.is_cancelled)))
    token.watch(lambda: heard.append((2, token.is_cancelled)))
    token.cancel()
    token.cancel()
    assert heard == [(1, True), (2, True)]


def test_a_late_watcher_is_called_at_once() -> None:
    token, heard = CancelToken(), []
    token.cancel()
    token.watch(lambda: heard.append("late"))
    assert heard == ["late"]


def test_a_watcher_that_has_left_hears_nothing() -> None:
    token, heard = CancelToken(), []

    def second() -> None:
        heard.append("second")

    token.watch(lambda: token.unwatch(second))
    token.watch(second)
    token.cancel()
    token.unwatch(second)
    assert heard == []
