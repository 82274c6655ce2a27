"""Copies of objects within the store."""
