"""The SFTP server: protocol, handles, and the objects that Conch's interfaces ask for.

Knows: SFTP version 3 and OpenSSH's extensions. Must not know: S3, or how its
channel is encrypted.
"""
