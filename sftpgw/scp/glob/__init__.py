"""Patterns in the paths of a command line."""
