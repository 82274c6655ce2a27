"""Listings: pages of keys as directory entries, and the markers that stand for directories."""
