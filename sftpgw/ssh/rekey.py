"""When new keys are due, and how long exchanging them may take.

Knows: RFC 4253, section 9, and what one set of keys has protected.
Must not know: packets, or how keys are exchanged.

Rules:

- New keys are due after so many bytes, both directions together, or so much time.
- They are due long before 2^32 packets, when a sequence number would come again with the same
  keys, as the nonce of chacha20-poly1305 does: no packet is shorter than `LEAST_PACKET_BYTES`,
  so that the 32 GiB that [ssh] allows at most are not even 2^31 packets. AES may protect 2^32
  blocks with one key, 64 GiB (RFC 4344, section 3.2).
- Once either side has sent KEXINIT, the client has so much time. As long as it still sends
  what lay before its own KEXINIT, or still reads what lay before ours, it gets more: on a slow
  line that takes minutes. `MAX_ROUNDS` bound that.
- An exchange costs us about a millisecond, a client can ask for thousands a second, and one that
  has not logged in may ask for one after the first: OpenSSH and PuTTY ask for none. After login,
  `CLIENT_EXCHANGES` in a row are allowed, and another one for each `BYTES_AN_EXCHANGE` that moved
  on its channels, and ten a second. So OpenSSH's least RekeyLimit, 16 bytes, which is an exchange
  for each packet of a transfer, is served, and an endless row of them is not.
"""

from __future__ import annotations

from collections.abc import Callable

from sftpgw.aio.token_bucket import TokenBucket
from sftpgw.model.clock import Clock, DelayedCall
from sftpgw.model.units import KIB

LEAST_PACKET_BYTES = 28
"""Length field, one block of 8 bytes, and a tag."""

MAX_ROUNDS = 10

EXCHANGES_BEFORE_LOGIN = 1
"""What a client may begin after the first one."""

CLIENT_EXCHANGES = 500
BYTES_AN_EXCHANGE = 8 * KIB
SECONDS_AN_EXCHANGE = 0.1


class KeyUsage:
    """What the present keys have done."""

    __slots__ = ("_limit_bytes", "_limit_seconds", "_since_seconds", "_used_bytes")

    def __init__(self, limit_bytes: int, limit_seconds: float, now_seconds: float) -> None:
        self._limit_bytes = limit_bytes
        self._limit_seconds = limit_seconds
        self._since_seconds = now_seconds
        self._used_bytes = 0

    def used(self, size_bytes: int) -> None:
        """They have protected another packet, either way."""
        self._used_bytes += size_bytes

    def renewed(self, now_seconds: float) -> None:
        """There are new keys."""
        self._since_seconds = now_seconds
        self._used_bytes = 0

    @property
    def are_used_up(self) -> bool:
        """Whether they have protected as much as they may."""
        return self._used_bytes >= self._limit_bytes

    @property
    def old_at_seconds(self) -> float:
        """When they will be too old."""
        return self._since_seconds + self._limit_seconds


class ClientExchanges:
    """Counts the key exchanges that the client begins."""

    def __init__(self) -> None:
        self._left_before_login = EXCHANGES_BEFORE_LOGIN
        self._after_login: TokenBucket | None = None
        self._counted_bytes = 0

    def may_begin(self, now_seconds: float, moved_bytes: int | None) -> bool:
        """Whether the client may begin another one, which it does.

        :param moved_bytes: channel data so far; None before login.
        """
        if moved_bytes is None:
            self._left_before_login -= 1
            return self._left_before_login >= 0
        if self._after_login is None:
            self._after_login = TokenBucket(CLIENT_EXCHANGES, 1 / SECONDS_AN_EXCHANGE, now_seconds)
        self._after_login.refill(now_seconds)
        self._after_login.add((moved_bytes - self._counted_bytes) / BYTES_AN_EXCHANGE)
        self._counted_bytes = moved_bytes
        self._after_login.spend()
        return self._after_login.tokens >= 0


class ExchangeLimit:
    """Ends a key exchange that takes too long.

    :param heard_at_seconds: when the client has last given a sign of life.
    :param expired: called once, if it comes to that.
    """

    def __init__(
        self,
        clock: Clock,
        limit_seconds: float,
        heard_at_seconds: Callable[[], float],
        expired: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._limit_seconds = limit_seconds
        self._heard_at_seconds = heard_at_seconds
        self._expired = expired
        self._rounds_left = 0
        self._call: DelayedCall | None = None

    def we_began(self) -> None:
        """We have sent KEXINIT."""
        self._wait(MAX_ROUNDS)

    def client_began(self) -> None:
        """The client has sent KEXINIT: from now on only the exchange itself takes time."""
        self._wait(0)

    def end(self) -> None:
        """The exchange is over, or the connection."""
        if self._call is not None and self._call.active():
            self._call.cancel()

    def _wait(self, rounds_left: int) -> None:
        self.end()
        self._rounds_left = rounds_left
        began_seconds = self._clock.seconds()
        self._call = self._clock.callLater(self._limit_seconds, self._look, began_seconds)

    def _look(self, began_seconds: float) -> None:
        if self._rounds_left and self._heard_at_seconds() > began_seconds:
            self._wait(self._rounds_left - 1)
        else:
            self._expired()
