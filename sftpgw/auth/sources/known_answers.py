"""What a source of users has answered, for as long as it counts.

Knows: how old answers may be, and questions that are under way.
Must not know: which source it is, how it is asked, or what a user is made of.

Rules

1. An answer with a user counts for `cache_seconds`. A refusal is not kept.
2. While the source is away, the last answer counts for `stale_seconds` at most.
3. An answer that makes no sense is none: the user is refused, what was wrong is logged, and the
   last good answer is not used in its place. The attempt is not the client's fault.
4. The same question is under way once.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sftpgw.aio.lru import LRUDict
from sftpgw.aio.shared_work import SharedWork
from sftpgw.errors import BadAnswer, SourceAway
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.events.user_source_events import UserSourceAnswerBad, UserSourceAway
from sftpgw.model.users import User

MAX_ANSWERS = 10_000
"""How many answers are remembered."""

K = TypeVar("K", bound=Hashable)

AskSource = Callable[[], Coroutine[Any, Any, User | None]]
"""Asks the source. Raises `SourceAway` and `BadAnswer`."""


@dataclass(frozen=True, slots=True)
class AnswerLife:
    """How long answers count.

    :ivar cache_seconds: while the source can be asked.
    :ivar stale_seconds: while it cannot.
    """

    cache_seconds: float
    stale_seconds: float


@dataclass(frozen=True, slots=True)
class _Answer:
    """A user, and when the source has named them."""

    user: User
    seconds: float


class KnownAnswers(Generic[K]):
    """The answers of one source, by question.

    :param source: the name of the source in ``[auth] sources``.
    :param life: how long answers count.
    :param clock: tells how old they are.
    :param events: takes what is wrong with the source.
    """

    def __init__(self, source: str, life: AnswerLife, clock: Clock, events: EventSink) -> None:
        self._source = source
        self._life = life
        self._clock = clock
        self._events = events
        self._answers: LRUDict[K, _Answer] = LRUDict(MAX_ANSWERS)
        self._asking: SharedWork[K, User | None] = SharedWork()

    async def find(self, question: K, name: str, ask: AskSource) -> User | None:
        """The user, for a login; None if the source refuses.

        :param question: what is asked.
        :param name: the user's name, for the log.
        :param ask: asks it.
        :raises SourceAway: the source cannot be asked, and no answer is new enough; or the answer
            makes no sense.
        """
        known = self._answers.get(question)
        if known is not None and self._age_seconds(known) < self._life.cache_seconds:
            return known.user
        try:
            return await self.renew(question, name, ask)
        except BadAnswer:
            raise
        except SourceAway as error:
            is_new = known is not None and self._age_seconds(known) < self._life.stale_seconds
            self.tell_away(error, is_stale=is_new)
            if known is None or not is_new:
                raise
            return known.user

    async def renew(self, question: K, name: str, ask: AskSource) -> User | None:
        """The user as the source names them now; None if it refuses.

        :param question: what is asked.
        :param name: the user's name, for the log.
        :param ask: asks it.
        :raises SourceAway: the source cannot be asked.
        :raises BadAnswer: the answer makes no sense. It has been logged.
        """
        return await self._asking.result(question, 0, lambda: self._renew(question, name, ask))

    def tell_away(self, error: SourceAway, *, is_stale: bool) -> None:
        """Log that the source is away.

        :param error: why.
        :param is_stale: whether an older answer is used.
        """
        self._events.emit(UserSourceAway(source=self._source, reason=error.message, stale=is_stale))

    async def _renew(self, question: K, name: str, ask: AskSource) -> User | None:
        user = None
        try:
            user = await ask()
        except BadAnswer as error:
            self._answers.pop(question, None)
            self._events.emit(
                UserSourceAnswerBad(source=self._source, user=name, reason=error.message)
            )
            raise
        if user is None:
            self._answers.pop(question, None)
        else:
            self._answers.put(question, _Answer(user, self._clock.seconds()))
        return user

    def _age_seconds(self, known: _Answer) -> float:
        return self._clock.seconds() - known.seconds
