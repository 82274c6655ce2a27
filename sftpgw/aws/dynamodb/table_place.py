"""Where the table of users is, and the credentials for it, as settings of an AWS service.

Knows: ``[auth]`` and ``[s3]``. Must not know: requests.
"""

from __future__ import annotations

from sftpgw.model.settings import Settings, StoreSettings

TABLE_KEYS = "dynamodb_access_key and dynamodb_secret_key in [auth]"
"""What has the credentials for the table, where they are not those of ``[s3]``."""


def table_place(settings: Settings) -> StoreSettings:
    """The region, the endpoint and the credentials of the table of users.

    :param settings: the whole configuration.
    """
    auth, s3 = settings.auth, settings.s3
    # Where S3 is AWS, its credentials are such as the table takes. Of another store they are not.
    shares = not auth.dynamodb_access_key and not s3.endpoint
    return StoreSettings(
        region=auth.dynamodb_region or s3.region,
        endpoint=auth.dynamodb_endpoint,
        access_key=s3.access_key if shares else auth.dynamodb_access_key,
        secret_key=s3.secret_key if shares else auth.dynamodb_secret_key,
        session_token=s3.session_token if shares else "",
        role_arn=auth.dynamodb_role_arn or (s3.role_arn if shares else ""),
        dual_stack=s3.dual_stack and not auth.dynamodb_endpoint,
        fips=s3.fips and not auth.dynamodb_endpoint,
    )
