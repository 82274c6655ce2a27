"""What --check reports of a store."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest
from twisted.internet.defer import Deferred

from sftpgw.checks import Finding, check_buckets
from sftpgw.interfaces import ObjectStore
from sftpgw.testing.fake_store import FakeStore
from sftpgw.values import (
    Capabilities,
    FilesSettings,
    GatewaySettings,
    LimitSettings,
    Settings,
    SshSettings,
    StoreSettings,
    User,
)

ALL = Capabilities()


def findings(declared: Capabilities, able: Capabilities, *buckets: str) -> list[str]:
    """What is reported on a fake store that has the bucket ``here`` and can do `able`."""
    users = {bucket: User(bucket, bucket, "") for bucket in buckets}
    settings = Settings(
        GatewaySettings(),
        StoreSettings(bucket="here", capabilities=declared),
        SshSettings(),
        LimitSettings(),
        FilesSettings(),
        MappingProxyType(users),
    )

    async def probe(store: ObjectStore, bucket: str) -> Capabilities:
        assert bucket == "here"
        return able

    found: list[str] = []

    def report(is_ok: bool, text: str) -> None:
        found.append(str(Finding(is_ok, text)))

    store = FakeStore(buckets=("here",))
    done = Deferred.fromCoroutine(check_buckets(settings, store, probe, report))
    results: list[object] = []
    done.addBoth(results.append)
    assert results == [None]
    return found


def test_a_missing_bucket_does_not_hide_the_next() -> None:
    missing, exists, able = findings(ALL, ALL, "here", "gone")
    assert missing.startswith("fault: bucket gone: NoSuchBucket")
    assert exists.startswith("ok: bucket here: exists")
    assert able == "ok: bucket here: the store can do what the gateway asks of it"


@pytest.mark.parametrize(
    ("declared", "able", "text"),
    [
        (
            ALL,
            replace(ALL, conditional_copy=False, part_copy=False),
            (
                "fault: bucket here: the store lacks conditional-copy part-copy; "
                "write into [s3]: unsupported = conditional-copy part-copy"
            ),
        ),
        (
            replace(ALL, unequal_parts=False),
            replace(ALL, conditional_put=False),
            (
                "fault: bucket here: the store lacks conditional-put; "
                "write into [s3]: unsupported = conditional-put unequal-parts"
            ),
        ),
        (
            replace(ALL, conditional_put=False),
            replace(ALL, conditional_put=False),
            "ok: bucket here: the store can do what the gateway asks of it",
        ),
        (
            replace(ALL, conditional_put=False),
            ALL,
            "ok: bucket here: the store can do what unsupported denies it: conditional-put",
        ),
    ],
)
def test_capabilities_are_compared(declared: Capabilities, able: Capabilities, text: str) -> None:
    assert findings(declared, able, "here")[-1] == text
