"""Calls that the reactor makes later, and that are not always needed any more."""

from __future__ import annotations

from sftpgw.model.clock import DelayedCall


def cancel_pending(call: DelayedCall | None) -> None:
    """Cancel a call that has not been made yet; do nothing if there is none."""
    if call is not None and call.active():
        call.cancel()
