"""Codecs: bytes in, values out, and back.

Knows: how SFTP packets, SCP lines and S3's XML are written.
Must not know: who sends them, and when. No I/O, no clock, no Twisted.
"""
