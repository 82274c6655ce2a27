"""Small tools for asynchronous work, without knowledge of files, SSH or S3."""
