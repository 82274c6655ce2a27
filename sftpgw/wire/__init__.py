"""Codecs: bytes in, values out, and back.

Knows: the formats of SFTP packets, scp lines, command lines, PROXY headers and S3's XML.
Must not know: who sends them, and when. No I/O, no clock, no Twisted.
"""
