"""Renames of files and directories."""
