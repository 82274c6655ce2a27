"""What tests need and users of sftpgw may borrow: a store in memory, SSH pairs in memory.

Knows: every room but `tap`. Must not know: pytest.
"""
