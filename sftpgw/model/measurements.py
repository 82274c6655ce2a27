"""Measurements: values that metrics are made of. The log does not show them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FinishedRequest:
    """One request to the store with all its attempts, whether it succeeded or not.

    :param operation: S3's name of the operation.
    :param bucket: the bucket.
    :param user: the user that it was sent for, "" for the gateway itself.
    :param status: the HTTP status of the last attempt; 0 without a response.
    :param code: the error code of a failure, S3's or the gateway's (`s3/error_codes`); "" for a
        success.
    :param seconds: from the first attempt to the end, waits and queues included.
    :param attempts: how often the request was sent; 0 if it failed before it could be sent.
    :param sent_bytes: heads and bodies of the requests as they went into the connection, without
        TLS.
    :param received_bytes: bodies of the responses.
    """

    operation: str
    bucket: str
    user: str
    status: int
    code: str
    seconds: float
    attempts: int
    sent_bytes: int
    received_bytes: int
