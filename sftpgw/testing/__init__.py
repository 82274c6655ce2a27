"""What tests need and users of sftpgw may borrow: a store in memory, SSH pairs in memory.

Knows: every package but `tap` and `cli`. Must not know: pytest.
"""
