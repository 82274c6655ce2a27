"""The store as a tree of files.

Knows: what each file operation means on objects, and in which order requests
may be sent. Must not know: HTTP below it, SSH and SFTP above it.
"""
