"""REST to S3 and to stores that speak it: `opening.open_store` makes the client.

Knows: HTTP, signing, credentials, retries, what the store can do.
Must not know: paths, users, SFTP.
"""
