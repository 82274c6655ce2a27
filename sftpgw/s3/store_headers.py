"""The headers that follow from settings of a store or of objects, not from an operation.

Knows: who pays, whose the bucket must be, how objects are encrypted, and the headers for that.
Must not know: what an operation is for.

Encryption with a key of the customer (SSE-C): S3 keeps neither the key nor a name of it. Each
request that reads or writes the bytes, or asks for the properties, has to bring it along, and a
copy brings that of its source, too. So all objects of a store have one key, and these headers are
added where a request is signed: no operation can forget them.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace

from sftpgw.aws.signer import HeaderList
from sftpgw.model.object_settings import Encryption, ObjectSettings
from sftpgw.model.settings import StoreSettings
from sftpgw.model.store import NO_METADATA, ObjectInfo, ObjectProperties
from sftpgw.s3.headers import property_headers

SSE = "x-amz-server-side-encryption"
_SSE_NAMES = {
    Encryption.S3: "AES256",
    Encryption.KMS: "aws:kms",
    Encryption.KMS_DSSE: "aws:kms:dsse",
}
_WITH_CUSTOMER_KEY = (
    "HeadObject",
    "GetObject",
    "PutObject",
    "CopyObject",
    "CreateMultipartUpload",
    "UploadPart",
    "UploadPartCopy",
    "CompleteMultipartUpload",
)
_COPIES = ("CopyObject", "UploadPartCopy")


class StoreHeaders:
    """The headers that requests to a store have besides their own.

    :param settings: those of the store.
    :ivar has_customer_key: whether objects are encrypted with a key of the customer.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self.has_customer_key = bool(settings.sse_c_key)
        self._of_all = _of_all(settings)
        self._of_operations = _of_operations(settings, self._of_all)

    def of(self, operation: str) -> HeaderList:
        """Those of a request.

        :param operation: S3's name of the operation.
        """
        return self._of_operations.get(operation, self._of_all)

    def of_new_object(
        self, properties: ObjectProperties, settings: ObjectSettings
    ) -> Iterator[tuple[str, str]]:
        """The headers that create an object.

        :param properties: of the object; what they leave open, `settings` say. Only the encryption
            of the settings wins: properties restate that of the object before.
        :param settings: how objects of its name are stored.
        """
        changed = properties
        if self.has_customer_key:
            changed = replace(changed, encryption=NO_METADATA)
        elif settings.sse is not None:
            changed = replace(changed, encryption=encryption_headers(settings))
        if settings.tags and not properties.tags:
            changed = replace(changed, tags=dict(settings.tags))
        yield from property_headers(changed, settings.storage_class)
        if settings.acl:
            yield "x-amz-acl", settings.acl

    def of_copy(
        self, source: ObjectInfo, properties: ObjectProperties | None, settings: ObjectSettings
    ) -> Iterator[tuple[str, str]]:
        """The headers that CopyObject needs so that nothing is lost.

        CopyObject keeps the metadata, and resets storage class, encryption and ACL; with other
        metadata it drops the system headers, too. It copies the tags.

        :param source: the object, as HEAD showed it.
        :param properties: replace the metadata; None: the metadata stays.
        :param settings: how objects of the target's name are stored.
        """
        source_class = "" if source.storage_class == "STANDARD" else source.storage_class
        restated = ObjectProperties(storage_class=source_class, encryption=source.encryption)
        if properties is not None:
            yield "x-amz-metadata-directive", "REPLACE"
            restated = replace(
                properties,
                storage_class=properties.storage_class or source_class,
                content_type=properties.content_type or source.content_type,
                system_headers=properties.system_headers or source.system_headers,
                encryption=properties.encryption or source.encryption,
                tags=NO_METADATA,
            )
        kept = replace(settings, storage_class="", tags=())
        yield from self.of_new_object(restated, kept)


def encryption_headers(settings: ObjectSettings) -> Mapping[str, str]:
    """The headers by which S3 encrypts an object.

    :param settings: its settings.
    """
    if settings.sse not in _SSE_NAMES:
        return NO_METADATA
    headers = {SSE: _SSE_NAMES[settings.sse]}
    if settings.sse is Encryption.S3:
        return headers
    if settings.sse_kms_key:
        headers[f"{SSE}-aws-kms-key-id"] = settings.sse_kms_key
    if settings.sse_kms_context:
        context = base64.b64encode(settings.sse_kms_context.encode()).decode("ascii")
        headers[f"{SSE}-context"] = context
    if settings.sse_bucket_key is not None and settings.sse is Encryption.KMS:
        headers[f"{SSE}-bucket-key-enabled"] = "true" if settings.sse_bucket_key else "false"
    return headers


def _of_all(settings: StoreSettings) -> HeaderList:
    headers: HeaderList = ()
    if settings.request_payer:
        headers += (("x-amz-request-payer", "requester"),)
    if settings.expected_bucket_owner:
        headers += (("x-amz-expected-bucket-owner", settings.expected_bucket_owner),)
    return headers


def _of_operations(settings: StoreSettings, of_all: HeaderList) -> dict[str, HeaderList]:
    found: dict[str, HeaderList] = {}
    if settings.sse_c_key:
        own = _customer_key(SSE, settings.sse_c_key)
        found = dict.fromkeys(_WITH_CUSTOMER_KEY, (*of_all, *own))
        source = _customer_key("x-amz-copy-source-server-side-encryption", settings.sse_c_key)
        found |= {name: (*found[name], *source) for name in _COPIES}
    if settings.expected_bucket_owner:
        owner = ("x-amz-source-expected-bucket-owner", settings.expected_bucket_owner)
        found |= {name: (*found.get(name, of_all), owner) for name in _COPIES}
    return found


def _customer_key(prefix: str, key: bytes) -> HeaderList:
    digest = hashlib.md5(key, usedforsecurity=False).digest()
    return (
        (f"{prefix}-customer-algorithm", "AES256"),
        (f"{prefix}-customer-key", base64.b64encode(key).decode("ascii")),
        (f"{prefix}-customer-key-md5", base64.b64encode(digest).decode("ascii")),
    )
