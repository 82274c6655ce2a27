"""sftpgw: an SFTP server whose disk is Amazon S3, or any store that speaks S3."""

__version__ = "0.1.0"
