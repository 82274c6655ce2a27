"""`aio/delayed_call`: cancelling is safe before, after and without a call."""

from __future__ import annotations

from twisted.internet.task import Clock

from sftpgw.aio.delayed_call import cancel_pending


def test_only_a_pending_call_is_cancelled() -> None:
    clock, made = Clock(), []
    early, late = (clock.callLater(seconds, made.append, seconds) for seconds in (1, 2))
    clock.advance(1)
    for call in (early, late, late, None):
        cancel_pending(call)
    clock.advance(5)
    assert made == [1]
