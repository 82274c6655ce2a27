"""Modification times that clients set."""
