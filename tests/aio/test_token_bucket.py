"""`aio/token_bucket`: bursts up to its capacity, then its rate."""

from __future__ import annotations

from sftpgw.aio.token_bucket import TokenBucket


def test_a_burst_then_the_rate() -> None:
    bucket = TokenBucket(3, 2, now_seconds=100)
    assert bucket.is_full
    for _ in range(3):
        bucket.spend()
    assert bucket.tokens == 0
    bucket.refill(100.5)
    assert (bucket.tokens, bucket.is_full) == (1, False)
    bucket.refill(200)
    assert (bucket.tokens, bucket.is_full) == (3, True)


def test_debt_is_paid_back_first() -> None:
    bucket = TokenBucket(1, 1, now_seconds=0)
    bucket.spend(3)
    bucket.refill(1)
    assert bucket.tokens == -1


def test_returned_tokens_do_not_overflow_the_bucket() -> None:
    bucket = TokenBucket(2, 1, now_seconds=0)
    bucket.spend()
    bucket.add(5)
    assert bucket.tokens == 2


def test_a_clock_that_is_set_back_brings_nothing() -> None:
    bucket = TokenBucket(2, 1, now_seconds=100)
    bucket.spend(2)
    bucket.refill(50)
    assert bucket.tokens == 0
    bucket.refill(51)
    assert bucket.tokens == 1
