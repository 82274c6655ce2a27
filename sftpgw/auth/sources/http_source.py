"""A web service that knows users.

Knows: which dialect it speaks, what its statuses mean, and the client that sends the requests.
Must not know: how long answers count (`asked_source`).
"""

from __future__ import annotations

from dataclasses import replace

from sftpgw.auth.sources.http_dialects import ask, read_answer
from sftpgw.auth.sources.questions import GivenUser, Question
from sftpgw.errors import SourceAway
from sftpgw.http.service_client import ServiceClient
from sftpgw.model.settings import AuthSettings

_OK = 200
_REFUSED = frozenset({401, 403, 404})


class HttpAsker:
    """An `Asker` of the service.

    :param settings: ``[auth]``: where it is, and how it speaks.
    :param client: sends the questions.
    :param token: sent as a bearer token; empty for none.
    """

    def __init__(self, settings: AuthSettings, client: ServiceClient, token: str = "") -> None:
        self._settings = settings
        self._client = client
        self._token = token

    async def ask(self, source: str, question: Question) -> GivenUser | None:
        """What the service says of a user; None if it does not know or let in the user.

        :param source: the client's address or /64, which takes turns with others.
        :param question: what is asked.
        :raises SourceAway: there is no answer.
        :raises BadAnswer: the answer makes no sense.
        """
        settings = self._settings
        request = ask(settings.http_dialect, settings.http_url, settings.http_server_id, question)
        if self._token:
            bearer = {"Authorization": f"Bearer {self._token}".encode()}
            request = replace(request, headers={**request.headers, **bearer})
        answer = await self._client.send(source, request)
        if answer.status in _REFUSED:
            return None
        if answer.status != _OK:
            raise SourceAway(f"the service answers with status {answer.status}")
        return read_answer(settings.http_dialect, question.name, answer.body)
