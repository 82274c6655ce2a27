"""Events: what the gateway tells its operator."""

from __future__ import annotations

from typing import Protocol


class EventSink(Protocol):
    """Where the gateway tells what happened.

    `event` is a past-tense name in lower case (``file-stored``); `facts` are
    names and plain values. Secrets are never facts.
    """

    def tell(self, event: str, /, **facts: object) -> None: ...

    def bind(self, **facts: object) -> EventSink:
        """The same sink, with `facts` added to everything told."""
