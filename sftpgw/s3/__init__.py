"""The client for S3 and compatible stores: `store_factory.open_store` makes an `S3Client`.

Knows: requests, responses, retries, what the store supports.
Must not know: paths, users, SFTP.
"""
