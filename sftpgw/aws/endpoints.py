"""The URL and signing region of a bucket.

Knows: AWS's endpoint rules, from botocore's rule set (regions, partitions, accelerate, path and
virtual-host addressing, access point ARNs), and how a key becomes a path.
Must not know: requests.

Specific to S3: `BucketEndpoint.url` (keys, encoded once) and `Endpoints`, whose rule set is that of
S3. Another service has its own rule set (`service_endpoint`).

botocore's provider only reads its data files: 2 MiB, and no client. A bucket is resolved once,
until the store says that it is in another region.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import BotoCoreError
from botocore.loaders import Loader

from sftpgw.errors import StoreError
from sftpgw.model.bucket_names import name_in_store
from sftpgw.model.settings import Addressing, StoreSettings

UNRESERVED = "-_.~"

_REGION = re.compile(r"[A-Za-z0-9_-]{1,64}")  # a region becomes part of a host name


@dataclass(frozen=True, slots=True)
class BucketEndpoint:
    """Where the requests for a bucket go.

    :param base_url: scheme and host, with the bucket where the path has it; no slash at the end.
    :param signing_region: the region in the signature.
    :param signing_name: the service in the signature, ``s3``.
    """

    base_url: str
    signing_region: str
    signing_name: str

    @property
    def is_encrypted(self) -> bool:
        return self.base_url.startswith("https:")

    def url(self, key: str = "", query: tuple[tuple[str, str], ...] = ()) -> str:
        """The URL of a key, or of the bucket: encoded once, as S3 signs it, and never normalized.

        https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
        """
        path = quote(key, safe="/" + UNRESERVED)
        pairs = sorted(
            (quote(name, safe=UNRESERVED), quote(value, safe=UNRESERVED)) for name, value in query
        )
        parameters = "&".join(f"{name}={value}" for name, value in pairs)
        return f"{self.base_url}/{path}" + (f"?{parameters}" if parameters else "")


class Endpoints:
    """The endpoints of all buckets.

    :param settings: ``[s3]`` or ``[store NAME]``.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self._store_name = settings.name
        self._is_fips = settings.fips
        self._parameters = _parameters(settings)
        self._region = settings.region
        self._provider: EndpointProvider | None = None
        self._known: dict[str, BucketEndpoint] = {}
        self._moved: dict[str, str] = {}

    def of_bucket(self, bucket: str) -> BucketEndpoint:
        """The endpoint of a bucket. :raises StoreError: bucket and region have none"""
        if bucket not in self._known:
            self._known[bucket] = self._resolve(bucket, self._region)
        return self._known[bucket]

    def move(self, bucket: str, region: str) -> bool:
        """Follow the bucket to `region`, which the store has named; returns whether that is new.

        :raises StoreError: bucket and region have no endpoint; the bucket stays where it was
        """
        if not _REGION.fullmatch(region):
            raise StoreError(f"{bucket}: {region[:64]!r} is no region", code="NoEndpoint")
        if self._moved.get(bucket, self._region) == region:
            return False
        self._known[bucket] = self._resolve(bucket, region)
        self._moved[bucket] = region
        return True

    def take_back(self, bucket: str) -> None:
        """Forget where the store has said that the bucket is: no one answers there."""
        if self._moved.pop(bucket, None) is not None:
            del self._known[bucket]

    def _resolve(self, bucket: str, region: str) -> BucketEndpoint:
        if self._provider is None:
            loader = Loader()
            self._provider = EndpointProvider(
                loader.load_service_model("s3", "endpoint-rule-set-1"),
                loader.load_data("partitions"),
            )
        try:
            found = self._provider.resolve_endpoint(
                Bucket=name_in_store(bucket, self._store_name),
                Region=region,
                **self._parameters,
            )
        except BotoCoreError as error:
            raise StoreError(f"no endpoint for {bucket}: {error}", code="NoEndpoint") from error
        for scheme in found.properties.get("authSchemes", ()):
            if scheme["name"] == "sigv4":
                signing_region = scheme.get("signingRegion") or region
                if self._is_fips:
                    _require_fips(bucket, signing_region)
                return BucketEndpoint(
                    found.url.rstrip("/"),
                    signing_region,
                    scheme.get("signingName") or "s3",
                )
        raise StoreError(
            f"{bucket} needs a signature that the gateway cannot make", code="NoEndpoint"
        )


@dataclass(frozen=True, slots=True)
class ServiceEndpoint:
    """Where the requests to a service other than S3 go.

    :ivar url: scheme and host; no slash at the end.
    :ivar signing_region: the region in the signature.
    :ivar signing_name: the service in the signature.
    """

    url: str
    signing_region: str
    signing_name: str


def check_region(region: str) -> None:
    """The rules have a host for any region: what AWS does not have would be found by a lookup only.

    A region that is newer than botocore passes if its name is of the usual form.

    :param region: the region of a service other than S3.
    :raises ValueError: AWS does not have it; in words for the operator.
    """
    partitions = Loader().load_data("partitions")["partitions"]
    if not any(re.fullmatch(each["regionRegex"], region) for each in partitions):
        raise ValueError(f"{region!r} is not a region of AWS, such as eu-west-1")


def service_endpoint(service: str, settings: StoreSettings) -> ServiceEndpoint:
    """The endpoint of a service with one name for signatures and rules, such as ``dynamodb``.

    :param service: the service.
    :param settings: its region, and its endpoint if it is not AWS's own; FIPS and dual stack.
    :raises StoreError: the region has none
    """
    loader = Loader()
    provider = EndpointProvider(
        loader.load_service_model(service, "endpoint-rule-set-1"), loader.load_data("partitions")
    )
    other = {"Endpoint": settings.endpoint} if settings.endpoint else {}
    try:
        found = provider.resolve_endpoint(
            Region=settings.region,
            UseFIPS=settings.fips,
            UseDualStack=settings.dual_stack,
            **other,
        )
    except BotoCoreError as error:
        raise StoreError(f"no endpoint of {service}: {error}", code="NoEndpoint") from error
    return ServiceEndpoint(found.url.rstrip("/"), settings.region, service)


def _require_fips(bucket: str, region: str) -> None:
    """The rules name a FIPS host in each region, also where AWS has none.

    https://docs.aws.amazon.com/general/latest/gr/s3.html

    :raises StoreError: AWS has none there.
    """
    known = {
        name
        for partition in Loader().load_data("endpoints")["partitions"]
        for name, variants in _s3_variants(partition)
        if any("fips" in variant["tags"] for variant in variants)
    }
    if region not in known:
        text = f"{bucket}: S3 has no FIPS endpoint in {region}; it has some in {sorted(known)}"
        raise StoreError(text.translate(_NO_LIST), code="NoEndpoint")


_NO_LIST = str.maketrans("", "", "[]'")


def _s3_variants(partition: Mapping[str, Any]) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """The regions of S3 in a partition, each with the variants of its endpoint."""
    service = partition["services"].get("s3", {})
    for name, endpoint in service.get("endpoints", {}).items():
        yield name, endpoint.get("variants", [])


def _parameters(settings: StoreSettings) -> dict[str, object]:
    """The parameters of the rule set, without bucket and region.

    As in botocore, a custom endpoint means path addressing unless the settings say otherwise.
    """
    forced_path = settings.addressing is Addressing.PATH or (
        bool(settings.endpoint) and settings.addressing is not Addressing.VIRTUAL
    )
    parameters: dict[str, object] = {
        "UseFIPS": settings.fips,
        "UseDualStack": settings.dual_stack,
        "ForcePathStyle": forced_path,
        "Accelerate": settings.accelerate,
        "UseGlobalEndpoint": False,
        "DisableMultiRegionAccessPoints": True,
        "DisableS3ExpressSessionAuth": True,
    }
    if settings.endpoint:
        parameters["Endpoint"] = settings.endpoint
    return parameters
