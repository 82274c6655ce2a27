"""``scp`` and other commands on an SSH exec channel.

Knows: command lines, the classic scp protocol, and a user's files as a `FileTree`.
Must not know: SSH, S3, or any other way to those files.
"""
