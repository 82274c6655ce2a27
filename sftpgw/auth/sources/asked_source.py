"""Users whom a service or a server knows: it has their keys, and verifies passwords or has hashes.

Knows: when a source is asked, and how long its answers count. It is the same for all kinds.
Must not know: how a source is asked (`http_source`, `ldap_source`), or what users are made of.

Rules

1. An answer counts for `AnswerTimes.cache_seconds`. Passwords are remembered as keyed digests, each
   for the address that it came from, and only right ones.
2. That a source does not know a name is an answer like any other, where no password was asked
   about: else names that are known would be told by their quick answers.
3. While the source is away, the last answer counts for `AnswerTimes.stale_seconds` at most. A
   refusal does not.
4. An answer that makes no sense is none: the user is refused, what was wrong is logged, and the
   last good answer is not used in its place. The attempt is not the client's fault.
5. Questions about the same user, address and password that are under way are one question.
6. What files say of all users counts for remembered answers, too, once it has changed.
7. An answer is for one address, if the source may tell them apart (`SourceKind`). Addresses, and
   IPv6 /64s, share the room for answers (`aio.lru.SharedLRU`): one of them does not push out what
   others need. Refusals have room of their own: they cost a client no proof.
8. What a source has said of a user since, in answer to a question without a password, ends what it
   has said before of the user with one, if it says the same in both cases.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from sftpgw.aio.lru import SharedLRU
from sftpgw.aio.shared_work import SharedWork
from sftpgw.auth.sources.questions import AnswerUnusable, GivenUser, Question
from sftpgw.errors import BadAnswer, SourceAway
from sftpgw.model.addresses import address_of, source_of
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.events.user_source_events import UserSourceAnswerBad, UserSourceAway
from sftpgw.model.users import User

MAX_ANSWERS = 10_000
"""How many answers are remembered, and how many refusals."""

UserOfAnswer = Callable[[str, GivenUser], User]
"""Makes the user of this name of what a source says. Raises `BadAnswer`."""

_Key = tuple[str, str, bytes]


class Asker(Protocol):
    """Asks one source, and understands its answers."""

    async def ask(self, source: str, question: Question) -> GivenUser | None:
        """What the source says of a user; None if it does not know or let in the user.

        :param source: the client's address or /64, which takes turns with others.
        :param question: what is asked.
        :raises SourceAway: there is no answer.
        :raises BadAnswer: the answer makes no sense.
        """


@dataclass(frozen=True, slots=True)
class SourceKind:
    """What the answers of a source depend on.

    :ivar verifies_passwords: it does. If not, its users have hashes of them.
    :ivar tells_addresses_apart: it may say other things of a user at another address.
    :ivar needs_passwords: it may say other things of a user, or nothing, if it is not asked about
        the password.
    """

    verifies_passwords: bool = True
    tells_addresses_apart: bool = True
    needs_passwords: bool = True


SERVICE = SourceKind()
"""A web service: it is not known what its answers depend on."""

TABLE = SourceKind(verifies_passwords=False, tells_addresses_apart=False, needs_passwords=False)
"""A table of records."""


@dataclass(frozen=True, slots=True)
class AnswerTimes:
    """How long answers count.

    :ivar cache_seconds: as they are.
    :ivar stale_seconds: while the source is away.
    """

    cache_seconds: float
    stale_seconds: float


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the source has said.

    :ivar user: the user; None if the source refuses or does not know the user.
    :ivar seconds: when it was said.
    :ivar said: what the user was made of.
    :ivar rules: the rules by which the user was made.
    """

    user: User | None
    seconds: float
    said: GivenUser | None = None
    rules: object = None


class AskedUserSource:
    """Asks for users, and remembers the answers. A `UserSource` of `SourceChain`.

    :param name: which source it is, as ``[auth] sources`` names it.
    :param asker: asks.
    :param user_of_answer: makes a user of an answer.
    :param times: how long answers count.
    :param clock: tells how old answers are.
    :param events: takes what is wrong with the source.
    :param secret: makes the digests of passwords; random, and kept nowhere.
    :param kind: what the answers depend on.
    :param rules_of: returns another object once `user_of_answer` makes other users of the same
        answers, since files of users have changed.
    """

    def __init__(
        self,
        name: str,
        asker: Asker,
        user_of_answer: UserOfAnswer,
        times: AnswerTimes,
        *,
        clock: Clock,
        events: EventSink,
        secret: bytes,
        kind: SourceKind = SERVICE,
        rules_of: Callable[[], object] = lambda: None,
    ) -> None:
        self._rules_of = rules_of
        self._name = name
        self._asker = asker
        self._user_of_answer = user_of_answer
        self._times = times
        self._clock = clock
        self._events = events
        self._secret = secret
        self._kind = kind
        self._answers: SharedLRU[_Key, _Answer] = SharedLRU(MAX_ANSWERS)
        self._refusals: SharedLRU[_Key, _Answer] = SharedLRU(MAX_ANSWERS)
        self._asking: SharedWork[_Key, _Answer] = SharedWork()

    @property
    def verifies_passwords(self) -> bool:
        """Whether the source verifies passwords. If not, its users have hashes of them."""
        return self._kind.verifies_passwords

    @property
    def name(self) -> str:
        """Which source it is."""
        return self._name

    @property
    def cache_seconds(self) -> float:
        """How long an answer counts."""
        return self._times.cache_seconds

    def may_look_again(self, user: User) -> bool:
        """Whether the source can be asked about a user who is logged in, whose password is gone.

        :param user: a user whom it has found.
        """
        return not (self._kind.needs_passwords and user.is_of_password)

    async def look_again(self, user: User, peer_host: str | None) -> User | None:
        """The user as the source has them now, whatever is remembered; None if it has them not.

        :param user: a user of whom `may_look_again` is true.
        :param peer_host: the client's address; None if it has none.
        :raises SourceAway: the source cannot be asked.
        :raises BadAnswer: its answer makes no sense.
        """
        key = self._key(user.name, peer_host, None)
        question = Question(user.name, str(address_of(peer_host) or ""))
        try:
            return await self._renew(key, question, source_of(peer_host))
        except AnswerUnusable as error:
            raise BadAnswer(error.message) from None
        except SourceAway as error:
            self._tell_away(error, is_stale=True)
            raise

    async def find(
        self, name: str, peer_host: str | None, password: bytes | None = None
    ) -> User | None:
        """The user; None if the source does not know or let in the user.

        :param name: the user's name.
        :param peer_host: the client's address; None if it has none.
        :param password: the password that the source is to check; None if the user has a key.
        :raises SourceAway: the source cannot be asked, and no answer is new enough; or its answer
            makes no sense.
        """
        key = self._key(name, peer_host, password)
        source = source_of(peer_host)
        known = self._valid(source, key) or self._refusals.get(key)
        if known is not None and self._age_seconds(known) < self._times.cache_seconds:
            return known.user
        question = Question(name, str(address_of(peer_host) or ""), password)
        try:
            return await self._renew(key, question, source)
        except AnswerUnusable:
            raise
        except SourceAway as error:
            return self._last_user(known, error)

    async def _renew(self, key: _Key, question: Question, source: str) -> User | None:
        """Ask, and remember the answer."""
        try:
            answer = await self._asking.result(key, 0, lambda: self._ask(source, key, question))
        except AnswerUnusable:
            self._answers.pop(key)
            raise
        self._remember(source, key, answer)
        return answer.user

    def _last_user(self, known: _Answer | None, error: SourceAway) -> User:
        """The user of the last answer. :raises SourceAway: there is none, or it is too old"""
        user = None if known is None else known.user
        is_usable = known is not None and self._age_seconds(known) < self._times.stale_seconds
        self._tell_away(error, is_stale=user is not None and is_usable)
        if user is None or not is_usable:
            raise error
        return user

    def _tell_away(self, error: SourceAway, *, is_stale: bool) -> None:
        self._events.emit(UserSourceAway(source=self._name, reason=error.message, stale=is_stale))

    def _key(self, name: str, peer_host: str | None, password: bytes | None) -> _Key:
        address = address_of(peer_host) if self._kind.tells_addresses_apart else None
        return name, str(address or ""), self._digest(name, password)

    def _remember(self, source: str, key: _Key, answer: _Answer) -> None:
        is_refusal, (_, _, digest) = answer.user is None, key
        (self._answers if is_refusal else self._refusals).pop(key)
        if not is_refusal:
            self._answers.put(source, key, answer)
        elif not digest:
            self._refusals.put(source, key, answer)

    async def _ask(self, source: str, key: _Key, question: Question) -> _Answer:
        try:
            said = await self._asker.ask(source, question)
            return self._answer(key, said, self._clock.seconds())
        except BadAnswer as error:
            self._tell_bad(question.name, error)
            raise AnswerUnusable(error.message) from None

    def _answer(self, key: _Key, said: GivenUser | None, seconds: float) -> _Answer:
        """:raises BadAnswer: no user can be made of it"""
        name, _, digest = key
        user = None if said is None else self._user_of_answer(name, said)
        if user is not None and digest:
            user = replace(user, is_of_password=True)
        return _Answer(user, seconds, said, self._rules_of())

    def _valid(self, source: str, key: _Key) -> _Answer | None:
        """The last answer, unless the source has said something else of the user since."""
        known, (name, address, digest) = self._known(source, key), key
        if known is None or not digest or self._kind.needs_passwords:
            return known
        bare = name, address, b""
        latest = self._known(source, bare) or self._refusals.get(bare)
        if latest is None or latest.seconds < known.seconds or latest.user == known.user:
            return known
        self._answers.pop(key)
        return None

    def _known(self, source: str, key: _Key) -> _Answer | None:
        """The last answer, with the user that is made of it now: ``[*]`` may have changed."""
        known = self._answers.get(key)
        if known is None or known.rules is self._rules_of():
            return known
        self._answers.pop(key)
        try:
            known = self._answer(key, known.said, known.seconds)
        except BadAnswer as error:
            self._tell_bad(key[0], error)
            return None
        self._answers.put(source, key, known)
        return known

    def _tell_bad(self, name: str, error: BadAnswer) -> None:
        self._events.emit(UserSourceAnswerBad(source=self._name, user=name, reason=error.message))

    def _age_seconds(self, known: _Answer) -> float:
        return self._clock.seconds() - known.seconds

    def _digest(self, name: str, password: bytes | None) -> bytes:
        if password is None:
            return b""
        return hmac.digest(self._secret, name.encode() + b"\0" + password, "sha256")
