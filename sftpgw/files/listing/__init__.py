"""Directories: pages of keys as entries."""
