"""Users whom a web service knows: it verifies passwords, and says which keys are authorised.

Knows: when the service is asked, and how long its answers count.
Must not know: how it speaks (`http_dialects`), or how requests are sent (`http_client`).

Rules

1. An answer counts for `http_cache_seconds`. Passwords are remembered as keyed digests, each for
   the address that it came from, and only right ones.
2. While the service is away, the last answer counts for `http_stale_seconds` at most.
3. An answer that makes no sense is none: the user is refused, what was wrong is logged, and the
   last good answer is not used in its place. The attempt is not the client's fault.
4. Questions about the same user, address and password that are under way are one question.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass

from sftpgw.aio.lru import LRUDict
from sftpgw.aio.shared_work import SharedWork
from sftpgw.auth.sources.chain import AnswerUnusable, SourceAway
from sftpgw.auth.sources.http_client import HttpUserClient
from sftpgw.auth.sources.http_dialects import BadAnswer, GivenUser, Question, ask, read_answer
from sftpgw.model.addresses import source_of
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.events.user_source_events import UserSourceAnswerBad, UserSourceAway
from sftpgw.model.settings import AuthSettings
from sftpgw.model.users import User

MAX_ANSWERS = 10_000
"""How many answers are remembered."""

MakeUser = Callable[[str, GivenUser], User]
"""Judges what the service says. Raises `BadAnswer`."""

_Key = tuple[str, str, bytes]


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the service has said.

    :ivar user: the user; None if the service refuses or does not know the user.
    :ivar seconds: when it was said.
    """

    user: User | None
    seconds: float


class HttpUserSource:
    """Asks a web service for users.

    :param settings: ``[auth]``: where it is, how it speaks, and how long its answers count.
    :param client: sends the questions.
    :param make_user: makes a user of an answer.
    :param clock: tells how old answers are.
    :param events: takes what is wrong with the service.
    :param secret: makes the digests of passwords; random, and kept nowhere.
    """

    def __init__(
        self,
        settings: AuthSettings,
        client: HttpUserClient,
        make_user: MakeUser,
        *,
        clock: Clock,
        events: EventSink,
        secret: bytes,
    ) -> None:
        self._settings = settings
        self._client = client
        self._make_user = make_user
        self._clock = clock
        self._events = events
        self._secret = secret
        self._answers: LRUDict[_Key, _Answer] = LRUDict(MAX_ANSWERS)
        self._asking: SharedWork[_Key, _Answer] = SharedWork()

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
        known = self._answers.get(key)
        age_seconds = self._age_seconds(known)
        if known is not None and age_seconds < self._settings.http_cache_seconds:
            return known.user
        question = Question(name, peer_host or "", password)
        try:
            answer = await self._asking.result(key, 0, lambda: self._ask(key[1], question))
        except AnswerUnusable:
            self._answers.pop(key, None)
            raise
        except SourceAway as error:
            is_usable = known is not None and age_seconds < self._settings.http_stale_seconds
            self._events.emit(UserSourceAway(source="http", reason=str(error), stale=is_usable))
            if known is None or not is_usable:
                raise
            return known.user
        if answer.user is not None:
            self._answers.put(key, answer)
        else:
            self._answers.pop(key, None)
        return answer.user

    async def _ask(self, source: str, question: Question) -> _Answer:
        settings, name = self._settings, question.name
        request = ask(settings.http_dialect, settings.http_url, settings.http_server_id, question)
        try:
            body = await self._client.ask(source, request)
            said = None if body is None else read_answer(settings.http_dialect, name, body)
            user = None if said is None else self._make_user(name, said)
        except BadAnswer as error:
            self._events.emit(UserSourceAnswerBad(source="http", user=name, reason=str(error)))
            raise AnswerUnusable(str(error)) from None
        return _Answer(user, self._clock.seconds())

    def _age_seconds(self, known: _Answer | None) -> float:
        return 0.0 if known is None else self._clock.seconds() - known.seconds

    def _digest(self, name: str, password: bytes | None) -> bytes:
        if password is None:
            return b""
        return hmac.digest(self._secret, name.encode() + b"\0" + password, "sha256")
