"""Tells twistd that ``sftpgw`` is one of the servers it can start."""

from twisted.application.service import ServiceMaker

sftpgw = ServiceMaker("sftpgw", "sftpgw.tap", "An SFTP server whose disk is S3.", "sftpgw")
