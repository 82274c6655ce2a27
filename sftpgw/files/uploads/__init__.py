"""Uploads: from the WRITEs of a client to parts in S3."""
