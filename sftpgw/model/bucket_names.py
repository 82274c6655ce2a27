"""How a bucket is named where there are several stores.

The buckets of ``[s3]`` have their own names. A bucket of ``[store NAME]`` is ``NAME:bucket``
everywhere in the gateway: in the names of objects, in events, in the configuration. Ceph writes
``tenant:bucket``, so that no store may have the name of a tenant (`config/stores`).
"""

from __future__ import annotations

from collections.abc import Container

SEPARATOR = ":"


def store_of_bucket(bucket: str, stores: Container[str]) -> str:
    """The name of the store that a bucket is in; empty for that of ``[s3]``.

    :param bucket: the bucket, as the gateway names it.
    :param stores: the names of the stores besides ``[s3]``.
    """
    name, separator, _ = bucket.partition(SEPARATOR)
    return name if separator and name in stores else ""


def name_in_store(bucket: str, store: str) -> str:
    """The name that a bucket has in its store.

    :param bucket: the bucket, as the gateway names it.
    :param store: the name of its store; empty for that of ``[s3]``.
    """
    return bucket.removeprefix(f"{store}{SEPARATOR}") if store else bucket


def name_in_gateway(bucket: str, store: str) -> str:
    """The name that the gateway has for a bucket.

    :param bucket: the name that it has in its store.
    :param store: the name of its store; empty for that of ``[s3]``.
    """
    return f"{store}{SEPARATOR}{bucket}" if store else bucket
