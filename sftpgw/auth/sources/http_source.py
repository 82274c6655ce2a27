"""A web service that knows users.

Knows: which dialect it speaks, and the client that sends its questions.
Must not know: how long answers count (`asked_source`).
"""

from __future__ import annotations

from sftpgw.auth.sources.http_client import HttpUserClient
from sftpgw.auth.sources.http_dialects import ask, read_answer
from sftpgw.auth.sources.questions import GivenUser, Question
from sftpgw.model.settings import AuthSettings


class HttpAsker:
    """An `Asker` of the service.

    :param settings: ``[auth]``: where it is, and how it speaks.
    :param client: sends the questions.
    """

    def __init__(self, settings: AuthSettings, client: HttpUserClient) -> None:
        self._settings = settings
        self._client = client

    async def ask(self, source: str, question: Question) -> GivenUser | None:
        """What the service says of a user; None if it does not know or let in the user.

        :param source: the client's address or /64, which takes turns with others.
        :param question: what is asked.
        :raises SourceAway: there is no answer.
        :raises BadAnswer: the answer makes no sense.
        """
        settings = self._settings
        request = ask(settings.http_dialect, settings.http_url, settings.http_server_id, question)
        body = await self._client.ask(source, request)
        return None if body is None else read_answer(settings.http_dialect, question.name, body)
