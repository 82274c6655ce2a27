"""Whose requests those of a view are: the user, the events, the credentials."""

from __future__ import annotations

from dataclasses import dataclass

from sftpgw.model.events import EventSink
from sftpgw.model.object_settings import ObjectTable
from sftpgw.model.store import Cancellation
from sftpgw.s3.session_scope import SessionScope


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The user of a request, and where its events go.

    :param events: takes the events of the request.
    :param user: the user whose fair share of the requests at once it counts against; empty for
        the gateway's own work.
    :param cancel_token: once it is cancelled, the attempt in flight is the last one; None if the
        request cannot be cancelled.
    :param session: the session, which shares with the user's other ones.
    :param upload: stands for the upload, which shares with the session's other ones and with its
        operations.
    :param objects: how objects of the session's mounts are stored; None for the gateway's own work.
    :param scope: the credentials of the session; None: the gateway's own sign every request.
    """

    events: EventSink
    user: str = ""
    cancel_token: Cancellation | None = None
    session: str = ""
    upload: str = ""
    objects: ObjectTable | None = None
    scope: SessionScope | None = None
