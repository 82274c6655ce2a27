"""The tests know what each store lacks: an unnoticed change would skip or fail other tests."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from tests.assumed_capabilities import (
    ASSUMED_CAPABILITIES,
    VARIABLE,
    Trial,
    expected_lacking,
    found_lacking,
)
from tests.contract.conftest import lacking
from tests.stores import MOTO_LACKS, create_bucket, moto_settings, new_bucket_name, real_settings


def test_moto_lacks_what_is_expected(moto_url: str) -> None:
    bucket = new_bucket_name()
    create_bucket(moto_url, bucket)
    settings = moto_settings(moto_url, bucket)
    expected = MOTO_LACKS | {"checksums", "conditional-copy", "copy-source-condition"}
    assert lacking(settings, "capabilities/") == expected


@pytest.mark.skipif(real_settings() is None, reason="no real store is named")
def test_the_real_store_lacks_what_is_expected(real_store_lacks: frozenset[str]) -> None:
    expected = expected_lacking()
    if expected is None:
        pytest.skip(f"{VARIABLE} does not say what is expected")
    found = " ".join(sorted(real_store_lacks))
    assert real_store_lacks == expected, f"it lacks: {found}"


class _Refusing:
    """An AWS client whose store refuses everything."""

    def __getattr__(self, name: str) -> object:
        def refuse(**arguments: object) -> object:
            raise ClientError({"Error": {"Code": "InternalError"}}, name)

        return refuse


def test_a_store_that_refuses_all_lacks_all() -> None:
    assert found_lacking(_Refusing(), "bucket", "") == frozenset(ASSUMED_CAPABILITIES)
    Trial(_Refusing(), "bucket", "").clear()
