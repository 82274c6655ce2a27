"""Modification times, which S3 does not have: a cache of them, and setting them."""
