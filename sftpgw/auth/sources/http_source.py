"""Users whom a web service knows: it verifies passwords, and says which keys are authorised.

Knows: what the service is asked, what its statuses mean, and that passwords are not kept.
Must not know: how it speaks (`http_dialects`), or how long its answers count (`known_answers`).

Passwords are remembered as keyed digests, each for the address that it came from, and only right
ones.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import replace

from sftpgw.auth.sources.http_dialects import GivenUser, Question, ask, read_answer
from sftpgw.auth.sources.known_answers import AnswerLife, KnownAnswers
from sftpgw.errors import SourceAway
from sftpgw.http.service_client import ServiceClient
from sftpgw.model.addresses import source_of
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.settings import HTTP_SOURCE, AuthSettings
from sftpgw.model.users import User

MakeUser = Callable[[str, GivenUser], User]
"""Judges what the service says. Raises `BadAnswer`."""

_OK = 200
_REFUSED = frozenset({401, 403, 404})

_Key = tuple[str, str, bytes]


class HttpUserSource:
    """Asks a web service for users.

    :param settings: ``[auth]``: where it is, how it speaks, and how long its answers count.
    :param client: sends the questions.
    :param make_user: makes a user of an answer.
    :param clock: tells how old answers are.
    :param events: takes what is wrong with the service.
    :param secret: makes the digests of passwords; random, and kept nowhere.
    :param token: sent as a bearer token; empty for none.
    """

    verifies_passwords = True

    def __init__(
        self,
        settings: AuthSettings,
        client: ServiceClient,
        make_user: MakeUser,
        *,
        clock: Clock,
        events: EventSink,
        secret: bytes,
        token: str = "",
    ) -> None:
        self._settings = settings
        self._client = client
        self._make_user = make_user
        self._secret = secret
        self._token = token
        life = AnswerLife(settings.http_cache_seconds, settings.http_stale_seconds)
        self._answers: KnownAnswers[_Key] = KnownAnswers(HTTP_SOURCE, life, clock, events)

    async def find(
        self, name: str, peer_host: str | None, password: bytes | None = None
    ) -> User | None:
        """The user; None if the service does not know or let in the user.

        :param name: the user's name.
        :param peer_host: the client's address; None if it has none.
        :param password: the password that the service is to check; None if the user has a key.
        :raises SourceAway: the service cannot be asked, and no answer is new enough; or its answer
            makes no sense.
        """
        key = (name, source_of(peer_host), self._digest(name, password))
        question = Question(name, peer_host or "", password)
        return await self._answers.find(key, name, lambda: self._ask(key[1], question))

    async def _ask(self, source: str, question: Question) -> User | None:
        settings, name = self._settings, question.name
        request = ask(settings.http_dialect, settings.http_url, settings.http_server_id, question)
        if self._token:
            bearer = {"Authorization": f"Bearer {self._token}".encode()}
            request = replace(request, headers={**request.headers, **bearer})
        answer = await self._client.send(source, request)
        if answer.status in _REFUSED:
            return None
        if answer.status != _OK:
            raise SourceAway(f"the service answers with status {answer.status}")
        said = read_answer(settings.http_dialect, name, answer.body)
        return None if said is None else self._make_user(name, said)

    def _digest(self, name: str, password: bytes | None) -> bytes:
        if password is None:
            return b""
        return hmac.digest(self._secret, name.encode() + b"\0" + password, "sha256")
