"""The stores of sftpgw.ini: ``[s3]``, and ``[store NAME]`` for each further one.

Knows: which settings of a store cannot work together, and which names a store may have.
Must not know: how a bucket is addressed, or a certificate or a proxy judged; the loader hands that
in.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sftpgw.config.exposure import warn_if_open_to_all
from sftpgw.config.ini_file import Section
from sftpgw.config.scalars.object_values import customer_key
from sftpgw.config.scalars.places import has_store, is_tenant_bucket
from sftpgw.config.tables import OF_ALL_STORES, SECTIONS, STORE_KEYS
from sftpgw.model.bucket_names import SEPARATOR
from sftpgw.model.object_settings import Encryption
from sftpgw.model.settings import Addressing, Stores, StoreSettings

Check = Callable[[str], object]
"""Raises ValueError, in words for the person who wrote the file, if it does not like a value."""

STORE_SECTION = re.compile(r"store(?:\s+(.*))?", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RIGHT_NAME = "write [store NAME], with up to 64 letters, digits, - and _ as NAME"
_TAKEN_NAMES = frozenset({"arn", "s3"})
"""What a bucket, or a URL of one, may begin with already."""


@dataclass(frozen=True, slots=True)
class StoreChecks:
    """What judges values of a store.

    :ivar ca_file: judges the path of `ca_file`.
    :ivar proxy: judges `proxy`; must not repeat its password in its message.
    """

    ca_file: Check
    proxy: Check


def is_store_section(name: str) -> bool:
    """Whether a section of sftpgw.ini is that of a store besides ``[s3]``."""
    return STORE_SECTION.fullmatch(name) is not None


def read_stores(sections: Mapping[str, Section], s3: Section, checks: StoreChecks) -> Stores:
    """The settings of all stores.

    :param sections: those of sftpgw.ini, by name.
    :param s3: that of ``[s3]``, which may be missing in the file.
    :param checks: judge values.
    """
    named: dict[str, StoreSettings] = {}
    for section in sections.values():
        if is_store_section(section.name):
            name = _store_name(section)
            if name in named:
                section.fault("", f"the store {name} has a section already; keep one")
            _refuse_keys_of_s3(section)
            named[name] = _store_settings(section, section.values(STORE_KEYS), name, checks)
    usual = _store_settings(s3, s3.values(SECTIONS["s3"]), "", checks)
    tenant, separator, _ = usual.bucket.partition(SEPARATOR)
    if separator and tenant in named:
        text = (
            f"{usual.bucket}: {tenant} is the name of [store {tenant}], and cannot be that of a "
            "tenant of Ceph, too; give the store another name"
        )
        s3.fault("bucket", text)
    return Stores(usual, MappingProxyType(named))


def _store_name(section: Section) -> str:
    matched = STORE_SECTION.fullmatch(section.name)
    name = ((matched and matched[1]) or "").strip()
    if not _NAME.fullmatch(name):
        section.fault("", f"has no good name; {_RIGHT_NAME}")
    elif name in _TAKEN_NAMES:
        section.fault("", f"{name} cannot be the name of a store; write another")
    return name


def _refuse_keys_of_s3(section: Section) -> None:
    for key, why in OF_ALL_STORES.items():
        if key in section.given:
            section.fault(key, why)


def _store_settings(
    section: Section, given: Mapping[str, Any], name: str, checks: StoreChecks
) -> StoreSettings:
    anchored = dict(given)
    if "ca_file" in given:
        anchored["ca_file"] = str(section.file.parent / given["ca_file"])
    if "sse_c_key_file" in given:
        anchored["sse_c_key_file"] = str(section.file.parent / given["sse_c_key_file"])
    store = StoreSettings(name=name, **anchored)
    store = replace(store, sse_c_key=_customer_key(section, store))
    _check_together(section, store)
    for key, value, check in (
        ("ca_file", store.ca_file, checks.ca_file),
        ("proxy", store.proxy, checks.proxy),
    ):
        try:
            if value:
                check(value)
        except ValueError as error:
            section.fault(key, error)
    return store


def _check_together(section: Section, store: StoreSettings) -> None:
    """Settings that are fine alone and cannot work together."""
    if bool(store.access_key) != bool(store.secret_key):
        missing = "secret_key" if store.access_key else "access_key"
        section.fault(missing, "is missing; set both access_key and secret_key, or neither")
    if store.session_token and not store.access_key:
        section.fault("session_token", "needs the access_key and secret_key that it belongs to")
    if store.accelerate and (store.endpoint or store.addressing is Addressing.PATH):
        text = "works on AWS only, without endpoint and without addressing = path"
        section.fault("accelerate", text)
    for key in ("dual_stack", "fips"):
        if getattr(store, key) and store.endpoint:
            section.fault(
                key, "works on AWS only; an endpoint of your own is used as it is written"
            )
    if store.fips and store.accelerate:
        section.fault("fips", "AWS has no FIPS endpoint with accelerate; leave one of them out")

    _check_encryption(section, store)

    if store.session_tags and not store.scoped_credentials:
        section.fault("session_tags", "is of no use without scoped_credentials = yes")


def _check_encryption(section: Section, store: StoreSettings) -> None:
    has_own_key = bool(store.sse_c_key_file or store.sse_c_key_env)
    for key in ("sse_kms_key", "sse_bucket_key", "sse_kms_context"):
        is_given = getattr(store, key) not in ("", None)
        if is_given and store.sse not in (Encryption.KMS, Encryption.KMS_DSSE):
            section.fault(key, "is of no use without sse = kms or kms-dsse")
    if has_own_key and store.sse is not None:
        section.fault("sse", "cannot go together with a key of your own (SSE-C); keep one of them")
    if has_own_key and store.endpoint.startswith("http:"):
        key = "sse_c_key_file" if store.sse_c_key_file else "sse_c_key_env"
        section.fault(key, "stores take a key over https only, and so does the gateway")


def _customer_key(section: Section, store: StoreSettings) -> bytes:
    """The key of SSE-C; empty if there is none. No message repeats any of it."""
    name, variable = store.sse_c_key_file, store.sse_c_key_env
    if name and variable:
        section.fault("sse_c_key_env", "comes with sse_c_key_file; keep one of them")
    key = "sse_c_key_file" if name else "sse_c_key_env"
    try:
        if name:
            found = customer_key(Path(name).read_bytes())
            warn_if_open_to_all(Path(name), "a key", section.faults)
            return found
        if variable:
            return customer_key(os.environ[variable].encode())
    except OSError as error:
        section.fault(key, f"{name}: {error.strerror}")
    except KeyError:
        section.fault(key, f"there is no variable {variable} in the environment")
    except ValueError as error:
        section.fault(key, error)
    return b""


def check_bucket(
    bucket: str, stores: Stores, bucket_check: Callable[[StoreSettings], Check]
) -> None:
    """Judge whether requests can be sent to a bucket.

    :param bucket: the bucket, as the gateway names it.
    :param stores: the settings of all stores.
    :param bucket_check: what judges buckets of a store.
    :raises ValueError: none can be sent.
    """
    store = stores.of(bucket)
    in_store = bucket.removeprefix(f"{store.name}{SEPARATOR}") if store.name else bucket
    if has_store(in_store):
        name = in_store.partition(SEPARATOR)[0]
        raise ValueError(f"{bucket}: there is no section [store {name}] in sftpgw.ini")
    if is_tenant_bucket(in_store) and not store.endpoint:
        raise ValueError(
            f"{in_store}: is Ceph's tenant:bucket; set the endpoint of {store.section}, too"
            + _or_store(in_store, store)
        )
    bucket_check(store)(bucket)


def _or_store(bucket: str, store: StoreSettings) -> str:
    name = bucket.partition(SEPARATOR)[0]
    return "" if store.name or not name else f", or add a section [store {name}]"
