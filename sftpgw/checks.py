"""What ``--check`` asks of a store: is each bucket there, and can it do what we rely on?

Knows: `ObjectStore`, settings, and how to put findings in a line each.
Must not know: how a store is reached, or how it is probed; both are handed in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields

from sftpgw.errors import StoreError
from sftpgw.interfaces import ObjectStore
from sftpgw.values import Capabilities, Settings

Probe = Callable[[ObjectStore, str], Awaitable[Capabilities]]
"""Tries out what the store can do in a bucket."""

Report = Callable[[bool, str], None]
"""Takes a finding: whether it is fine, and what it is."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that `--check` found out."""

    is_ok: bool
    text: str

    def __str__(self) -> str:
        return f"{'ok' if self.is_ok else 'fault'}: {self.text}"


async def check_buckets(
    settings: Settings, store: ObjectStore, probe: Probe, report: Report
) -> None:
    """HEAD and probe every bucket that a user can reach, and report what there is to know."""
    for bucket in buckets_of(settings):
        try:
            await store.head_bucket(bucket)
            report(True, f"bucket {bucket}: exists, and these credentials reach it")
            able = await probe(store, bucket)
        except StoreError as error:
            report(False, f"bucket {bucket}: {_reason(error)}")
        else:
            report(*judge_capabilities(bucket, settings.s3.capabilities, able))


def buckets_of(settings: Settings) -> tuple[str, ...]:
    """Each bucket once, in the order of the alphabet."""
    return tuple(sorted({user.bucket for user in settings.users.values()}))


def judge_capabilities(bucket: str, declared: Capabilities, able: Capabilities) -> tuple[bool, str]:
    """Whether the store can do all that the configuration does not declare unsupported."""
    lacking = [name for name in _names(able, False) if name in _names(declared, True)]
    if lacking:
        every = " ".join(sorted({*_names(able, False), *_names(declared, False)}))
        text = f"the store lacks {' '.join(lacking)}; write into [s3]: unsupported = {every}"
        return False, f"bucket {bucket}: {text}"
    spare = [name for name in _names(declared, False) if name in _names(able, True)]
    if spare:
        text = f"the store can do what unsupported denies it: {' '.join(spare)}"
        return True, f"bucket {bucket}: {text}"
    return True, f"bucket {bucket}: the store can do what the gateway asks of it"


def _names(capabilities: Capabilities, value: bool) -> list[str]:
    """Those capabilities that are `value`, by their names in sftpgw.ini."""
    return [
        field.name.replace("_", "-")
        for field in fields(Capabilities)
        if getattr(capabilities, field.name) is value
    ]


def _reason(error: StoreError) -> str:
    kind = error.code or type(error).__name__
    return f"{kind}: {error.message}" if kind not in error.message else error.message
