"""When new keys are due, how long a key exchange may take, and how many a client may begin.

Knows: RFC 4253, section 9, and how many bytes one set of keys has protected.
Must not know: packets, or how keys are exchanged.

Rules:

- New keys are due after `rekey_bytes`, both directions together, or after `rekey_interval`.
- This is long before 2^32 packets, after which a sequence number would be used again with the same
  keys; chacha20-poly1305 uses it as the nonce. No packet is shorter than `LEAST_PACKET_BYTES`, so
  that the 32 GiB that ``[ssh]`` allows at most are less than 2^31 packets. AES may protect 2^32
  blocks with one key, which are 64 GiB (RFC 4344, section 3.2).
- Once either side has sent KEXINIT, the client has `key_exchange_timeout`. After our KEXINIT that
  time begins again, up to `MAX_ROUNDS` times, while the client still sends data from before its own
  KEXINIT or reads data from before ours: on a slow line that takes minutes.
- A key exchange costs us about a millisecond, and a client can ask for thousands a second. A client
  that has not logged in may ask for `EXCHANGES_BEFORE_LOGIN` after the first; OpenSSH and PuTTY ask
  for none. After the login a token bucket limits them: it holds `CLIENT_EXCHANGES`, and gains one
  for each `BYTES_AN_EXCHANGE` of channel data and one each `SECONDS_AN_EXCHANGE`. That serves even
  OpenSSH's smallest RekeyLimit, 16 bytes, which causes a key exchange for each packet of a
  transfer.
"""

from __future__ import annotations

from collections.abc import Callable

from sftpgw.aio.delayed_call import cancel_pending
from sftpgw.aio.token_bucket import TokenBucket
from sftpgw.model.clock import Clock, DelayedCall
from sftpgw.model.units import KIB

LEAST_PACKET_BYTES = 28
"""The shortest packet: the length field, one block of 8 bytes, and a tag of 16."""

MAX_ROUNDS = 10
"""How many times a slow client gets `key_exchange_timeout` once more."""
EXCHANGES_BEFORE_LOGIN = 1
"""How many exchanges a client may begin before its login, after the first one."""

CLIENT_EXCHANGES = 500
BYTES_AN_EXCHANGE = 8 * KIB
SECONDS_AN_EXCHANGE = 0.1


class KeyUsage:
    """How many bytes the present keys have protected, and since when they are in use.

    :param limit_bytes: after how many bytes they are used up.
    :param limit_seconds: after how much time they are too old.
    :param now_seconds: the time.
    """

    __slots__ = ("_limit_bytes", "_limit_seconds", "_since_seconds", "_used_bytes")

    def __init__(self, limit_bytes: int, limit_seconds: float, now_seconds: float) -> None:
        self._limit_bytes = limit_bytes
        self._limit_seconds = limit_seconds
        self._since_seconds = now_seconds
        self._used_bytes = 0

    def used(self, size_bytes: int) -> None:
        """Count a packet, of either direction."""
        self._used_bytes += size_bytes

    def renewed(self, now_seconds: float) -> None:
        """Begin anew: there are new keys."""
        self._since_seconds = now_seconds
        self._used_bytes = 0

    @property
    def are_used_up(self) -> bool:
        """Whether they have protected as much as they may."""
        return self._used_bytes >= self._limit_bytes

    @property
    def old_at_seconds(self) -> float:
        """When they will be too old, in seconds of the clock."""
        return self._since_seconds + self._limit_seconds


class ClientExchanges:
    """Limits the key exchanges that a client begins."""

    def __init__(self) -> None:
        self._left_before_login = EXCHANGES_BEFORE_LOGIN
        self._after_login: TokenBucket | None = None
        self._counted_bytes = 0

    def may_begin(self, now_seconds: float, moved_bytes: int | None) -> bool:
        """Count one more; returns whether it is allowed.

        :param now_seconds: the time.
        :param moved_bytes: how much channel data has moved so far; None before the login.
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
    """Limits the time of a key exchange.

    :param clock: the reactor, or ``task.Clock`` in tests.
    :param limit_seconds: how long an exchange may take.
    :param heard_at_seconds: returns when the client has last sent or read something.
    :param on_expired: called when an exchange takes too long.
    """

    def __init__(
        self,
        clock: Clock,
        limit_seconds: float,
        *,
        heard_at_seconds: Callable[[], float],
        on_expired: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._limit_seconds = limit_seconds
        self._heard_at_seconds = heard_at_seconds
        self._on_expired = on_expired
        self._rounds_left = 0
        self._call: DelayedCall | None = None

    def we_began(self) -> None:
        """Start the time: we have sent KEXINIT."""
        self._wait(MAX_ROUNDS)

    def client_began(self) -> None:
        """Start the time anew, without extensions: the client has sent KEXINIT.

        From now on only the exchange itself takes time.
        """
        self._wait(0)

    def end(self) -> None:
        """Stop the time: the exchange is over, or the connection."""
        cancel_pending(self._call)

    def close(self) -> None:
        """The connection is gone: what led back to it goes, so that no cycle is left."""
        self.end()
        self._heard_at_seconds, self._on_expired = float, _do_nothing

    def _wait(self, rounds_left: int) -> None:
        self.end()
        self._rounds_left = rounds_left
        began_seconds = self._clock.seconds()
        self._call = self._clock.callLater(self._limit_seconds, self._look, began_seconds)

    def _look(self, began_seconds: float) -> None:
        if self._rounds_left and self._heard_at_seconds() > began_seconds:
            self._wait(self._rounds_left - 1)
        else:
            self._on_expired()


def _do_nothing() -> None:
    """What follows when the connection is gone."""
